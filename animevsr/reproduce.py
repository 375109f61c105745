"""`animevsr reproduce table1`: the trainings behind a table of VQD-SR, and the paper's numbers beside ours.

At the scale `tiny` they run on the bundled clips with small networks, on a CPU, and say only that everything runs from end to end. At the
scale `paper` they are the paper's own, and need its data and GPUs. Interrupted, the same call goes on, each training from its last
checkpoint.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from basicsr.archs import build_network
from basicsr.utils.options import ordered_yaml
from tqdm import tqdm

from animevsr.curation.enhance import enhance
from animevsr.degradations import DegradationPipeline
from animevsr.inference.evaluate import evaluate, runtime
from animevsr.inference.tables import UNITS
from animevsr.utils.device import choose, count
from animevsr.utils.images import to_images, to_tensor
from animevsr.utils.locks import lock_file
from animevsr.utils.resources import find
from animevsr.video.clips import list_clips, load_clip
from animevsr.video.images import MediaError
from animevsr.video.reader import count_frames
from animevsr.video.writer import write_image

HOME = Path('experiments')
METRICS = ('psnr_y', 'ssim_y', 'niqe', 'line_width', 'flicker')
# how the clips on which a tiny table is measured were damaged: old codecs that no training here has seen
OLD_CODECS = (dict(vcodec='mpeg1video', **{'q:v': 5}), dict(vcodec='msmpeg4', **{'q:v': 5}), dict(vcodec='flv1', **{'q:v': 6}))


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        name (str): of the experiment.
        paper, tiny (str): YAML files below options/.
        options (tuple[str]): KEY:KEY=VALUE; {NAME} stands for the weights of another stage, or for a cleaned training set.
        after (tuple[Stage | Enhanced]): what must be there before.
        iterations (int): at the scale `tiny`.
    """
    name: str
    paper: str
    tiny: str
    options: tuple = ()
    after: tuple = ()
    iterations: int = 150


@dataclass(frozen=True)
class Enhanced:
    """A training set whose ground truth was cleaned by a model (HR-SR)."""
    name: str
    model: str


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, what the paper says of it, and the training whose result is measured."""
    name: str
    paper: dict
    stage: Stage


def backbone(name, *options, after=(), suffix=''):
    iterations = 100 if 'basicvsr' in name else 150  # their optical flow takes its time on a CPU
    return Stage(name + suffix, f'backbones/{name}.yml', f'tiny/backbones/{name}.yml', options, after, iterations)


def gan(suffix, *options, after=()):
    """VQD-SR's second stage."""
    return Stage(f'vqd_sr{suffix}', 'vqd_sr/gan.yml', 'tiny/gan.yml', ('path:pretrain_network_g={net}', *options), (NET, *after))


LARGE, SMALL, OURS = (Enhanced('hrsr_large', 'ncnn:realesrgan-x4plus-anime'), Enhanced('hrsr_small', 'ncnn:realesr-animevideov3-x4'),
                      Enhanced('hrsr_animesr', 'animevsr_x4'))
NET = Stage('net', 'vqd_sr/net.yml', 'tiny/net.yml', iterations=250)
ANIMESR_NET = Stage('animesr_net', 'animesr/step1_net.yml', 'tiny/animesr/step1_net.yml', iterations=250)
PRETRAINED = 'path:pretrain_network_g={animesr_net}'
CLEAN = 'datasets:train:dataroot_gt={%s}'
DEGRADATION = 'datasets:train:degradation='  # BasicSR reads a list as Python
POOL = DEGRADATION + repr(['blur', 'noise', {'down_or_lbo': {}}, {'down_or_lbo': {}}, {'codec': 'h264'}])  # of the bundled operators
ANIMESR = Stage('animesr', 'animesr/step3_gan.yml', 'tiny/animesr/step3_gan.yml', (PRETRAINED, POOL), (ANIMESR_NET, ))
PDM = backbone('pdm_degradation')
PDM_SR = backbone('pdm', DEGRADATION + repr([{'pdm': {'weights': '{pdm_degradation}'}}]), after=(PDM, ))
BASE = gan('')
TOP = Stage('vqgan_top', 'vqgan/top.yml', 'tiny/vqgan_top.yml', iterations=200)
FULL = Stage('vqgan_full', 'vqgan/full.yml', 'tiny/vqgan_full.yml', ('path:pretrain_network_g={vqgan_top}', ), (TOP, ), 100)
SINGLE_STAGE = Stage('vqgan_single_stage', 'vqgan/single_stage.yml', 'tiny/vqgan_full.yml',
                     ('path:pretrain_network_g=~', 'path:strict_load_g=true', 'train:lr_factors=~'), iterations=150)
