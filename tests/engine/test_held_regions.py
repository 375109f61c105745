"""What did not change is not computed again, and nobody sees it."""

import numpy as np
import pytest
import torch
from conftest import REPO, moving_frames
from small_networks import CPU, flicker, network, psnr, run

from animevsr.engine import held_regions as reuse
from animevsr.engine.backends.torch_backend import TorchBackend
from animevsr.engine.held_regions import DirtyRegions
from animevsr.engine.rectangles import Rect, merged, split
from animevsr.engine.upscaler import Upscaler
from animevsr.video.reader import open_reader


def held_frames(count=30, noise=0, size=(128, 192)):
    """A figure moves on twos over a still background; noise as of a codec."""
    rng = np.random.default_rng(0)
    background, figure = moving_frames(1, *size, seed=1)[0], moving_frames(count, 40, 40, seed=2)
    frames = []
    for i in range(count):
        frame = background.astype(float)
        drawing = i // 2
        x = 10 + 4 * (drawing % 10)
        frame[20:60, x : x + 40] = figure[drawing]
        frames.append(
            np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
            if noise
            else frame.astype(np.uint8)
        )
    return np.stack(frames)


@pytest.mark.parametrize('noise', [pytest.param(0, marks=pytest.mark.slow), 1])
def test_held_regions_are_not_computed_again_and_stay_close(noise):
    net, frames = network(), held_frames(noise=noise)
    upscaler = Upscaler(net, CPU, reuse=True)
    exact, held = run(net, frames, device=CPU), np.stack(list(upscaler(frames)))
    assert upscaler.held > 0.4
    assert min(psnr(exact, held)) >= 45
    still = np.zeros(exact.shape[1:3], bool)
    still[420:] = True
    assert flicker(held, still) <= flicker(exact, still)
    still[:], still[100:220, 80:200] = False, True
    assert abs(flicker(held, still) / flicker(exact, still) - 1) < 0.1  # what moves does move


@pytest.mark.slow
def test_held_regions_in_tiles(device):
    net, frames, sizes = network().to(device), held_frames(count=30), []
    real = net.core
    net.core = lambda prev, *others: (sizes.append(prev.shape[-2:]), real(prev, *others))[1]
    upscaler = Upscaler(net, torch.device(device), tile=80, reuse=True)
    held = np.stack(list(upscaler(frames)))
    assert upscaler.held > 0.4 and max(map(max, sizes)) <= 80 + 2 * reuse.HALO
    assert min(psnr(run(network(), frames, device=CPU), held)) >= 45


@pytest.mark.parametrize(
    'feedback, size', [(False, (232, 312)), pytest.param(True, (268, 300), marks=pytest.mark.slow)]
)
def test_squares_are_computed_together(device, feedback, size):
    """As a GPU does it: one step for all that is due, of windows of one size inside the picture, and the same
    to see.
    """
    net, frames, steps = network(feedback).to(device), held_frames(noise=1, size=size), []
    frames[:, 140:180, -40:] = frames[:, 20:60, 10:50]  # a second place, at the border
    backend = TorchBackend(net, torch.device(device))
    real = backend.core
    backend.core = lambda prev, *others: (steps.append(tuple(prev.shape)), real(prev, *others))[1]
    backend.batches = True
    upscaler = Upscaler(backend, reuse=True)
    held = np.stack(list(upscaler(frames)))
    assert len(steps) <= len(frames) and upscaler.held > 0.2
    side = reuse.TILE + 2 * reuse.HALO
    assert {shape[2:] for shape in steps} == {size, (side, side)} and max(shape[0] for shape in steps) > 1
    exact = run(network(feedback), frames, device=CPU)
    assert min(psnr(exact, held)) >= 45
    assert np.abs(held[:, 580:700, -140:].astype(int) - exact[:, 580:700, -140:]).mean() < 1  # misplaced: 20


def test_only_gpus_take_batches(device):
    assert TorchBackend(network(), torch.device(device)).batches == (device != 'cpu')


