"""The trainings behind the paper's tables: what they are made of, and one of them from end to end."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from basicsr.utils.options import _postprocess_yml_value
from conftest import REPO

import animevsr
from animevsr.archs.backbones_arch import ClipBasicVSR, ClipRRDBNet, RealBasicVSR
from animevsr.archs.pdm_arch import ProbabilisticDegradation
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.degradations import DegradationPipeline
from animevsr.errors import MediaError
from animevsr.reproduce import held_out, reproduce
from animevsr.reproduce import run as module
from animevsr.reproduce.tables import TABLES, Enhanced, Released, Row, Stage, in_order
from animevsr.utils.overlays import read_options
from animevsr.utils.resources import find
from animevsr.video.clips import list_clips
from animevsr.zoo import MODELS, find_weights

ALL = [row for _, rows in TABLES.values() for row in rows]
# a network of each kind as small as can be, with what the later stages look at
SMALL = {
    'MSRBVSR': lambda o: MSRBVSR(8, (1, 1, 1), sr_feedback=o.get('sr_feedback', False)),
    'MultiScaleVQGAN': lambda o: MultiScaleVQGAN(
        8,
        (1, 1, 1, 1, 1),
        1,
        4,
        o['n_embed'],
        branches=o.get('branches') or ('top', 'middle', 'bottom'),
        norm_groups=4,
    ),
    'ClipRRDBNet': lambda o: ClipRRDBNet(3, 3, 4, 64, 1, 32),
    'ClipBasicVSR': lambda o: ClipBasicVSR(8, 1),
    'RealBasicVSR': lambda o: RealBasicVSR(8, 1, 1),
    'ProbabilisticDegradation': lambda o: ProbabilisticDegradation(num_feat=8),
}
RELEASED = {
    'RealESRGAN_x4plus.pth': 'ClipRRDBNet',
    'BSRGAN.pth': 'ClipRRDBNet',
    'BasicVSR_REDS4-543c8261.pth': 'ClipBasicVSR',
    'RealBasicVSR_x4.pth': 'RealBasicVSR',
    'spynet_sintel_final-3d2a1287.pth': 'ClipBasicVSR',
}


def test_the_papers_numbers_stand_in_the_tables():
    """VQD-SR, tables 1 to 5: MANIQA of every row, in order."""
    values = {
        name: [row.paper['maniqa'] for row in rows if 'maniqa' in row.paper]
        for name, (_, rows) in TABLES.items()
    }
    assert values.pop('supplement4') == []  # pictures alone
    assert values == dict(
        table1=[0.2829, 0.2574, 0.3825, 0.3836, 0.3504, 0.3832, 0.4096],
        table2=[0.3857, 0.3768, 0.3466, 0.3430, 0.3770],
        table3=[0.3825, 0.3967, 0.3504, 0.3849, 0.3832, 0.3857],
        table4=[0.3857, 0.4146, 0.4211, 0.4096],
        table5=[0.3504, 0.3855, 0.3832, 0.4079, 0.3857, 0.4096],
    )


@pytest.mark.parametrize(
    'row', [row for row in ALL if not isinstance(row.stage, Released)], ids=lambda row: row.name
)
def test_every_row_is_a_yaml(row):
    stages = in_order([row.stage])
    for stage in stages:
        if isinstance(stage, Enhanced):
            continue
        assert (REPO / 'options' / stage.paper).is_file() and (REPO / 'options' / stage.tiny).is_file()
        needed = set(re.findall(r'\{(\w+)\}', ' '.join(stage.options)))
        # what comes before is used, and what is used comes before
        assert needed == {other.name for other in stage.after}
        assert all(stages.index(other) < stages.index(stage) for other in stage.needs)


class Training:
    """Stands in for the process of a training: checks what it is given, and writes a small network of the
    right kind.
    """

    def __init__(self, command, pass_fds, stdout, **_):
        self.opt = read_options(REPO / command[command.index('-opt') + 1])
        for option in command[command.index('--force_yml') + 1 :]:
            keys, value = option.split('=', 1)
            *path, last = keys.split(':')
            place = self.opt
            for key in path:
                place = place[key]
            place[last] = _postprocess_yml_value(value)  # as BasicSR reads it
        self.stdout, self.returncode = [f'iter: {self.opt["train"]["total_iter"]}'], 0
        self.look()
        folder = Path('experiments') / self.opt['name'] / 'models'
        folder.mkdir(parents=True)
        network = self.opt['network_g']
        torch.save(dict(params=SMALL[network['type']](network).state_dict()), folder / 'net_g_latest.pth')

    def look(self):
        """Every weights file that the training would load is there and holds what it is for; so is its
        data.
        """
        start, network = self.opt['path'].get('pretrain_network_g'), self.opt['network_g']
        if start:
            assert Path(start).is_file(), start
            if 'released' not in start and 'pretrained_models' not in start:
                loaded = animevsr.load_network(start)
                assert type(loaded).__name__ == network['type'], start
                assert getattr(loaded, 'sr_feedback', None) == (
                    network.get('sr_feedback', False) if network['type'] == 'MSRBVSR' else None
                )
        for dataset in self.opt['datasets'].values():
            for key in ('dataroot_gt', 'dataroot_lq'):
                assert key not in dataset or find(dataset[key]).is_dir(), dataset
            if 'degradation' in dataset:
                DegradationPipeline(dataset['degradation'])  # loads its networks

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def terminate(self):
        pass


@pytest.mark.parametrize(
    'table', [pytest.param(t, marks=pytest.mark.slow if t in ('table1', 'table2') else ()) for t in TABLES]
)
def test_a_dry_run_at_the_papers_scale(table, tmp_path, monkeypatch):
    """Every stage of every row, in order, on stand-ins for the data, with the paper's YAML files."""
    monkeypatch.chdir(tmp_path)
    places = {name: str(tmp_path / 'data' / name) for name in ('gt', 'test', 'ral', 'lq')}
    for place in places.values():
        Path(place).mkdir(parents=True)
    released = tmp_path / 'experiments/pretrained_models'
    released.mkdir(parents=True)
    for file, kind in RELEASED.items():
        torch.save(dict(params=SMALL[kind]({}).state_dict()), released / file)
    enhanced, measured = {}, {}

    def evaluate(methods, **roots):
        measured.update(methods)
        assert roots['lq'] == places['lq']
        for path in methods.values():
            animevsr.archs.loading.load_upscaler(path, clips=True)
        return [SimpleNamespace(name=name, means=lambda: dict(niqe=1.5)) for name in methods]

    def enhance(source, place, model, **_):
        enhanced[model] = source
        place.mkdir()

    monkeypatch.setattr(module.subprocess, 'Popen', Training)
    monkeypatch.setattr(module, 'evaluate', evaluate)
    monkeypatch.setattr(module, 'enhance', enhance)
    monkeypatch.setattr(
        module, 'find_weights', lambda name: find_weights(name) if name not in MODELS else REPO / 'README.md'
    )
    monkeypatch.setattr(module, 'runtime', lambda *a, **k: 7)
    rows = TABLES[table][1]
    text = reproduce(table, 'paper', rows=[row.name for row in rows], device='cpu', **places)
    assert list(measured) == [row.name for row in rows] and all(f'| {row.name} |' in text for row in rows)
    assert all(source == Path(places['gt']) for source in enhanced.values())
    if table == 'table4':
        assert set(enhanced) == {'animesr_v2', 'realesrgan-x4plus-anime', 'realesr-animevideov3'}
    # data that is not there is named before anything runs, all of it at once
    with pytest.raises(MediaError, match='missing, and made by no training before: .*elsewhere'):
        reproduce(table, 'paper', device='cpu', **{**places, 'lq': 'elsewhere'})


