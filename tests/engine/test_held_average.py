"""Averaging of held drawings: steadier where they stand still, and nothing else changed."""

import cv2
import numpy as np
import pytest
import torch
from small_networks import flicker
from torch.nn import functional as F

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.held_average import RAMP, HeldAverage, motion
from animevsr.engine.rectangles import Rect
from animevsr.engine.upscaler import MOST_WARM_UP, Upscaler


def drawing(height=96, width=128, seed=0):
    """Flats and lines, (h, w, 3) float32."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 190, np.float32)
    for _ in range(6):
        centre = tuple(int(rng.integers(side)) for side in (width, height))
        colour = tuple(int(c) for c in rng.integers(60, 240, 3))
        cv2.circle(image, centre, int(rng.integers(8, 30)), colour, -1, cv2.LINE_AA)
        cv2.circle(image, centre, int(rng.integers(8, 30)), (20, 20, 25), 2, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def to_bytes(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def moved(image, x, y=0.0):
    matrix = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(
        image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


def small(frame):
    """What a result may have been made from."""
    return cv2.resize(frame, None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA)


def averaged(frames, sources=None, **options):
    average = HeldAverage(**options)
    return np.stack(
        [
            average.add(frame, small(frame) if sources is None else sources[i])
            for i, frame in enumerate(frames)
        ]
    )


def test_noise_on_a_held_drawing_is_averaged():
    rng, clean = np.random.default_rng(1), drawing()
    noisy = np.stack([to_bytes(clean + rng.normal(0, 2, clean.shape)) for _ in range(12)])
    results = averaged(noisy)
    assert np.array_equal(results[0], noisy[0])
    assert flicker(results[4:]) < 0.15 * flicker(noisy[4:])
    errors = [np.square(frames[6:].astype(np.float32) - clean).mean() for frames in (results, noisy)]
    assert errors[0] < 0.3 * errors[1]


def test_patience_makes_it_stiller_and_still_shows_a_new_drawing_at_once():
    rng, clean, other = np.random.default_rng(1), drawing(), drawing(seed=3)
    noisy = np.stack(
        [to_bytes(image + rng.normal(0, 2, clean.shape)) for image in [clean] * 12 + [other] * 12]
    )
    usual, patient = averaged(noisy), averaged(noisy, patience=2)
    assert flicker(patient[:12]) < 0.75 * flicker(usual[:12])
    changed = np.abs(clean - other).max(2) > 30
    late = np.abs(patient[12].astype(np.float32) - noisy[12])[changed]
    assert late.mean() < 0.05 * np.abs(clean - other)[changed].mean()


def test_a_result_may_stand_for_several_frames():
    """As if it had come so many times: what was held between was not computed."""
    rng, clean = np.random.default_rng(1), drawing()
    first, later = (to_bytes(clean + rng.normal(0, 2, clean.shape)) for _ in range(2))
    one_by_one, at_once = HeldAverage(), HeldAverage()
    for average in (one_by_one, at_once):
        average.add(first, small(first))
    for _ in range(20):
        expected = one_by_one.add(later, small(later))
    at_once.add(later, small(later), times=20)
    shown = [at_once.add(later, small(later), regions=[]) for _ in range(RAMP)]
    assert np.abs(shown[-1].astype(int) - expected).max() <= 1
    # over several frames, and no more in one of them
    steps = [np.abs(b.astype(int) - a).mean() for a, b in zip([first, *shown], shown)]
    assert max(steps) < 2.5 * np.abs(expected.astype(int) - first).mean() / RAMP
    other = to_bytes(drawing(seed=3))
    changed = np.abs(drawing(seed=3) - clean).max(2) > 60
    new = at_once.add(other, small(other), times=20)
    assert np.abs(new[changed].astype(int) - other[changed]).mean() < 1  # what moved is shown at once


@pytest.mark.parametrize('step', [0.5, 1.0, 3.0])
def test_what_moves_is_left_as_it_is(step):
    """Also by half a pixel of the result, which is an eighth of one of the input."""
    frames = np.stack([to_bytes(moved(drawing(), step * i, 0.4 * step * i)) for i in range(8)])
    change = np.abs(averaged(frames).astype(np.float32) - frames)
    assert change.mean() < 0.25
    # flats may be averaged; lines never lag by half a step
    lag = np.abs(frames[1:].astype(np.float32) - frames[:-1])
    assert change[1:][lag > 20].mean() < 0.1 * lag[lag > 20].mean()


@pytest.mark.parametrize('step', [0.1, 0.2, 0.3, 0.4])
def test_slow_pans_go_on_evenly(step):
    """They neither stick nor slip: each result is as far from the one before as the camera went."""
    clean = cv2.cvtColor(drawing(), cv2.COLOR_RGB2GRAY)
    gx = cv2.Scharr(cv2.GaussianBlur(clean, (0, 0), 1.5), -1, 1, 0, scale=1 / 32)
    results = averaged([to_bytes(moved(drawing(), step * i)) for i in range(20)]).astype(np.float32)
    gray = [cv2.GaussianBlur(cv2.cvtColor(r, cv2.COLOR_RGB2GRAY), (0, 0), 1.5) for r in results]
    steps = [-(gx * (b - a)).sum() / (gx * gx).sum() for a, b in zip(gray[8:], gray[9:])]
    assert np.std(steps) < 0.25 * step + 0.01


def test_a_slow_zoom_leaves_nothing_behind():
    clean, middle = drawing(), (64, 48)
    frames = [
        to_bytes(
            cv2.warpAffine(
                clean,
                cv2.getRotationMatrix2D(middle, 0, 1 + 0.002 * i),
                clean.shape[1::-1],
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT,
            )
        )
        for i in range(24)
    ]
    change = np.abs(averaged(frames).astype(np.float32) - frames)
    assert np.percentile(change, 99.9) < 20 and change.mean() < 0.5


def test_a_fade_and_a_flash_are_followed():
    clean = drawing()
    fade = np.stack([to_bytes(clean * (1 - 0.004 * i)) for i in range(20)])
    assert np.abs(averaged(fade).astype(np.float32) - fade).mean((1, 2, 3)).max() < 0.6
    night = fade.copy()
    night[:, :, 50:] = 0  # most of it is black
    assert np.abs(averaged(night).astype(np.float32) - night)[:, :, :50].mean((1, 2, 3)).max() < 0.6
    flash = np.stack([to_bytes(clean * factor) for factor in (0.8, 0.8, 0.8, 1.0, 0.8, 0.8)])
    assert np.array_equal(averaged(flash)[3:5], flash[3:5])


def test_a_mouth_that_opens_leaves_no_ghost():
    closed, opened = drawing(), drawing()
    cv2.ellipse(opened, (64, 48), (14, 8), 0, 0, 360, (60, 30, 40), -1, cv2.LINE_AA)
    frames = np.stack([to_bytes(x) for x in (closed, closed, closed, opened, opened, closed)])
    results = averaged(frames)
    inside = np.abs(opened - closed).max(2) > 8
    assert np.abs(results[3].astype(np.int16) - frames[3])[inside].max() <= 1
    assert np.abs(results[5].astype(np.int16) - frames[5])[inside].max() <= 1


def test_what_the_small_frame_holds_is_averaged_however_the_network_wavers():
    """Lines that swing by a pixel of the result are motion, unless the frame that they are made from stands
    still."""
    clean = drawing()
    frames = np.stack([to_bytes(moved(clean, i % 2)) for i in range(8)])
    held = averaged(frames, [small(to_bytes(clean))] * 8)
    assert flicker(held[1:]) < 0.3 * flicker(frames[1:])
    assert flicker(averaged(frames)[1:]) > 0.7 * flicker(frames[1:])


def test_motion_is_measured_in_pixels():
    picture = cv2.GaussianBlur(cv2.cvtColor(drawing(), cv2.COLOR_RGB2GRAY), (0, 0), 2)
    x, y = motion(picture, moved(picture, 0.2, 0.1) - picture)
    assert np.percentile(x, 90) == pytest.approx(0.2, rel=0.25)
    assert np.percentile(y, 90) == pytest.approx(0.1, rel=0.25)
    assert motion(picture, np.zeros_like(picture)).max() == 0


def test_ten_bits_are_averaged_as_eight():
    rng, clean = np.random.default_rng(2), drawing()
    eight = np.stack([to_bytes(clean + rng.normal(0, 2, clean.shape)) for _ in range(5)])
    sixteen = averaged(eight.astype(np.uint16) * 257)
    assert sixteen.dtype == np.uint16
    assert np.abs(sixteen / 257 - averaged(eight)).max() <= 1.01


def test_only_the_regions_that_changed_are_looked_at():
    rng, clean = np.random.default_rng(3), drawing()
    frames = [to_bytes(clean + rng.normal(0, 2, clean.shape)) for _ in range(3)]
    region = Rect(32, 64, 96, 128)
    for frame in frames[1:]:
        frame[:32], frame[:, :64] = frames[0][:32], frames[0][:, :64]
    average = HeldAverage()
    results = np.stack([average.add(frame, small(frame), [region]) for frame in frames])
    assert np.array_equal(results[2][:32], frames[0][:32])
    assert not np.array_equal(results[2][32:, 64:], frames[2][32:, 64:])
    still = average.add(frames[2], small(frames[2]), [])
    assert np.array_equal(still, results[2])
    assert not np.shares_memory(still, average.shown)


def test_sizes_that_no_block_divides():
    clean = drawing(61, 83)
    frames = np.stack([to_bytes(clean)] * 3)
    assert np.array_equal(averaged(frames), frames)


@pytest.mark.parametrize('options', [{}, {'tile': 64}, {'reuse': True}])
def test_the_upscaler_averages_the_results_of_a_shot(options):
    torch.manual_seed(0)
    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1)).eval()
    rng, clean = np.random.default_rng(4), drawing(80, 112)
    frames = np.stack([to_bytes(clean + rng.normal(0, 3, clean.shape)) for _ in range(6)])
    cpu = torch.device('cpu')
    alone = np.stack(list(Upscaler(net, cpu, **options)(frames)))
    upscaler = Upscaler(net, cpu, steady=True, **options)
    for _ in range(2):  # each shot begins anew
        results = np.stack(list(upscaler(frames)))
        assert not np.array_equal(results[0], alone[0])  # it has a state already
        assert flicker(results) < 0.8 * flicker(alone)
        assert np.abs(results.astype(np.float32) - alone).mean() < 2
    if not options:
        passes = [
            n
            for n in range(MOST_WARM_UP + 1)
            if np.array_equal(
                results, averaged(list(Upscaler(net, cpu)(frames[[0] * n + [*range(6)]]))[n:], frames)
            )
        ]
        assert passes and min(passes) > 1


@pytest.mark.parametrize('tile', [None, 64])
@pytest.mark.parametrize('speed, steps', [(0.5, 4), (0.1, 4), (0.01, 3), (0.0, 2)])
def test_a_shot_begins_when_its_first_result_has_settled(tile, speed, steps, monkeypatch):
    """A state that is nearer to its end by some factor with each step: one more step than it changes by."""
    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1)).eval()
    seen = []

    def step(prev, cur, nxt, state=None):
        level = state[0] * speed + (1 - speed)
        seen.append(float(level.mean()))
        return F.interpolate(level[:, :3], scale_factor=4), (level,)

    monkeypatch.setattr(net, 'step', step)
    monkeypatch.setattr(
        net, 'core', lambda *inputs: (lambda done: (done[0], *done[1]))(step(*inputs[:3], inputs[3:]))
    )
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    assert len(list(Upscaler(net, torch.device('cpu'), tile=tile, steady=True)(frames))) == 2
    assert len(seen) == steps + 2


def with_detail(detail, number, count=14):
    """(small frame without noise, where the detail is) of one frame of a still background."""
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.uniform(80, 140, (60, 80)).astype(np.float32), (0, 0), 9)
    name, size, level, speed, shown = detail
    here = count - number <= shown
    at = 5 + 3 * number if speed == 3 else 40
    place = np.s_[at : at + size, at : at + size] if name == 'light' else np.s_[:, at : at + size]
    if here:
        frame[place] += level
    return cv2.merge([frame] * 3), place


@pytest.mark.parametrize(
    'detail',
    [
        ('light', 1, 90, 3, 14),  # snow, a spark
        ('light', 2, 24, 3, 14),
        ('light', 1, 90, 0, 1),  # lit in the last frame alone
        ('light', 1, 90, 0, 6),
        ('line', 1, -15, 3, 14),
        ('line', 1, -20, 0, 1),
        ('line', 1, -12, 0, 4),  # of a new drawing, its fourth frame
        ('line', 2, -10, 0, 4),
    ],
    ids=str,
)
def test_faint_and_small_details_are_shown_as_they_are(detail):
    """What comes, goes or jumps is not averaged away, although most of the small frame is as before."""
    rng, average = np.random.default_rng(1), HeldAverage()
    for number in range(14):
        clean, place = with_detail(detail, number)
        source = np.clip(clean + rng.normal(0, 0.7, clean.shape), 0, 255).round().astype(np.uint8)
        result = cv2.resize(source, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        shown = average.add(result, source=source)
    background = with_detail(('line', 1, 0, 0, 0), 13)[0]
    given, kept = (
        (cv2.resize(image, (80, 60), interpolation=cv2.INTER_AREA) - background)[place].mean()
        for image in (result.astype(np.float32), shown.astype(np.float32))
    )
    assert np.sign(given) == np.sign(detail[2]) and kept / given > 0.95
