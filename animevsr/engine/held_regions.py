"""Held drawings and still backgrounds: what did not change is not computed again.

The input is compared with the one of which the picture was made. A block of it counts as changed where it
differs by more than the noise of a codec explains (which is larger near lines), where its brightness moves,
or where a smaller difference lasts. What sees a changed block is computed, together with what lies
around it; the rest of the picture stands still, as it does in the drawing. Only the frame itself decides,
not its neighbours, although the network looks at them: they change a held drawing's result by less than
noise does. Now and then the whole picture is computed. There what was held is compared with what it should
be, and the tolerances grow or shrink until the difference is about `AIM`.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from animevsr.engine.rectangles import Rect, merged, split
from animevsr.utils.images import LUMA, as_bytes, local_range

CELL = 16  # side of a cell in pixels of the input
BLOCK = 4  # side of the blocks whose mean change is looked at, in pixels of the input
SIGHT = 8  # pixels around a change in which results change visibly: the network reaches further, but weakly
# pixels around a region that are computed with it: what lies further away changes the bundled network's
# result by 0.002 levels
HALO = 12
TILE = 64  # side of the squares that cover what is due where they are computed together
# tolerances, in levels of 255, all multiplied by `slack`
NOISE = 5.0  # mean change of a block that is taken for noise
NEAR_LINES = 0.005  # by how much more, for each level of contrast around the block: mosquito noise
SURE = 2.5  # times the tolerance: changed even where the blocks around are not
LASTS = 0.8  # times the tolerance: the same of the mean of the last inputs
SHIFT = 1.7  # change of a cell's brightness
# times as much of a colour: codecs round the mean of a block to whole steps, which in blue are twice as large
COLOUR = 2.0
# share of the cells: where so many more become brighter than darker (or the reverse), half of `SHIFT` counts
FADE = 0.4
MOST_SLACK = 1.15  # more of it hides small motions, and holds hardly more
VISIBLE = 0.8  # mean change of a block's result up to which it is not shown
AIM = 46.5  # dB of the whole picture: the promise is 45
# steps after the first one in which all is computed: the first results are the least sure ones, unless the
# network has seen the first frame before
SETTLE, SETTLE_WARM = 2, 0
FIRST_CHECK, INTERVAL = 6, 24  # steps to the first whole picture, at most so many between two later ones
# steps that every other whole picture waits for one of which this share is due anyway
PATIENCE, CHEAP = 3, 0.3
MOST_PARTS = 40  # that are looked at
WHOLE = 0.75  # share of the work of a whole picture from which that is computed instead
RESTLESS, PAUSE = 3, 4  # after so many whole pictures in a row nobody looks for so many steps


class DirtyRegions:
    """Says which regions of a frame are due, in one shot.

    Args:
        size (tuple[int, int]): (height, width) of the padded input. reach (int): of the network, in pixels.
        warm (bool): the network has seen the first frame before.
        square (bool): the regions are squares of `TILE` pixels on a grid (smaller at the borders), each to be
            computed in a window of `window` pixels: many at once, as a GPU wants them.

    Attributes:
        halo (int): pixels that are computed around a region. window (int | None): see `square`.
        slack (float): how much is tolerated, 1 at first; 0 where holding does not work at all.
        stands_for (int): frames that the last whole picture counts for: those since the one before it.
    """

    def __init__(self, size: tuple[int, int], reach: int, warm: bool = False, square: bool = False) -> None:
        self.size = size
        self.halo = min(reach, HALO)
        self.window = TILE + 2 * self.halo if square else None
        self.warm = warm
        self.stands_for = 1
        self.slack = 1.0
        self.grid = tuple(-(-side // CELL) for side in size)
        self.blocks = tuple(side // BLOCK for side in size)
        # of each cell; fewer at the borders
        self.count = grouped(np.ones(self.blocks), self.grid).sum((1, 3))
        self.frame = self.changed = None  # the input, and the blocks of it that changed
        self.reference = self.mean = None  # the input of which the picture was made; the mean of later ones
        self.since = 0
        self.until_check, self.patience = FIRST_CHECK, PATIENCE
        self.restless, self.pause = 0, 1 + (SETTLE_WARM if warm else SETTLE)  # the first steps compute all
        self.would_hold = None  # the blocks on which a whole picture is checked
        self.error, self.compared = 0.0, 0  # squared, in levels; over so many values

    def dirty_rects(self, frame: np.ndarray) -> list[Rect]:
        """The regions to compute for a frame (h, w, 3); `paint` is to be called with the result of each."""
        self.frame = as_bytes(frame)
        height, width = self.size
        if self.frame.shape[:2] != self.size:
            pad = (0, height - self.frame.shape[0], 0, width - self.frame.shape[1])
            self.frame = cv2.copyMakeBorder(self.frame, *pad, cv2.BORDER_REPLICATE)
        whole = [Rect(0, 0, height, width)]
        self.would_hold, self.stands_for = None, 1
        self._set_slack()
        if self.slack == 0 or self.pause:
            self.pause = max(0, self.pause - 1)
            self.changed = None
            return whole
        self.changed = self._changed()
        mask = seen(self.changed)
        self.since += 1
        regions = self._cover(mask)
        if regions == whole:
            self.changed, self.restless = None, self.restless + 1
            if self.restless >= RESTLESS:
                self.pause = PAUSE
        elif self.since >= self.until_check + (0 if self._is_cheap(regions) else self.patience):
            # not at even intervals: what changes at one of its own could hide from them; nor always where
            # much is due: what is held between such frames would never be compared
            self.stands_for = self.since
            self.since, self.until_check = 0, min(INTERVAL, 2 * self.until_check) - self.until_check % 5
            self.patience = PATIENCE - self.patience
            self.would_hold = ~mask
            regions = whole
        else:
            self.restless = 0
        return regions

    def _changed(self) -> np.ndarray:
        """Mask of the blocks of the input that changed."""
        tolerance = self.slack * NOISE * (1 + NEAR_LINES * self._contrast())
        brighter = self._means(cv2.subtract(self.frame, self.reference))
        darker = self._means(cv2.subtract(self.reference, self.frame))
        change = (brighter + darker).max(2)
        changed = change > tolerance
        together = cv2.boxFilter(
            changed.astype(np.float32), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        changed &= (together > 2.5) | (change > SURE * tolerance)
        cv2.accumulateWeighted(self.frame, self.mean, 0.25)
        lasting = self._means(cv2.absdiff(self.mean, self.reference.astype(np.float32))).max(2)
        changed |= lasting > LASTS * tolerance
        shift = [grouped(c, self.grid).sum((1, 3)) / self.count for c in np.moveaxis(brighter - darker, 2, 0)]
        allowed = self.slack * SHIFT
        moved = self._moved(np.tensordot(LUMA, shift, 1), allowed, allowed / 2)
        for channel in shift:
            moved |= self._moved(channel, COLOUR * allowed, allowed / 2)
        return changed | enlarged(moved, CELL // BLOCK, changed.shape)

    @staticmethod
    def _moved(shift: np.ndarray, allowed: float, together: float) -> np.ndarray:
        """Which cells have shifted by more than is allowed: each for itself, or most in one direction."""
        most = abs((shift > together).mean() - (shift < -together).mean()) > FADE
        return np.abs(shift) > (together if most else allowed)

    def _means(self, image: np.ndarray) -> np.ndarray:
        """Of the blocks of an image, (rows, columns, 3), in levels."""
        small = cv2.resize(image, self.blocks[::-1], interpolation=cv2.INTER_AREA)
        return small.astype(np.float32)

    def _contrast(self) -> np.ndarray:
        """Of the surroundings of each block, in levels; lines have 100 or more."""
        return self._means(local_range(cv2.cvtColor(self.reference, cv2.COLOR_RGB2GRAY))).clip(0, 100)

    def _cover(self, mask):
        """Few rectangles, or squares, that hold all blocks of a mask; the whole picture where that is hardly
        more work.
        """
        boxes = self._squares(mask) if self.window else self._rectangles(mask)
        if sum(map(self._cost, boxes)) > WHOLE * self.size[0] * self.size[1]:
            return [Rect(0, 0, *self.size)]
        return boxes

    def _squares(self, mask):
        height, width = self.size
        squares = [
            Rect(top, left, min(top + TILE, height), min(left + TILE, width))
            for top in range(0, height, TILE)
            for left in range(0, width, TILE)
        ]
        return [square for square in squares if cut(mask, square.parts(BLOCK)).any()]

    def _rectangles(self, mask):
        """Those of the parts that hang together, of which each is split, and pairs are joined, where that
        costs less.
        """
        parts = connected_parts(mask)
        if len(parts) > MOST_PARTS:  # those that share a cell are one
            cells = grouped(mask, self.grid).any((1, 3))
            cells = enlarged(cells, CELL // BLOCK, mask.shape)
            parts = [(mask & part, region) for part, region in connected_parts(cells)]
        if len(parts) > MOST_PARTS:
            return [Rect(0, 0, *self.size)]
        margin = self.halo // BLOCK
        boxes = [box.scaled(BLOCK) for part, region in parts for box in split(part, region, margin)]
        return merged(boxes, self._cost)

    def _is_cheap(self, regions):
        """Whether so much is due that a whole picture is not much more."""
        return sum(map(self._cost, regions)) > CHEAP * self.size[0] * self.size[1]

    def around(self, region: Rect) -> Rect:
        """What is computed for a region."""
        if self.window and region != Rect(0, 0, *self.size):
            return region.window(self.window, self.size)
        return region.expanded(self.halo, self.size)

    def _cost(self, region):
        return self.around(region).area

    def paint(self, canvas: np.ndarray, image: np.ndarray, region: Rect, scale: int) -> None:
        """Put the result of a region, (scale*h, scale*w, 3), onto the picture, where it is to be seen."""
        if self.reference is None:
            self.reference = self.frame.copy()
            self.mean = self.frame.astype(np.float32)
        for memory in (self.reference, self.mean):
            cut(memory, region)[:] = cut(self.frame, region)
        place = cut(canvas, region.scaled(scale))
        if self.changed is None:
            place[:] = image
            return
        difference = cv2.absdiff(place, image)
        unit = 1.0 if image.dtype == np.uint8 else 1 / 257
        means = block_means(difference, BLOCK * scale).mean(2) * unit
        if self.would_hold is not None:
            self._compare(difference, region, unit, scale)
            if self.warm:  # it is averaged then
                place[:] = image
                return
        shown = cut(self.changed, region.parts(BLOCK)) | (means > VISIBLE)
        np.copyto(place, image, where=enlarged(shown, BLOCK * scale, place.shape)[..., None])

    def _compare(self, difference: np.ndarray, region: Rect, unit: float, scale: int) -> None:
        """Add up how far what was held in a region is from what it should be."""
        held = enlarged(cut(self.would_hold, region.parts(BLOCK)), BLOCK * scale, difference.shape)
        # the blocks that hold now bear the error of the whole picture: the others are exact
        self.error += float(np.square(difference[held].astype(np.float32) * unit).sum())
        self.compared += difference.size

    def _set_slack(self) -> None:
        """Tolerate more or less, by the last comparison; nothing where holding does not help."""
        if self.compared and self.error:
            aim = 255**2 / 10 ** (AIM / 10)
            factor = (aim * self.compared / self.error) ** 0.5
            self.slack = min(MOST_SLACK, self.slack * float(np.clip(factor, 0.5, 1.2)))
            if self.slack < 0.15:
                self.slack = 0.0
        self.error = 0.0
        self.compared = 0


def cut(image: np.ndarray, region: Rect) -> np.ndarray:
    """The part of an image (h, w, ...)."""
    return image[region.top : region.bottom, region.left : region.right]


def connected_parts(mask: np.ndarray) -> list[tuple[np.ndarray, Rect]]:
    """The parts of a mask that hang together, each as a mask and the rectangle that holds it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [
        (labels == i, Rect(top, left, top + height, left + width))
        for i, (left, top, width, height, _) in enumerate(stats[1:].tolist(), 1)
    ]


