"""HR-SR enhancement: cleaner ground truth for training (VQD-SR Sec. 3.3).

Every HR frame is super-resolved by an existing model and brought back to its own size: what a compressed
frame has of artefacts goes, its size and content stay.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from animevsr.archs.loading import load_upscaler
from animevsr.archs.single_image import SingleImageNetwork
from animevsr.engine.upscaler import Upscaler
from animevsr.errors import MediaError
from animevsr.utils.device import select_device
from animevsr.utils.files import check_note, make_folder
from animevsr.utils.options import check_part
from animevsr.utils.progress import progress_bar
from animevsr.utils.threads import usable_cores
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.images import IMAGE_SUFFIXES, image_size, list_images, read_image, write_image
from animevsr.video.numbered import count_decodable
from animevsr.video.reader import open_reader
from animevsr.video.shots import is_cut
from animevsr.zoo import find_weights, hash_weights

if TYPE_CHECKING:
    import numpy as np

    from animevsr.archs.interfaces import FrameNetwork


NOTE, SOURCE = '.enhanced_by', '.enhanced_of'  # in the output: the model, and the input


@dataclass(frozen=True)
class Clip:
    """A folder of frames or a video file, and the names of its enhanced frames."""

    source: Path
    targets: list


def enhance(
    in_root: str | Path,
    out_root: str | Path,
    model: str | Path,
    tile: int = 256,
    device: str | torch.device = 'auto',
    jobs: int | None = None,
    part: tuple[int, int] = (1, 1),
    progress: bool = False,
) -> int:
    """Super-resolve all frames of a tree of clips and bring them back to their size, by MATLAB's antialiased
    bicubic resize.

    The folders and the names of images stay; a video becomes a folder of its name. Everything is written as
    PNG. Frames that are there already are kept, so that an interrupted call goes on; the input is never
    changed.

    Args:
        in_root (str | Path): searched with all its folders for images and video files.
        out_root (str | Path): made where it is missing; not the input, nor inside it.
        model (str | Path): anything that `load_network` takes. A recurrent network starts anew at each cut.
        tile (int): side of the squares, in pixels of the input, in which a frame is worked on, rounded up to
            a multiple of 4: what the network needs in memory depends on it. A recurrent network keeps the
                states of all tiles besides.
        device (str): 'auto', 'cpu', ...
        jobs (int | None): threads that read and write beside the network. Default: the CPUs, 4 at most.
        part (pair of int): (i, n) works on every n-th clip from the i-th on, to divide a tree among processes
            or machines.
        progress (bool): show progress on standard error.

    Returns:
        int: frames written.

    Raises:
        MediaError, CheckpointError, ValueError: one line.
    """
    in_root, out_root = Path(in_root), Path(out_root)
    if tile < 32:
        raise ValueError(f'tile must be at least 32, got {tile}')
    if jobs is not None and jobs < 1:
        raise ValueError(f'jobs must be at least 1, got {jobs}')
    check_part(part)
    if not in_root.is_dir():
        raise MediaError(f'{in_root}: no such folder')
    if out_root.resolve() == in_root.resolve() or in_root.resolve() in out_root.resolve().parents:
        raise MediaError(f'{out_root}: is the input, or inside it; name another output')
    device = select_device(device)
    enhancer = Enhancer(load_upscaler(model, device), device, tile)
    clips = find_clips(in_root, out_root)[part[0] - 1 :: part[1]]
    make_folder(out_root)
    check_note(
        out_root / NOTE,
        hash_weights(find_weights(model)),
        f'{out_root}: holds results of another model; name another output, or remove it',
    )
    check_note(
        out_root / SOURCE,
        '/'.join(in_root.resolve().parts[-2:]),  # other machines may see it elsewhere
        f'{out_root}: holds results of another input (see {out_root / SOURCE}); name another output, or'
        ' remove it',
    )
    todo, written = sum(len(clip.targets) for clip in clips), 0
    with (
        progress_bar(todo, 'frames', progress) as bar,
        ThreadPoolExecutor(jobs or min(4, usable_cores())) as pool,
        torch.inference_mode(),
    ):
        for clip in clips:
            if all(target.exists() for target in clip.targets):
                bar.update(len(clip.targets))
                continue
            clip.targets[0].parent.mkdir(parents=True, exist_ok=True)
            written += _enhance_clip(clip, enhancer, pool, bar)
    return written


def find_clips(in_root: Path, out_root: Path) -> list[Clip]:
    """[Clip] of everything below `in_root`, sorted.

    Raises:
        MediaError: nothing found, videos that cannot be read (all are named), or two sources with one target.
    """
    clips, taken, seen, others, unreadable = [], {}, set(), [], []
    for folder, folders, files in os.walk(in_root, followlinks=True):
        if os.path.realpath(folder) in seen:
            raise MediaError(f'{folder}: is linked to a folder that is in the tree already')
        seen.add(os.path.realpath(folder))
        folders[:] = sorted(
            name for name in folders if not name.startswith('.') and not name.endswith('.partial')
        )
        folder, place = Path(folder), out_root / Path(folder).relative_to(in_root)
        names = [Path(name) for name in sorted(files) if not name.startswith('.')]
        if any(name.suffix.lower() in IMAGE_SUFFIXES for name in names):
            images = list_images(folder)
            clips.append(Clip(folder, [place / f'{image.stem}.png' for image in images]))
        others += [
            folder / name for name in names if name.suffix.lower() not in IMAGE_SUFFIXES + VIDEO_SUFFIXES
        ]
        for name in names:
            if name.suffix.lower() in VIDEO_SUFFIXES:
                try:
                    count = count_decodable(folder / name)
                    with open_reader(folder / name) as reader:
                        says = reader.info.frame_count
                except MediaError as error:
                    unreadable.append(str(error))
                    continue
                # an edit list may leave some out
                if says and count < 0.98 * says - 1:
                    warnings.warn(
                        f'{folder / name}: only {count} of {says} frames can be decoded', stacklevel=3
                    )
                clips.append(Clip(folder / name, [place / name.stem / f'{i:08d}.png' for i in range(count)]))
    if unreadable:  # all of them at once, before the work
        more = f' and {len(unreadable) - 5} more' if len(unreadable) > 5 else ''
        raise MediaError('; '.join(unreadable[:5]) + f'{more}: take them out')
    clips.sort(key=lambda clip: clip.source)
    for clip in clips:
        for target in clip.targets:
            if in_root.resolve() in target.resolve().parents:
                raise MediaError(
                    f'{out_root}: results would be written into the input ({target}); name another output'
                )
            if target in taken:
                raise MediaError(
                    f'{clip.source}: would be written to {target}, and so would {taken[target]}; rename one'
                    ' of them'
                )
            taken[target] = clip.source
    if not clips:
        raise MediaError(f'{in_root}: holds no images and no videos')
    if others:
        more = f' and {len(others) - 1} more' if len(others) > 1 else ''
        warnings.warn(f'{others[0]}{more}: left out, as no images or videos of a known kind', stacklevel=3)
    return clips


def _enhance_clip(clip, enhancer, pool, bar):
    """Write the missing frames of a clip; returns how many."""
    missing = [i for i, target in enumerate(clip.targets) if not target.exists()]
    # a recurrent network needs the frames before, a single-image one only those that are missing
    numbers = range(len(clip.targets)) if enhancer.recurrent else missing
    bar.update(len(clip.targets) - len(numbers))
    writing, due = [], set(missing)
    for i, result in zip(numbers, enhancer(_frames(clip, numbers, pool))):
        if i in due:
            writing.append(pool.submit(write_image, clip.targets[i], result))
        while len(writing) > 8:
            writing.pop(0).result()
        bar.update()
    for future in writing:
        future.result()
    return len(missing)


def _frames(clip, numbers, pool):
    """Frames of a clip by their numbers, read ahead by two."""
    if clip.source.is_dir():
        files, ahead = list_images(clip.source), []
        _check_sizes(files)
        for number in numbers:
            ahead.append(pool.submit(read_image, files[number]))
            if len(ahead) > 2:
                yield ahead.pop(0).result()
        for future in ahead:
            yield future.result()
    else:
        wanted = set(numbers)
        with open_reader(clip.source) as reader:
            yield from (reader.image(frame) for i, (frame, _) in enumerate(reader.timed()) if i in wanted)


def _check_sizes(images):
    first = image_size(images[0])
    for image in images:
        if image_size(image) != first:
            size, expected = ('x'.join(map(str, s)) for s in (image_size(image), first))
            raise MediaError(
                f'{image}: is {size}, but {images[0].name} beside it is {expected}; a folder holds the frames'
                ' of one clip'
            )


class Enhancer:
    """Runs a network over frames, each shot from a fresh state, and brings its results back to their size.

    Args:
        net (FrameNetwork), device (torch.device), tile (int): see `enhance`.
    """

    def __init__(self, net: FrameNetwork, device: torch.device, tile: int) -> None:
        self.recurrent = not isinstance(net, SingleImageNetwork)
        # the coarsest branch of the recurrent network works at a quarter
        self.upscaler = Upscaler(net, device, tile + -tile % 4, shrink=True)

    def __call__(self, frames: Any) -> Iterator[Any]:
        """Iterable of (h, w, 3) uint8 RGB -> iterator of the same."""
        for _, shot in itertools.groupby(numbered(frames), key=lambda pair: pair[0]):
            yield from self.upscaler(frame for _, frame in shot)


def numbered(frames: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """(number of its shot, frame) of each frame."""
    shot, before = 0, None
    for frame in frames:
        shot += before is not None and is_cut(before, frame)
        before = frame
        yield shot, frame
