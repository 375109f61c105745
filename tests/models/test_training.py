"""Training under BasicSR's runner: as a user starts it, on two processes, and from a foreign
project.
"""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import REPO, TINY_CLIPS, run_python
from small_run import losses, options, weights_of

from animevsr.utils.overlays import read_options


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