def seen(blocks: np.ndarray) -> np.ndarray:
    """Blocks whose results change visibly with one of the given blocks."""
    side = 2 * (SIGHT // BLOCK) + 1
    return cv2.dilate(blocks.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def grouped(blocks: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Blocks as (rows, n, columns, n), the n * n of each cell of the grid; zero where they are missing."""
    count = CELL // BLOCK
    filled = np.zeros((grid[0] * count, grid[1] * count), blocks.dtype)
    filled[: blocks.shape[0], : blocks.shape[1]] = blocks
    return filled.reshape(grid[0], count, grid[1], count)


def enlarged(mask: Any, side: int, shape: Any) -> np.ndarray:
    """A mask of squares as one of pixels, of the (height, width) of a shape."""
    return np.repeat(np.repeat(mask, side, 0), side, 1)[: shape[0], : shape[1]]


def block_means(image: np.ndarray, side: int) -> np.ndarray:
    """Means of the squares of an image (h, w, 3); those at the borders may be smaller."""
    rows, columns = (-(-length // side) for length in image.shape[:2])
    pad = rows * side - image.shape[0], columns * side - image.shape[1]
    if any(pad):
        image = cv2.copyMakeBorder(image, 0, pad[0], 0, pad[1], cv2.BORDER_REFLECT)
    return cv2.resize(image.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
