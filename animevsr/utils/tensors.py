"""Frames as tensors, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor


def to_tensor(frames: list[np.ndarray] | np.ndarray) -> Tensor:
    """uint8 (t, h, w, 3) -> float tensor (t, 3, h, w) in [0, 1]."""
    return to_bytes(frames).float() / 255


def to_bytes(frames: list[np.ndarray] | np.ndarray) -> Tensor:
    """uint8 (t, h, w, 3) -> uint8 tensor (t, 3, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(np.asarray(frames).transpose(0, 3, 1, 2)))


def to_images(frames: Tensor) -> np.ndarray:
    """Float tensor (t, 3, h, w) in [0, 1], on any device -> uint8 (t, h, w, 3)."""
    return (frames * 255).round().to('cpu', torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
