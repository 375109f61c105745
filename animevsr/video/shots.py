"""Where a video cuts: one pass over the frames, made small; a flash, a fade and a fast pan are no cuts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

SIDE = 96  # pixels of the longer side at which frames are compared
# mean change of hue, saturation and value, of 255, from which two frames may belong to different shots
THRESHOLD = 20
# correlation of two frames' brightness, or of one with the other moved, from which they show the same picture
ALIKE = 0.82
# correlation of the detail in half of a frame with some place of the next one, from which it is a pan too
# fast to follow; detail is what a box of so many pixels blurs away. By benchmarks/cuts.py, seeds 0 to 2
SLID, DETAIL = 0.5, 15
NEAR = 60  # levels of 255 by which the two places differ at most
LEAST = 40  # pixels of the shorter side: in less something alike is found by chance
# share of a frame, not flat, that stays where it is (within so many levels) where only a part was replaced
STAYS, SAME, FLAT = 0.35, 8, 8
FLASH = 4  # frames after which a flash is over


class CutDetector:
    """Finds cuts in a stream of frames; it looks a few frames ahead, and keeps no more than those.

    A change in colour and brightness makes a candidate. It is no cut where the new frame is the old one,
    brighter or darker (a fade, a flash over the picture) or moved (a pan, a shake), or where the old picture
    is back within `FLASH` frames.
    """

    def __init__(self) -> None:
        self.window = deque()
        self.count = 0
        self.flash_until = 0

    def __call__(self, frames: Any) -> Iterator[Any]:
        """Iterable of (h, w, 3) uint8 RGB -> iterator of the numbers of the first frames of shots, from the
        second shot on.
        """
        for frame in frames:
            yield from self.push(frame)
        yield from self.finish()

    def push(self, frame: np.ndarray) -> list:
        """Take in a frame; returns the cuts that are certain now (a list of frame numbers)."""
        self.window.append(Small(frame))
        return self._decide() if len(self.window) > FLASH + 1 else []

    def finish(self) -> list:
        """The cuts among the last frames."""
        found = []
        while len(self.window) > 1:
            found += self._decide()
        return found

    def _decide(self):
        """Whether there is a cut between the first two frames of the window."""
        before, after, *later = self.window
        self.window.popleft()
        self.count += 1
        if self.count <= self.flash_until or not before.differs_from(after):
            return []
        if before.slid_to(after) and any(
            after.change(other) > THRESHOLD and (after.slid_to(other) or after.moved_to(other))
            for other in later[:FLASH]
        ):
            return []  # within a pan, which goes on
        back = next((i for i, other in enumerate(later[:FLASH], 1) if before.resembles(other)), None)
        if back is not None:  # a flash, and nothing up to its end is a cut
            self.flash_until = self.count + back
            return []
        return [self.count]


def is_cut(frame: np.ndarray, following: np.ndarray) -> bool:
    """Whether there is a cut between two frames (h, w, 3) uint8 RGB, as far as these two tell."""
    return Small(frame).differs_from(Small(following))


class Small:
    """A frame made small, in the forms in which it is compared."""

    def __init__(self, frame: np.ndarray) -> None:
        h, w = frame.shape[:2]
        ratio = min(1, SIDE / max(h, w))
        small = cv2.resize(
            frame, (max(1, round(w * ratio)), max(1, round(h * ratio))), interpolation=cv2.INTER_AREA
        )
        self.hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV).astype(np.int16)
        self.gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)

    def change(self, other: Small) -> float:
        """Mean change in HSV, of 255."""
        difference = np.abs(self.hsv - other.hsv)
        difference[..., 0] = np.minimum(difference[..., 0], 180 - difference[..., 0])  # hue is a circle
        return float(difference.mean())

    def differs_from(self, other: Small) -> bool:
        """Whether a cut lies between the two: they differ, and neither light nor motion explains it."""
        return (
            self.change(other) > THRESHOLD
            and correlation(self.gray, other.gray) < ALIKE
            and not self.moved_to(other)
            and not self.stays_in(other)
        )

    def resembles(self, other: Small) -> bool:
        """Whether the other frame shows this picture again."""
        return self.change(other) < THRESHOLD / 2 or correlation(self.gray, other.gray) > ALIKE

    def moved_to(self, other: Small) -> bool:
        """Whether the other frame is this one, moved by up to half its size."""
        h, w = self.gray.shape
        if min(h, w) < 16:
            return False
        (dx, dy), _ = cv2.phaseCorrelate(self.gray, other.gray, cv2.createHanningWindow((w, h), cv2.CV_32F))
        dx, dy = round(dx), round(dy)
        if abs(dx) > w // 2 or abs(dy) > h // 2 or (dx, dy) == (0, 0):
            return False
        ours = self.gray[max(0, -dy) : h - max(0, dy), max(0, -dx) : w - max(0, dx)]
        theirs = other.gray[max(0, dy) : h - max(0, -dy), max(0, dx) : w - max(0, -dx)]
        return correlation(ours, theirs) > ALIKE

    def slid_to(self, other: Small) -> bool:
        """Whether one half of this frame is found again somewhere in the other: a pan too fast to follow."""
        h, w = self.gray.shape
        if min(h, w) < LEAST:
            return False
        detail, others = (gray - cv2.blur(gray, (DETAIL, DETAIL)) for gray in (self.gray, other.gray))
        margin = h // 8  # the camera may move up or down a little as well
        for left in (0, w - w // 2):
            place = slice(margin, h - margin), slice(left, left + w // 2)
            half = detail[place]
            if half.std() <= 1:
                continue
            _, alike, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(others, half, cv2.TM_CCOEFF_NORMED))
            found = other.gray[y : y + half.shape[0], x : x + half.shape[1]]
            if alike > SLID and np.abs(found - self.gray[place]).mean() < NEAR:
                return True
        return False

    def stays_in(self, other: Small) -> bool:
        """Whether a large part of the picture, which is not flat, stays: a split screen, a caption."""
        same = (np.abs(self.hsv - other.hsv).max(-1) <= SAME) & (np.abs(self.gray - other.gray) <= SAME)
        return bool(same.mean() > STAYS and self.gray[same].std() > FLAT)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two gray pictures, in [-1, 1]; where one is flat, 1 if the other is as well, and about
    as bright, else 0.
    """
    step = abs(float(a.mean() - b.mean()))
    a, b = a - a.mean(), b - b.mean()
    power = np.sqrt((a * a).mean() * (b * b).mean())
    if power < 1:
        return float((a * a).mean() < 1 and (b * b).mean() < 1 and step < THRESHOLD)
    return float((a * b).mean() / power)