@pytest.mark.slow
def test_what_moves_or_is_grainy_is_computed():
    net = network()
    for frames in (
        held_frames(noise=12, count=10),
        np.stack([np.roll(moving_frames(1, 128, 192)[0], 5 * i, 1) for i in range(10)]),
    ):
        upscaler = Upscaler(net, CPU, reuse=True)
        held = np.stack(list(upscaler(frames)))
        exact = run(net, frames, device=CPU)
        assert upscaler.held < 0.25
        assert min(psnr(exact, held)) >= 45 and (upscaler.held or np.abs(held.astype(int) - exact).max() <= 1)


@pytest.mark.slow
@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
def test_a_slow_fade_is_followed(kind):
    picture = moving_frames(1, 64, 96)[0]
    factor = np.iinfo(kind).max / 255
    frames = np.stack([(picture * (1 - 0.002 * i) * factor).astype(kind) for i in range(60)])
    net = network()
    exact, held = run(net, frames, device=CPU), run(net, frames, device=CPU, reuse=True)
    assert min(psnr(exact / factor, held / factor)) >= 45


def test_a_repeated_picture_costs_next_to_nothing():
    frames = np.repeat(moving_frames(1, 64, 96), 30, 0)
    upscaler = Upscaler(network(), CPU, reuse=True)
    out = np.stack(list(upscaler(frames)))
    assert upscaler.held > 0.6 and min(psnr(run(network(), frames, device=CPU), out)) >= 45


def test_what_warms_the_state_up_is_the_first_result(monkeypatch):
    frames, net, steps = np.repeat(moving_frames(1, 64, 96), 5, 0), network(), []
    real = net.core
    monkeypatch.setattr(net, 'core', lambda *tensors: (steps.append(1), real(*tensors))[1])
    whole = np.stack(list(Upscaler(net, CPU, steady=True)(frames)))
    of_whole = len(steps)
    held = np.stack(list(Upscaler(net, CPU, steady=True, reuse=True)(frames)))
    assert len(steps) - of_whole == of_whole - len(frames) > 0  # no step but those before the first frame
    assert min(psnr(whole, held)) >= 50


def test_a_whole_picture_counts_for_the_frames_that_were_held():
    """Where results are averaged it is shown whole, and the average takes it for all of them."""
    frame = moving_frames(1, 64, 96)[0]
    for warm in (True, False):
        regions, canvas = DirtyRegions((64, 96), 28, warm), np.zeros((256, 384, 3), np.uint8)
        stood, changed = [], []
        for i in range(40):
            rects = regions.dirty_rects(frame)
            stood.append(regions.stands_for)
            image = np.full_like(canvas, 100)
            image[::2] += i % 2  # half a level in the mean, which is not shown
            before = canvas.copy()
            for rect in rects:
                regions.paint(
                    canvas, rect.scaled(4).cut(image.transpose(2, 0, 1)).transpose(1, 2, 0), rect, 4
                )
            changed.append(len(rects) > 0 and not np.array_equal(before, canvas))
        checks = [i for i in range(40) if stood[i] > 1]
        assert checks and stood[checks[0]] == checks[0] - (0 if warm else 2)
        assert all(stood[b] == b - a for a, b in zip(checks, checks[1:]))
        assert any(changed[i] for i in checks) == warm


def test_holding_stops_where_it_goes_wrong(monkeypatch):
    """Slow changes below the threshold, on a network that makes much of them: the check at intervals lowers
    it, and the bound holds.
    """
    monkeypatch.setattr(reuse, 'NOISE', 40.0)
    monkeypatch.setattr(reuse, 'SHIFT', 40.0)
    monkeypatch.setattr(reuse, 'INTERVAL', 4)
    monkeypatch.setattr(reuse, 'FIRST_CHECK', 4)
    ramp = moving_frames(1, 64, 96)[0]
    frames = np.stack([np.clip(ramp.astype(int) + 2 * i, 0, 255).astype(np.uint8) for i in range(40)])
    regions = DirtyRegions((64, 96), 28)
    net = network()
    upscaler = Upscaler(net, CPU, reuse=True)
    monkeypatch.setattr(sys_engine(), 'DirtyRegions', lambda *_: regions)
    held, exact = np.stack(list(upscaler(frames))), run(net, frames, device=CPU)
    values = psnr(exact, held)[-12:]
    assert regions.slack < 0.3 and np.median(values) >= 45 and min(values) >= 35


