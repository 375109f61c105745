"""Held drawings and still backgrounds: what did not change is not computed again.

A cell of the picture is computed when its input (the frame, the one before and the one after) differs from that of the last time, with
what the network sees around it, or while its result was still settling then. Else its last result and its part of the network's state
stay. The whole picture is computed at the start of a shot and at intervals, where what was held is compared with what it should be.
"""
import cv2
import numpy as np

from animevsr.inference.regions import Region, merged

CELL = 32  # side of a cell in pixels of the input
BLOCK = 4  # side of the blocks whose mean change is looked at
NOISE = 3.0  # mean change of a block, in levels of 255, up to which it is taken for noise of a codec
SIGHT = 12  # pixels around a change in which results change visibly: the network reaches further, but weakly
SETTLED = 0.35  # mean change of a cell's result, in levels, below which it has settled
PATIENCE = 5  # steps after a change for which a cell may take to settle: with a noisy input no result ever stands still
INTERVAL = 24  # steps between two whole pictures
BOUND = 47.0  # dB: where held cells are further from what they should be, less is held. The promise is 45
WHOLE = 0.75  # share of the work of a whole picture from which that is computed instead


class HeldRegions:
    """Says which regions of a frame are due, in one shot.

    Args:
        size (pair of int): (height, width) of the padded input. halo (int): pixels that are computed around a region.
    """

    def __init__(self, size, halo):
        self.size, self.halo, self.noise, self.since, self.checks = size, halo, NOISE, 0, 0
        self.grid = tuple(-(-side // CELL) for side in size)
        self.active = np.ones(self.grid, bool)  # cells that have not settled
        self.age = np.zeros(self.grid, int)  # steps since they changed
        self.reference = None  # the input with which each pixel was last computed: three frames
        self.would_hold, self.off = None, False  # the cells on which a whole picture is checked

    def due(self, triple):
        """The regions to compute for an input, three images (h, w, 3). Notes them as computed."""
        if self.reference is None:
            self.reference = [frame.copy() for frame in triple]
            self.since = 0
            return [Region(0, 0, *self.size)]
        changed = self._changed(triple)
        self.age = np.where(changed, 0, self.age + 1)
        mask = changed | (self.active & (self.age <= PATIENCE))
        self.would_hold, self.since = None, self.since + 1
        due = self._cover(mask)
        # not at even intervals: what changes at one of its own could hide from them
        if self.off or self.since >= INTERVAL + 7 * self.checks % 5:
            self.would_hold, self.since, due = ~mask, 0, [Region(0, 0, *self.size)]
            self.checks += 1
        for region in due:
            for mine, frame in zip(self.reference, triple):
                mine[region.top:region.bottom, region.left:region.right] = frame[region.top:region.bottom, region.left:region.right]
        return due

    def _changed(self, triple):
        """Cells that see a change."""
        blocks = None
        for mine, frame in zip(self.reference, triple):
            difference = cv2.absdiff(mine, frame)
            if difference.dtype != np.uint8:
                difference = np.minimum(difference // 64, 255).astype(np.uint8) // 4
            small = cv2.resize(difference, (-(-self.size[1] // BLOCK), -(-self.size[0] // BLOCK)), interpolation=cv2.INTER_AREA).max(2)
            blocks = small if blocks is None else np.maximum(blocks, small)
        mask = (blocks > self.noise).astype(np.uint8)
        reach = 2 * (SIGHT // BLOCK) + 1
        mask = cv2.dilate(mask, np.ones((reach, reach), np.uint8))
        per_cell = CELL // BLOCK
        padded = np.zeros((self.grid[0] * per_cell, self.grid[1] * per_cell), np.uint8)
        padded[:mask.shape[0], :mask.shape[1]] = mask
        return padded.reshape(self.grid[0], per_cell, self.grid[1], per_cell).any((1, 3))

    def _cover(self, mask):
        """Few rectangles that hold all cells of a mask; the whole picture where that is hardly more work."""
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        boxes = [Region(top * CELL, left * CELL, min(self.size[0], (top + height) * CELL), min(self.size[1], (left + width) * CELL))
                 for left, top, width, height, _ in stats[1:count].tolist()]
        if len(boxes) > 40:
            boxes = [Region(0, 0, *self.size)]
        boxes = merged(boxes, self._cost)
        if sum(map(self._cost, boxes)) > WHOLE * self.size[0] * self.size[1]:
            return [Region(0, 0, *self.size)]
        return boxes

    def _cost(self, region):
        return region.grown(self.halo, self.size).area

    def learn(self, region, before, after, scale):
        """Take in how the result of a region changed, both (scale*h, scale*w, 3): which cells have settled, and what holding cost."""
        unit = 1.0 if after.dtype == np.uint8 else 1 / 257
        side = CELL * scale
        difference = cv2.absdiff(before, after)
        for row in range(region.top // CELL, -(-region.bottom // CELL)):
            for column in range(region.left // CELL, -(-region.right // CELL)):
                part = difference[row * side - region.top * scale:(row + 1) * side - region.top * scale,
                                  column * side - region.left * scale:(column + 1) * side - region.left * scale]
                if part.size:
                    self.active[row, column] = float(part.mean()) * unit > SETTLED
        if self.would_hold is not None:
            self._check(difference, unit, scale)

    def _check(self, difference, unit, scale):
        """Compare what was held with what it should be; hold less where it is too far off, and nothing where that does not help."""
        mask = np.repeat(np.repeat(self.would_hold, CELL * scale, 0), CELL * scale, 1)[:difference.shape[0], :difference.shape[1]]
        if not mask.any():
            return
        # the cells that hold now bear the error of the whole picture: the others are exact
        error = np.square(difference[mask].astype(np.float32) * unit).sum() / difference.size
        if error > 255**2 / 10**(BOUND / 10):
            self.noise *= 0.6
            self.off = self.noise < 0.5
