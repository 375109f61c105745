"""Film grain, put back after restoring: a picture without any looks like plastic to many eyes."""

from __future__ import annotations

import cv2
import numpy as np

SOFTNESS = 0.7  # sigma in pixels of the output: grains are larger than a pixel
HIGHLIGHTS = 0.35  # of the strength in mid-tones is left in black and in white, as on film


class Grain:
    """Grain of the brightness alone, new in each frame, strongest in mid-tones.

    Args:
        strength (float): standard deviation in mid-tones, in levels of 255, above 0.
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength
        shade = np.linspace(-1, 1, 256, dtype=np.float32)
        self.weight = HIGHLIGHTS + (1 - HIGHLIGHTS) * (1 - shade**2)

    def add(self, image: np.ndarray, number: int) -> np.ndarray:
        """(h, w, 3) uint8 or uint16 RGB, with the grain of the frame of this number: the same for every call,
        whichever process makes it.
        """
        highest = np.iinfo(image.dtype).max
        height, width = image.shape[:2]
        noise = np.random.default_rng([number, 0x6772]).standard_normal((height, width), np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), SOFTNESS)
        noise *= self.strength * highest / 255 / max(float(noise.std()), 1e-6)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        noise *= self.weight[(gray if highest == 255 else gray >> 8)]
        return np.clip(np.rint(image + noise[..., None]), 0, highest).astype(image.dtype)
