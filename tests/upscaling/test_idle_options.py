"""Options that cannot be are refused, those that mean nothing are said."""

import numpy as np
import pytest
import torch
from conftest import moving_frames, write_clip, write_video

import animevsr
from animevsr.archs.backbones_arch import ClipBasicVSR
from animevsr.upscaling import executors
from animevsr.upscaling.job import Job
from animevsr.upscaling.options import UpscaleOptions


def test_networks_over_whole_clips(tmp_path):
    torch.save(dict(params=ClipBasicVSR(8, 2).state_dict()), tmp_path / 'clip.pth')
    source = write_video(tmp_path / 'in.mkv', moving_frames(2, 64, 64))
    for options, names in (
        (dict(reuse=True, tile=64), 'reuse, tile'),
        (dict(backend='mnn'), 'backend'),
        (dict(bf16=True), 'bf16'),
    ):
        with pytest.raises(ValueError, match=f'{names}: not with a ClipBasicVSR, which sees whole clips'):
            animevsr.upscale(source, tmp_path / 'out.mkv', tmp_path / 'clip.pth', **options)
    with pytest.warns(UserWarning, match='fast is left out: a ClipBasicVSR sees whole clips'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tmp_path / 'clip.pth', fast=True)


def test_of_an_image(tiny_weights, tmp_path):
    image = next(write_clip(tmp_path / 'in', moving_frames(1, 32, 32)).iterdir())
    with pytest.warns(UserWarning) as said:
        options = dict(part=(1, 2), cluster='auto', half=True, backend='torch', device='cpu')
        animevsr.upscale(image, tmp_path / 'out.png', tiny_weights, **options)
    text = ' '.join(str(w.message) for w in said)
    assert 'left out, since images are made: part, cluster' in text and 'half is left out' in text
    with pytest.raises(ValueError, match='half and bf16 are two formats'):
        UpscaleOptions.of(half=True, bf16=True)


def test_a_tile_for_a_network_that_pools_over_the_picture(tmp_path):
    layers = [
        'Input in0 0 1 in0',
        'Split two 1 2 in0 1 2',
        'Pooling all 1 1 2 3 0=1 4=1',
        'BinaryOp by 2 1 1 3 4 0=2',
        'Interp up 1 1 4 out0 0=1 1=2.0 2=2.0',
    ]
    (tmp_path / 'm.param').write_text('7767517\n5 6\n' + '\n'.join(layers) + '\n')
    (tmp_path / 'm.bin').write_bytes(b'')
    source = write_video(tmp_path / 'in.mkv', moving_frames(2, 64, 96))
    with pytest.raises(ValueError, match='tile: this network looks at the whole picture'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tmp_path / 'm.param', tile=64)


def test_a_worker_of_ray_opens_anew_what_was_changed_in_place(monkeypatch):
    class Plan:
        tile = backend_id = ticks = None

        def __init__(self, fingerprint):
            self.fingerprint = fingerprint

    class Worker:
        def __init__(self, job, plan, upscaler):
            self.plan = plan

        def compute(self, shot, _):
            computed.append(self.plan.fingerprint)

        def close(self):
            pass

    computed = []
    monkeypatch.setattr(executors, 'ShotWorker', Worker)
    monkeypatch.setattr(executors, '_opened', {})
    monkeypatch.setattr(Job, 'open_same_upscaler', lambda *_: None)
    job = Job('in.mkv', 'out.mkv', UpscaleOptions())
    for plan in map(Plan, ('old', 'old', 'new')):
        executors._run_on_node((job, plan), 0)
    assert computed == ['old', 'old', 'new']


def test_images_that_are_too_large_are_one_line(tmp_path, monkeypatch):
    from PIL import Image

    from animevsr.video import images

    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    path = next(write_clip(tmp_path / 'in', [np.zeros((40, 40, 3), np.uint8)]).iterdir())
    assert images.images_in(path) == 1 and not images.has_alpha(path)
    with pytest.raises(animevsr.errors.MediaError, match='too many pixels'):
        images.image_size(path)