def test_one_number_of_the_paper_is_one_training():
    stages = {}
    for row in ALL:
        if row.paper.get('maniqa') in (0.3857,) and 'AnimeSR' not in row.name:
            stages.setdefault(row.paper['maniqa'], set()).add(row.stage.name)
    assert stages and all(
        len(found) == 1 for found in stages.values()
    )  # "VQD-SR (base)", "No Enhancement", "VQD-SR"


def test_stages_are_shared_and_names_are_unique():
    stages = in_order(row.stage for row in ALL)
    assert len({stage.name for stage in stages}) == len(stages)
    # AnimeSR, and what it starts from
    assert len(in_order([TABLES['table3'][1][4].stage, TABLES['table1'][1][5].stage])) == 2


@pytest.mark.slow
def test_a_row_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(REPO))
    monkeypatch.setattr(module, 'METRICS', ('psnr_y',))
    monkeypatch.setattr(held_out, 'list_clips', lambda root: list_clips(root)[:8])  # two are measured
    text = reproduce('table3', rows=['AnimeSR, VQ'], iterations=1, device='cpu')
    found = re.search(r'\| AnimeSR, VQ \| 1.5 \| 0.3857 \| 1.50 \| (\d+\.\d+) \|', text)
    assert found and 15 < float(found[1]) < 40 and 'not which method is better' in text
    assert (tmp_path / 'experiments/reproduce_tiny/table3.md').read_text() == text
    log = (tmp_path / 'experiments/reproduce_tiny/animesr_vq.log').read_text()
    assert (
        'Loading MSRBVSR from experiments/reproduce_tiny_animesr_net/models/net_g_latest.pth' in log
        and 'l_g_gan' in log
    )
    # the second time nothing is trained, and a training of another length is not taken for this one
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('experiments/*/models/*.pth')}
    # the network and the VQGAN that it needs, in two stages; where there is an adversarial loss, the
    # discriminator too
    assert {f'{path.parts[-3].removeprefix("reproduce_tiny_")}/{path.name[:5]}' for path in before} == {
        'animesr_net/net_g',
        'animesr_vq/net_g',
        'animesr_vq/net_d',
        'vqgan_top/net_g',
        'vqgan_full/net_g',
        'vqgan_full/net_d',
    }
    assert len(before) == 6 and reproduce('table3', rows=['AnimeSR, VQ'], iterations=1, device='cpu') == text
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob('experiments/*/models/*.pth')} == before
    with pytest.raises(MediaError, match='trained with other options; move it'):
        reproduce('table3', rows=['AnimeSR, VQ'], iterations=2, device='cpu')


