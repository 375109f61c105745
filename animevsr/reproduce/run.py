"""`animevsr reproduce table1`: runs the trainings behind a table (tables.py), and prints the paper's numbers
beside ours.

At the scale `tiny` they run on the bundled clips with small networks, on a CPU, and say only that everything
runs from end to end. At the scale `paper` they are the paper's own, and need its data and GPUs. Interrupted,
the same call goes on, each training from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from basicsr.archs import build_network

from animevsr.curation.enhance import enhance
from animevsr.errors import MediaError
from animevsr.evaluation.evaluator import evaluate, runtime
from animevsr.evaluation.tables import UNITS
from animevsr.reproduce.edit_options import weights_in, with_network
from animevsr.reproduce.held_out import held_out_clips
from animevsr.reproduce.tables import TABLES, Enhanced, Released, Stage, in_order
from animevsr.utils.device import count, device_name, select_device
from animevsr.utils.files import check_note, inherited_lock
from animevsr.utils.overlays import read_options
from animevsr.utils.progress import progress_bar
from animevsr.utils.report import markdown_table
from animevsr.utils.resources import find
from animevsr.zoo import find_weights

if TYPE_CHECKING:
    from animevsr.reproduce.tables import Row


HOME = Path('experiments')
# the data that the YAML files of the scale `paper` name -> the argument of `reproduce` that says where it is
DATA = {'datasets/AVC-Train': 'gt', 'datasets/AVC-Test': 'test', 'datasets/RAL': 'ral'}
METRICS = ('psnr_y', 'ssim_y', 'niqe', 'line_width', 'flicker')


def reproduce(
    table: str,
    scale: str = 'tiny',
    gt: str = 'datasets/AVC-Train',
    lq: str = 'datasets/AVC-RealLQ',
    rows: list[str] | None = None,
    iterations: int | None = None,
    device: str | torch.device = 'auto',
    progress: bool = False,
    ral: str = 'datasets/RAL',
    test: str = 'datasets/AVC-Test',
) -> str:
    """Run the trainings behind a table and measure their results.

    Before anything runs it is checked that all data and weights are there, or come from a training before.

    Args:
        table (str): 'table1' to 'table5' (VQD-SR), 'supplement4' (AnimeSR).
        scale (str): 'tiny': small networks on the bundled clips. 'paper': the paper's networks, iterations
            and losses.
        gt (str): the training set at the scale `paper`; HR-SR cleans it into `experiments`.
        lq (str): a root of low-quality clips to measure on at the scale `paper`.
        rows (list[str] | None): only these rows. Default: those that the paper gives a number for.
        iterations (int | None): of each training, instead of what the scale says: to try it.
        device (str): where results are measured; training takes what BasicSR finds.
        progress (bool): show progress on standard error.
        ral (str), test (str): low-quality frames and validation clips at the scale `paper`.

    Returns:
        str: the table, as Markdown; it is also in experiments/reproduce_<scale>/<table>.md.

    Raises:
        MediaError, CheckpointError, ValueError: one line; the same call goes on.
    """
    if table not in TABLES or scale not in ('tiny', 'paper'):
        raise ValueError(f'there are {", ".join(TABLES)}, at the scales tiny and paper; got {table}, {scale}')
    chosen = [row for row in TABLES[table][1] if (not row.extra if rows is None else row.name in rows)]
    unknown = set(rows or ()) - {row.name for row in chosen}
    if unknown:
        raise ValueError(
            f'{table} has no row {sorted(unknown)[0]}; its rows:'
            f' {", ".join(row.name for row in TABLES[table][1])}'
        )
    if iterations is not None and iterations < 1:
        raise ValueError(f'iterations must be at least 1, got {iterations}')
    if scale == 'tiny' and any(isinstance(row.stage, Released) for row in chosen):
        raise ValueError(f'{table} measures released weights; it is there at the scale paper alone')
    places = dict(gt=gt, test=test, ral=ral) if scale == 'paper' else dict(gt=find('assets/tiny'))
    run = Run(scale, places, iterations, device)
    stages = in_order(row.stage for row in chosen)
    run.check(stages, [row.stage for row in chosen if isinstance(row.stage, Released)], lq)
    total = sum(run.get_iterations(stage) for stage in stages if isinstance(stage, Stage))
    with progress_bar(total, 'iterations', progress) as bar:
        for stage in stages:
            bar.set_description(stage.name)
            run.enhance(stage) if isinstance(stage, Enhanced) else run.train(stage, bar)
    roots = dict(lq=lq) if scale == 'paper' else held_out_clips(run.folder / 'test')
    metrics = METRICS if 'gt' in roots else ('niqe', 'line_width', 'flicker', 'cut_bleed')
    measured = evaluate(
        {row.name: run.weights(row.stage) for row in chosen},
        **roots,
        metrics=metrics,
        every=2,
        device=device,
        steady=False,
    )
    text = run.table(table, chosen, measured, metrics)
    (run.folder / f'{table}.md').write_text(text, encoding='utf8')
    return text


class Run:
    """The trainings of one scale, below `experiments/reproduce_<scale>`, and those of BasicSR,
    `experiments/reproduce_<scale>_<stage>`.
    """

    def __init__(
        self, scale: str, places: dict[str, str], iterations: Any, device: str | torch.device
    ) -> None:
        self.scale = scale
        self.places = places
        self.iterations = iterations
        self.device = device
        self.folder = HOME / f'reproduce_{scale}'
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def gt(self) -> Path:
        return Path(self.places['gt'])

    def get_iterations(self, stage: Stage) -> int:
        return self.iterations or (
            stage.iterations if self.scale == 'tiny' else read_yaml(stage.paper)['train']['total_iter']
        )

    def weights(self, stage: Released | Stage) -> Path:
        return (
            Path(stage.file)
            if isinstance(stage, Released)
            else HOME / f'reproduce_{self.scale}_{stage.name}/models/net_g_latest.pth'
        )

    def find_yaml(self, stage: Stage) -> str:
        return stage.tiny if self.scale == 'tiny' else stage.paper

    def make_options(self, stage: Stage) -> list[str]:
        """[KEY:KEY=VALUE] that a stage adds to its YAML: where data and earlier results are, and how long it
        runs.
        """
        opt, options = read_yaml(self.find_yaml(stage)), list(stage.options)
        for before in stage.after:
            place = self.folder / before.name if isinstance(before, Enhanced) else self.weights(before)
            options = [option.replace(f'{{{before.name}}}', str(place)) for option in options]
        if stage.learned:
            degradation = opt['datasets']['train']['degradation']
            for operator, trained, arguments in stage.learned:
                degradation = with_network(
                    degradation, operator, dict(arguments, weights=str(self.weights(trained))), stage
                )
            options.append(f'datasets:train:degradation={degradation!r}')
        set_already = {option.split('=')[0] for option in options}
        for part, dataset in opt['datasets'].items():
            for key in ('dataroot_gt', 'dataroot_lq'):
                name = DATA.get(dataset.get(key))
                if self.scale == 'paper' and name and f'datasets:{part}:{key}' not in set_already:
                    options.append(f'datasets:{part}:{key}={self.places[name]}')
        iterations = self.get_iterations(stage)
        if self.scale == 'tiny' or self.iterations:
            options += [
                f'train:total_iter={iterations}',
                'val:val_freq=1000000',
                f'logger:print_freq={min(5, iterations)}',
                'logger:save_checkpoint_freq=50',
            ]
        return options

    def check(self, stages: list, released: list, lq: str) -> None:
        """Whether everything is there that is not made on the way.

        Raises:
            MediaError: data or weights are missing; names all of them.
        """
        made = {str(self.weights(stage)) for stage in stages if isinstance(stage, Stage)}
        made |= {str(self.folder / stage.name) for stage in stages if isinstance(stage, Enhanced)}
        files, folders = [stage.file for stage in released], [str(lq)] if self.scale == 'paper' else []
        for stage in stages:
            if isinstance(stage, Enhanced):
                find_weights(stage.model)  # fetched now, or said why not
                continue
            opt = read_yaml(self.find_yaml(stage))
            for option in self.make_options(stage):
                keys, value = option.split('=', 1)
                *path, last = keys.split(':')
                place = opt
                for key in path:
                    place = place[key]
                place[last] = yaml.safe_load(value)
            files += [value for value in weights_in(opt) if value not in made]
            folders += [
                dataset[key]
                for dataset in opt['datasets'].values()
                for key in ('dataroot_gt', 'dataroot_lq')
                if dataset.get(key) and dataset[key] not in made
            ]
        missing = sorted(
            {f for f in files if not find_weights(f).is_file()} | {f for f in folders if not find(f).exists()}
        )
        if missing:
            raise MediaError(
                f'missing, and made by no training before: {", ".join(missing)}; put it there'
                ' (docs/released_weights.md says where released weights are), or name other data with --gt,'
                ' --ral, --test, --lq'
            )

    def train(self, stage: Stage, bar: Any) -> None:
        """Run a training, unless it is done, in a process of its own; its output goes into a file."""
        file, options, iterations = (
            self.find_yaml(stage),
            self.make_options(stage),
            self.get_iterations(stage),
        )
        # what was cleaned (HR-SR), and how what comes before was trained, are part of it
        before = [str(self.gt)] * (self.scale == 'paper') + [
            self.note(s).read_text() for s in stage.needs if isinstance(s, Stage)
        ]
        fingerprint = hashlib.sha256(json.dumps([read_yaml(file), options, before]).encode()).hexdigest()
        note, log = self.note(stage), self.folder / f'{stage.name}.log'
        check_note(
            note,
            fingerprint,
            f'{self.weights(stage).parent.parent}: was trained with other options; move it and {note} away',
        )
        seen = 0
        if not self.weights(stage).exists():
            command = [
                sys.executable,
                *launcher(),
                '-m',
                'animevsr.train',
                '-opt',
                f'options/{file}',
                '--auto_resume',
                '--launcher',
                'pytorch' if launcher() else 'none',
                '--force_yml',
                f'name=reproduce_{self.scale}_{stage.name}',
                *options,
            ]
            with (
                self.lock(stage) as lock,
                open(log, 'a', encoding='utf8') as out,
                subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors='replace',
                    pass_fds=(lock.fileno(),) if os.name == 'posix' else (),
                ) as child,
            ):
                try:
                    for line in child.stdout:
                        out.write(line)
                        found = re.search(r'\biter:\s*([\d,]+)', line)
                        if found:
                            now = int(found[1].replace(',', ''))
                            bar.update(max(0, now - seen))
                            seen = max(seen, now)
                finally:
                    child.terminate()  # it has ended, unless this process is to end
            if child.returncode or not self.weights(stage).exists():
                raise MediaError(f'{stage.name}: {last_line(log)} (its output: {log})')
        bar.update(iterations - seen)

    def note(self, stage: Stage) -> Path:
        """The file that says of what a training is made."""
        return self.folder / f'{stage.name}.sha256'

    def lock(self, stage: Stage) -> Any:
        """A file that the training holds, too: it may live longer than this process."""
        try:
            return inherited_lock(self.folder / f'{stage.name}.lock')
        except BlockingIOError:
            raise MediaError(f'{stage.name}: another run trains it; wait for it, or end it') from None

    def enhance(self, stage: Enhanced) -> None:
        place = self.folder / stage.name
        source = place.with_name(f'{stage.name}.source')
        check_note(source, str(self.gt), f'{place}: was not made of {self.gt} (see {source}); move both away')
        enhance(self.gt, place, stage.model, device=self.device)

    def table(self, name: str, rows: list[Row], measured: list, metrics: tuple[str, ...]) -> str:
        """The table as Markdown."""
        with_sizes, lines = 'params' in rows[0].paper, []
        head = [
            'method',
            *(['paper: parameters (M)'] if with_sizes else []),
            *(['ms on a Tesla M40'] if 'ms' in rows[0].paper else []),
            'MANIQA',
            *(['ours: parameters (M)'] if with_sizes else []),
            *(['ms here'] if 'ms' in rows[0].paper else []),
            *metrics,
        ]
        for row, method in zip(rows, measured):
            size, speed = self.size_and_speed(row.stage, 'ms' in row.paper) if with_sizes else (None, None)
            values = [f'{row.paper[key]:g}' for key in ('params', 'ms') if key in row.paper]
            values.append(f'{row.paper["maniqa"]:.4f}' if 'maniqa' in row.paper else '-')
            values += [
                f'{number:.{digits}f}' for number, digits in ((size, 2), (speed, 0)) if number is not None
            ]
            lines.append(
                [
                    row.name,
                    *values,
                    *('-' if value != value else f'{value:.4g}' for value in method.means().values()),
                ]
            )
        table = markdown_table([head, *lines])
        legend = '\n'.join(f'- {m}: {UNITS[m]}' for m in metrics)
        what = (
            'Scale: tiny. Our networks are small ones, trained for some hundred iterations on three clips of'
            ' 9 frames of 192x160 pixels, from scratch, and measured on six other clips damaged by old'
            ' codecs. **The values say that every training and measurement runs, not which method is'
            ' better.** Parameters and time are those of the networks at full size (180x320, median, here).'
            if self.scale == 'tiny'
            else 'Scale: paper.'
        )
        return (
            f'## {TABLES[name][0]}\n\n{table}\n\n{legend}\n\n{what} MANIQA is what the paper reports on'
            ' AVC-RealLQ.\n'
        )

    def size_and_speed(self, stage: Stage, timed: bool) -> tuple:
        """(millions of parameters, milliseconds of a 180x320 frame) of a network at the paper's size; the
        time is kept.
        """
        options = dict(read_yaml(stage.paper)['network_g'])
        if 'spynet_path' in options:
            options['spynet_path'] = None  # its size and speed are those of the weights that it starts from
        net, device = build_network(options), select_device(self.device)
        where = f'torch {torch.__version__}, {device_name(device)}, {torch.get_num_threads()} threads'
        note, key = self.folder / 'times.json', f'{json.dumps(options)} by {where}'
        times = json.loads(note.read_text()) if note.exists() else {}
        if timed and key not in times:
            net.to(device, memory_format=torch.channels_last).eval()
            with torch.inference_mode():
                times[key] = runtime(net, device, repeat=1)
            note.write_text(json.dumps(times))
        return sum(p.numel() for p in net.parameters()) / 1e6, times[key] if timed else None


def launcher() -> list:
    """How to start a training on all GPUs of this machine; empty for one or none."""
    gpus = count()
    return ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(gpus)] if gpus > 1 else []


def read_yaml(file: str) -> dict:
    return read_options(find(f'options/{file}'))


def last_line(log: Any) -> str:
    """What a training said last."""
    lines = [line for line in log.read_text(encoding='utf8', errors='replace').splitlines() if line.strip()]
    return lines[-1][:300] if lines else 'ended without a word'
