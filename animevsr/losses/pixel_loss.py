"""Pixel losses that BasicSR does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

from animevsr.utils.registry import LOSS_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


@LOSS_REGISTRY.register()
class L1L2Loss(nn.Module):
    """Weighted sum of mean absolute and mean squared error, with which learnable basic operators are trained
    first (AnimeSR).

    Args:
        l1_weight, l2_weight (float): Default: 1.0, 1.0.
    """

    def __init__(self, l1_weight: float = 1.0, l2_weight: float = 1.0) -> None:
        super().__init__()
        self.l1_weight = l1_weight
        self.l2_weight = l2_weight

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape -> a scalar."""
        return self.l1_weight * F.l1_loss(pred, target) + self.l2_weight * F.mse_loss(pred, target)


@LOSS_REGISTRY.register()
class EdgeCharbonnierLoss(nn.Module):
    """Charbonnier loss that counts the edges of the target more than its flat areas.

    A pixel's weight is 1 + `edge_weight` * g, where g in [0, 1] is the gradient of the target's luma, which
    reaches 1 at a step of a fifth of the range.

    Args:
        loss_weight (float): Default: 1.0.
        edge_weight (float): Default: 2.0.
        eps (float): below about this error the loss is quadratic. Default: 1e-3.
    """

    def __init__(self, loss_weight: float = 1.0, edge_weight: float = 2.0, eps: float = 1e-3) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.edge_weight = edge_weight
        self.eps = eps

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Two tensors (..., 3, h, w), RGB in [0, 1] -> a scalar."""
        luma = F.pad(target.detach().mean(-3), (0, 1, 0, 1), mode='replicate')
        steps = (luma[..., :-1, 1:] - luma[..., :-1, :-1]).abs() + (
            luma[..., 1:, :-1] - luma[..., :-1, :-1]
        ).abs()
        weight = 1 + self.edge_weight * (5 * steps).clamp(max=1).unsqueeze(-3)
        return self.loss_weight * (weight * ((pred - target) ** 2 + self.eps**2).sqrt()).mean()
