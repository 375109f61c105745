"""8-bit integers: the same network rearranged, and what goes in and out as bytes."""

import numpy as np
import pytest
import torch
from conftest import moving_frames
from small_networks import CPU, network, psnr, run
from torch.nn import functional as F

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.backends import open_backend
from animevsr.engine.backends.cache import make_example
from animevsr.engine.upscaler import Upscaler

step = pytest.importorskip('animevsr.engine.backends.integer_step', exc_type=ImportError)
pytest.importorskip('nncf')


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_the_interpolation_is_bilinear(scale):
    frame = torch.rand(1, 3, 7, 10)
    with torch.no_grad():
        ours = step.interpolation(scale)(F.pad(frame, (1, 1, 1, 1), mode='replicate'))
    theirs = F.interpolate(frame, scale_factor=scale, mode='bilinear', align_corners=False)
    assert (F.pixel_shuffle(ours, scale) - theirs).abs().max() < 1e-6


@pytest.mark.parametrize('feedback', [False, True])
@pytest.mark.parametrize('scale', [2, 4])
def test_it_is_the_same_network(feedback, scale):
    net = network(feedback, scale=scale)
    example = make_example(net, 24, 36)
    with torch.no_grad():
        sr, *state = step.IntegerStep(net)(*example)
        expected, *states = net.core(*example)
    assert (F.pixel_shuffle(sr, scale) - expected).abs().max() < 1e-5
    assert len(state) == len(states)
    assert all((ours - theirs).abs().max() < 1e-5 for ours, theirs in zip(state, states))


@pytest.fixture(scope='module', params=[False, True], ids=['', 'feedback'])
def both(request):
    return network(request.param), open_backend(network(request.param), CPU, 'openvino', fast=True, threads=1)


def test_bytes_are_what_the_floats_are_rounded_to(both):
    net, fast = both
    frames, state, zeros = (
        make_example(net, 32, 48)[:3],
        fast.initial_state(32, 48),
        make_example(net, 32, 48),
    )
    for _ in range(3):
        floats, after = fast.step(*frames, state)
        picture, state = fast.step(*frames, state, as_bytes=True)
        assert picture.dtype == torch.uint8 and picture.shape == floats.shape == (1, 3, 128, 192)
        assert all(x.dtype == torch.uint8 and torch.equal(x, y) for x, y in zip(state, after))
        assert (picture.float() - 255 * floats.clamp(0, 1)).abs().max() <= 0.501
    with torch.no_grad():  # the first state stands for zeros
        first = net.core(*frames, *(torch.zeros_like(x) for x in zeros[3:]))[0]
    difference = fast.step(*frames, fast.initial_state(32, 48))[0] - first
    assert difference.abs().mean() < 0.02 and abs(difference.mean()) < 0.005


def test_deep_frames_regions_and_smaller_pictures(both):
    net, fast = both
    frames = np.repeat(moving_frames(2, 96, 160), 5, 0)
    frames[:, 40:] = frames[0, 40:]  # the rest stands still
    eight, deep = run(fast, frames), run(fast, frames.astype(np.uint16) * 257)
    assert eight.dtype == np.uint8 and deep.dtype == np.uint16
    assert np.abs(deep / 257 - eight).max() <= 1
    assert len(np.unique(deep)) > 256
    assert min(psnr(run(net, frames, device=CPU), eight)) > 35
    upscaler = Upscaler(fast, reuse=True)
    held = np.stack(list(upscaler(frames)))
    assert upscaler.held > 0.2 and min(psnr(eight, held)) > 40
    tiled = run(fast, frames, tile=96)
    assert np.abs(tiled.astype(int) - eight).mean() < 0.1
    small = run(fast, frames, shrink=True)
    assert small.shape == frames.shape and min(psnr(frames, small)) > 25


class Darker(MSRBVSR):
    """A class of a user's own: another picture, and a state that is read in two ways."""

    def core(self, prev, cur, nxt, *state):
        sr, hidden = super().core(prev, cur, nxt, state[0])
        return 0.5 * sr + 0.01 * state[0].mean().sigmoid(), hidden


@pytest.mark.slow
def test_classes_of_ones_own_are_quantised_as_they_are():
    def make():
        torch.manual_seed(0)
        return Darker(num_feat=8, num_block=(2, 1, 1)).eval()

    frames = moving_frames(4, 40, 48)
    exact, fast = (
        run(make(), frames, device=CPU),
        run(open_backend(make(), CPU, 'openvino', fast=True, threads=1), frames),
    )
    assert abs(exact.mean() - fast.mean()) < 1 and min(psnr(exact, fast)) > 35
