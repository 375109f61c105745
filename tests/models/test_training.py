"""Training under BasicSR's runner: as a user starts it, resumed, on two processes, and from a foreign
project.
"""

import math
import os
import re
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import basicsr.train
import pytest
import torch
import yaml
from conftest import REPO, TINY_CLIPS, run_python

from animevsr.compat import _load_resume_state
from animevsr.data.sampling import resumable_loaders
from animevsr.models.base_model import BaseSRModel
from animevsr.utils.overlays import read_options


def options(tmp_path, name='run', **changes):
    """options/tiny/net.yml on the bundled clips, smaller still; changes as {'train.total_iter': 4}."""
    opt = read_options(REPO / 'options/tiny/net.yml')
    opt['name'] = name
    defaults = {
        'datasets.train.dataroot_gt': str(TINY_CLIPS),
        'datasets.val.dataroot_gt': str(TINY_CLIPS),
        'datasets.train.num_frame': 2,
        'datasets.train.gt_size': 64,
        'datasets.train.dataset_enlarge_ratio': 2,
        'datasets.train.num_worker_per_gpu': 0,
        'datasets.val.num_frame': 1,
        'network_g.num_feat': 8,
        'network_g.num_block': [1, 1, 1],
        'train.total_iter': 6,
        'val.val_freq': 100,
        'val.save_img': False,
        'logger.print_freq': 1,
        'logger.save_checkpoint_freq': 100,
        'logger.use_tb_logger': False,
    }
    for path, value in {**defaults, **changes}.items():
        *parents, key = path.split('.')
        place = opt
        for parent in parents:
            place = place[parent]
        place[key] = value
    path = tmp_path / f'{name}.yml'
    path.write_text(yaml.safe_dump(opt))
    return path


def losses(output):
    """{iteration: loss as it was logged}."""
    return {int(i): loss for i, loss in re.findall(r'iter:\s*(\d+).*?l_pix: (\S+)', output)}


def test_trains_validates_and_saves(tmp_path):
    path = options(
        tmp_path,
        **{'val.val_freq': 3, 'val.save_img': True, 'logger.use_tb_logger': True, 'train.total_iter': 3},
    )
    out = run_python('-m', 'animevsr.train', '-opt', path, cwd=tmp_path).stderr
    assert sorted(losses(out)) == [1, 2, 3]
    for metric in ('psnr', 'ssim', 'psnr_device', 'ssim_device'):
        assert re.search(rf'# {metric}: \d', out)
    # the two implementations saw the same 8-bit frames
    for metric, tolerance in (('psnr', 0.02), ('ssim', 0.002)):
        pair = [float(re.search(rf'# {name}: ([\d.]+)', out)[1]) for name in (metric, f'{metric}_device')]
        assert pair[0] == pytest.approx(pair[1], abs=tolerance)
    run = tmp_path / 'experiments/run'
    assert len(list(run.glob('visualization/tiny_val/*/00000000_3.png'))) == 3
    saved = torch.load(run / 'models/net_g_latest.pth', weights_only=True)
    assert set(saved) == {'params', 'params_ema'}
    assert list((tmp_path / 'tb_logger/run').glob('events*'))
    assert not (REPO / 'experiments/run').exists()

    test = read_options(REPO / 'options/vqd_sr/test.yml')
    test['datasets']['test'] = dict(
        name='t', type='ClipPairDataset', dataroot_gt=str(TINY_CLIPS), num_frame=1, degradation=[{'down': 4}]
    )
    test['network_g'] = dict(type='MSRBVSR', num_feat=8, num_block=[1, 1, 1])
    test['path']['pretrain_network_g'] = str(run / 'models/net_g_latest.pth')
    (tmp_path / 'test.yml').write_text(yaml.safe_dump(test))
    out = run_python('-m', 'animevsr.test', '-opt', 'test.yml', cwd=tmp_path).stderr
    assert re.search(r'# psnr: \d', out)
    assert len(list((tmp_path / 'results/vqd_sr_test/visualization/t').glob('*/*.png'))) == 3

    # low-quality clips alone: frames, no metrics
    test['name'], test['datasets']['test'] = (
        'lq',
        dict(name='t', type='ClipPairDataset', dataroot_lq=str(TINY_CLIPS), num_frame=1),
    )
    test['val']['metrics'].update(
        width=dict(type='calculate_line_width_pt', better='lower'),
        flicker=dict(type='calculate_flicker_clip'),
    )
    test['datasets']['test']['num_frame'] = 2
    (tmp_path / 'lq.yml').write_text(yaml.safe_dump(test))
    out = run_python('-m', 'animevsr.test', '-opt', 'lq.yml', cwd=tmp_path).stderr
    assert re.search(r'# width: \d', out) and re.search(r'# flicker: \d', out)
    assert '# psnr' not in out and len(list((tmp_path / 'results/lq/visualization/t').glob('*/*.png'))) == 6