SINGLE_SCALE = Stage('vqgan_single_scale', 'vqgan/single_scale.yml', 'tiny/vqgan_top.yml', iterations=300)


def looked_up(suffix, vqgan, k=(1, 50)):
    """VQD-SR's second stage with the degradation that a VQGAN learned."""
    vq = {'vq': {'weights': f'{{{vqgan.name}}}', 'k': k}}
    return gan(suffix, DEGRADATION + repr(['blur', 'noise', {'down': 2}, {'down': 2}, vq, {'codec': 'h264'}]), after=(vqgan, ))


LEARNED = looked_up('_learned', FULL)
TABLES = {
    'table1': ('comparison with other methods', (
        Row('BasicVSR*', dict(params=6.29, ms=175, maniqa=0.2829), backbone('basicvsr')),
        Row('PDM*', dict(params=16.70, ms=438, maniqa=0.2574), PDM_SR),
        Row('Real-ESRGAN*', dict(params=16.70, ms=438, maniqa=0.3825), backbone('realesrgan')),
        Row('BSRGAN*', dict(params=16.70, ms=438, maniqa=0.3836), backbone('bsrgan')),
        Row('RealBasicVSR*', dict(params=6.29, ms=252, maniqa=0.3504), backbone('realbasicvsr')),
        Row('AnimeSR', dict(params=1.50, ms=26, maniqa=0.3832), ANIMESR),
        Row('VQD-SR', dict(params=1.47, ms=25, maniqa=0.4096), gan('_hrsr_small', CLEAN % SMALL.name, after=(SMALL, ))))),
    'table2': ('ablation of the degradation model', (
        Row('VQD-SR (base)', dict(maniqa=0.3857), LEARNED),
        Row('(a) BasicOP-Only', dict(maniqa=0.3768), backbone('vqd_sr_basic', 'path:pretrain_network_g={net}', after=(NET, ))),
        Row('(b) Single-scale', dict(maniqa=0.3466), looked_up('_single_scale', SINGLE_SCALE)),
        Row('(c) Single-stage', dict(maniqa=0.3430), looked_up('_single_stage', SINGLE_STAGE)),
        Row('(d) Nearest', dict(maniqa=0.3770), looked_up('_nearest', FULL, 1)))),
    'table3': ('VQ degradation with other networks', (
        Row('Real-ESRGAN*, original', dict(params=16.7, maniqa=0.3825), backbone('realesrgan')),
        Row('Real-ESRGAN*, VQ', dict(params=16.7, maniqa=0.3967), backbone('realesrgan_vq')),
        Row('RealBasicVSR*, original', dict(params=6.3, maniqa=0.3504), backbone('realbasicvsr')),
        Row('RealBasicVSR*, VQ', dict(params=6.3, maniqa=0.3849), backbone('realbasicvsr_vq')),
        Row('AnimeSR, original', dict(params=1.5, maniqa=0.3832), ANIMESR),
        Row('AnimeSR, VQ', dict(params=1.5, maniqa=0.3857), backbone('animesr_vq', PRETRAINED, after=(ANIMESR_NET, ))))),
    'table4': ('models for HR-SR enhancement', (
        Row('No Enhancement', dict(maniqa=0.3857), BASE),
        Row('AnimeSR', dict(maniqa=0.4146), gan('_hrsr_animesr', CLEAN % OURS.name, after=(OURS, ))),
        Row('Real-ESRGAN (L)', dict(maniqa=0.4211), gan('_hrsr_large', CLEAN % LARGE.name, after=(LARGE, ))),
        Row('Real-ESRGAN (S)', dict(maniqa=0.4096), gan('_hrsr_small', CLEAN % SMALL.name, after=(SMALL, ))))),
    'table5': ('HR-SR enhancement with other networks', (
        Row('RealBasicVSR', dict(maniqa=0.3504), backbone('realbasicvsr')),
        Row('RealBasicVSR, HR-SR', dict(maniqa=0.3855), backbone('realbasicvsr', CLEAN % SMALL.name, after=(SMALL, ), suffix='_hrsr')),
        Row('AnimeSR', dict(maniqa=0.3832), ANIMESR),
        Row('AnimeSR, HR-SR', dict(maniqa=0.4079), Stage('animesr_hrsr', ANIMESR.paper, ANIMESR.tiny,
                                                         (PRETRAINED, POOL, CLEAN % SMALL.name), (ANIMESR_NET, SMALL))),
        Row('VQD-SR', dict(maniqa=0.3857), BASE),
        Row('VQD-SR, HR-SR', dict(maniqa=0.4096), gan('_hrsr_small', CLEAN % SMALL.name, after=(SMALL, ))))),
}


