"""Samples a second that training data is loaded and degraded at, on one thread.

    python benchmarks/degradation.py [--rounds 7]

A sample is 15 frames of a 1280x720 clip, cropped to 256x256 and degraded by the papers' basic operators.
Rows, measured in turns, medians:

- plain: as the published code of this field does it: 15 PNG files decoded whole, OpenCV's `filter2D` and
  noise for each frame, two resizes, and H.264 by two ffmpeg processes;
- folder: `DegradedClipDataset` on the same folder of PNG files;
- packed: the same class on the clip packed by `animevsr pack`.

The clip is a moving enlarged drawing of `assets/heldout`, held on twos, with a little noise of film, so that
PNG files are of the usual size.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import imageio_ffmpeg
import numpy as np
import torch

import animevsr
from animevsr.data.degraded_clip_dataset import DegradedClipDataset
from animevsr.video.clips import list_clips, load_clip

ROOT = Path(__file__).resolve().parents[1]
FRAMES, CROP = 15, 256


def make_clip(folder):
    """Forty frames of 1280x720 as PNG files."""
    drawing = load_clip(list_clips(ROOT / 'assets/heldout')[3], [0])[0]
    large = cv2.resize(drawing, (1480, 900), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    folder.mkdir(parents=True)
    for i in range(40):
        left, top = 5 * (i // 2), 3 * (i // 2)
        frame = large[top : top + 720, left : left + 1280]
        frame = frame + np.random.default_rng(i // 2).normal(0, 1.0, frame.shape)
        image = np.clip(np.rint(frame), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f'{i:08d}.png'), image[..., ::-1])


def plain(folder, rng):
    """A sample as the published code makes it."""
    start = int(rng.integers(40 - FRAMES))
    top, left = int(rng.integers(720 - CROP)), int(rng.integers(1280 - CROP))
    sigma, level, crf = float(rng.uniform(0.2, 4)), float(rng.uniform(0, 10)), int(rng.uniform(18, 35))
    line = cv2.getGaussianKernel(21, sigma)
    kernel, frames = line @ line.T, []
    for i in range(start, start + FRAMES):
        image = cv2.imread(str(folder / f'{i:08d}.png')).astype(np.float32) / 255
        image = image[top : top + CROP, left : left + CROP]
        frames.append(image)
    small = []
    for image in frames:
        image = cv2.filter2D(image, -1, kernel)
        image = np.clip(image + np.random.randn(*image.shape) * level / 255, 0, 1)
        image = cv2.resize(image, (CROP // 2, CROP // 2), interpolation=cv2.INTER_CUBIC)
        image = cv2.resize(image, (CROP // 4, CROP // 4), interpolation=cv2.INTER_AREA)
        small.append((np.clip(image, 0, 1) * 255).round().astype(np.uint8))
    size, binary = f'{CROP // 4}x{CROP // 4}', imageio_ffmpeg.get_ffmpeg_exe()
    raw = ['-f', 'rawvideo', '-pix_fmt', 'bgr24']
    one = ['-v', 'error', '-threads', '1']
    encode = [binary, *one, *raw, '-s', size, '-r', '25', '-i', '-', '-c:v', 'libx264', '-crf', str(crf)]
    encode += ['-pix_fmt', 'yuv420p', '-threads', '1', '-f', 'matroska', '-']
    coded = subprocess.run(encode, input=np.stack(small).tobytes(), capture_output=True, check=True).stdout
    decode = [binary, *one, '-i', '-', *raw, '-']
    made = subprocess.run(decode, input=coded, capture_output=True, check=True).stdout
    lq = np.frombuffer(made, np.uint8).reshape(FRAMES, CROP // 4, CROP // 4, 3)[..., ::-1]
    gt = np.stack(frames)[..., ::-1]
    return [
        torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)).astype(np.float32))
        for x in (lq / 255, gt)
    ]


def main(rounds):
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        make_clip(place / 'png/clip')
        animevsr.pack_clips(place / 'png', place / 'packed')
        sizes = [
            sum(f.stat().st_size for f in (place / n).rglob('*') if f.is_file()) for n in ('png', 'packed')
        ]
        print(f'PNG {sizes[0] / 1e6:.1f} MB, packed {sizes[1] / 1e6:.1f} MB')
        options = dict(num_frame=FRAMES, gt_size=CROP, interval=[1], random_reverse=False)
        options['degradation'] = ['blur', 'noise', {'down': 2}, {'down': 2}, {'codec': 'h264'}]
        sets = {
            name: DegradedClipDataset(dict(options, dataroot_gt=place / name)) for name in ('png', 'packed')
        }
        rng = np.random.default_rng(0)
        rows = {
            'plain': lambda: plain(place / 'png/clip', rng),
            'folder': lambda: sets['png'][0],
            'packed': lambda: sets['packed'][0],
        }
        times = {name: [] for name in rows}
        for round_ in range(rounds + 1):
            for name, row in rows.items():
                start = time.perf_counter()
                row()
                if round_:
                    times[name].append(time.perf_counter() - start)
    print('| | s a sample | samples a second | ratio |\n| --- | --- | --- | --- |')
    for name, values in times.items():
        value = median(values)
        print(f'| {name} | {value:.3f} | {1 / value:.1f} | {median(times["plain"]) / value:.2f} |')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=7)
    main(parser.parse_args().rounds)
