"""What makes results steady beyond the papers: a loss on held drawings."""

import torch
from torch import nn


class SteadyLoss(nn.Module):
    """A pixel loss, and the mean change of the output from frame to frame where the ground truth does not
    change.

    Args:
        pixel: a loss of (prediction, target), clips (b, t, 3, h, w).
        weight (float): of the change.
        ramp (int): a change counts in full where the truth has stood still for so many frames, and in
            proportion before. While a network has seen little of a drawing its estimate has to move; a full
            penalty there teaches it to blur instead of to average.
    """

    def __init__(self, pixel: nn.Module, weight: float, ramp: int = 1) -> None:
        super().__init__()
        if ramp < 1:
            raise ValueError(f'steady_ramp must be at least 1, got {ramp}')
        self.pixel = pixel
        self.weight = weight
        self.ramp = ramp
        self.held = self.importance = None

    def watch(self, truth: torch.Tensor) -> None:
        """Take in the ground truth (b, t, 3, h, w) of the next clips: a pixel is held where no channel of it
        changes.
        """
        self.held = (truth[:, 1:] == truth[:, :-1]).all(2, keepdim=True)
        age, ages = 0, []  # for how many frames each pixel has stood still
        for held in self.held.unbind(1):
            age = (age + 1) * held
            ages.append(age)
        self.importance = (torch.stack(ages, 1) / self.ramp).clamp_max(1) if ages else self.held

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Clips (b, t, 3, h, w) -> the loss, a scalar."""
        change = ((pred[:, 1:] - pred[:, :-1]).abs() * self.importance).sum() / (
            3 * self.held.sum()
        ).clamp_min(1)
        return self.pixel(pred, target) + self.weight * change
