"""Held drawings and still backgrounds: what did not change is not computed again.

A cell of the picture is computed when its input (the frame, the one before and the one after) differs from
that of the last time, with what the network sees around it, or while its result was still settling then. Of
what is computed, only the blocks whose input or result has changed are shown anew: the rest stands still, as
it does in the drawing. The whole picture is computed at the start of a shot and at intervals, where what was
held is compared with what it should be.
"""

import cv2
import numpy as np

from animevsr.engine.rectangles import Rect, merged

CELL = 16  # side of a cell in pixels of the input
BLOCK = 4  # side of the blocks whose mean change is looked at, in pixels of the input
NOISE = 3.0  # mean change of a block, in levels of 255, up to which it is taken for noise of a codec
SHIFT = 1.0  # mean change of a cell, in levels, up to which its brightness is taken to be the same
# pixels around a change in which results change by more than 0.1 levels: the network reaches further, but
# weakly
SIGHT = 8
# mean change of a block's result, in levels, up to which it is not shown; a cell without such blocks has
# settled
VISIBLE = 0.8
# pixels around a region that are computed with it: what lies further away changes the bundled network's by
# 0.002 levels
HALO = 12
# steps after a change for which a cell may take to settle: with a noisy input no result ever stands still
PATIENCE = 5
INTERVAL = 24  # steps between two whole pictures
BOUND = 47.0  # dB: where held cells are further from what they should be, less is held. The promise is 45
WHOLE = 0.75  # share of the work of a whole picture from which that is computed instead


