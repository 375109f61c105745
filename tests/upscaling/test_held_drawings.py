"""`upscale` and `evaluate` average held drawings, unless grain is kept or they are told not to."""

import cv2
import numpy as np
import pytest
from conftest import decode, make_identity, write_clip, write_video
from small_networks import flicker

import animevsr
from animevsr.upscaling.options import UpscaleOptions

LOSSLESS = dict(codec='ffv1', backend='torch', device='cpu', outscale=1)


def noisy_drawing(count=6, size=(96, 64)):
    """One held drawing under noise, (t, h, w, 3) uint8."""
    rng = np.random.default_rng(0)
    image = np.full((*size[::-1], 3), 180, np.uint8)
    cv2.circle(image, (48, 32), 20, (60, 90, 200), -1, cv2.LINE_AA)
    noise = rng.normal(0, 2, (count, *image.shape))
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    'given, averages',
    [
        ({}, True),
        (dict(strength=1), True),
        (dict(strength=0.8), False),
        (dict(strength=0.8, steady=True), True),
        (dict(steady=False), False),
        (dict(weights='animevsr_x4_faithful'), False),
        (dict(weights='here/animevsr_x4_faithful.pth'), False),
        (dict(weights='animesr_v2'), True),
    ],
)
def test_when_held_drawings_are_averaged(given, averages):
    assert UpscaleOptions.of(**given).averages == averages


def test_upscale_averages_held_drawings(tmp_path):
    source = write_video(tmp_path / 'in.mkv', noisy_drawing(), codec='ffv1', pix_fmt='bgr0')
    weights, results = make_identity(tmp_path), {}
    for steady in (True, False):
        animevsr.upscale(source, tmp_path / f'{steady}.mkv', weights, steady=steady, **LOSSLESS)
        results[steady] = decode(tmp_path / f'{steady}.mkv')[0]
    animevsr.upscale(source, tmp_path / 'default.mkv', weights, **LOSSLESS)
    assert np.array_equal(decode(tmp_path / 'default.mkv')[0], results[True])
    assert np.array_equal(results[True][0], results[False][0])
    assert flicker(results[True]) < 0.5 * flicker(results[False])


def test_evaluate_measures_what_upscale_makes(tmp_path):
    write_clip(tmp_path / 'lq/a', noisy_drawing())
    weights = make_identity(tmp_path)
    values = [
        animevsr.evaluate(
            {'net': weights}, lq=tmp_path / 'lq', metrics=['flicker'], device='cpu', steady=steady
        )[0].values['a']['flicker']
        for steady in (True, False)
    ]
    assert values[0] < 0.5 * values[1]
