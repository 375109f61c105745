"""Learnable basic operators on held-out clips: how near each comes to the damage that it was trained on.

    python benchmarks/lbo.py [--picture lbo.png]

The clean held-out clips are damaged as each set of `recipes/open_animation/lbo_sets.yml` says: those are the
targets. PSNR (BasicSR's, RGB, 8 bit, dB, mean over frames and then clips) between each target and what
becomes of the clean clip by an operator, by bicubic downscaling with antialiasing (MATLAB's) and without (the
papers' code). The picture shows, for each set, the clean frame enlarged from its half size, the output of its
operator and the target.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from basicsr.metrics import calculate_psnr
from torch.nn import functional as F

import animevsr
from animevsr.degradations import functional as D
from animevsr.utils.device import select_device
from animevsr.utils.drawing import titled
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.clips import list_clips, load_clip
from animevsr.zoo import find_weights

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'recipes/open_animation'))
from lbo_sets import degrade, read_sets  # noqa: E402


def methods(weights, device):
    """{name: function of a clip (t, 3, h, w) in [0, 1] that halves it}."""
    half = dict(scale_factor=0.5, mode='bicubic')
    found = {
        'bicubic': lambda clip: F.interpolate(clip, antialias=True, **half).clamp(0, 1),
        'bicubic, no antialiasing': lambda clip: F.interpolate(clip, **half).clamp(0, 1),
    }
    for path in weights:
        net = animevsr.load_network(find_weights(path), device)
        found[Path(path).stem if 'experiments' not in Path(path).parts else Path(path).parts[-3]] = (
            lambda clip, net=net: D.degrade_by_lbo(clip.to(device), net).cpu()
        )
    return found


def measure(clips, names, found, frames):
    """{set: {method: PSNR}}."""
    sets, rows = read_sets(), {}
    for name in names:
        values = {method: [] for method in found}
        for path in clips:
            clean = to_tensor(load_clip(path, range(frames)))
            target = to_images(degrade(clean, sets[name]))
            for method, function in found.items():
                result = to_images(function(clean))
                values[method].append(
                    np.mean([calculate_psnr(r[..., ::-1], t[..., ::-1], 0) for r, t in zip(result, target)])
                )
        rows[name] = {method: float(np.mean(v)) for method, v in values.items()}
    return rows


def picture(clip, names, found, crop):
    """One row for each set: clean, the set's operator, target; a crop (top, left, side) of the halved frame,
    three times as large.
    """
    clean, (top, left, side), rows, sets = to_tensor(load_clip(clip, range(3))), crop, [], read_sets()
    for name in names:
        own = next((function for method, function in found.items() if name in method), None)
        if own is None:
            raise SystemExit(
                f'no operator has the name of the set {name} in its own; leave --picture out, or name it in'
                ' --sets'
            )
        views = {
            'clean, bicubic 0.5x': found['bicubic'](clean),
            f'operator {name}': own(clean),
            f'target {name}': degrade(clean, sets[name]),
        }
        tiles = [to_images(view)[2][top : top + side, left : left + side] for view in views.values()]
        rows.append(
            np.hstack(
                [
                    titled(title, cv2.resize(tile, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST))
                    for title, tile in zip(views, tiles)
                ]
            )
        )
    return np.vstack(rows)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('weights', nargs='*', default=['lbo_tape', 'lbo_disc', 'lbo_web'])
    parser.add_argument('--root', default=ROOT / 'assets/heldout')
    parser.add_argument('--frames', type=int, default=6)
    parser.add_argument('--sets', nargs='*', default=list(read_sets()))
    parser.add_argument('--picture', help='image to write')
    parser.add_argument('--clip', type=int, default=1, help='clip that the picture shows')
    parser.add_argument('--crop', type=int, nargs=3, default=[40, 100, 120], metavar=('TOP', 'LEFT', 'SIDE'))
    args = parser.parse_args()
    with torch.inference_mode():
        operators = methods(args.weights, select_device())
        table = measure(list_clips(args.root), args.sets, operators, args.frames)
        if args.picture:
            cv2.imwrite(
                args.picture,
                picture(list_clips(args.root)[args.clip], args.sets, operators, args.crop)[..., ::-1],
            )
    print('| target | ' + ' | '.join(operators) + ' |\n' + '| --- ' * (len(operators) + 1) + '|')
    for name, row in table.items():
        print(f'| {name} | ' + ' | '.join(f'{value:.2f}' for value in row.values()) + ' |')
