"""One picture of crops, method beside method: what figures do not say.

    python benchmarks/gallery.py docs/gallery.jpg [--strength medium] [--model animevsr_x4]

Of each held-out clip its sixth frame, under the damage of `benchmarks/strengths.py`, and in it the window
with the most lines. Columns: the input, bicubic, realesr-animevideov3, AnimeSR v2, the model, the truth.
"""

import argparse

import cv2
import numpy as np
import torch
from strengths import ROOT, STRENGTHS, degrade, held, luma, method

from animevsr.evaluation.preview import find_busiest
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.clips import list_clips

COUNT, HEIGHT, WIDTH = 6, 36, 48  # frames that are looked at; the window in pixels of the input


def window_of(truth):
    """(top, left) in pixels of the input of the window with the most lines in it."""
    gy, gx = np.gradient(luma([truth])[0])
    small = cv2.resize(np.hypot(gx, gy), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return find_busiest(small, HEIGHT, WIDTH)


@torch.no_grad()
def gallery(model, strength):
    methods = {
        'bicubic': method('bicubic'),
        'realesr-animevideov3': method('realesr-animevideov3'),
        'AnimeSR v2': method('animesr_v2'),
        'animevsr': method(model),
    }
    rows = []
    for number, clip in enumerate(list_clips(str(ROOT / 'assets/heldout'))):
        gt = held(clip, COUNT)
        gt = gt[:, : gt.shape[1] // 4 * 4, : gt.shape[2] // 4 * 4]
        lq = to_images(degrade(to_tensor(gt), STRENGTHS[strength], number))
        top, left = window_of(gt[-1])
        small = lq[-1][top : top + HEIGHT, left : left + WIDTH]
        cells = [np.repeat(np.repeat(small, 4, 0), 4, 1)]
        for _, run in methods.values():
            cells.append(run(lq)[-1][4 * top : 4 * (top + HEIGHT), 4 * left : 4 * (left + WIDTH)])
        cells.append(gt[-1][4 * top : 4 * (top + HEIGHT), 4 * left : 4 * (left + WIDTH)])
        rows.append(np.hstack([cv2.copyMakeBorder(c, 0, 2, 0, 2, cv2.BORDER_CONSTANT) for c in cells]))
    head = np.zeros((22, rows[0].shape[1], 3), np.uint8)
    for i, text in enumerate(('input', *methods, 'truth')):
        at = i * (4 * WIDTH + 2) + 4, 16
        cv2.putText(head, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([head, *rows])


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('output')
    parser.add_argument('--strength', choices=list(STRENGTHS), default='medium')
    parser.add_argument('--model', default='animevsr_x4')
    args = parser.parse_args()
    image = gallery(args.model, args.strength)
    cv2.imwrite(args.output, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
