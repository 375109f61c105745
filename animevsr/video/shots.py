"""Where a video cuts."""
import cv2
import numpy as np

THRESHOLD = 27  # mean change of hue, saturation and value, of 255; that of PySceneDetect's content detector
SIDE = 96  # pixels of the longer side at which frames are compared


def is_cut(frame, following):
    """Whether there is a cut between two frames (h, w, 3) uint8 RGB: their mean change in HSV, made small, is above the threshold."""
    return float(np.abs(_small_hsv(frame) - _small_hsv(following)).mean()) > THRESHOLD


def _small_hsv(frame):
    h, w = frame.shape[:2]
    ratio = min(1, SIDE / max(h, w))
    small = cv2.resize(frame, (max(1, round(w * ratio)), max(1, round(h * ratio))), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2HSV).astype(np.int16)
