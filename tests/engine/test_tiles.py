"""Tiles make no difference."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import moving_frames
from small_networks import CPU, network, run

from animevsr.engine import sizes
from animevsr.engine.backends.cache import make_example
from animevsr.engine.rectangles import tiles
from animevsr.engine.sizes import choose_tile


@pytest.mark.slow
def test_reach_is_as_far_as_a_result_depends_on():
    """A change farther away than `reach` changes nothing, one nearer does; for several depths."""
    for blocks in ((2, 1, 1), (5, 3, 2), (4, 4, 1)):
        net = network(num_block=blocks).double()
        inputs = [x.double() for x in make_example(net, 128, 128)]
        with torch.no_grad():
            base = net.core(*inputs)
            farthest = 0
            for column in (64, 65, 66, 67):
                changed = [x.clone() for x in inputs]
                for x in changed:
                    x[..., :column] += 1
                for ours, theirs, scale in zip(net.core(*changed), base, (4, 1)):
                    moved = ((ours - theirs).abs().amax((0, 1, 2)) > 0).nonzero().max().item() // scale
                    farthest = max(farthest, moved - column + 1)
        assert farthest <= net.reach <= farthest + 14


@pytest.mark.parametrize('feedback', [False, True])
@pytest.mark.parametrize('size', [(150, 202), pytest.param((70, 260), marks=pytest.mark.slow), (64, 64)])
def test_tiles_make_no_difference(size, feedback):
    net, frames = network(feedback, num_block=(2, 1, 1)), moving_frames(4, *size)
    assert np.abs(run(net, frames, device=CPU).astype(int) - run(net, frames, device=CPU, tile=64)).max() <= 1


def test_tiles_cover_everything_once():
    for size in ((480, 640), (100, 52), (64, 64), (68, 1000), (4, 4)):
        seen = np.zeros(size, int)
        for region in tiles(size, 128):
            assert (
                region.top % 4 == region.left % 4 == 0
                and region.bottom - region.top <= 128
                and region.right - region.left <= 128
            )
            region.cut(seen)[...] += 1
        assert (seen == 1).all()


def test_tile_is_chosen_by_memory(monkeypatch):
    monkeypatch.setattr(sizes, 'memory', lambda device, jobs: 8 * 2**30 // jobs)
    assert choose_tile('auto', (480, 640), CPU) is None
    side = choose_tile('auto', (2160, 3840), CPU)
    assert side % 4 == 0 and 256 <= side <= 1024
    assert choose_tile('auto', (1080, 1920), CPU, 8) is not None  # of which each has an eighth
    assert choose_tile(250, (480, 640), CPU) == 252 and choose_tile(None, (9999, 9999), CPU) is None


def test_memory_of_a_container(monkeypatch, tmp_path):
    """A limit of the control group counts, where it leaves less than the machine has."""
    monkeypatch.setattr(sizes, 'CGROUP', tmp_path)
    monkeypatch.setattr(sizes.psutil, 'virtual_memory', lambda: SimpleNamespace(available=10**10))
    device = torch.device('cpu')
    assert sizes.memory(device) == 10**10
    (tmp_path / 'memory.max').write_text('max\n')
    (tmp_path / 'memory.current').write_text('300\n')
    assert sizes.memory(device) == 10**10
    (tmp_path / 'memory.max').write_text('1000\n')
    assert sizes.memory(device) == 700 and sizes.memory(device, 4) == 175
