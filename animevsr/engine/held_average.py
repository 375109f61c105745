"""Held drawings stand still: where the picture is held, each result is averaged with those before it.

A network answers to the noise and the codec of every frame a little differently, and lines shimmer although
nothing moves. Here a result is compared with the mean of the last ones, in blocks. A block is averaged as far
as three things allow: its change is no larger than a network's answer to noise (which is larger near lines);
the brightness or colour around it, or of half of the picture, does not move; and what changed is not a shift
of the lines, nor do they drift in one direction over several frames, which the optical flow of Lucas and
Kanade tells from noise. Nothing of this depends on the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from animevsr.engine.rectangles import Rect
from animevsr.utils.images import LUMA, local_range

BLOCK = 4  # side of a block in pixels of the result
# in levels of 255
NOISE = 3.0  # mean change of a block that is taken for noise
NEAR_LINES = 0.1  # by how much more, for each level of contrast around the block
MOST_CONTRAST = 100.0  # that counts for this
ALONE = 1.5  # times as much in a block whose neighbours change less
SHIFT = 1.0  # change of the mean of 5x5 blocks
SHIFT_NEAR_LINES = 0.02
FADE = 0.25  # change of the brightness of half of what is not black
BLACK = 16.0
MOTION = 0.07  # blocks that the lines of a neighbourhood may seem to move
DRIFT = 0.12  # the same, of the motions of the last frames together, which cancel out where they are noise
REMEMBERED = 0.75  # of that sum from frame to frame
NEIGHBOURHOOD = 9  # its side in blocks
FLAT = 30.0  # squared gradient, in levels per block, below which nothing is said about motion
FADES_OUT = 0.5  # beyond 1 times what is allowed, over which averaging ends
FIRST = 4.0  # results that the first one of a held drawing is worth: what stays as it was shown is still
MOST = 8.0  # later ones that count at most: the mean must be able to follow


class HeldAverage:
    """Averages the results of one shot over time where they are held; one for each shot."""

    def __init__(self) -> None:
        self.mean = self.count = self.drift = self.shown = None

    def add(self, image: np.ndarray, regions: Sequence[Rect] | None = None) -> np.ndarray:
        """The next result (h, w, 3) of a shot, uint8 or uint16, averaged with those before it.

        Args:
            regions: the parts of it in which it differs from the one before, with sides that are multiples of
                4 but at its border. Default: all of it.
        """
        if self.mean is None:
            self.mean = image.astype(np.float32)
            self.count = np.ones([-(-side // BLOCK) for side in image.shape[:2]], np.float32)
            self.drift = np.zeros((2, *self.count.shape), np.float32)
            self.shown = image.copy()
        else:
            for region in [Rect(0, 0, *image.shape[:2])] if regions is None else regions:
                self._add(image, region)
        return self.shown.copy()

    def _add(self, image, region):
        pixels = np.s_[region.top : region.bottom, region.left : region.right]
        blocks = np.s_[
            region.top // BLOCK : -(-region.bottom // BLOCK), region.left // BLOCK : -(-region.right // BLOCK)
        ]
        new, shown, mean, count = image[pixels], self.shown[pixels], self.mean[pixels], self.count[blocks]
        difference = cv2.subtract(new, mean, dtype=cv2.CV_32F)
        count *= allowed(new, shown, difference, self.drift[(slice(None), *blocks)])
        share = 1 / (1 + count + (FIRST - 1) * np.minimum(count, 1))
        share = cv2.resize(share, new.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        np.minimum(count + 1, MOST, out=count)
        cv2.multiply(difference, cv2.merge([share] * 3), dst=difference)
        mean += difference
        shown[:] = rounded(mean, image.dtype)


def allowed(new: np.ndarray, shown: np.ndarray, difference: np.ndarray, drift: np.ndarray) -> np.ndarray:
    """How far each block is averaged, from 0 to 1.

    Args:
        new, shown (h, w, 3), uint8 or uint16: a result, and the mean of those before it.
        difference (h, w, 3), float32: of the two, without rounding.
        drift (2, rows, columns): the motions of the last frames together, in blocks; brought up to date.
    """
    unit, grid = 255 / np.iinfo(new.dtype).max, drift.shape[1:]

    def blocks(picture):
        return cv2.resize(picture, grid[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) * unit

    contrast = cv2.dilate(blocks(local_range(cv2.extractChannel(new, 1))), np.ones((3, 3)))
    change, signed = most(blocks(cv2.absdiff(new, shown))), blocks(difference)
    before, brightness = (cv2.transform(picture, LUMA[None]) for picture in (blocks(shown), signed))
    shift = most(np.abs(cv2.blur(signed, (5, 5))))
    noise = NOISE + NEAR_LINES * np.minimum(contrast, MOST_CONTRAST)
    moved = motion(before, brightness)
    distance = np.hypot(*moved)
    drift *= REMEMBERED
    drift += moved * np.minimum(1, MOTION / np.maximum(distance, 1e-6))  # a new drawing is no drift
    worst = np.maximum.reduce(
        [
            cv2.blur(change, (3, 3)) / noise,
            change / (ALONE * noise),
            shift / (SHIFT + SHIFT_NEAR_LINES * contrast),
            distance / MOTION,
            np.hypot(*drift) / DRIFT,
        ]
    )
    lit = brightness[before > BLACK]
    worst = np.maximum(worst, np.abs(np.median(lit)) / FADE if lit.size else 0)
    return np.clip((1 + FADES_OUT - cv2.dilate(worst, np.ones((3, 3)))) / FADES_OUT, 0, 1)


def most(picture: np.ndarray) -> np.ndarray:
    """The largest of the three channels."""
    red, green, blue = cv2.split(picture)
    return cv2.max(red, cv2.max(green, blue))


def motion(picture: np.ndarray, change: np.ndarray) -> np.ndarray:
    """(2, h, w): by how many pixels a picture (h, w), in levels of 255, seems to move to the right and down
    around each pixel, given how it changes; 0 where it is flat.
    """

    def around(x):
        return cv2.blur(x, (NEIGHBOURHOOD, NEIGHBOURHOOD))

    gx, gy = (cv2.Scharr(picture, -1, *axis, scale=1 / 32) for axis in ((1, 0), (0, 1)))
    xx, xy, yy = around(gx * gx) + FLAT, around(gx * gy), around(gy * gy) + FLAT
    x, y = around(gx * change), around(gy * change)
    return np.stack([xy * y - yy * x, xy * x - xx * y]) / (xx * yy - xy * xy)


def rounded(mean: np.ndarray, kind: np.dtype) -> np.ndarray:
    """float32 in the range of the integer type `kind`, as that."""
    return cv2.convertScaleAbs(mean) if kind == np.uint8 else np.rint(mean).astype(kind)