class DirtyRegions:
    """Says which regions of a frame are due, in one shot.

    Args:
        size (pair of int): (height, width) of the padded input. reach (int): of the network, in pixels.

    Attributes:
        halo (int): pixels that are computed around a region.
    """

    def __init__(self, size, reach):
        self.size, self.halo, self.noise, self.since, self.checks = size, min(reach, HALO), NOISE, 0, 0
        self.grid = tuple(-(-side // CELL) for side in size)
        # of each cell; fewer at the borders
        self.blocks = grouped(np.ones([side // BLOCK for side in size]), self.grid).sum((1, 3))
        self.active = np.ones(self.grid, bool)  # cells that have not settled
        self.age = np.zeros(self.grid, int)  # steps since they changed
        self.triple = self.changed = None  # the input, and the blocks of it that changed
        self.reference = None  # the input of which each pixel of the result was made: three frames
        self.would_hold, self.off = None, False  # the cells on which a whole picture is checked

    def dirty_rects(self, triple):
        """The regions to compute for an input, three images (h, w, 3); `paint` is to be called with the
        result of each.
        """
        self.triple, whole = triple, [Rect(0, 0, *self.size)]
        if self.reference is None:
            self.reference = [frame.copy() for frame in triple]
            return whole
        self.changed = self._blocks()
        changed = self._seen(self.changed)
        self.age = np.where(changed, 0, self.age + 1)
        mask = changed | (self.active & (self.age <= PATIENCE))
        self.would_hold, self.since = None, self.since + 1
        # not at even intervals: what changes at one of its own could hide from them
        if self.off:
            self.changed[:] = True
            return whole
        if self.since >= INTERVAL + 7 * self.checks % 5:
            self.would_hold, self.since = ~mask, 0
            self.checks += 1
            return whole
        regions = self._cover(mask)
        if regions == whole and self._cover(changed) == whole:  # it moves: nothing is held
            self.changed[:] = True
        return regions

    def _blocks(self):
        """Blocks of the input that changed: by more than noise, or all in one direction, as in a slow
        fade.
        """
        changed = np.zeros([side // BLOCK for side in self.size], bool)
        for mine, frame in zip(self.reference, self.triple):
            brighter, darker = (self._means(cv2.subtract(*pair)) for pair in ((frame, mine), (mine, frame)))
            changed |= (brighter + darker).max(2) > self.noise
            shift = np.stack(
                [grouped(channel, self.grid).sum((1, 3)) for channel in np.moveaxis(brighter - darker, 2, 0)]
            )
            changed |= enlarged(np.abs(shift).max(0) > SHIFT * self.blocks, CELL // BLOCK, changed.shape)
        return changed

    def _means(self, difference):
        """Of the blocks of a difference of frames, (rows, columns, 3), in levels of 255."""
        if difference.dtype != np.uint8:
            difference = difference.astype(np.float32) / 257
        return cv2.resize(
            difference, (self.size[1] // BLOCK, self.size[0] // BLOCK), interpolation=cv2.INTER_AREA
        ).astype(np.float32)

    def _seen(self, blocks):
        """Cells that see one of the blocks."""
        reach = 2 * (SIGHT // BLOCK) + 1
        return grouped(cv2.dilate(blocks.astype(np.uint8), np.ones((reach, reach), np.uint8)), self.grid).any(
            (1, 3)
        )

    def _cover(self, mask):
        """Few rectangles that hold all cells of a mask; the whole picture where that is hardly more work."""
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        boxes = [
            Rect(
                top * CELL,
                left * CELL,
                min(self.size[0], (top + height) * CELL),
                min(self.size[1], (left + width) * CELL),
            )
            for left, top, width, height, _ in stats[1:count].tolist()
        ]
        if len(boxes) > 40:
            boxes = [Rect(0, 0, *self.size)]
        boxes = merged(boxes, self._cost)
        if sum(map(self._cost, boxes)) > WHOLE * self.size[0] * self.size[1]:
            return [Rect(0, 0, *self.size)]
        return boxes

    def _cost(self, region):
        return region.expanded(self.halo, self.size).area

    def paint(self, canvas, image, region, scale):
        """Put the result of a region, (scale*h, scale*w, 3), onto the picture, where it is to be seen."""
        unit, side = 1.0 if image.dtype == np.uint8 else 1 / 257, BLOCK * scale
        difference = cv2.absdiff(cut(canvas, region.scaled(scale)), image)
        rows, columns = (-(-length // side) for length in difference.shape[:2])
        filled = cv2.copyMakeBorder(
            difference,
            0,
            rows * side - difference.shape[0],
            0,
            columns * side - difference.shape[1],
            cv2.BORDER_REFLECT,
        )
        means = (
            cv2.resize(filled.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA).mean(2)
            * unit
        )
        cells = np.s_[
            region.top // CELL : -(-region.bottom // CELL), region.left // CELL : -(-region.right // CELL)
        ]
        self.active[cells] = grouped(means > VISIBLE, self.active[cells].shape).any((1, 3))
        if self.would_hold is not None:
            self._check(self.would_hold[cells], difference, unit, scale)
        shown = cut(self.changed, region.parts(BLOCK)) | (means > VISIBLE)
        copy(image, cut(canvas, region.scaled(scale)), shown, side)
        for mine, frame in zip(self.reference, self.triple):
            copy(cut(frame, region), cut(mine, region), shown, BLOCK)

    def _check(self, held, difference, unit, scale):
        """Compare what was held with what it should be; hold less where it is too far off, and nothing where
        that does not help.
        """
        mask = enlarged(held, CELL * scale, difference.shape)
        if not mask.any():
            return
        # the cells that hold now bear the error of the whole picture: the others are exact
        error = np.square(difference[mask].astype(np.float32) * unit).sum() / difference.size
        if error > 255**2 / 10 ** (BOUND / 10):
            self.noise *= 0.6
            self.off = self.noise < 0.5


def cut(image, region):
    """The part of an image (h, w, ...)."""
    return image[region.top : region.bottom, region.left : region.right]


def grouped(blocks, grid):
    """Blocks as (rows, n, columns, n), the n * n of each cell of the grid; zero where they are missing."""
    count = CELL // BLOCK
    filled = np.zeros((grid[0] * count, grid[1] * count), blocks.dtype)
    filled[: blocks.shape[0], : blocks.shape[1]] = blocks
    return filled.reshape(grid[0], count, grid[1], count)


def enlarged(mask, side, shape):
    """A mask of squares as one of pixels, of the (height, width) of a shape."""
    return np.repeat(np.repeat(mask, side, 0), side, 1)[: shape[0], : shape[1]]


def copy(source, target, mask, side):
    """Copy one image to another where a mask of squares says so."""
    np.copyto(target, source, where=enlarged(mask, side, target.shape)[..., None])
