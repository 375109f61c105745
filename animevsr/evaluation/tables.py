"""The table of an evaluation as Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from animevsr.errors import MediaError
from animevsr.utils.files import check_file, write_text
from animevsr.utils.report import markdown_table

if TYPE_CHECKING:
    from animevsr.evaluation.evaluator import Method

DIGITS = dict(psnr=2, psnr_y=2, ssim=4, ssim_y=4, niqe=3, hyperiqa=2, line_width=2, flicker=2, cut_bleed=3)
UNITS = dict(
    psnr='dB, at most 100, higher is better',
    psnr_y='dB of the luma, at most 100, higher is better',
    ssim='0 to 1, higher is better',
    ssim_y='of the luma, 0 to 1, higher is better',
    niqe='lower is better',
    hyperiqa='0 to 100, higher is better',
    line_width='width of edges in pixels, lower is sharper',
    flicker='change of held pixels from frame to frame, of 255, lower is better',
    cut_bleed='share of the other shot at cuts, lower is better',
)


def write_table(methods: list[Method], path: Path) -> None:
    """Write the table of `evaluate` into a file: .md, .csv or .json.

    Raises:
        MediaError: another suffix, or it cannot be written.
    """
    check_output(path)
    kinds = {'.md': markdown, '.csv': to_csv, '.json': to_json}
    write_text(Path(path), kinds[Path(path).suffix.lower()](methods))


def check_output(path: Path) -> None:
    """MediaError unless a table can be written at `path`: before the work is done."""
    check_file(Path(path))
    if Path(path).suffix.lower() not in ('.md', '.csv', '.json'):
        raise MediaError(f'{path}: a table is written as .md, .csv or .json')


def markdown(methods: list[Method]) -> str:
    """A row for each method, then for each metric a table of its clips."""
    metrics = list(methods[0].means())
    rows = [['method', 'parameters (M)', 'ms for 180x320', *metrics]]
    for method in methods:
        rows.append(
            [
                method.name,
                _number(method.params, 2),
                _number(method.runtime, 0),
                *(_number(value, DIGITS.get(m, 4)) for m, value in method.means().items()),
            ]
        )
    parts = [
        markdown_table(rows),
        *(
            f'{m}: mean of the clips that have a value for every method, without {", ".join(clips)}'
            for m, clips in methods[0].lacking.items()
            if clips
        ),
        '\n'.join(f'- {m}: {UNITS[m]}' for m in metrics if m in UNITS),
    ]
    for m in metrics:
        rows = [[m, *(method.name for method in methods)]]
        rows += [
            [clip, *(_number(method.values[clip][m], DIGITS.get(m, 4)) for method in methods)]
            for clip in methods[0].values
        ]
        parts.append(
            markdown_table(
                [*rows, ['mean', *(_number(method.means()[m], DIGITS.get(m, 4)) for method in methods)]]
            )
        )
    return '\n\n'.join(parts) + '\n'


def to_csv(methods: list[Method]) -> str:
    """One line for each method, clip and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['method', 'parameters_millions', 'runtime_ms', 'clip', 'metric', 'value'])
    for method in methods:
        for clip, values in (*method.values.items(), ('mean', method.means())):
            for m, value in values.items():
                writer.writerow(
                    [method.name, method.params, method.runtime, clip, m, '' if math.isnan(value) else value]
                )
    return text.getvalue()


def to_json(methods: list[Method]) -> str:
    """A list of methods."""

    def clean(values):
        return {m: for_json(value) for m, value in values.items()}

    return (
        json.dumps(
            [
                dict(
                    method=method.name,
                    parameters_millions=method.params,
                    runtime_ms=method.runtime,
                    mean=clean(method.means()),
                    clips={clip: clean(values) for clip, values in method.values.items()},
                )
                for method in methods
            ],
            indent=1,
        )
        + '\n'
    )


def for_json(value: float) -> float:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def _number(value, digits):
    return '-' if value is None or math.isnan(value) else f'{value:.{digits}f}'
