"""Images, as arrays."""

from __future__ import annotations

import cv2
import numpy as np

LUMA = np.float32([0.299, 0.587, 0.114])  # of RGB


def as_bytes(image: np.ndarray) -> np.ndarray:
    """An image of 8 or 16 bits, uint8 or uint16, as uint8."""
    return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def to_bytes(planes: np.ndarray) -> np.ndarray:
    """Planes (c, h, w), float32 in [0, 1] and beyond, as uint8."""
    return np.stack([cv2.convertScaleAbs(np.maximum(plane, 0), alpha=255) for plane in planes])


def local_range(gray: np.ndarray) -> np.ndarray:
    """Difference of the brightest and the darkest of the 9x9 pixels around each, of an image (h, w)."""
    kernel = np.ones((9, 9), np.uint8)
    return cv2.subtract(cv2.dilate(gray, kernel), cv2.erode(gray, kernel))
