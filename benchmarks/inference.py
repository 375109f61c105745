"""Speed of upscaling from file to file: the plain loop of the published scripts against this engine, on the
same clip, in one go.

    python benchmarks/inference.py [--frames 48] [--clip held|moving|FILE] [--methods abcdefg]
    python benchmarks/inference.py --memory

(a) reads a frame, runs the network in eager float32 PyTorch and writes the frame, one after the other. (b) is
`animevsr upscale --no-steady`, exact; (c) with held-region reuse; (d) with `--fast`; (e) with both; (f) and
(g) are (b) and (d) with held drawings averaged, which is the default. Each runs in a
process of its own, so that peak memory is its own; the rounds are interleaved, medians are printed. The times
hold all but Python's imports: loading, looking for cuts, encoding, joining. PSNR is against (a), on the
frames before encoding (lossless outputs of a separate pass).

The clip `held` is made here: a still background, a figure that moves on twos and a mouth on threes, 640x480,
through x264. `moving` pans, with film grain: nothing is held there, and reuse must fall back to computing
everything. `--memory` prints the peak memory for 10 and 1,000 frames of 160x120.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

METHODS = {
    'a': 'plain loop, eager PyTorch',
    'b': 'exact',
    'c': 'exact, reuse',
    'd': 'fast',
    'e': 'fast, reuse',
    'f': 'exact, averaged',
    'g': 'fast, averaged',
}
OPTIONS = {
    'b': dict(steady=False),
    'c': dict(steady=False, reuse=True),
    'd': dict(steady=False, fast=True),
    'e': dict(steady=False, fast=True, reuse=True),
    'f': {},
    'g': dict(fast=True),
}


def held_clip(path, count, size=(640, 480)):
    """Broadcast animation in small: drawings repeat for two or three frames over a still background."""
    import cv2

    from animevsr.video.clips import list_clips, load_clip

    clips = list_clips('assets/heldout')
    background = cv2.resize(load_clip(clips[8], [0])[0], (640, 480), interpolation=cv2.INTER_AREA)
    drawings = [
        cv2.resize(load_clip(clips[3], [i])[0][40:340, 120:420], (150, 150), interpolation=cv2.INTER_AREA)
        for i in range(6)
    ]
    frames = []
    for i in range(count):
        frame = background.copy()
        drawing = i // 2
        x, y = 90 + 3 * (drawing % 8), 250 + 2 * (drawing % 3)
        frame[y : y + 150, x : x + 150] = drawings[drawing % 6]
        if (i // 3) % 2:
            cv2.ellipse(frame, (470, 330), (18, 9), 0, 0, 360, (120, 30, 40), -1, cv2.LINE_AA)
        else:
            cv2.line(frame, (455, 330), (485, 330), (60, 20, 30), 2, cv2.LINE_AA)
        frames.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    write(path, frames)


def moving_clip(path, count):
    """A pan over a picture, with grain."""
    import cv2

    from animevsr.video.clips import list_clips, load_clip

    picture = cv2.resize(
        load_clip(list_clips('assets/heldout')[1], [0])[0], (1280, 480), interpolation=cv2.INTER_AREA
    )
    rng = np.random.default_rng(0)
    frames = [
        np.clip(picture[:, 4 * i % 640 : 4 * i % 640 + 640] + rng.normal(0, 6, (480, 640, 1)), 0, 255).astype(
            np.uint8
        )
        for i in range(count)
    ]
    write(path, frames)


def write(path, frames):
    import av

    with av.open(str(path), 'w') as out:
        stream = out.add_stream('libx264', rate=Fraction(24000, 1001), options={'crf': '21'})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], 'yuv420p'
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')
            picture.pts, picture.time_base = i, Fraction(1001, 24000)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def plain_loop(source, output, lossless):
    """What the published scripts do."""
    import av
    import torch

    import animevsr
    from animevsr.video.color import Color, from_rgb
    from animevsr.video.encoders import choose_encoding
    from animevsr.video.reader import open_reader

    net = animevsr.load_network('weights/animevsr_x4.pth')
    with open_reader(source) as reader:
        encoding = choose_encoding(
            'ffv1' if lossless else 'h264', reader.info, (reader.info.height * 4, reader.info.width * 4)
        )
        frames = [image for image, _ in reader.frames()]
        rate = reader.info.fps
    state = None
    with av.open(str(output), 'w') as out, torch.no_grad():
        stream = encoding.stream(out, rate, 1 / rate)
        for i in range(len(frames)):
            triple = [
                torch.from_numpy(frames[j]).permute(2, 0, 1)[None].float() / 255
                for j in (max(i - 1, 0), i, min(i + 1, len(frames) - 1))
            ]
            sr, state = net.step(*triple, state)
            image = (sr[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            frame = from_rgb(image, encoding.pix_fmt, Color())
            frame.pts, frame.time_base = i, 1 / rate
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def measured(method, source, output, lossless):
    """One run in this process: prints seconds, peak memory in MB, and the share that was held."""
    import resource
    import time

    import torch  # noqa: F401  (imports are not measured)

    import animevsr
    from animevsr.utils.malloc_tuning import keep_freed_memory

    held = 0.0
    if method != 'a':
        keep_freed_memory()  # as the command does
    start = time.perf_counter()
    if method == 'a':
        plain_loop(source, output, lossless)
    else:
        done = animevsr.upscale(
            source,
            output,
            'weights/animevsr_x4.pth',
            codec='ffv1' if lossless else 'h264',
            device='cpu',
            **OPTIONS[method],
        )
        held = done.held
    print(
        json.dumps(
            [time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, held]
        )
    )


def run(method, source, folder, lossless=False):
    output = folder / f'{method}{"_lossless" if lossless else ""}.mkv'
    output.unlink(missing_ok=True)
    command = [
        sys.executable,
        __file__,
        '--one',
        method,
        str(source),
        str(output),
        *(['--lossless'] if lossless else []),
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONWARNINGS': 'ignore'}
    )
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout.splitlines()[-1])


def memory_by_length(folder):
    """Print the peak memory for a short and a long clip."""
    print('| | 10 frames: peak MB | 1,000 frames: peak MB | ratio |\n' + '| --- ' * 4 + '|')
    for method in 'be':
        peaks = []
        for count in (10, 1000):
            held_clip(folder / f'{count}.mp4', count, (160, 120))
            peaks.append(run(method, folder / f'{count}.mp4', folder)[1])
        print(
            f'| ({method}) {METHODS[method]} | {peaks[0]:.0f} | {peaks[1]:.0f} | {peaks[1] / peaks[0]:.3f} |',
            flush=True,
        )


def compare(folder, method):
    """(mean, lowest PSNR in dB; largest difference in levels; flicker of both where (a) holds) of a method
    against (a).
    """
    from animevsr.video.reader import open_reader

    values, largest, still, before = [], 0, [0.0, 0.0], None
    with (
        open_reader(folder / 'a_lossless.mkv') as first,
        open_reader(folder / f'{method}_lossless.mkv') as second,
    ):
        for (a, _), (b, _) in zip(first.frames(), second.frames()):
            difference = np.abs(a.astype(np.int16) - b)
            largest = max(largest, int(difference.max()))
            values.append(10 * np.log10(255**2 / max(1e-9, np.square(difference.astype(np.float32)).mean())))
            if before is not None:
                changes = [np.abs(now.astype(np.int16) - then) for now, then in zip((a, b), before)]
                held = changes[0].max(-1, keepdims=True) <= 4
                still = [total + float((change * held).mean()) for total, change in zip(still, changes)]
            before = a, b
    return float(np.mean(values)), min(values), largest, still[1] / max(still[0], 1e-9)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--frames', type=int, default=48)
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--clip', default='held', help='held, moving, or a video')
    parser.add_argument('--methods', default='abcdefg')
    parser.add_argument('--memory', action='store_true')
    parser.add_argument('--one', nargs=3)
    parser.add_argument('--lossless', action='store_true')
    args = parser.parse_args()
    if args.one:
        measured(*args.one, args.lossless)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if args.memory:
            memory_by_length(folder)
            return
        source = folder / 'clip.mp4'
        if args.clip in ('held', 'moving'):
            (held_clip if args.clip == 'held' else moving_clip)(source, args.frames)
        else:
            source = Path(args.clip)
        times, memory, held = {m: [] for m in args.methods}, {}, {}
        for method in args.methods[1:]:
            run(method, source, folder, lossless=True)  # converts and quantises the networks, too
        run('a', source, folder, lossless=True)
        for _ in range(args.rounds):
            for method in args.methods:
                seconds, memory[method], held[method] = run(method, source, folder)
                times[method].append(seconds)
        from animevsr.video.numbered import count_decodable

        count, base = count_decodable(source), statistics.median(times['a'])
        print(
            '| | seconds | frames/s | ratio | peak MB | held | PSNR to (a): mean, lowest | largest difference'
            ' | flicker / (a) |'
        )
        print('| --- ' * 9 + '|')
        for method in args.methods:
            seconds = statistics.median(times[method])
            quality = (
                '| | |'
                if method == 'a'
                else '{:.1f}, {:.1f} dB | {} | {:.2f} |'.format(*compare(folder, method))
            )
            print(
                f'| ({method}) {METHODS[method]} | {seconds:.1f} | {count / seconds:.2f} |'
                f' {base / seconds:.2f} | {memory[method]:.0f} | {held[method]:.0%} | {quality}'
            )


if __name__ == '__main__':
    main()
