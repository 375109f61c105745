"""One HTML page that compares methods frame by frame, and holds the papers' user study (VQD-SR Sec. 4.2)."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from animevsr.errors import MediaError
from animevsr.evaluation.evaluator import evaluate
from animevsr.evaluation.tables import for_json
from animevsr.utils.files import check_file, write_text
from animevsr.utils.report import data_url
from animevsr.video.clips import check_same_clips, clips_by_name
from animevsr.video.numbered import count_decodable
from animevsr.video.reader import open_reader

if TYPE_CHECKING:
    import torch


TEMPLATE = Path(__file__).with_name('comparison.html')


def compare(
    roots: dict[str, str | Path],
    output: str | Path,
    frames: int = 5,
    quality: int = 95,
    gt: str | Path | None = None,
    metrics: list[str] = ('line_width', 'flicker'),
    device: str | torch.device = 'auto',
    progress: bool = False,
    study: str | None = None,
) -> Any:
    """Write a self-contained page that compares results.

    It works from a file, without a network: a slider between two methods, zoom, a difference view, metrics of
    each clip, the keyboard; and a blind study, in which a person sees two methods in random order and says
    which looks better; votes can be saved, and `votes` merges those of several people.

    Args:
        roots (dict[str, str | Path]): name -> a root of clips with results; two or more, with the same clips
            of the same size.
        output (str | Path): the page, .html.
        frames (int): frames of each clip, spread evenly over it.
        quality (int): of the WebP images in the page, 1 to 100; 101 is lossless.
        gt (str | Path | None): a root of clips with the ground truth, for metrics that need one.
        metrics (list[str]): see `evaluate`; may be empty.
        study (str | None): the method that the study shows beside each of the others, as the paper's does
            with its own; 'all' for every pair. Default: the first one.

    Returns:
        Path: the page.

    Raises:
        MediaError, ValueError: one line; nothing is written.
    """
    output = Path(output)
    check_file(output)
    if output.suffix.lower() not in ('.html', '.htm'):
        raise MediaError(f'{output}: the comparison is a page; name it e.g. {output.stem}.html')
    if len(roots) < 2 or frames < 1 or not 1 <= quality <= 101:
        raise ValueError(
            'a comparison needs two or more methods, frames of at least 1, and a quality from 1 to 101; '
            f'got {len(roots)}, {frames}, {quality}'
        )
    names = list(roots)
    if study not in (None, 'all', *names):
        raise ValueError(f'study: there is no method {study}; there are {", ".join(names)}, or all')
    ours = study or names[0]
    pairs = (
        itertools.combinations(names, 2)
        if ours == 'all'
        else ((ours, name) for name in names if name != ours)
    )
    clips = {name: clips_by_name(root, name) for name, root in roots.items()}
    first = next(iter(clips.values()))
    for name, found in clips.items():
        check_same_clips(next(iter(roots.values())), first, roots[name], found)
    content = dict(methods=names, pairs=[list(pair) for pair in pairs], metrics=list(metrics), clips=[])
    for clip in first:
        content['clips'].append(
            dict(
                name=clip,
                **_pictures(clip, {name: found[clip] for name, found in clips.items()}, frames, quality),
            )
        )
    if metrics:
        for method in evaluate(roots, gt=gt, metrics=metrics, every=1, device=device, progress=progress):
            for clip in content['clips']:
                values = {m: for_json(value) for m, value in method.values[clip['name']].items()}
                clip.setdefault('values', {})[method.name] = values
    # '<' must not end the script element that holds the data
    data = json.dumps(content).replace('<', '\\u003c')
    write_text(output, TEMPLATE.read_text(encoding='utf8').replace('"DATA"', data))
    return output


def _pictures(clip, sources, frames, quality):
    """`numbers` of the frames, `size`, and `images` {method: [data URL]} of a clip."""
    counts = {name: count_decodable(source) for name, source in sources.items()}
    (name, count), *others = counts.items()
    for other, number in others:
        if number != count:
            raise MediaError(
                f'{sources[other]}: has {number} frames, {sources[name]} {count}; a comparison needs the same'
            )
    wanted = sorted({i * count // min(frames, count) for i in range(min(frames, count))})
    images, size = {}, None
    for method, source in sources.items():
        with open_reader(source) as reader:
            size = size or (reader.info.width, reader.info.height)
            if (reader.info.width, reader.info.height) != size:
                raise MediaError(
                    f'{source}: is {reader.info.width}x{reader.info.height}, {sources[name]} is'
                    f' {size[0]}x{size[1]}; a comparison needs the same size'
                )
            # lossless from a quality of 101 on
            images[method] = [
                data_url(image, 'webp', (cv2.IMWRITE_WEBP_QUALITY, quality))
                for i, (image, _) in enumerate(reader.frames())
                if i in wanted
            ]
    return dict(numbers=wanted, size=size, images=images)
