"""Images and tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor


LUMA = np.float32([0.299, 0.587, 0.114])  # of RGB


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


def local_range(gray: np.ndarray) -> np.ndarray:
    """Difference of the brightest and the darkest of the 9x9 pixels around each, of an image (h, w)."""
    kernel = np.ones((9, 9), np.uint8)
    return cv2.subtract(cv2.dilate(gray, kernel), cv2.erode(gray, kernel))
