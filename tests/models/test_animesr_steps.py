"""AnimeSR's five steps, each from the result of the one before, as the tiny YAML files of
options/tiny/animesr run them.
"""

import re

import pytest
import torch
from conftest import REPO, run_python

import animevsr
from animevsr.archs.lbo_arch import LearnableBasicOperator
from animevsr.utils.overlays import read_options


def train(name, cwd, *options, iterations=4):
    arguments = [
        '-m',
        'animevsr.train',
        '-opt',
        f'options/tiny/animesr/{name}.yml',
        '--force_yml',
        f'train:total_iter={iterations}',
        'logger:print_freq=1',
        'logger:use_tb_logger=false',
        *options,
    ]
    return run_python(*arguments, cwd=cwd, CUDA_VISIBLE_DEVICES='').stderr


def weights(name, cwd, key='params'):
    return torch.load(cwd / f'experiments/tiny_animesr_{name}/models/net_g_latest.pth', weights_only=True)[
        key
    ]


@pytest.mark.slow
def test_five_steps(tmp_path):
    (tmp_path / 'assets').symlink_to(REPO / 'assets')
    short = ('datasets:train:num_frame=3', 'datasets:val:num_frame=1', 'val:save_img=false')
    out = train('step1_net', tmp_path, *short)
    assert len(re.findall('l_pix', out)) == 4 and 'l_g_gan' not in out

    out = train('step1_gan', tmp_path, *short)
    assert (
        'Loading MSRBVSR from experiments/tiny_animesr_step1_net/models/net_g_latest.pth (params preferred)'
        in out
    )
    for key in ('l_g_pix', 'l_g_gan', 'l_d_real', 'l_d_fake', 'out_d_real', 'out_d_fake'):
        assert len(re.findall(f'{key}: ', out)) == 4, key
    assert re.search(r'# psnr: \d', out)
    assert (tmp_path / 'experiments/tiny_animesr_step1_gan/models/net_d_latest.pth').exists()

    done = run_python(
        '-m',
        'animevsr_cli',
        'rescale',
        'assets/demo/cartoon.avi',
        '-o',
        'experiments/tiny_animesr_pairs',
        '-n',
        'experiments/tiny_animesr_step1_gan/models/net_g_latest.pth',
        '--factor',
        '0.5',
        '--max-frames',
        '4',
        cwd=tmp_path,
    )
    assert '4 pairs' in done.stdout

    out = train('step2_lbo_net', tmp_path, iterations=20)
    losses = [float(loss) for loss in re.findall(r'l_pix: (\S+)', out)]
    assert len(losses) == 20 and min(losses[-3:]) < 0.7 * losses[0]
    out = train('step2_lbo_gan', tmp_path)
    assert (
        'Loading LearnableBasicOperator from experiments/tiny_animesr_step2_lbo_net' in out
        and len(re.findall('l_d_fake', out)) == 4
    )
    learned = animevsr.load_network(
        tmp_path / 'experiments/tiny_animesr_step2_lbo_gan/models/net_g_latest.pth'
    )
    assert isinstance(learned, LearnableBasicOperator)

    out = train('step3_gan', tmp_path, *short)
    assert (
        'Loading MSRBVSR from experiments/tiny_animesr_step1_net' in out
        and len(re.findall('l_g_gan', out)) == 4
    )
    start, end = weights('step1_net', tmp_path), weights('step3_gan', tmp_path)
    changes = [(end[key] - start[key]).abs().max().item() for key in start]
    assert all(0 < change < 0.1 for change in changes)  # begun there, and trained
    assert animevsr.load_network(
        tmp_path / 'experiments/tiny_animesr_step3_gan/models/net_g_latest.pth'
    ).sr_feedback


@pytest.mark.slow
def test_two_processes_train_adversarially(tmp_path):
    (tmp_path / 'assets').symlink_to(REPO / 'assets')
    options = [
        'path:pretrain_network_g=~',
        'train:total_iter=3',
        'logger:print_freq=1',
        'logger:use_tb_logger=false',
        'val:save_img=false',
        'datasets:train:num_frame=2',
        'datasets:val:num_frame=1',
        'network_g:num_feat=8',
    ]
    done = run_python(
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node',
        2,
        '-m',
        'animevsr.train',
        '-opt',
        'options/tiny/animesr/step1_gan.yml',
        '--launcher',
        'pytorch',
        '--force_yml',
        *options,
        cwd=tmp_path,
        CUDA_VISIBLE_DEVICES='',
    )
    out = done.stdout + done.stderr
    assert 'world_size: 2' in out and len(re.findall('l_d_fake', out)) == 3 and re.search(r'# psnr: \d', out)


@pytest.mark.parametrize('name', ['step1_net', 'step1_gan', 'step2_lbo_net', 'step2_lbo_gan', 'step3_gan'])
def test_the_tiny_file_trains_the_same(name):
    """The papers' values of the large one are in paper_values.py."""
    opt, tiny = (
        read_options(REPO / f'options/{folder}/{name}.yml') for folder in ('animesr', 'tiny/animesr')
    )
    assert tiny['model_type'] == opt['model_type'] and tiny['network_g']['type'] == opt['network_g']['type']
    assert tiny['network_g'].get('sr_feedback') == opt['network_g'].get('sr_feedback')
    assert ('gt_usm' in opt['train']) == (name == 'step1_net')
