"""The clips on which a tiny table is measured."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from animevsr.degradations import DegradationPipeline
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.clips import list_clips, load_clip
from animevsr.video.images import write_image
from animevsr.video.numbered import count_frames

OLD_CODECS = (
    dict(vcodec='mpeg1video', **{'q:v': 5}),
    dict(vcodec='msmpeg4', **{'q:v': 5}),
    dict(vcodec='flv1', **{'q:v': 6}),
)


def held_out_clips(folder: Any) -> dict[str, Path]:
    """Write the clips on which a tiny table is measured: held-out clips, shrunk, blurred, and through old
    codecs.
    """
    clips = list_clips('assets/heldout')[6:]
    for i, clip in enumerate(clips):
        parts = {side: folder / side / clip.stem for side in ('gt', 'lq')}
        if all(part.is_dir() for part in parts.values()):
            continue
        codec = OLD_CODECS[i % len(OLD_CODECS)]
        degradation = [
            {'blur': dict(sigma=[1.0, 2.0], isotropic_prob=1.0)},
            {'down': 2},
            {'down': 2},
            {'ffmpeg': dict(options=codec)},
        ]
        pipeline, gt = DegradationPipeline(degradation), to_tensor(load_clip(clip, range(count_frames(clip))))
        lq = pipeline.apply(gt, pipeline.sample(np.random.default_rng(i), len(gt)))
        for side, frames in (('gt', gt), ('lq', lq)):
            if parts[side].is_dir():
                continue
            partial = parts[side].with_name(f'{clip.stem}.partial')
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for number, image in enumerate(to_images(frames)):
                write_image(partial / f'{number:08d}.png', image)
            os.replace(partial, parts[side])
    return dict(gt=folder / 'gt', lq=folder / 'lq')
