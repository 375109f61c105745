"""Held regions (`--reuse`) on clips like those of television: what they are like, and what is gained.

    python benchmarks/television.py [CLIP ...] [--frames 48] [--model animevsr_x4] [--statistics] [--squares]

Without CLIP the ten of assets/television (recipes/open_animation/television.py), else any video files.

Statistics of the input: of the 16-pixel cells how many are bit-identical from frame to frame, and within 2,
4 and 8 levels; in how many frames fewer than 1 % of the 4-pixel blocks change by more than 3 levels, and by
more than 8. Gain: seconds of the whole computation over those with held regions, both as `animevsr upscale`
runs them, with held drawings averaged (no decoding, no encoding); held: the share of the picture that was not
computed; work: the pixels that the network was given, with those around what is due, over all; PSNR to the
whole computation (mean and lowest frame), and the flicker where the input stands still (within 4 levels) over
that of the whole computation. `--squares`: by PyTorch, in squares that are computed together, as on a GPU.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

# of a real clip, a 640x480 H.264 television recording of two people talking, 181 frames; it is kept elsewhere
REAL = 'a real recording | 0.42 | 0.71 | 0.87 | 0.92 | 0.69 | 0.86'
ROOT = Path(__file__).resolve().parents[1] / 'assets/television'


def frames_of(path, count):
    from animevsr.video.reader import open_reader

    with open_reader(path, deinterlace='marked') as reader:
        return np.stack([image for image, _ in itertools.islice(reader.frames(), count)])


def grid_of(frames, side):
    """Changes from frame to frame, (t - 1, h // side, side, w // side, side, 3)."""
    change = np.abs(np.diff(frames.astype(np.int16), axis=0))
    t, h, w = (length // by * by for length, by in zip(change.shape, (1, side, side)))
    return change[:, :h, :w].reshape(t, h // side, side, w // side, side, 3)


def statistics_of(frames):
    cells, blocks = grid_of(frames, 16).max((2, 4, 5)), grid_of(frames, 4).mean((2, 4, 5))
    still = [(cells <= level).mean() for level in (0, 2, 4, 8)]
    return [*still, *(((blocks > level).mean((1, 2)) < 0.01).mean() for level in (3, 8))]


def psnr(a, b):
    error = np.square(a.astype(np.float32) - b).mean()
    return min(99.0, 10 * np.log10(255**2 / max(error, 1e-9)))


def counted(backend):
    """A list to which each step of a backend will add its pixels."""
    pixels, step = [], backend.step

    def count(prev, *others, **how):
        pixels.append(prev.shape[0] * prev.shape[2] * prev.shape[3])
        return step(prev, *others, **how)

    backend.step = count
    return pixels


def gain_of(frames, model, squares=False):
    """(seconds of all, of held regions, share held, share of the pixels given to the network, mean PSNR,
    lowest, flicker over that of the whole).
    """
    from animevsr.archs.loading import load_upscaler
    from animevsr.engine.backends import open_backend
    from animevsr.engine.upscaler import Upscaler
    from animevsr.utils.device import select_device

    backend = open_backend(load_upscaler(model), select_device(), 'torch' if squares else 'auto')
    backend.batches |= squares
    pixels, work = counted(backend), [0, 0]
    both = [Upscaler(backend, steady=True), Upscaler(backend, reuse=True, steady=True)]
    streams, seconds = [upscaler(iter(frames)) for upscaler in both], [0.0, 0.0]
    values, flicker, before = [], [[], []], None
    for i in range(len(frames)):
        pair = []
        for j, stream in enumerate(streams):  # interleaved: both see the same machine
            start = time.perf_counter()
            pair.append(next(stream))
            seconds[j] += time.perf_counter() - start
            work[j] += sum(pixels)
            pixels.clear()
        values.append(psnr(*pair))
        if before is not None:
            still = np.abs(frames[i].astype(np.int16) - frames[i - 1]).max(2) <= 4
            scale = both[0].scale
            still = np.repeat(np.repeat(still, scale, 0), scale, 1)
            for found, now, then in zip(flicker, pair, before):
                found.append(np.abs(now.astype(np.int16) - then)[still].mean())
        before = pair
    mean = -10 * np.log10(np.mean([10 ** (-value / 10) for value in values]))
    flicker = np.mean(flicker[1]) / max(np.mean(flicker[0]), 1e-9)
    return (*seconds, both[1].held, work[1] / work[0], mean, min(values), flicker)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('clips', nargs='*', type=Path)
    parser.add_argument('--frames', type=int, default=48)
    parser.add_argument('--model', default='animevsr_x4')
    parser.add_argument('--statistics', action='store_true', help='only those of the input')
    parser.add_argument('--squares', action='store_true', help='as on a GPU')
    args = parser.parse_args()
    clips = args.clips or sorted(path for path in ROOT.iterdir() if path.suffix != '.md')
    print('| clip | identical | <= 2 | <= 4 | <= 8 | frames: < 1 % over 3 | over 8 |')
    print('| --- | --- | --- | --- | --- | --- | --- |')
    for clip in clips:
        values = statistics_of(frames_of(clip, args.frames))
        print(f'| {clip.stem} |', ' | '.join(f'{value:.2f}' for value in values), '|', flush=True)
    print(f'| {REAL} |')
    if not args.statistics:
        print('\n| clip | all: s | held regions: s | gain | held | work | PSNR | lowest | flicker |')
        print('| --- | --- | --- | --- | --- | --- | --- | --- | --- |', flush=True)
        gains = []
        for clip in clips:
            whole, part, held, work, mean, low, flicker = gain_of(
                frames_of(clip, args.frames), args.model, args.squares
            )
            gains.append(whole / part)
            print(
                f'| {clip.stem} | {whole:.1f} | {part:.1f} | {gains[-1]:.2f} | {held:.0%} | {work:.2f} |'
                f' {mean:.1f} | {low:.1f} | {flicker:.2f} |',
                flush=True,
            )
        print(f'\nmean gain {np.mean(gains):.2f}')
