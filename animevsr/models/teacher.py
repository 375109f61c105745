"""What makes lines clean beyond the papers: a teacher that sees the undamaged frames; or, for a smaller
network, one to be imitated.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from animevsr.archs.loading import load_upscaler
from animevsr.utils.matlab_resize import matlab_resize

if TYPE_CHECKING:
    from torch import Tensor


class Teacher:
    """Targets between the ground truth and what a published network makes of the small, undamaged frames
    (privileged distillation).

    Such a network has learned from far more drawings how clean lines look, but only where its input is clean.
    Where it departs from the truth (thin hair, text, soft backgrounds), the truth wins.

    Args:
        weights (str): of a network, as `load_upscaler` takes it.
        share (float): its largest share of the target, in [0, 1].
        tolerance (float): mean departure from the truth, in levels of 255, at which its share has fallen to a
            third.
        sees (str): 'clean', the small frames without damage (privileged distillation), or 'degraded', those
            that the network sees, whose teacher is then one to be imitated.
        device: where it runs.
    """

    def __init__(
        self,
        weights: str | Path,
        share: float = 0.5,
        tolerance: float = 12,
        sees: str = 'clean',
        device: str | torch.device = 'cpu',
    ) -> None:
        if not 0 <= share <= 1 or tolerance <= 0:
            raise ValueError(
                f'teacher_opt: share must be in [0, 1] and tolerance above 0, got {share} and {tolerance}'
            )
        if sees not in ('clean', 'degraded'):
            raise ValueError(f"teacher_opt: sees must be 'clean' or 'degraded', got {sees!r}")
        self.sees = sees
        self.net = load_upscaler(weights, device).requires_grad_(False)
        self.share = share
        self.tolerance = tolerance / 255

    @torch.no_grad()
    def target(self, gt: Tensor, lq: Tensor) -> Tensor:
        """Ground truth (b, t, 3, h, w) in [0, 1] and its degraded small frames -> targets of its shape."""
        small = lq
        if self.sees == 'clean':
            h, w = gt.shape[-2:]
            small = matlab_resize(gt, h // self.net.scale, w // self.net.scale).clamp(0, 1)
        lines = self.net(small).float().clamp(0, 1)
        departure = F.avg_pool2d((lines - gt).abs().mean(2), 9, 1, 4, count_include_pad=False).unsqueeze(2)
        return torch.lerp(gt, lines, self.share * torch.exp(-((departure / self.tolerance) ** 2)))