@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])
def test_resumed_run_continues_exactly(workers, tmp_path):
    """Stopped in the middle of the second epoch (three iterations each) and resumed: the same losses and
    weights.
    """
    changes = {
        'logger.save_checkpoint_freq': 5,
        'train.total_iter': 8,
        'datasets.train.num_worker_per_gpu': workers,
        'train.scheduler.milestones': [6],
    }

    def train(name, *arguments, **more):
        path = options(tmp_path, name, **{**changes, **more})
        return run_python(
            '-m', 'animevsr.train', '-opt', path, *arguments, cwd=tmp_path, CUDA_VISIBLE_DEVICES=''
        )

    whole = losses(train('whole').stderr)
    train('halves', **{'train.total_iter': 5})
    for name in ('7.state', '.9.partial.state'):  # a kill while it was written leaves the second
        (tmp_path / f'experiments/halves/training_states/{name}').write_bytes(b'half-written')
    resumed = train('halves', '--auto_resume')
    assert 'Passing over' in resumed.stdout and '7.state' in resumed.stdout
    second = losses(resumed.stderr)
    assert sorted(second) == [6, 7, 8] and second == {i: whole[i] for i in (6, 7, 8)}
    nets = [weights_of(tmp_path, name) for name in ('whole', 'halves')]
    for key in ('params', 'params_ema'):
        assert all(torch.equal(nets[0][key][k], nets[1][key][k]) for k in nets[0][key])


@pytest.mark.slow
def test_two_processes_train_on_a_cpu(tmp_path):
    """Two processes with a batch of two see what one sees with a batch of four, and come to the same
    weights.
    """
    changes = {
        'train.total_iter': 3,
        'datasets.train.dataset_enlarge_ratio': 8,
        'datasets.train.num_worker_per_gpu': 1,
    }
    done = run_python(
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node',
        2,
        '-m',
        'animevsr.train',
        '-opt',
        options(tmp_path, 'two', **changes),
        '--launcher',
        'pytorch',
        cwd=tmp_path,
        CUDA_VISIBLE_DEVICES='',
    )
    out = done.stdout + done.stderr
    assert 'world_size: 2' in out and sorted(losses(out)) == [1, 2, 3]
    assert re.search(r'# psnr: \d', out)
    path = options(tmp_path, 'one', **changes, **{'datasets.train.batch_size_per_gpu': 4})
    alone = run_python('-m', 'animevsr.train', '-opt', path, cwd=tmp_path, CUDA_VISIBLE_DEVICES='').stderr
    # validation divides the clips among the processes, and comes to the same mean
    for metric in ('psnr', 'ssim', 'psnr_device', 'ssim_device'):
        values = [float(re.findall(rf'# {metric}: ([\d.]+)', text)[-1]) for text in (out, alone)]
        assert values[0] == pytest.approx(values[1], abs=2e-3)
    two, one = (weights_of(tmp_path, name)['params'] for name in ('two', 'one'))
    assert all(torch.allclose(two[k], one[k], atol=1e-5) for k in one)


