"""Which way up a frame is, and what else comes with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def side_data(frame: Any) -> dict[str, bytes]:
    """{its name in FFmpeg: what it holds} of a frame."""
    data = frame.side_data  # iterates over its items in PyAV 18, over the keys of its items in 19
    items = (item if hasattr(item, 'type') else data[item] for item in data)
    return {item.type.name: bytes(item) for item in items}


def orientation(frame: Any) -> tuple[bool, int]:
    """(whether left and right are swapped, degrees counter-clockwise by which the result is turned then), by
    the display matrix of a frame.
    """
    matrix = side_data(frame).get('DISPLAYMATRIX')
    if matrix:
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5] / 65536
        if a * d < b * c:
            return True, round(-math.degrees(math.atan2(-b, -a)) / 90) * 90 % 360
    return False, round(frame.rotation / 90) * 90 % 360
