"""Rectangles of a frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class Rect(NamedTuple):
    """Rows `top` to `bottom`, columns `left` to `right`, ends left out."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def cut(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """The part of a tensor or array (..., h, w)."""
        return x[..., self.top : self.bottom, self.left : self.right]

    def expanded(self, margin: int, size: tuple[int, int]) -> Rect:
        """With `margin` pixels around it, inside (height, width)."""
        return Rect(
            max(0, self.top - margin),
            max(0, self.left - margin),
            min(size[0], self.bottom + margin),
            min(size[1], self.right + margin),
        )

    def window(self, side: int, size: tuple[int, int]) -> Rect:
        """A square of `side` pixels with it in its middle, moved, and cut only where it is longer than the
        picture, so as to lie inside (height, width).
        """
        height, width = (min(side, length) for length in size)
        top = min(max(0, (self.top + self.bottom - height) // 2), size[0] - height)
        left = min(max(0, (self.left + self.right - width) // 2), size[1] - width)
        return Rect(top, left, top + height, left + width)

    def relative_to(self, outer: Rect) -> Rect:
        """Its place in the part that `outer` cuts out."""
        return Rect(
            self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left
        )

    def scaled(self, factor: int) -> Rect:
        return Rect(*(side * factor for side in self))

    def tiled(self, side: int, multiple: int) -> list[Rect]:
        """Itself in `tiles`."""
        size = self.bottom - self.top, self.right - self.left
        return [
            Rect(self.top + tile.top, self.left + tile.left, self.top + tile.bottom, self.left + tile.right)
            for tile in tiles(size, side, multiple)
        ]

    def parts(self, side: int) -> Rect:
        """In squares of `side` pixels: those of a grid that hold it."""
        return Rect(self.top // side, self.left // side, -(-self.bottom // side), -(-self.right // side))

    def clipped(self, height: int, width: int) -> Rect:
        return Rect(self.top, self.left, min(self.bottom, height), min(self.right, width))

    def union(self, other: Rect) -> Rect:
        return Rect(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )


def tiles(size: tuple[int, int], side: int, multiple: int = 4) -> list[Rect]:
    """Regions of (height, width), of about the same size, none larger than `side` each way; they meet at
    multiples of `multiple`.
    """
    edges = []
    for total in size:
        count = -(-total // max(multiple, side - multiple)) if total > side else 1
        edges.append([min(total, -(-total * i // count // multiple) * multiple) for i in range(count + 1)])
    return [
        Rect(top, left, bottom, right)
        for top, bottom in zip(edges[0], edges[0][1:])
        for left, right in zip(edges[1], edges[1][1:])
    ]


def split(mask: np.ndarray, region: Rect, margin: int) -> list[Rect]:
    """Rectangles that hold all of a region that is in a mask (h, w): it is cut in two, again and again, where
    the two halves, each as small as it can be, take less with `margin` around them.
    """
    start, inside = np.array([region.top, region.left] * 2), region.cut(mask)
    halves = np.concatenate([cuts(inside), cuts(inside.T)[..., [1, 0, 3, 2]]], 1) + start
    top, left, bottom, right = np.moveaxis(halves, 2, 0)
    height = np.minimum(bottom + margin, mask.shape[0]) - np.maximum(top - margin, 0)
    width = np.minimum(right + margin, mask.shape[1]) - np.maximum(left - margin, 0)
    areas = (height * width).sum(0)
    if not areas.size or areas.min() >= region.expanded(margin, mask.shape).area:
        return [region]
    return [part for half in halves[:, areas.argmin()].tolist() for part in split(mask, Rect(*half), margin)]


def cuts(mask: np.ndarray) -> np.ndarray:
    """All ways of cutting what is in a mask (h, w) between two rows: (2, ways, 4), the smallest rectangles
    that hold the upper and the lower half.
    """
    rows = np.flatnonzero(mask.any(1))
    above, below = rows[:-1], rows[1:]  # the last row of the upper half, the first of the lower one
    halves = []
    for part, ends in ((mask, above), (mask[::-1], len(mask) - 1 - below)):
        columns = np.logical_or.accumulate(part, 0)[ends]
        halves.append((columns.argmax(1), mask.shape[1] - columns[:, ::-1].argmax(1)))
    top, bottom = np.full_like(above, rows[0]), np.full_like(below, rows[-1] + 1)
    (left, right), (lower_left, lower_right) = halves
    upper = np.stack([top, left, above + 1, right], 1)
    return np.stack([upper, np.stack([below, lower_left, bottom, lower_right], 1)])


def merged(regions: list[Rect], cost: Callable) -> list[Rect]:
    """Regions in which pairs are joined where that costs no more than the two; `cost(region)`."""
    regions = list(regions)
    found = True
    while found:
        found = False
        for i, a in enumerate(regions):
            for b in regions[i + 1 :]:
                if cost(a.union(b)) <= cost(a) + cost(b):
                    regions = [r for r in regions if r is not a and r is not b] + [a.union(b)]
                    found = True
                    break
            if found:
                break
    return regions
