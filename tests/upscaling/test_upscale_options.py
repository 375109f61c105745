"""The record of all options, and the flags of the command line."""

import json
from dataclasses import fields

import numpy as np
import pytest

import animevsr
from animevsr.upscaling.options import GROUPS, UpscaleOptions
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
