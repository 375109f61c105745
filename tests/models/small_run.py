"""A small run of training, as several tests make it: its options, and what came of it."""

import re

import torch
import yaml
from conftest import REPO, TINY_CLIPS

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


def weights_of(folder, name):
    return torch.load(folder / f'experiments/{name}/models/net_g_latest.pth', weights_only=True)