def sys_engine():
    import sys

    return sys.modules['animevsr.engine.upscaler']


def test_windows_lie_inside_the_picture():
    for region, expected in [
        (Rect(0, 0, 64, 64), Rect(0, 0, 88, 88)),
        (Rect(64, 128, 128, 192), Rect(52, 116, 140, 204)),
        (Rect(192, 256, 232, 312), Rect(144, 224, 232, 312)),
    ]:
        assert region.window(88, (232, 312)) == expected
        assert expected.relative_to(expected) == Rect(0, 0, 88, 88)
    assert Rect(0, 64, 60, 128).window(88, (60, 312)) == Rect(0, 52, 60, 140)


def test_regions():
    a, b = Rect(0, 0, 32, 32), Rect(0, 40, 32, 72)
    assert a.union(b) == Rect(0, 0, 32, 72) and a.expanded(8, (40, 36)) == Rect(0, 0, 40, 36)
    assert merged([a, b], lambda r: r.expanded(28, (200, 200)).area) == [Rect(0, 0, 32, 72)]
    far = Rect(160, 160, 192, 192)
    assert sorted(merged([a, far], lambda r: r.expanded(28, (200, 200)).area)) == [a, far]


def test_what_is_due_is_covered_by_small_rectangles():
    mask = np.zeros((60, 80), bool)
    mask[10:50, 10:16] = mask[44:50, 10:70] = True  # an L: its two bars, but for the corner that they share
    parts = split(mask, Rect(10, 10, 50, 70), 3)
    assert len(parts) == 2 and sum(part.area for part in parts) == mask.sum()
    assert split(mask, Rect(10, 10, 50, 70), 30) == [Rect(10, 10, 50, 70)]  # with so much around it is one
    draw = np.random.default_rng(0)
    for share in (0.002, 0.02, 0.4):
        mask = draw.random((60, 80)) < share
        whole, covered = Rect(0, 0, 60, 80), np.zeros_like(mask)
        parts = split(mask, whole, 1)
        for part in parts:
            covered[part.top : part.bottom, part.left : part.right] = True
        assert covered[mask].all()
        assert sum(part.expanded(1, mask.shape).area for part in parts) <= whole.area


def test_deep_frames_come_out_deep():
    net, frames = network(), moving_frames(3, 32, 48)
    deep = run(net, frames.astype(np.uint16) * 257, device=CPU)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - run(net, frames, device=CPU)).max() <= 0.51


@pytest.mark.parametrize(
    'clip, least, most',
    [('talk_twos_tv.mkv', 0.6, 1), ('talk_threes_tv.mkv', 0.5, 1), ('pan_dvd.mpg', 0, 0.15)],
)
def test_on_television(clip, least, most):
    """Drawings through codecs, with mosquito noise and I-frames; what is computed is the frame itself, so
    that what is held differs from it by the noise alone.
    """
    with open_reader(REPO / 'assets/television' / clip) as reader:
        frames = [image for image, _ in reader.frames()]
    regions = DirtyRegions(frames[0].shape[:2], 50)
    canvas, work, values = np.empty_like(frames[0]), [], []
    for frame in frames:
        due = regions.dirty_rects(frame)
        for rect in due:
            part = frame[rect.top : rect.bottom, rect.left : rect.right]
            regions.paint(canvas, np.ascontiguousarray(part), rect, 1)
        work.append(sum(rect.area for rect in due) / frame[..., 0].size)
        values += psnr([frame], [canvas])
    assert least <= 1 - np.mean(work) <= most
    assert np.median(values) > 38 and min(values) > 34