@pytest.mark.slow
def test_a_training_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(REPO))
    broken = Stage('broken', 'vqd_sr/net.yml', 'tiny/net.yml', ('datasets:train:num_frame=0',))
    monkeypatch.setitem(TABLES, 'table3', ('', (Row('x', dict(maniqa=0), broken),)))
    with pytest.raises(MediaError, match='broken: ValueError: num_frame must be.*broken.log'):
        reproduce('table3', device='cpu')
    with pytest.raises(ValueError, match='table3 has no row y; its rows: x'):
        reproduce('table3', rows=['y'])
    with pytest.raises(ValueError, match='table1, table2'):
        reproduce('table9')


@pytest.mark.slow
def test_its_training_ends_with_it(tmp_path):
    """Else the next call would train beside it, in the same folder."""
    command = ['reproduce', 'table4', '--rows', 'No Enhancement', '--iterations', '3000']
    run = subprocess.Popen(
        [sys.executable, '-m', 'animevsr_cli', *command],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(REPO)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = tmp_path / 'experiments/reproduce_tiny/net.log'
    for _ in range(900):
        if log.exists() and 'epoch:' in log.read_text():
            break
        time.sleep(0.1)
    run.terminate()
    assert run.wait(60) == 143
    with pytest.raises(ProcessLookupError):  # nobody is left of its group
        for _ in range(150):
            os.killpg(run.pid, 0)
            time.sleep(0.1)
