"""MATLAB's `imresize`: bicubic, with antialiasing where it shrinks; the resize by which this field makes and
compares images.

BasicSR has it too, on the CPU, one image and one output row at a time; this one takes batches on any device.
The results are the same where size times scale is whole; elsewhere this one is MATLAB's `imresize(A, [h w])`,
whose scale is the ratio of the sizes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def matlab_resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize images (..., h, w) to (..., height, width); not clamped."""
    for dim, size in ((-2, height), (-1, width)):
        if images.shape[dim] != size:
            images = _resize_axis(images, dim, size)
    return images


def _resize_axis(images, dim, size):
    indices, weights = taps(images.shape[dim], size)
    indices, weights = indices.to(images.device), weights.to(images)
    shape = (-1, 1) if dim == -2 else (-1,)
    # tap by tap: memory does not grow with the width of the kernel
    return sum(
        images.index_select(dim, index) * weight.view(shape) for index, weight in zip(indices, weights)
    )


def taps(length: int, size: int) -> tuple[Tensor, Tensor]:
    """Which input pixels an output pixel is made of: indices and weights, (taps, size), the weights of a
    pixel add up to 1.
    """
    scale = size / length
    stretch = min(scale, 1)  # the kernel is as wide as what it averages
    width = 4 / stretch
    centre = (torch.arange(size, dtype=torch.float64) + 0.5) / scale - 0.5
    first = torch.floor(centre - width / 2)
    indices = first + torch.arange(math.ceil(width) + 2, dtype=torch.float64)[:, None]
    weights = cubic((centre - indices) * stretch)
    weights, indices = weights / weights.sum(0), indices.long() % (2 * length)
    return torch.minimum(indices, 2 * length - 1 - indices), weights  # the image is mirrored at its edges


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5."""
    x = x.abs()
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))
