"""The bundled models over longer times than those of the tables."""

import itertools

import numpy as np
import pytest
import torch
from conftest import REPO

from animevsr.archs.loading import load_upscaler
from animevsr.engine.upscaler import Upscaler
from animevsr.video.reader import open_reader


def steepness(image):
    """Of its steepest lines: the horizontal step that 1 % exceed, in levels."""
    return np.percentile(np.abs(np.diff(image.astype(int), axis=1)).max(2), 99)


@pytest.mark.parametrize('name', [pytest.param('animevsr_x4', marks=pytest.mark.slow), 'animevsr_x4_lite'])
def test_a_still_background_stays_as_sharp_as_it_was(name):
    """One that is out of focus, which a state may take for more and more so: one milestone did, and lines
    lost half of their steepness within a dozen frames.
    """
    with open_reader(REPO / 'assets/television/walk_twos_tv.mkv') as reader:
        frames = np.stack([image[272:384, 464:608] for image, _ in itertools.islice(reader.frames(), 18)])
    results = list(Upscaler(load_upscaler(name), torch.device('cpu'))(frames))
    inner = np.s_[80:-80, 80:-80]
    steep = [steepness(result[inner]) for result in results]
    assert steep[0] > 15 and min(steep) > 0.85 * max(steep[:3]), steep


@pytest.mark.slow
@pytest.mark.parametrize('clip, top, left', [('walk_twos_tv.mkv', 240, 450), ('talk_twos_asp.avi', 336, 336)])
def test_nothing_goes_out_of_focus_while_it_is_held(clip, top, left):
    """Two seconds of one frame: what training in windows of a dozen frames spoils (benchmarks/drift.py)."""
    with open_reader(REPO / 'assets/television' / clip) as reader:
        frame = next(image for image, _ in itertools.islice(reader.frames(), 8, None))
    frames = np.repeat(frame[None, top : top + 112, left : left + 144], 60, 0)
    results = Upscaler(load_upscaler('animevsr_x4'), torch.device('cpu'))(frames)
    steep = [steepness(result) for result in results]
    assert min(steep[4:]) > 0.9 * max(steep[:8]), steep
