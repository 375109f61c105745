"""Captions for pictures made of pictures."""

from __future__ import annotations

import cv2
import numpy as np

CAPTION = 18  # height of a caption in pixels


def caption(text: str, width: int) -> np.ndarray:
    """(CAPTION, width, 3) uint8: white text on black."""
    strip = np.zeros((CAPTION, width, 3), np.uint8)
    return cv2.putText(
        strip, text, (3, CAPTION - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA
    )


def titled(text: str, image: np.ndarray) -> np.ndarray:
    """An image (h, w, 3) uint8 below its caption."""
    return np.vstack([caption(text, image.shape[1]), image])
