"""HR-SR enhancement: cleaner ground truth for training (VQD-SR Sec. 3.3).

Every HR frame is super-resolved by an existing model and brought back to its own size: what a compressed
frame has of artefacts goes, its size and content stay.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from animevsr.archs.loading import load_upscaler
from animevsr.archs.single_image import SingleImageNetwork
from animevsr.errors import MediaError
from animevsr.utils.device import select_device
from animevsr.utils.files import check_note
from animevsr.utils.images import to_images, to_tensor
from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.options import check_part
from animevsr.utils.progress import progress_bar
from animevsr.video.images import IMAGE_SUFFIXES, image_size, list_images, read_image, write_image
from animevsr.video.reader import VIDEO_SUFFIXES, count_decodable, open_reader
from animevsr.video.shots import is_cut
from animevsr.zoo import find_weights, hash_of_weights

NOTE = '.enhanced_by'  # in the output: the model
MARGIN = 16  # pixels around a tile that the network sees and that are cut off


@dataclass(frozen=True)
class Clip:
    """A folder of frames or a video file, and the names of its enhanced frames."""

    source: Path
    targets: list


def enhance(in_root, out_root, model, tile=256, device='auto', jobs=None, part=(1, 1), progress=False):
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
    tile += -tile % 4  # the coarsest branch of the recurrent network works at a quarter
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
    out_root.mkdir(parents=True, exist_ok=True)
    check_note(
        out_root / NOTE,
        hash_of_weights(find_weights(model)),
        f'{out_root}: holds results of another model; name another output, or remove it',
    )
    todo, written = sum(len(clip.targets) for clip in clips), 0
    with (
        progress_bar(todo, 'frames', progress) as bar,
        ThreadPoolExecutor(jobs or min(4, os.cpu_count() or 1)) as pool,
        torch.inference_mode(),
    ):
        for clip in clips:
            if all(target.exists() for target in clip.targets):
                bar.update(len(clip.targets))
                continue
            clip.targets[0].parent.mkdir(parents=True, exist_ok=True)
            written += _enhance_clip(clip, enhancer, pool, bar)
    return written


def find_clips(in_root, out_root):
    """[Clip] of everything below `in_root`, sorted.

    Raises:
        MediaError: nothing found, or two sources would have the same target.
    """
    clips, taken, seen, others = [], {}, set(), []
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
                count = count_decodable(folder / name)
                with open_reader(folder / name) as reader:
                    # an edit list may leave some out
                    if reader.frame_count and count < 0.98 * reader.frame_count - 1:
                        warnings.warn(
                            f'{folder / name}: only {count} of {reader.frame_count} frames can be decoded',
                            stacklevel=3,
                        )
                clips.append(Clip(folder / name, [place / name.stem / f'{i:08d}.png' for i in range(count)]))
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
    writing, written = [], 0
    # a recurrent network needs the frames before, a single-image one only those that are missing
    needed = [not target.exists() for target in clip.targets]
    for i, result in enumerate(enhancer(_frames(clip, needed, enhancer.recurrent, pool))):
        if result is not None and needed[i]:
            writing.append(pool.submit(write_image, clip.targets[i], result))
            written += 1
        while len(writing) > 8:
            writing.pop(0).result()
        bar.update()
    for future in writing:
        future.result()
    return written


def _frames(clip, needed, all_of_them, pool):
    """Frames of a clip, read ahead by one; None for one that is not needed."""
    if clip.source.is_dir():
        files, ahead = list_images(clip.source), []
        _check_sizes(files)
        for file, wanted in zip(files, needed):
            ahead.append(
                pool.submit(
                    lambda file=file, wanted=wanted: read_image(file) if wanted or all_of_them else None
                )
            )
            if len(ahead) > 2:
                yield ahead.pop(0).result()
        for future in ahead:
            yield future.result()
    else:
        with open_reader(clip.source) as reader:
            for i, (image, _) in enumerate(reader.frames()):
                yield image if all_of_them or needed[i] else None


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
    """Runs a network over frames and brings its results back to their size, tile by tile.

    Args:
        net: with `step` and `scale`.
        device (torch.device), tile (int): see `enhance`.
    """

    def __init__(self, net, device, tile):
        self.net, self.device, self.tile = net, device, tile
        self.recurrent = not isinstance(net, SingleImageNetwork)

    def __call__(self, frames):
        """Iterable of (h, w, 3) uint8 RGB or None -> iterator of the same; None for None."""
        if not self.recurrent:
            for frame in frames:
                x = None if frame is None else to_tensor(frame[None])
                yield None if frame is None else self._frame(x, x, x, {})
            return
        prev, cur, states = None, None, {}
        for frame in frames:
            if cur is not None:
                cut = is_cut(cur, frame)
                yield self._frame(
                    *(
                        to_tensor(f[None])
                        for f in (cur if prev is None else prev, cur, cur if cut else frame)
                    ),
                    states,
                )
                prev, states = (None, {}) if cut else (cur, states)
            cur = frame
        if cur is not None:
            yield self._frame(
                *(to_tensor(f[None]) for f in (cur if prev is None else prev, cur, cur)), states
            )

    def _frame(self, prev, cur, nxt, states):
        """One frame; `states` {tile: state} is changed."""
        out, (h, w) = torch.empty_like(cur), cur.shape[-2:]
        for top in range(0, h, self.tile):
            for left in range(0, w, self.tile):
                y, x = (max(0, start - MARGIN) for start in (top, left))
                bottom, right = min(h, top + self.tile), min(w, left + self.tile)
                tiles = [
                    f[..., y : bottom + MARGIN, x : right + MARGIN].to(self.device) for f in (prev, cur, nxt)
                ]
                large, states[top, left] = self.net.step(*tiles, states.get((top, left)))
                # the resize reaches 2 pixels far, so that the margin makes it the same as that of the whole
                # frame
                back = matlab_resize(large.clamp(0, 1), *tiles[1].shape[-2:]).clamp(0, 1).cpu()
                out[..., top:bottom, left:right] = back[..., top - y : bottom - y, left - x : right - x]
        return to_images(out)[0]
