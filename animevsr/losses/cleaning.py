"""The loss of RealBasicVSR's cleaning module (Chan et al., CVPR 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from animevsr.losses.pixel_loss import EdgeCharbonnierLoss


class CleaningLoss(nn.Module):
    """The pixel loss of the output, and that of the cleaned frames against the ground truth made as small as
    they are.

    Args:
        net: has the cleaned frames (b, t, 3, h, w) of its last pass as `cleaned`.
        pixel, cleaning: losses of (prediction, target).
    """

    def __init__(self, net: nn.Module, pixel: EdgeCharbonnierLoss, cleaning: Any) -> None:
        super().__init__()
        # in a list: the network is not a part of its loss
        self.net = [net]
        self.pixel = pixel
        self.cleaning = cleaning

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        cleaned = self.net[0].cleaned
        small = F.interpolate(gt.flatten(0, 1), cleaned.shape[-2:], mode='area').view_as(cleaned)
        return self.pixel(pred, gt) + self.cleaning(cleaned, small)
