"""Shots of 300 frames: does the picture change with time although the drawing does not?

    python benchmarks/drift.py animevsr_x4 animevsr_x4+steady [--frames 300]

`held` is one drawing of a held-out clip for the whole shot, `twos` the clip on twos, forwards and backwards,
in rounds of 20 frames; both under light and medium damage (see strengths.py), through one encode. `still` has
no truth: parts of clips of assets/television, one frame for the whole shot; `moving`, a clip's own 48 frames.
Printed are PSNR-Y against the truth and the steepness of what is shown (the mean of the steepest 2 % of
horizontal steps, in levels of 255), each of frames 5 to 8, of the same four a round later, and of the
last round. A state that takes what is held for more and more out of focus shows here, not in tables of four
frames.
"""

import argparse
import itertools

import numpy as np
import torch
from basicsr.metrics import calculate_psnr
from strengths import STEADY, STRENGTHS, degrade
from television import ROOT as TELEVISION
from television import frames_of

from animevsr.archs.loading import load_upscaler
from animevsr.engine.backends import open_backend
from animevsr.engine.upscaler import Upscaler
from animevsr.utils.device import select_device
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.clips import list_clips, load_clip

DAMAGE = 'light', 'medium'
CLIPS, SIDE = 4, 320  # of what is taken of a clip
DRAWINGS = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
ROUND = 2 * len(DRAWINGS)  # frames
STILL = {'walk_twos_tv.mkv': (240, 450), 'talk_twos_asp.avi': (336, 336), 'grain_tv.mkv': (200, 200)}
STILL_SIZE = 112, 144
MOVING = {'talk_twos_tv.mkv': (244, 200)}
LENGTH = 48  # frames of those clips


def looks(count):
    """The first of the four frames that are looked at: soon after the start, a round later, at the end."""
    return 4, 4 + ROUND, 4 + ROUND * ((count - 8) // ROUND)


def shots(count):
    """(kind, input (t, h, w, 3), truth of each frame or None)."""
    orders = {'held': [3] * count, 'twos': [DRAWINGS[i // 2 % len(DRAWINGS)] for i in range(count)]}
    for number, clip in enumerate(list_clips('assets/heldout')[:CLIPS]):
        drawings = load_clip(clip, range(6))[:, 40 : 40 + SIDE, 120 : 120 + SIDE]
        for (kind, order), strength in itertools.product(orders.items(), DAMAGE):
            truth = drawings[order]
            clip = degrade(to_tensor(truth), STRENGTHS[strength], number)
            yield f'{kind}, {strength}', to_images(clip), truth
    for name, place in STILL.items():
        yield f'still, {name}', np.repeat(part_of(name, *place)[8:9], count, 0), None
    for name, place in MOVING.items():
        yield f'moving, {name}', part_of(name, *place), None


def part_of(name, top, left):
    """A part of each frame of a clip, (t, h, w, 3)."""
    return frames_of(TELEVISION / name, LENGTH)[:, top : top + STILL_SIZE[0], left : left + STILL_SIZE[1]]


def steepness(image):
    steps = np.abs(np.diff(image.astype(np.int16), axis=1)).max(2)
    return np.sort(steps, None)[-steps.size // 50 :].mean()


def measure(upscaler, source, truth):
    """(3, 2): PSNR-Y and steepness of the frames that are looked at."""
    results = list(upscaler(iter(source)))
    rows = []
    for start in looks(len(source)):
        values = [
            (
                np.nan if truth is None else calculate_psnr(results[i], truth[i], 4, test_y_channel=True),
                steepness(results[i]),
            )
            for i in range(start, start + 4)
        ]
        rows.append(np.mean(values, 0))
    return np.array(rows)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'models', nargs='+', help=f'names or files of weights; NAME{STEADY} as `upscale` runs it'
    )
    parser.add_argument('--frames', type=int, default=300)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    found = {}
    device = select_device()
    backends = {name: open_backend(load_upscaler(name.removesuffix(STEADY)), device) for name in args.models}
    for kind, source, truth in shots(args.frames):
        for name, backend in backends.items():
            upscaler = Upscaler(backend, steady=name.endswith(STEADY))
            found.setdefault((name, kind), []).append(measure(upscaler, source, truth))
    starts = ', '.join(f'{start + 1} to {start + 4}' for start in looks(args.frames))
    print(f'| method | shot | PSNR-Y of frames {starts} | steepness of the same |')
    print('| --- | --- | --- | --- |')
    for (name, kind), shot in found.items():
        noise, steep = np.mean(shot, 0).T
        psnr = ' / '.join(f'{value:.2f}' for value in noise) if np.isfinite(noise[0]) else ''
        print(f'| {name} | {kind} | {psnr} |', ' / '.join(f'{value:.1f}' for value in steep), '|')
