"""Colour bars, whose values are known in every colour space."""

import av
import numpy as np

# 75 % colour bars (white, yellow, cyan, green, magenta, red, blue) and black, RGB
BARS = np.array(
    [[191] * 3, [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191], [0] * 3]
)
WEIGHTS = {'bt601': (0.299, 0.114), 'bt709': (0.2126, 0.0722)}  # Kr, Kb of ITU-R BT.601 and BT.709
MATRIX = {'bt601': 6, 'bt709': 1}


def bars_yuv(standard, full_range):
    """YCbCr of the bars by the formula of the recommendation, rounded to 8 bits."""
    kr, kb = WEIGHTS[standard]
    r, g, b = (BARS / 255.0).T
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    scaled = (
        (255 * y, 255 * cb + 128, 255 * cr + 128)
        if full_range
        else (219 * y + 16, 224 * cb + 128, 224 * cr + 128)
    )
    return np.stack(scaled, 1).round().astype(np.uint8)


def bars_frame(standard, full_range, tagged=True):
    """yuv420p frame of the bars, each 16 pixels wide."""
    frame = av.VideoFrame(128, 64, 'yuv420p')
    for plane, column in zip(frame.planes, bars_yuv(standard, full_range).T):
        row = np.repeat(column, plane.width // 8)
        data = np.zeros((plane.height, plane.line_size), np.uint8)
        data[:, : plane.width] = row
        plane.update(data.tobytes())
    if tagged:
        frame.colorspace, frame.color_range = MATRIX[standard], 2 if full_range else 1
    return frame


def bar_colours(image):
    """Median colour of the middle of each bar of an image of any size."""
    w = image.shape[1] // 8
    return np.array(
        [np.median(image[:, i * w + w // 4 : (i + 1) * w - w // 4].reshape(-1, 3), 0) for i in range(8)]
    )
