"""Bytes of containers, changed at random: the command must end in its own words, whatever it is given.

    python benchmarks/fuzz.py [--minutes 30] [--seed 0] [--out FOLDER]

Small videos of several containers are changed (bytes overwritten, removed, doubled, cut off) and upscaled,
each in a forked process with a time limit. Counted: done, refused in one line, killed by a signal (the
decoder's own crash), and what must not be: a traceback, an exit without a line, a time-out, a file left at
the output's name after a failure. The files of the last two kinds are kept in FOLDER.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))


def seeds_of(folder):
    """The videos that are changed."""
    from conftest import moving_frames, write_video

    frames = moving_frames(8, 32, 48)
    kinds = [
        ('.mp4', 'libx264'),
        ('.mkv', 'libx264'),
        ('.avi', 'mpeg4'),
        ('.ts', 'mpeg2video'),
        ('.flv', 'flv'),
        ('.mov', 'mjpeg'),
        ('.mkv', 'ffv1'),
        ('.mpg', 'mpeg1video'),
        ('.webm', 'libvpx'),
    ]
    videos = []
    for i, (suffix, codec) in enumerate(kinds):
        pix_fmt = dict(mjpeg='yuvj420p', ffv1='bgr0').get(codec, 'yuv420p')
        videos.append(
            write_video(
                folder / f'seed{i}{suffix}',
                frames,
                codec=codec,
                pix_fmt=pix_fmt,
                sound=suffix in ('.mp4', '.mkv', '.ts') and codec in ('libx264', 'mpeg2video'),
            )
        )
    return videos


def changed(data, rng):
    """Bytes with one to four changes."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        # more of them near the start, where the headers are
        at = int(rng.integers(len(data)) ** rng.choice([1, 0.6]))
        count = int(2 ** rng.uniform(0, 9))
        kind = rng.integers(5)
        if kind == 0:
            data[at : at + count] = rng.bytes(count)
        elif kind == 1:
            data[at : at + 1] = bytes([data[at] ^ (1 << int(rng.integers(8)))]) if at < len(data) else b''
        elif kind == 2:
            del data[at : at + count]
        elif kind == 3:
            data[at:at] = data[at : at + count]
        else:
            del data[max(64, at) :]
        if len(data) < 64:
            data += bytes(64)
    return bytes(data)


def attempt(source, output, weights, log):
    """Upscale in a forked process; what became of it."""
    child = os.fork()
    if child == 0:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        code = 98
        try:
            import animevsr_cli

            animevsr_cli.main(
                [
                    'upscale',
                    str(source),
                    '-o',
                    str(output),
                    '-n',
                    str(weights),
                    '--backend',
                    'torch',
                    '--threads',
                    '1',
                ]
            )
            code = 0
        except SystemExit as stop:
            if isinstance(stop.code, str):
                print(stop.code, flush=True)
            code = 0 if stop.code is None else stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.005)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 'TIME-OUT'
    said = log.read_text(errors='replace')
    if os.WIFSIGNALED(status):
        return f'killed by signal {os.WTERMSIG(status)}'
    code = os.WEXITSTATUS(status)
    if 'Traceback' in said or code == 98:
        return 'TRACEBACK'
    if code and 'animevsr: ' not in said:
        return 'SILENT'
    if code and output.exists():
        return 'LEFT A FILE'
    return 'refused' if code else 'done'


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', default='fuzz_findings')
    args = parser.parse_args()
    import torch

    import animevsr  # noqa: F401  (before the forks)
    from animevsr.archs.vsr_arch import MSRBVSR

    torch.set_num_threads(1)
    rng, counts, end = np.random.default_rng(args.seed), Counter(), time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        torch.save(dict(params=MSRBVSR(num_feat=4, num_block=(1, 1, 1)).state_dict()), folder / 'net.pth')
        videos = [(path.suffix, path.read_bytes()) for path in seeds_of(folder)]
        while time.monotonic() < end:
            suffix, data = videos[rng.integers(len(videos))]
            source, output = folder / f'in{suffix}', folder / 'out.mkv'
            source.write_bytes(changed(data, rng))
            result = attempt(source, output, folder / 'net.pth', folder / 'log')
            counts[result] += 1
            if result.isupper() or result.startswith('killed'):
                Path(args.out).mkdir(exist_ok=True)
                name = f'{result.replace(" ", "_")}_{counts[result]}'
                shutil.copy(source, Path(args.out) / f'{name}{suffix}')
                shutil.copy(folder / 'log', Path(args.out) / f'{name}.txt')
            output.unlink(missing_ok=True)
            for left in folder.glob('.out*'):
                shutil.rmtree(left, ignore_errors=True)
            if sum(counts.values()) % 200 == 0:
                print(dict(counts), flush=True)
    print(f'{sum(counts.values())} files in {args.minutes:g} minutes: {dict(counts)}')
    sys.exit(any(result.isupper() for result in counts))


if __name__ == '__main__':
    main()