def reproduce(table, scale='tiny', gt='datasets/AVC-Train', lq='datasets/AVC-RealLQ', rows=None, iterations=None, device='auto',
              progress=False):
    """Run the trainings behind a table and measure their results.

    Args:
        table (str): 'table1' to 'table5'.
        scale (str): 'tiny': small networks on the bundled clips. 'paper': the paper's networks, iterations and losses.
        gt (str): the training set at the scale `paper`; HR-SR cleans it into `experiments`. Other data is named in the YAML files.
        lq (str): a root of low-quality clips to measure on at the scale `paper`.
        rows (list[str] | None): only these rows.
        iterations (int | None): of each training, instead of what the scale says: to try it.
        device (str): where results are measured; training takes what BasicSR finds.
        progress (bool): show progress on standard error.

    Returns:
        str: the table, as Markdown; it is also in experiments/reproduce_<scale>/<table>.md.

    Raises:
        MediaError, CheckpointError, ValueError: one line; the same call goes on.
    """
    if table not in TABLES or scale not in ('tiny', 'paper'):
        raise ValueError(f'there are {", ".join(TABLES)}, at the scales tiny and paper; got {table}, {scale}')
    chosen = [row for row in TABLES[table][1] if rows is None or row.name in rows]
    unknown = set(rows or ()) - {row.name for row in chosen}
    if unknown:
        raise ValueError(f'{table} has no row {sorted(unknown)[0]}; its rows: {", ".join(row.name for row in TABLES[table][1])}')
    if iterations is not None and iterations < 1:
        raise ValueError(f'iterations must be at least 1, got {iterations}')
    run = Run(scale, find('assets/tiny') if scale == 'tiny' else Path(gt), iterations, device)
    stages = in_order(row.stage for row in chosen)
    total = sum(run.iterations_of(stage) for stage in stages if isinstance(stage, Stage))
    with tqdm(total=total, unit='it', file=sys.stderr, disable=not progress, mininterval=0.5 if sys.stderr.isatty() else 10,
              bar_format='{desc}{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} iterations [{elapsed}<{remaining}]') as bar:
        for stage in stages:
            bar.set_description(stage.name)
            run.enhance(stage) if isinstance(stage, Enhanced) else run.train(stage, bar)
    roots = dict(lq=lq) if scale == 'paper' else test_clips(run.folder / 'test')
    metrics = METRICS if 'gt' in roots else ('niqe', 'line_width', 'flicker', 'cut_bleed')
    measured = evaluate({row.name: run.weights(row.stage) for row in chosen}, **roots, metrics=metrics, every=2, device=device)
    text = run.table(table, chosen, measured, metrics)
    (run.folder / f'{table}.md').write_text(text, encoding='utf8')
    return text


