"""What makes results steady beyond the papers: a loss on held drawings."""
from torch import nn


class SteadyLoss(nn.Module):
    """A pixel loss, and the mean change of the output from frame to frame where the ground truth does not change.

    Args:
        pixel: a loss of (prediction, target), clips (b, t, 3, h, w).
        weight (float): of the change.
    """

    def __init__(self, pixel, weight):
        super().__init__()
        self.pixel, self.weight, self.held = pixel, weight, None

    def watch(self, truth):
        """Take in the ground truth (b, t, 3, h, w) of the next clips: a pixel is held where no channel of it changes."""
        self.held = (truth[:, 1:] == truth[:, :-1]).all(2, keepdim=True)

    def forward(self, pred, target):
        change = ((pred[:, 1:] - pred[:, :-1]).abs() * self.held).sum() / (3 * self.held.sum()).clamp_min(1)
        return self.pixel(pred, target) + self.weight * change
