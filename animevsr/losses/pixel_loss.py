"""Pixel losses that BasicSR does not have."""
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn
from torch.nn import functional as F


@LOSS_REGISTRY.register()
class L1L2Loss(nn.Module):
    """Weighted sum of mean absolute and mean squared error, with which learnable basic operators are trained first (AnimeSR).

    Args:
        l1_weight, l2_weight (float): Default: 1.0, 1.0.
    """

    def __init__(self, l1_weight=1.0, l2_weight=1.0):
        super().__init__()
        self.l1_weight, self.l2_weight = l1_weight, l2_weight

    def forward(self, pred, target):
        """Two tensors of one shape -> a scalar."""
        return self.l1_weight * F.l1_loss(pred, target) + self.l2_weight * F.mse_loss(pred, target)
