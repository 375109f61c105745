"""Images and tensors."""

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


def as_bytes(image: np.ndarray) -> np.ndarray:
    """An image of 8 or 16 bits, uint8 or uint16, as uint8."""
    return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def to_images(frames: Tensor) -> np.ndarray:
    """Float tensor (t, 3, h, w) in [0, 1], on any device -> uint8 (t, h, w, 3)."""
    return (frames * 255).round().to('cpu', torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
