"""Pairs of pseudo-HR and real frames of one video (AnimeSR supplement Sec. 2, step 4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from animevsr.engine.upscaler import Upscaler
from animevsr.utils.files import check_note, make_folder
from animevsr.utils.progress import progress_bar
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.images import write_image
from animevsr.video.reader import open_reader
from animevsr.video.shots import is_cut
from animevsr.zoo import hash_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


PSEUDO_HR = 2  # size of the pseudo-HR frame over that of the real one; the learnable basic operator halves it
RESIZES = ('bicubic', 'lanczos')
RUN = 10  # frames in sequence of which pairs are made
WARM_UP = 2  # frames before a run that only fill the memory of the network


def write_pairs(
    video: Path,
    count: int,
    folder: Path,
    net: nn.Module,
    factor: float,
    max_frames: int,
    weights: Path,
    progress: bool = False,
    mode: str = 'bicubic',
) -> Path:
    """Write the pairs of a factor into `folder`/gt and `folder`/lq; pairs that are there already are kept.

    Args:
        video (Path): of `count` frames.
        net: a recurrent network; each shot of a run starts with a fresh state.
        weights (Path): its file. mode (str): see `resize`.

    Raises:
        MediaError: `folder` holds pairs that were made of something else, or in another way.
    """
    fingerprint = dict(
        video=video.name,
        bytes=_count_bytes(video),
        frames=count,
        factor=factor,
        max_frames=max_frames,
        weights=hash_weights(weights),
        **({} if mode == 'bicubic' else dict(resize=mode)),
    )
    for side in ('gt', 'lq'):
        make_folder(folder / side)
    check_note(
        folder / 'pairs.json',
        json.dumps(fingerprint, indent=1),
        f'{folder}: holds pairs of another video or network, or made in another way (see pairs.json); move it'
        ' away',
    )
    runs = spread_runs(count, max_frames)
    due, recent = {}, {}  # runs by the frame after which they are written
    for run in runs:
        due.setdefault(min(run.stop, count - 1), []).append(run)
    with progress_bar(sum(map(len, runs)), 'pairs', progress) as bar, open_reader(video) as reader:
        for i, (image, _) in enumerate(reader.frames()):
            recent[i] = image
            recent.pop(i - RUN - WARM_UP - 1, None)
            for run in due.get(i, ()):
                _write_run(folder, run, recent, net, factor, mode)
                bar.update(len(run))
            if i >= max(due):
                break
    return folder


def spread_runs(count: int, max_frames: int) -> list[range]:
    """[range]: all frames in runs, or as many runs as give `max_frames`, spread evenly."""
    runs = [range(start, min(start + RUN, count)) for start in range(0, count, RUN)]
    wanted = -(-max_frames // RUN)
    if count > max_frames:
        runs = [runs[i * len(runs) // wanted] for i in range(wanted)]
        runs[-1] = runs[-1][: max_frames - RUN * (wanted - 1)]
    return runs


def _write_run(folder, run, frames, net, factor, mode):
    """Pairs of the frames `run`; `frames` {number: image} has some before and after them."""
    paths = {i: (folder / 'gt' / f'{i:08d}.png', folder / 'lq' / f'{i:08d}.png') for i in run}
    if all(path.exists() for pair in paths.values() for path in pair):
        return
    numbers = [i for i in sorted(frames) if run.start - WARM_UP <= i <= run.stop]
    for shot in split_at_cuts(numbers, frames):
        clip = to_tensor(np.stack([frames[i] for i in shot]))
        for i, high in zip(shot, pseudo_hr_frames(net, clip, factor, mode)):
            if i in paths:
                write_image(paths[i][0], to_images(high)[0])
                write_image(paths[i][1], frames[i])


def split_at_cuts(numbers: list[int], frames: Any) -> list[list[int]]:
    """[[number]]: frame numbers in sequence, divided where there is a cut."""
    shots = [[numbers[0]]]
    for before, after in zip(numbers, numbers[1:]):
        if is_cut(frames[before], frames[after]):
            shots.append([])
        shots[-1].append(after)
    return shots


@torch.inference_mode()
def pseudo_hr_frames(net: nn.Module, clip: Tensor, factor: float, mode: str = 'bicubic') -> Iterator[Tensor]:
    """One shot (t, 3, h, w) rescaled by `factor` and super-resolved; yields each frame as (1, 3, 2h, 2w), in
    [0, 1] on the CPU.
    """
    h, w = clip.shape[-2:]
    device = next((parameter.device for parameter in net.parameters()), clip.device)  # an ncnn model has none
    small = resize(clip, max(4, round(h * factor)), max(4, round(w * factor)), mode)
    # the engine takes images; 16 bits, so that rounding does not count
    images = (small.permute(0, 2, 3, 1).cpu().numpy() * 65535).round().astype(np.uint16)
    for image in Upscaler(net, device)(images):
        large = torch.from_numpy(image.astype(np.float32) / 65535).permute(2, 0, 1)[None]
        yield resize(large, PSEUDO_HR * h, PSEUDO_HR * w, mode)


def resize(images: Tensor, height: int, width: int, mode: str = 'bicubic') -> Tensor:
    """Resize of (n, 3, h, w), clamped: 'bicubic' with antialiasing, or 'lanczos' without, as published
    (OpenCV's, on the CPU).
    """
    if mode == 'lanczos':
        resized = [
            cv2.resize(image, (width, height), interpolation=cv2.INTER_LANCZOS4)
            for image in images.permute(0, 2, 3, 1).numpy()
        ]
        return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).clamp(0, 1)
    return F.interpolate(images, (height, width), mode='bicubic', antialias=True).clamp(0, 1)


def _count_bytes(video):
    files = sorted(video.iterdir()) if video.is_dir() else [Path(video)]
    return sum(file.stat().st_size for file in files if file.is_file())
