"""Held drawings stand still: where the picture is held, each result is averaged with those before it.

A network answers to the noise and the codec of every frame a little differently, and lines shimmer although
nothing moves. Here a result is compared with the mean of the last ones, in blocks. A block is averaged where
the small frame hardly changes around it (a codec repeats what is held, or mends it a little), or else as far
as three things allow: the change of the result is no larger than a network's answer to noise (which is larger
near lines); the brightness or colour around it, or of half of the picture, does not move; and what changed is
not a shift of the lines, which the optical flow of Lucas and Kanade tells from noise. Lines that drift in one
direction over several frames are never averaged. Nothing of this depends on the network.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np

from animevsr.engine.rectangles import Rect
from animevsr.utils.images import LUMA, local_range
from animevsr.utils.threads import usable_cores

BLOCK = 4  # side of a block in pixels of the result
BAND = 64  # rows of the result that are worked on at once
# in levels of 255
NOISE = 3.0  # mean change of a block that is taken for noise
NEAR_LINES = 0.1  # by how much more, for each level of contrast around the block
MOST_CONTRAST = 100.0  # that counts for this
ALONE = 1.5  # times as much in a block whose neighbours change less
SHIFT = 1.0  # change of the mean of 5x5 blocks
SHIFT_NEAR_LINES = 0.02
SOURCE_NOISE = 4.0  # mean change of 5x5 pixels of the small frame that is taken for noise
SOURCE_SHIFT = 2.0  # change of the mean of 9x9 pixels
SOURCE_DETAIL = 6.0  # of the mean of 5 in a row: a faint line or a small light, which no square sees
FADE = 0.25  # change of the brightness of half of what is not black
BLACK = 16.0
MOTION = 0.07  # blocks that the lines of a neighbourhood may seem to move
DRIFT = 0.12  # the same, of the motions of the last frames together, which cancel out where they are noise
REMEMBERED = 0.75  # of that sum from frame to frame
NEIGHBOURHOOD = 9  # its side in blocks
FLAT = 30.0  # squared gradient, in levels per block, below which nothing is said about motion
FADES_OUT = 0.5  # beyond 1 times what is allowed, over which averaging ends
FIRST = 6.0  # results that the first one of a held drawing is worth: what stays as it was shown is still
MOST = 8.0  # later ones that count at most: the mean must be able to follow
RAMP = 8  # frames over which a result that stands for several is faded in, as all of them would have been
MOVED = 0.99  # share of such a result from which it is shown at once
# five pixels in a row, in four directions
ROWS = [row / 5 for row in (np.ones((1, 5)), np.ones((5, 1)), np.eye(5), np.eye(5)[::-1])]


class HeldAverage:
    """Averages the results of one shot over time where they are held; one for each shot.

    Args:
        patience (float): see `Backend`.
    """

    def __init__(self, patience: float = 1.0) -> None:
        self.mean = None
        self.first, self.most = FIRST * patience, MOST * patience

    def add(
        self, image: np.ndarray, source: np.ndarray, regions: Sequence[Rect] | None = None, times: int = 1
    ) -> np.ndarray:
        """The next result (h, w, 3) of a shot, uint8 or uint16, averaged with those before it.

        Args:
            source: the frame (h', w', 3) that it was made from, of the same kind and of another size.
            regions: the parts of the result in which it differs from the one before, with sides that are
                multiples of 4 but at its border. Default: all of it.
            times (int): of how many frames the result counts: those since the last one that was computed.
        """
        if self.mean is None:
            self.mean = image.astype(np.float32)
            self.count = np.ones([-(-side // BLOCK) for side in image.shape[:2]], np.float32)
            self.drift = np.zeros((2, *self.count.shape), np.float32)
            self.source = source.astype(np.float32)
            self.shown = image.copy()
            self.before, self.left = None, 0  # a picture that is still to be left, and in how many frames
            return image.copy()
        regions = [Rect(0, 0, *image.shape[:2])] if regions is None else regions
        if times > 1:
            before = self._current()
        if regions:
            change = cv2.subtract(source, self.source, dtype=cv2.CV_32F)
            seen = source_change(change * (255 / np.iinfo(source.dtype).max), source)
            seen = cv2.resize(seen, self.count.shape[::-1], interpolation=cv2.INTER_LINEAR)
            shares = np.zeros_like(self.count)
            for region in regions:
                self._add(image, region, seen, shares, times)
                if self.left:
                    pixels = np.s_[region.top : region.bottom, region.left : region.right]
                    self.before[pixels] = self.shown[pixels]
            if times > 1:  # what did not move does not jump
                moved = (shares > MOVED).astype(np.uint8)
                moved = cv2.resize(moved, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
                cv2.copyTo(self.shown, moved, before)
                self.before, self.left = before, RAMP
            shares = cv2.resize(shares, source.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            self.source += cv2.multiply(change, cv2.merge([shares] * 3))
        self.left = max(0, self.left - 1)
        return self._current()

    def _current(self):
        """What is shown now: on the way from what was shown before the last result that stood for several
        frames.
        """
        if not self.left:
            return self.shown.copy()
        share = self.left / RAMP
        return cv2.addWeighted(self.before, share, self.shown, 1 - share, 0)

    def _add(self, image, region, seen, shares, times):
        """Average a region; `shares` (rows, columns) takes down how much of the new result was taken."""
        pixels = np.s_[region.top : region.bottom, region.left : region.right]
        parts = region.parts(BLOCK)
        blocks = np.s_[parts.top : parts.bottom, parts.left : parts.right]
        arrays, count = (image[pixels], self.shown[pixels], self.mean[pixels]), self.count[blocks]
        measured = [np.concatenate(parts) for parts in zip(*in_bands(measure, *arrays))]
        worst, drift = result_change(*measured, self.drift[(slice(None), *blocks)])
        worst = np.maximum(np.minimum(worst, seen[blocks]), drift)
        count *= np.clip((1 + FADES_OUT - cv2.dilate(worst, np.ones((3, 3)))) / FADES_OUT, 0, 1)
        rest = np.ones_like(count)  # of the mean before
        for _ in range(times):
            rest *= 1 - 1 / (1 + count + (self.first - 1) * np.minimum(count, 1))
            np.minimum(count + 1, self.most, out=count)
        shares[blocks] = share = 1 - rest
        in_bands(partial(blend, share), *arrays)


def in_bands(function: Callable, *arrays: np.ndarray) -> list:
    """What a function makes of a slice of rows and all of the arrays (h, w, 3), slice by slice: small enough
    for a core's cache, on several cores.
    """
    height = len(arrays[0])
    bands = [slice(top, min(top + BAND, height)) for top in range(0, height, BAND)]
    return list(threads(os.getpid()).map(lambda band: function(band, *arrays), bands))


@functools.cache
def threads(process: int) -> ThreadPoolExecutor:
    """Those of a process: one that was forked has none of its parent's."""
    return ThreadPoolExecutor(min(4, usable_cores()), thread_name_prefix='average')