@pytest.mark.slow
def test_a_resume_may_change_the_number_of_processes(tmp_path):
    """Two processes begin, one with the batch of both goes on, and sees what it would have seen alone."""
    changes = {'datasets.train.dataset_enlarge_ratio': 16, 'logger.save_checkpoint_freq': 3}
    four = {'datasets.train.batch_size_per_gpu': 4}
    command = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', 2, '-m', 'animevsr.train']
    first = options(tmp_path, 'changed', **changes, **{'train.total_iter': 3})
    run_python(*command, '-opt', first, '--launcher', 'pytorch', cwd=tmp_path, CUDA_VISIBLE_DEVICES='')
    rest = options(tmp_path, 'changed', **changes, **four)
    resumed = run_python('-m', 'animevsr.train', '-opt', rest, '--auto_resume', cwd=tmp_path)
    alone = run_python(
        '-m', 'animevsr.train', '-opt', options(tmp_path, 'one', **changes, **four), cwd=tmp_path
    )
    assert sorted(losses(resumed.stderr)) == [4, 5, 6]
    one, changed = losses(alone.stderr), losses(resumed.stderr)
    for i, loss in changed.items():
        assert float(loss) == pytest.approx(float(one[i]), rel=1e-4)
    one, changed = (weights_of(tmp_path, name)['params'] for name in ('one', 'changed'))
    assert all(torch.allclose(changed[k], one[k], atol=1e-5) for k in one)


@pytest.mark.slow
def test_processes_whose_weights_differ_save_nothing(tmp_path):
    """What the tests of several processes rely on: a parameter that is another one on the second process is
    found.
    """
    (tmp_path / 'run.py').write_text("""
import sys, torch
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.train import run, train_pipeline
step = RecurrentVSRModel.optimize_parameters
def drift(self, current_iter):
    step(self, current_iter)
    if current_iter == 2 and torch.distributed.get_rank() == 1:
        next(self.net_g.parameters()).data.add_(1e-6)
RecurrentVSRModel.optimize_parameters = drift
run(train_pipeline)
""")
    path = options(
        tmp_path,
        'apart',
        **{
            'train.total_iter': 4,
            'datasets.train.dataset_enlarge_ratio': 8,
            'logger.save_checkpoint_freq': 1,
        },
    )
    done = run_python(
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node',
        2,
        'run.py',
        '-opt',
        path,
        '--launcher',
        'pytorch',
        cwd=tmp_path,
        check=False,
        CUDA_VISIBLE_DEVICES='',
    )
    assert done.returncode and 'is another one on each process at iteration 2' in done.stdout + done.stderr
    assert [p.name for p in (tmp_path / 'experiments/apart/models').glob('*.pth')] == ['net_g_1.pth']


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others_in_one_line(tmp_path):
    """Two processes as SLURM starts them; the second is killed, the first says so and leaves a checkpoint."""
    (tmp_path / 'run.py').write_text("""
import os, signal, torch
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.train import run, train_pipeline
step = RecurrentVSRModel.optimize_parameters
def die(self, current_iter):
    step(self, current_iter)
    if current_iter == 3 and torch.distributed.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
RecurrentVSRModel.optimize_parameters = die
run(train_pipeline)
""")
    path = options(
        tmp_path,
        'killed',
        **{
            'train.total_iter': 400,
            'datasets.train.dataset_enlarge_ratio': 400,
            'logger.save_checkpoint_freq': 2,
        },
    )
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, 'run.py', '-opt', path, '--launcher', 'pytorch'],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2', RANK=str(rank))
            | dict(LOCAL_RANK=str(rank), CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1'),
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=180)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, -signal.SIGKILL]
    assert said[0].splitlines()[-1] == (
        'Another process of this training has ended; its own message says why. Run the same command with'
        ' --auto_resume to go on from the last checkpoint.'
    )
    assert 'Traceback' not in said[0]
    assert (tmp_path / 'experiments/killed/models/net_g_2.pth').is_file()


