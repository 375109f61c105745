"""Where cuts are."""

import numpy as np
from conftest import REPO, moving_frames

from animevsr.video.clips import list_clips, load_clip
from animevsr.video.shots import CutDetector


def pictures():
    """Different real pictures, (384, 640, 3), from the held-out clips."""
    return [load_clip(clip, [0])[0] for clip in list_clips(REPO / 'assets/heldout')]


def still(picture, n):
    return [
        np.clip(picture.astype(int) + np.random.default_rng(i).integers(-3, 4, picture.shape), 0, 255).astype(
            np.uint8
        )[:, 40:-40]
        for i in range(n)
    ]


def pan(picture, n, speed):
    return [np.roll(picture, -speed * i, 1)[:, 40:-40] for i in range(n)]


def fade(picture, n):
    return [(picture * (1 - i / n)).astype(np.uint8)[:, 40:-40] for i in range(n)]


def flash(picture, n):
    frames = still(picture, n)
    for i in range(n // 2, n // 2 + 3):
        frames[i] = np.full_like(frames[i], 250)
    return frames


def dissolve(a, b, n):
    return [(a * (1 - i / n) + b * (i / n)).astype(np.uint8)[:, 40:-40] for i in range(n)]


def planted():
    """(frames, first frames of shots): cuts between pictures, and what looks like cuts and is none."""
    p = pictures()
    shots = [
        still(p[0], 8),
        pan(p[1], 10, 30),
        flash(p[2], 12),
        still(p[3], 3),
        fade(p[4], 10) + fade(p[4], 10)[::-1],
        still(p[6], 5),
        pan(p[7], 8, 60),
        flash(p[9], 11),
        still(p[10], 4),
        pan(p[11], 9, 45),
        still(p[5], 6),
        dissolve(p[5], p[8], 16),
        still(p[2], 5),
    ]
    frames, starts = [], []
    for shot in shots:
        starts.append(len(frames))
        frames += shot
    starts.remove(starts[11])  # the dissolve goes on from the picture before it
    return frames, starts[1:]


def test_planted_cuts_are_found_and_nothing_else():
    frames, expected = planted()
    found = list(CutDetector()(frames))
    right = len(set(found) & set(expected))
    assert right / len(found) >= 0.9 and right / len(expected) >= 0.9, (found, expected)


def test_the_detector_keeps_few_frames():
    detector = CutDetector()
    for frame in moving_frames(40, 16, 24):
        detector.push(frame)
        assert len(detector.window) <= 6
    assert detector.finish() == [] and list(CutDetector()([])) == []
