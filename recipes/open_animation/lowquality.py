"""Step 4 of the recipe: push composed clips through the codecs of old files and keep low-quality frames,
without their originals.

    python recipes/open_animation/lowquality.py --root datasets/open_animation --split train --count 840

A file is first made small (1/3 to 5/8), perhaps blurred, noisy, with shifted chroma or oversharpened; then
really encoded, by one of the encoders of `CHAINS` (MPEG-1, interlaced MPEG-2 and a deinterlacer, Xvid,
MS-MPEG4, WMV, FLV, RealVideo, Theora, MJPEG, H.264); in a third of the cases the result is encoded once more
with H.264, as re-uploads are. Frames that hardly differ from the last one kept are dropped, as in the papers'
RAL set. What comes out is simulated with real codecs, not collected.

Writes ROOT/lowquality/<split>/<number>_<chain>/. One file depends on (split, seed, number) alone; finished
ones are skipped.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import cv2
import ffmpeg
import numpy as np
from jobs import run_jobs

from animevsr.video.clips import clip_name, list_clips
from animevsr.video.ffmpeg import binary, passthrough
from animevsr.video.images import image_name, write_image
from animevsr.video.reader import open_reader

RATIOS = [1 / 3, 3 / 8, 1 / 2, 1 / 2, 5 / 8]
# frames kept of a file; mean absolute change (of 255) below which a frame counts as the same
KEEP, CHANGE = 4, 1.0


def rate(rng, low, high):
    return f'{rng.randint(low, high)}k'


# name: (container, filters at the small size, options of the encoder, filters after decoding)
CHAINS = {
    'mpeg1': ('mpg', '', lambda r: {'vcodec': 'mpeg1video', 'b:v': rate(r, 250, 700), 'g': 12, 'bf': 2}, ''),
    'mpeg2i': (
        'mpg',
        'tinterlace=interleave_top,fieldorder=tff',
        lambda r: {
            'vcodec': 'mpeg2video',
            'flags': '+ildct+ilme',
            'b:v': rate(r, 500, 1400),
            'g': 12,
            'bf': 2,
            'r': 25,
        },
        'yadif=1',
    ),
    'xvid': (
        'avi',
        '',
        lambda r: {'vcodec': 'mpeg4', 'vtag': 'XVID', 'qscale:v': r.randint(5, 14), 'bf': 1, 'g': 120},
        '',
    ),
    'msmpeg4': ('avi', '', lambda r: {'vcodec': 'msmpeg4v2', 'qscale:v': r.randint(6, 16)}, ''),
    'wmv2': ('wmv', '', lambda r: {'vcodec': 'wmv2', 'b:v': rate(r, 150, 500)}, ''),
    'flv1': ('flv', '', lambda r: {'vcodec': 'flv', 'qscale:v': r.randint(6, 16)}, ''),
    'rv20': ('rm', '', lambda r: {'vcodec': 'rv20', 'qscale:v': r.randint(6, 16)}, ''),
    'theora': ('ogv', '', lambda r: {'vcodec': 'libtheora', 'q:v': r.randint(0, 4)}, ''),
    'mjpeg': (
        'avi',
        '',
        lambda r: {'vcodec': 'mjpeg', 'qscale:v': r.randint(6, 20), 'pix_fmt': 'yuvj420p'},
        '',
    ),
    'x264': (
        'mp4',
        '',
        lambda r: {
            'vcodec': 'libx264',
            'preset': r.choice(['veryfast', 'ultrafast']),
            'crf': r.randint(27, 38),
        },
        '',
    ),
}


def damage(rng):
    """Filters that happen to a picture before it is encoded."""
    ratio, scaler = rng.choice(RATIOS), rng.choice(['bicubic', 'bilinear', 'area', 'lanczos'])
    if rng.random() < 0.04:
        scaler = 'neighbor'
    filters = [f'scale=trunc(iw*{ratio:.4f}/16+0.5)*16:trunc(ih*{ratio:.4f}/16+0.5)*16:flags={scaler}']
    if rng.random() < 0.35:
        filters.append(f'gblur=sigma={rng.uniform(0.3, 1.1):.2f}')
    if rng.random() < 0.30:
        filters.append(f'chromashift=cbh={rng.randint(-2, 2)}:crh={rng.randint(-2, 2)}')
    if rng.random() < 0.45:
        filters.append(
            f'noise=alls={rng.randint(2, 14)}:allf={rng.choice(["t", "t+u"])}'
            f':all_seed={rng.randrange(1 << 16)}'
        )
    if rng.random() < 0.30:
        filters.append(f'unsharp=5:5:{rng.uniform(0.5, 1.8):.1f}')
    return filters


def run(source, target, options, filters):
    chain = {'vf': ','.join(f for f in filters if f)} if any(filters) else {}
    stream = ffmpeg.output(source, str(target), **chain, **{'pix_fmt': 'yuv420p', 'threads': 1, **options})
    try:
        ffmpeg.run(stream.global_args('-nostdin'), cmd=binary(), quiet=True, overwrite_output=True)
    except ffmpeg.Error as error:
        raise SystemExit(
            f'ffmpeg failed: {error.stderr.decode(errors="replace").strip().splitlines()[-1]}'
        ) from None


def kept(files):
    """The frames that are kept, evenly spread over those that differ from the one before."""
    images, different = [cv2.imread(str(f)) for f in files], []
    for image in images:
        if not different or np.abs(image.astype(np.int16) - different[-1]).mean() > CHANGE:
            different.append(image)
    return [different[i] for i in sorted({round(i) for i in np.linspace(0, len(different) - 1, KEEP)})]


def unpacked(clip, folder):
    """The frames of a packed clip as images in a folder, which is returned."""
    folder.mkdir()
    with open_reader(clip) as reader:
        for i, (image, _) in enumerate(reader.frames()):
            write_image(folder / image_name(i), image)
    return folder


def degrade_file(clips, out, split, number, seed):
    """Make low-quality file `number` of a split; returns the folder of its frames."""
    cv2.setNumThreads(1)
    found = [p for p in out.glob(f'{number:05d}_*') if not p.name.endswith('.partial')]
    if found:
        return found[0]
    rng = random.Random(f'{split} {seed} {number}')
    clip, name = clips[number % len(clips)], rng.choice(list(CHAINS))
    suffix, before, options, after = CHAINS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f'first.{suffix}'
        images = clip if clip.is_dir() else unpacked(clip, Path(folder) / 'clip')
        run(ffmpeg.input(str(images / '%08d.png'), framerate=25), file, options(rng), [*damage(rng), before])
        if rng.random() < 0.35:
            name += '_x264'
            again = Path(folder) / 'again.mp4'
            run(
                ffmpeg.input(str(file)),
                again,
                {'vcodec': 'libx264', 'preset': 'veryfast', 'crf': rng.randint(24, 34)},
                [after],
            )
            file, after = again, ''
        run(
            ffmpeg.input(str(file)),
            Path(folder) / '%08d.png',
            {'pix_fmt': 'rgb24', **passthrough(binary())},
            [after],
        )
        frames = kept(sorted(Path(folder).glob('*.png')))
    target = out / f'{number:05d}_{name}'
    partial = target.with_name(target.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for i, frame in enumerate(frames):
        cv2.imwrite(str(partial / f'{i:08d}.png'), frame)
    (partial / 'source.json').write_text(json.dumps(dict(clip=clip_name(clip), chain=name)))
    partial.rename(target)
    return target


def degrade(root, split, count, seed=1, jobs=2):
    """Make `count` low-quality files of the clips of a split."""
    root = Path(root)
    clips = list_clips(root / split)
    out = root / 'lowquality' / split
    run_jobs(
        degrade_file,
        [(clips, out, split, n, seed) for n in range(count)],
        f'low-quality files, {split}',
        jobs,
    )


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default='datasets/open_animation')
    parser.add_argument('--split', choices=['train', 'heldout'], default='train')
    parser.add_argument('--count', type=int, default=840)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--jobs', type=int, default=2)
    args = parser.parse_args()
    degrade(args.root, args.split, args.count, args.seed, args.jobs)
