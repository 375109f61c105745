"""Measures of animation over time that need no weights: flicker of what is held, and bleeding across cuts.

Their names end in `_clip`: they are given whole clips, (t, 3, h, w) RGB in [0, 1], where others are given
frames. Each has a meter that is given a clip's frames one after another, so that a clip of any length needs
the memory of two frames (`METERS`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from animevsr.utils.registry import METRIC_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


BLOCK = 8  # side of the blocks whose means tell what happens apart from noise and blur
# change of such a mean, in levels of 255, up to which a block of an unknown original is taken for held
STILL = 1.0
CUT = 25.0  # mean change of such means, in levels, above which there is a cut


@METRIC_REGISTRY.register()
def calculate_flicker_clip(img: Tensor, img2: Tensor | None = None, **kwargs: Any) -> float:
    """Flicker: mean absolute change from frame to frame where the drawing is held.

        mean over t and held pixels of |img[t + 1] - img[t]| * 255

    With a ground truth a pixel is held where `img2` does not change in any channel. Without one, in blocks of
    8x8 of `img` itself whose mean changes by no more than 1 level in any channel from frame to frame, after
    the median change of all blocks is taken off: noise averages out there, and a change of brightness of the
    whole picture is no motion. Slow motion then counts as flicker too: such values compare methods on the
    same clips.

    Args:
        img (Tensor): (t, 3, h, w), RGB in [0, 1].
        img2 (Tensor | None): the ground truth, of the same size.

    Returns:
        float: levels of 255 per frame, in [0, 255]; lower is better. NaN where nothing is held, or with one
            frame.
    """
    return _measured(FlickerMeter(), img, img2)


class FlickerMeter:
    """`calculate_flicker_clip` of a clip whose frames come one after another."""

    def __init__(self, **kwargs: Any) -> None:
        self.total = 0.0
        self.count = 0
        self.before = None

    def update(self, img: Tensor, img2: Tensor | None = None) -> None:
        """Take in the next frame (1, 3, h, w) and, where there is one, that of the ground truth."""
        if self.before is not None:
            pair, truth = _with(self.before, img, img2)
            total, count = held_change(pair, truth)
            self.total, self.count = self.total + total, self.count + count
        self.before = img, img2

    def value(self) -> float:
        return self.total / self.count if self.count else float('nan')


def held_change(img: Tensor, img2: Tensor | None = None) -> tuple[float, int]:
    """Sum of the changes of held pixels and channels, in levels, and their number; see
    `calculate_flicker_clip`.
    """
    change = (img[1:] - img[:-1]).abs()
    if img2 is not None:
        held = (img2[1:] == img2[:-1]).all(1, keepdim=True)
    else:
        blocks = F.avg_pool2d(img, BLOCK, ceil_mode=True, count_include_pad=False)
        moved = (blocks[1:] - blocks[:-1]) * 255
        moved = moved - moved.flatten(2).median(-1).values[..., None, None]
        still = (moved.abs() <= STILL).all(1, keepdim=True)
        held = still.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)[
            ..., : img.shape[-2], : img.shape[-1]
        ]
    return float((change * held).sum() * 255), int(held.sum()) * img.shape[1]


@METRIC_REGISTRY.register()
def calculate_cut_bleed_clip(
    img: Tensor, img2: Tensor, cuts: list[int] | None = None, **kwargs: Any
) -> float:
    """Cut bleed: how much of the shot on the other side shows in the frames before and after a cut.

    With a and b the frames of the original before and after a cut, and r the result at b, all averaged over
    blocks of 8x8, the bleed after the cut is <r - b, a - b> / <a - b, a - b>: 0 if nothing of a is in r, 1 if
    r is a. The same before the cut, with a and b exchanged. The blocks keep blur, of which every edge is an
    error, out of it.

    Args:
        img (Tensor): (t, 3, h, w), RGB in [0, 1].
        img2 (Tensor): the original: the ground truth, or the low-quality input enlarged to the same size.
        cuts (list[int] | None): the first frame of each shot but the first. Default: where the mean change of
            the blocks of `img2` exceeds 25 levels.

    Returns:
        float: mean over cuts and both sides; about 0 to 1, lower is better. NaN without cuts.
    """
    return _measured(CutBleedMeter(cuts), img, img2)


class CutBleedMeter:
    """`calculate_cut_bleed_clip` of a clip whose frames come one after another."""

    def __init__(self, cuts: list[int] | None = None, **kwargs: Any) -> None:
        self.cuts = cuts
        self.shares = []
        self.before = None
        self.number = 0

    def update(self, img: Tensor, img2: Tensor) -> None:
        """Take in the next frame (1, 3, h, w) and that of the original."""
        now = tuple(
            F.avg_pool2d(x, BLOCK, ceil_mode=True, count_include_pad=False).flatten() for x in (img, img2)
        )
        if self.before is not None:
            d = now[1] - self.before[1]
            if d.abs().mean() * 255 > CUT if self.cuts is None else self.number in self.cuts:
                for (result, original), direction in ((now, -d), (self.before, d)):
                    self.shares.append(((result - original) @ direction / (d @ d)).item())
        self.before, self.number = now, self.number + 1

    def value(self) -> float:
        return sum(self.shares) / len(self.shares) if self.shares else float('nan')


METERS = {'calculate_flicker_clip': FlickerMeter, 'calculate_cut_bleed_clip': CutBleedMeter}


def _measured(meter, img, img2):
    for t in range(len(img)):
        meter.update(img[t : t + 1], None if img2 is None else img2[t : t + 1])
    return meter.value()


def _with(before, img, img2):
    """Two frames (2, 3, h, w) of the result and of the ground truth, which may be None."""
    return torch.cat([before[0], img]), None if img2 is None else torch.cat([before[1], img2])
