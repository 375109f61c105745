"""Before and after: frames of a clip beside bicubic and the upscaled video, whole and zoomed in, as one
picture.

python assets/demo/compare.py BEFORE AFTER PICTURE [--frame 20] [--zoom X Y SIZE]
"""

import argparse

import cv2
import numpy as np

from animevsr.video.numbered import read_frames
from animevsr.video.reader import VideoReader


def label(image, text):
    """The image with a caption in a white strip above it."""
    strip = np.full((34, image.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, text, (6, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([strip, image])


def compare(before, after, frame, zoom):
    """RGB picture: a row of crops (input without interpolation, bicubic, upscaled). `zoom` is (x, y, size) in
    input pixels.
    """
    low, high = read_frames(before, [frame])[0], read_frames(after, [frame])[0]
    scale = high.shape[1] / low.shape[1]
    x, y, size = zoom
    size = min(size, *low.shape[:2])
    x, y = min(x, low.shape[1] - size), min(y, low.shape[0] - size)
    bicubic = cv2.resize(low, high.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    nearest = cv2.resize(low, high.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    x0, y0, x1, y1 = (round(v * scale) for v in (x, y, x + size, y + size))
    gap = np.full((y1 - y0 + 34, 8, 3), 255, np.uint8)
    crops = [
        label(image[y0:y1, x0:x1], text)
        for image, text in ((nearest, 'input'), (bicubic, 'bicubic'), (high, 'animevsr'))
    ]
    return np.hstack([crops[0], gap, crops[1], gap, crops[2]])


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('before')
    parser.add_argument('after')
    parser.add_argument('picture')
    parser.add_argument('--frame', type=int, default=20)
    parser.add_argument('--zoom', type=int, nargs=3, default=(60, 80, 110), metavar=('X', 'Y', 'SIZE'))
    args = parser.parse_args()
    with VideoReader(args.after) as reader:
        print(
            f'{args.after}: {reader.info.width}x{reader.info.height}, {reader.info.frame_count} frames,'
            f' {reader.info.fps} frames a second'
        )
    cv2.imwrite(args.picture, compare(args.before, args.after, args.frame, args.zoom)[..., ::-1])
    print(f'{args.picture}: frame {args.frame} before and after')