def measure(band: slice, new: np.ndarray, shown: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, ...]:
    """What is to be known of each block of a band, in levels of 255: its contrast (rows, columns); how much
    it changes, the mean change and the mean before it (rows, columns, 3).
    """
    unit = 255 / np.iinfo(new.dtype).max
    rows, columns = (-(-side // BLOCK) for side in new[band].shape[:2])

    def blocks(picture, rows=rows):
        return cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32) * unit

    above = min(band.start, BLOCK)  # what is seen around a pixel, too
    context = cv2.extractChannel(new[band.start - above : band.stop + BLOCK], 1)
    contrast = local_range(context)[above : above + band.stop - band.start]
    change = cv2.absdiff(new[band], shown[band])
    signed = cv2.subtract(new[band], mean[band], dtype=cv2.CV_32F)
    return blocks(contrast), blocks(change), blocks(signed), blocks(shown[band])


def blend(share: np.ndarray, band: slice, new: np.ndarray, shown: np.ndarray, mean: np.ndarray) -> None:
    """Bring a band of the mean, and of what is shown of it, up to date.

    Args:
        share (rows, columns): of the new result, for each block of the picture.
    """
    first = max(band.start // BLOCK - 1, 0)
    share = share[first : -(-band.stop // BLOCK) + 1]
    share = cv2.resize(share, None, fx=BLOCK, fy=BLOCK, interpolation=cv2.INTER_LINEAR)
    top = band.start - first * BLOCK
    share = share[top : top + band.stop - band.start, : new.shape[1]]
    difference = cv2.subtract(new[band], mean[band], dtype=cv2.CV_32F)
    cv2.multiply(difference, cv2.merge([share] * 3), dst=difference)
    mean[band] += difference
    shown[band] = rounded(mean[band], new.dtype)


def source_change(change: np.ndarray, source: np.ndarray) -> np.ndarray:
    """By how much more a frame changes around each pixel than by a codec's or an aerial's noise; 1: as much.

    Args:
        change (h, w, 3), float32: from the mean of the frames that the mean of the results was made from, in
            levels of 255.
        source (h, w, 3), uint8 or uint16: the frame.
    """
    brightness = cv2.transform(change, LUMA[None])
    lit = brightness[cv2.extractChannel(source, 1) > BLACK / 255 * np.iinfo(source.dtype).max]
    worst = [
        cv2.blur(most(np.abs(change)), (5, 5)) / SOURCE_NOISE,
        most(np.abs(cv2.blur(change, (9, 9)))) / SOURCE_SHIFT,
        *(most(np.abs(cv2.filter2D(change, -1, row))) / SOURCE_DETAIL for row in ROWS),
    ]
    return np.maximum(np.maximum.reduce(worst), fading(lit))


def result_change(
    contrast: np.ndarray, change: np.ndarray, signed: np.ndarray, before: np.ndarray, drift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By how much more a result changes in each block than by a network's answer to noise, and by how much
    more its lines drift; 1: as much.

    Args:
        contrast, change, signed, before: see `measure`.
        drift (2, rows, columns): the motions of the last frames together, in blocks; brought up to date.
    """
    contrast, change = cv2.dilate(contrast, np.ones((3, 3))), most(change)
    before, brightness = (cv2.transform(picture, LUMA[None]) for picture in (before, signed))
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
        ]
    )
    return np.maximum(worst, fading(brightness[before > BLACK])), np.hypot(*drift) / DRIFT


def fading(brightness: np.ndarray) -> float:
    """By how much more the brightness of half of what is not black changes than in a fade; 1: as much.

    Args:
        brightness: changes of what is not black, in levels of 255; every seventh tells as much.
    """
    return abs(np.median(brightness[::7])) / FADE if brightness.size else 0.0


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
