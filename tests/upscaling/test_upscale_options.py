"""The record of all options, and the flags of the command line."""

import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

import animevsr
from animevsr.upscaling.options import GROUPS, UpscaleOptions
from animevsr.video.images import write_image
from animevsr.video.reader import open_reader
from animevsr_cli.config import settings_of
from animevsr_cli.console import parser


def test_flags_are_the_fields():
    """A new option is a field and a flag: neither is without the other, and their defaults agree."""
    flags = settings_of(parser().parse_args(['upscale', 'in.mkv', '-o', 'out.mkv']))
    options = UpscaleOptions.of()
    values = dict(vars(options))
    for group in GROUPS:
        values.update(vars(values.pop(group)))
    assert flags == values


def test_what_the_pixels_depend_on():
    changed = dict(
        outscale=2,
        height=64,
        width=64,
        fit='64x64',
        fps=25,
        square_pixels=True,
        strength=0.5,
        steady=False,
        grain=2.0,
        start='3',
        end='200f',
        crop='2:2:0:0',
        deinterlace='off',
        cuts=False,
        codec='ffv1',
        crf=3,
        depth=10,
        chroma='444',
        hardware=True,
        preset='slow',
        tune='animation',
        encoder_options=['g=12'],
        device='cpu',
        backend='torch',
        fast=True,
        half=True,
        bf16=True,
        compiled=True,
        reuse=True,
        tile=64,
        threads=3,
    )
    names = {f.name for kind in (UpscaleOptions, *GROUPS.values()) for f in fields(kind)}
    assert set(changed) == names - {*GROUPS, 'weights', 'audio', 'jobs', 'cluster', 'part'}
    plain = UpscaleOptions.of().pixels()
    for name, value in changed.items():
        assert UpscaleOptions.of(**{name: value}).pixels() != plain, name
    assert UpscaleOptions.of(jobs=3, cluster='auto', part=(1, 2), audio='none').pixels() == plain


@pytest.mark.parametrize(
    'device, gpu', [('auto', True), ('cpu', False), ('tensorrt', True), ('OpenVINO-GPU', True)]
)
def test_devices_that_may_be_gpus(device, gpu):
    """On a Ray cluster a task asks for one then, also where a runtime and not PyTorch computes."""
    assert UpscaleOptions.of(device=device).compute.may_use_gpu == gpu


def test_unknown_options_are_refused(six_shots, tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'cfr'"):
        animevsr.upscale(six_shots, tmp_path / 'o.mkv', cfr=3)


def test_numbers_of_numpy_and_of_files_become_pythons():
    options = UpscaleOptions.of(half=np.False_, height=np.int64(64), jobs=2.0, threads=2.0, reuse=1)
    assert json.loads(json.dumps(options.pixels()))['height'] == 64
    values = options.compute.half, options.compute.reuse, options.jobs, options.compute.threads
    assert repr(values) == '(False, True, 2, 2)'


def test_images_of_sixteen_bits_stay_so(identity, tmp_path):
    """One, a folder of them, and one with transparency, which is laid over black; a video of them has 10."""
    ramp = np.linspace(3000, 62000, 64)[None, :, None] + np.arange(48)[:, None, None] + np.zeros(3)
    frames = np.stack([ramp, ramp + 300, ramp + 600]).astype(np.uint16)
    (tmp_path / 'in').mkdir()
    for i, frame in enumerate(frames):
        write_image(tmp_path / f'in/{i}.png', frame)
    alpha = np.full((48, 64, 1), 32768, np.uint16)
    cv2.imwrite(str(tmp_path / 'rgba.png'), np.concatenate([frames[0, ..., ::-1], alpha], -1))

    def shrunk(image):
        assert image.dtype == np.uint16
        return cv2.resize(image.astype(np.float32), (64, 48), interpolation=cv2.INTER_AREA)

    options = dict(weights=identity, backend='torch', steady=False)
    animevsr.upscale(tmp_path / 'in/0.png', tmp_path / 'one.png', **options)
    animevsr.upscale(tmp_path / 'in', tmp_path / 'many', **options)
    animevsr.upscale(tmp_path / 'rgba.png', tmp_path / 'rgb.png', **options)
    inner = np.s_[4:-4, 4:-4]
    for file, expected in (
        ('one.png', frames[0]),
        *((f'many/{i:08d}.png', frame) for i, frame in enumerate(frames)),
        ('rgb.png', frames[0] * (32768 / 65535)),
    ):
        image = cv2.imread(str(tmp_path / file), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert np.abs(shrunk(image) - expected)[inner].max() < 20, file  # of 65535
    animevsr.upscale(tmp_path / 'in', tmp_path / 'ten.mkv', **options)
    with open_reader(tmp_path / 'ten.mkv', deep=True) as reader:
        assert reader.info.pixel_format == 'yuv420p10le'
        assert np.abs(shrunk(next(reader.frames())[0]) - frames[0])[inner].mean() < 200
    with open_reader(tmp_path / 'in') as reader:  # for all others
        assert next(reader.frames())[0].dtype == np.uint8


def test_what_means_nothing_for_images_is_said(identity, tmp_path):
    write_image(tmp_path / 'in.png', np.zeros((16, 16, 3), np.uint8))
    given = dict(crf=12, codec='h265', reuse=True, start='3', jobs=2)
    with pytest.warns(UserWarning, match='since images are made: codec, crf, start, reuse, jobs'):
        animevsr.upscale(tmp_path / 'in.png', tmp_path / 'out.png', identity, backend='torch', **given)
    options = UpscaleOptions.of(**given)
    assert options.idle(Path('frames')) == ['codec', 'crf'] and options.idle(Path('out.mkv')) == []
    assert UpscaleOptions.of(audio='none', grain=2, outscale=2).idle(Path('out.png')) == []