def weights_of(folder, name):
    return torch.load(folder / f'experiments/{name}/models/net_g_latest.pth', weights_only=True)


@pytest.mark.slow
def test_foreign_project(tmp_path):
    """Another BasicSR project: its own network, its own start script, our dataset and model in its YAML."""
    path = options(tmp_path, **{'train.total_iter': 2, 'network_g': dict(type='PlainUpscaler', num_feat=8)})
    out = run_python(REPO / 'examples/foreign_project.py', '-opt', path, cwd=tmp_path).stderr
    assert 'Network: PlainUpscaler' in out and sorted(losses(out)) == [1, 2]


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'datasets.train.dataroot_gt': 'nowhere'}, 'nowhere: no such folder'),
        ({'datasets.train.gt_size': 256}, 'smaller than the crop of 256'),
        (
            {'datasets.train.gt_size': 256, 'datasets.train.num_worker_per_gpu': 1},
            'smaller than the crop of 256',
        ),
        ({'datasets.train.croop': 256}, "unknown key 'croop'"),
        ({'train.gt_usmm': {}}, "unknown key 'gt_usmm' in train; did you mean 'gt_usm'"),
        ({'network_g.num_feats': 8}, "unknown key 'num_feats' in network_g of "),
        ({'path.pretrain_network_G': 'x.pth'}, "in path; did you mean 'pretrain_network_g'"),
        ({'val.metrics.psnr.type': 'calculate_psnrr'}, "did you mean 'calculate_psnr'"),
        ({'val.metrics.psnr': dict(type='calculate_psnr', crop_bordr=0)}, "argument: 'crop_border'"),
        ({'val': dict(val_freq=3)}, "'val: save_img' is missing"),
        ({'val': dict(val_frq=3)}, "unknown key 'val_frq' in val; did you mean 'val_freq'"),
        ({'datasets.train.gt_size': 'big'}, "gt_size must be a whole number >= 1, got 'big'"),
        ({'datasets.train.interval': 1}, 'interval must be a list of whole numbers >= 1, got 1'),
        ({'datasets.train.degradation': [{'noise': {'sigma': ['a', 3]}}]}, "must be a number, got 'a'"),
        ({'datasets.train.degradation': ['ffmpeg']}, 'degradation: ffmpeg: missing a required argument'),
        ({'datasets.train.use_shuffle': False}, 'training data are always shuffled'),
        ({'datasets.val.degradation': [{'down': 2}]}, 'but scale is 4'),
        ({'datasets.train.batch_size_per_gpu': 50}, 'less than one batch of 50'),
        ({'path.pretrain_network_g': 'gone.pth'}, 'gone.pth: no such weights file'),
        (
            {'train.scheduler': dict(type='CosineAnnealingRestartLR', periods=[9], restart_weights=[1, 1])},
            'AssertionError: periods and restart_weights',
        ),
    ],
)
def test_bad_options_are_one_line(changes, message, tmp_path):
    done = run_python('-m', 'animevsr.train', '-opt', options(tmp_path, **changes), cwd=tmp_path, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert message in last and 'Traceback' not in done.stderr


def test_a_resume_may_make_epochs_longer(monkeypatch):
    """Upstream counts all epochs as long as they are now, and would end at once."""
    sampler, loader = SimpleNamespace(), type('Loader', (list,), dict(batch_size=2))(range(24))
    state = dict(epoch=3, iter=12)
    monkeypatch.setattr(basicsr.train, 'load_resume_state', lambda opt: state)
    monkeypatch.setattr(
        basicsr.train, 'create_train_val_dataloader', lambda *_: (loader, sampler, [], math.ceil(40 / 24), 40)
    )
    with resumable_loaders():
        basicsr.train.load_resume_state({})
        *_, epochs, total = basicsr.train.create_train_val_dataloader(dict(datasets=dict(train={})), None)
    iterations = sum(len(loader) for epoch in range(state['epoch'], epochs + 1))
    assert total == 40 and state['iter'] + iterations >= 40


@pytest.mark.parametrize('numbers', [[5, 5], [5, None]])
def test_processes_that_see_other_folders_do_not_wait_for_one_another(numbers, monkeypatch, tmp_path):
    group = torch.distributed
    monkeypatch.setattr(group, 'is_initialized', lambda: True)
    monkeypatch.setattr(group, 'get_world_size', lambda: 2)
    monkeypatch.setattr(group, 'all_gather_object', lambda found, mine: found.__setitem__(slice(2), numbers))
    (tmp_path / 'states').mkdir()
    torch.save(dict(iter=5, epoch=0), tmp_path / 'states/5.state')
    paths = dict(experiments_root='experiments/run', models='m', training_states=str(tmp_path / 'states'))
    opt = dict(auto_resume=True, path=paths, network_g={})
    if len(set(numbers)) == 1:
        assert _load_resume_state(opt)['iter'] == 5
    else:
        with pytest.raises(
            ValueError, match=r'iterations \(5, none\); all must see the folder experiments/run'
        ):
            _load_resume_state(opt)


def test_damaged_states_never_restart_a_run(tmp_path):
    states = tmp_path / 'experiments/run/training_states'
    states.mkdir(parents=True)
    (states / '5.state').write_bytes(b'damaged')
    done = run_python(
        '-m', 'animevsr.train', '-opt', options(tmp_path), '--auto_resume', cwd=tmp_path, check=False
    )
    assert done.returncode != 0 and 'none of the training states can be read' in done.stderr
    assert (states / '5.state').exists()


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    """BasicSR would leave a part of it, and go on."""
    model = SimpleNamespace(
        opt=dict(path=dict(models=str(tmp_path), training_states=str(tmp_path))),
        optimizers=[],
        schedulers=[],
        seed=0,
        get_bare_model=lambda net: net,
    )
    net, save = torch.nn.Linear(2, 2), torch.save
    BaseSRModel.save_network(model, [net, net], 'net_g', -1, ['params', 'params_ema'])
    saved = torch.load(tmp_path / 'net_g_latest.pth')
    assert set(saved) == {'params', 'params_ema'} and torch.equal(saved['params']['weight'], net.weight)

    def full(state, path):
        save(state, path)
        raise RuntimeError('No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    for write in (
        lambda: BaseSRModel.save_network(model, net, 'net_g', 5),
        lambda: BaseSRModel.save_training_state(model, 0, 5),
    ):
        with pytest.raises(RuntimeError, match='No space left'):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ['net_g_latest.pth']


def test_small_datasets_train_to_the_end(tmp_path):
    """Three clips in batches of two: one batch an epoch, and all iterations."""
    path = options(
        tmp_path, **{'train.total_iter': 7, 'datasets.train.dataset_enlarge_ratio': 1, 'logger.print_freq': 7}
    )
    assert sorted(losses(run_python('-m', 'animevsr.train', '-opt', path, cwd=tmp_path).stderr)) == [7]


def test_usm_sharpens_the_training_target_only():
    from basicsr.utils.img_process_util import usm_sharp

    from animevsr.models.recurrent_vsr_model import RecurrentVSRModel

    opt = read_options(REPO / 'options/tiny/net.yml')
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1)
    model = RecurrentVSRModel(opt)
    gt = torch.zeros(1, 2, 3, 80, 80)
    gt[..., 40:] = 0.8
    model.feed_data(dict(lq=gt[..., ::4, ::4], gt=gt))
    ours = model.gt[0, 0].permute(1, 2, 0).numpy()
    expected = usm_sharp(gt[0, 0].permute(1, 2, 0).numpy(), weight=0.3, radius=50)  # BasicSR's OpenCV version
    assert abs(ours - expected).max() < 0.01 and abs(ours - gt[0, 0].permute(1, 2, 0).numpy()).max() > 0.05