def in_order(stages):
    """[Stage | Enhanced]: each once, after what it needs."""
    found = []
    for stage in stages:
        found += [s for s in (*in_order(getattr(stage, 'after', ())), stage) if s not in found]
    return found


class Run:
    """The trainings of one scale, below `experiments/reproduce_<scale>`, and those of BasicSR, `experiments/reproduce_<scale>_<stage>`."""

    def __init__(self, scale, gt, iterations, device):
        self.scale, self.gt, self.iterations, self.device = scale, gt, iterations, device
        self.folder = HOME / f'reproduce_{scale}'
        self.folder.mkdir(parents=True, exist_ok=True)

    def iterations_of(self, stage):
        return self.iterations or (stage.iterations if self.scale == 'tiny' else read_yaml(stage.paper)['train']['total_iter'])

    def weights(self, stage):
        return HOME / f'reproduce_{self.scale}_{stage.name}/models/net_g_latest.pth'

    def train(self, stage, bar):
        """Run a training, unless it is done, in a process of its own; its output goes into a file."""
        file = stage.tiny if self.scale == 'tiny' else stage.paper
        places = {s.name: self.folder / s.name if isinstance(s, Enhanced) else self.weights(s) for s in stage.after}
        options = list(stage.options)
        for name, place in places.items():
            options = [option.replace(f'{{{name}}}', str(place)) for option in options]
        iterations = self.iterations_of(stage)
        if self.scale == 'tiny' or self.iterations:
            options += [f'train:total_iter={iterations}', 'val:val_freq=1000000', f'logger:print_freq={min(5, iterations)}',
                        'logger:save_checkpoint_freq=50']
        elif self.gt != Path('datasets/AVC-Train') and not any('dataroot_gt' in option for option in options) and 'vqgan' not in file:
            options.append(f'datasets:train:dataroot_gt={self.gt}')
        # what was cleaned (HR-SR), and how what comes before was trained, are part of it
        before = [str(self.gt)] * (self.scale == 'paper') + [self.note(s).read_text() for s in stage.after if isinstance(s, Stage)]
        made_of = hashlib.sha256(json.dumps([find(f'options/{file}').read_text(), options, before]).encode()).hexdigest()
        note, log = self.note(stage), self.folder / f'{stage.name}.log'
        if note.exists() and note.read_text() != made_of:
            raise MediaError(f'{self.weights(stage).parent.parent}: was trained with other options; move it and {note} away')
        note.write_text(made_of)
        seen = 0
        if not self.weights(stage).exists():
            command = [sys.executable, *launcher(), '-m', 'animevsr.train', '-opt', f'options/{file}', '--auto_resume', '--launcher',
                       'pytorch' if launcher() else 'none', '--force_yml', f'name=reproduce_{self.scale}_{stage.name}', *options]
            with self.lock(stage) as lock, open(log, 'a', encoding='utf8') as out, \
                    subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                                     pass_fds=(lock.fileno(), ) if os.name == 'posix' else ()) as child:
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

    def note(self, stage):
        """The file that says of what a training is made."""
        return self.folder / f'{stage.name}.sha256'

    def lock(self, stage):
        """A file that the training holds, too: it may live longer than this process."""
        try:
            return lock_file(self.folder / f'{stage.name}.lock')
        except BlockingIOError:
            raise MediaError(f'{stage.name}: another run trains it; wait for it, or end it') from None

    def enhance(self, stage):
        place = self.folder / stage.name
        source = place.with_name(f'{stage.name}.source')
        if source.exists() and source.read_text() != str(self.gt):
            raise MediaError(f'{place}: was made of {source.read_text()}, not of {self.gt}; move it and {source} away')
        source.write_text(str(self.gt))
        enhance(self.gt, place, stage.model, device=self.device)

    def table(self, name, rows, measured, metrics):
        """The table as Markdown."""
        with_sizes, lines = 'params' in rows[0].paper, []
        head = ['method', *(['paper: parameters (M)'] if with_sizes else []), *(['ms on a Tesla M40'] if 'ms' in rows[0].paper else []),
                'MANIQA', *(['ours: parameters (M)'] if with_sizes else []), *(['ms here'] if 'ms' in rows[0].paper else []), *metrics]
        for row, method in zip(rows, measured):
            size, speed = self.size_and_speed(row.stage, 'ms' in row.paper) if with_sizes else (None, None)
            values = [f'{row.paper[key]:g}' for key in ('params', 'ms') if key in row.paper] + [f'{row.paper["maniqa"]:.4f}']
            values += [f'{number:.{digits}f}' for number, digits in ((size, 2), (speed, 0)) if number is not None]
            lines.append([row.name, *values, *('-' if value != value else f'{value:.4g}' for value in method.means().values())])
        table = '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in (head, ['---'] * len(head), *lines))
        legend = '\n'.join(f'- {m}: {UNITS[m]}' for m in metrics)
        what = (
            'Scale: tiny. Our networks are small ones, trained for some hundred iterations on three clips of 9 frames of 192x160 pixels, '
            'from scratch, and measured on six other clips damaged by old codecs. **The values say that every training and measurement '
            'runs, not which method is better.** Parameters and time are those of the networks at full size (180x320, median, here).'
            if self.scale == 'tiny' else 'Scale: paper.')
        return f'## VQD-SR, {name}: {TABLES[name][0]}\n\n{table}\n\n{legend}\n\n{what} MANIQA is what the paper reports on AVC-RealLQ.\n'

    def size_and_speed(self, stage, timed):
        """(millions of parameters, milliseconds of a 180x320 frame) of a network at the paper's size; the time is kept."""
        options = dict(read_yaml(stage.paper)['network_g'])
        if 'spynet_path' in options:
            options['spynet_path'] = None  # its size and speed are those of the weights that it starts from
        note, key = self.folder / 'times.json', json.dumps(options)
        times = json.loads(note.read_text()) if note.exists() else {}
        net, device = build_network(options), choose(self.device)
        if timed and key not in times:
            net.to(device, memory_format=torch.channels_last).eval()
            with torch.inference_mode():
                times[key] = runtime(net, device, repeat=1)
            note.write_text(json.dumps(times))
        return sum(p.numel() for p in net.parameters()) / 1e6, times[key] if timed else None


def launcher():
    """How to start a training on all GPUs of this machine; empty for one or none."""
    gpus = count()
    return ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(gpus)] if gpus > 1 else []


def read_yaml(file):
    return yaml.load(find(f'options/{file}').read_text(), Loader=ordered_yaml()[0])


def last_line(log):
    """What a training said last."""
    lines = [line for line in log.read_text(encoding='utf8', errors='replace').splitlines() if line.strip()]
    return lines[-1][:300] if lines else 'ended without a word'


def test_clips(folder):
    """Write the clips on which a tiny table is measured: held-out clips, shrunk, blurred, and through old codecs."""
    clips = list_clips('assets/heldout')[6:]
    for i, clip in enumerate(clips):
        parts = {side: folder / side / clip.stem for side in ('gt', 'lq')}
        if all(part.is_dir() for part in parts.values()):
            continue
        codec = OLD_CODECS[i % len(OLD_CODECS)]
        degradation = [{'blur': dict(sigma=[1.0, 2.0], isotropic_prob=1.0)}, {'down': 2}, {'down': 2}, {'ffmpeg': dict(options=codec)}]
        pipeline, gt = DegradationPipeline(degradation), to_tensor(load_clip(clip, range(count_frames(clip))))
        lq = pipeline.apply(gt, pipeline.sample(np.random.default_rng(i), len(gt)))
        for side, frames in (('gt', gt), ('lq', lq)):
            if parts[side].is_dir():
                continue
            partial = parts[side].with_name(f'{clip.stem}.partial')
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for number, image in enumerate(to_images(frames)):
                write_image(partial / f'{number:08d}.png', image)
            os.replace(partial, parts[side])
    return dict(gt=folder / 'gt', lq=folder / 'lq')
