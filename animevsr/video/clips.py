"""Clips on disk: a root folder that holds one folder of frames, or one video file, per clip."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from animevsr.errors import MediaError
from animevsr.utils.files import no_folder
from animevsr.utils.resources import find
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.images import list_images
from animevsr.video.numbered import count_frames, read_frames
from animevsr.video.packed import SUFFIX, FolderClip, PackedClip, read_manifest
from animevsr.video.reader import open_reader


def list_clips(root: str | Path, key: str = 'dataroot_gt') -> list[Path]:
    """Clips of a root, sorted by name: folders of frames and video files.

    Raises:
        MediaError: the root is missing or holds no clip.
    """
    root = find(root)
    if not root.is_dir():
        raise MediaError(f'{key}: {root}: {no_folder(root)}')
    clips = [
        p
        for p in sorted(root.iterdir())
        if not p.name.startswith('.')
        and not p.name.endswith('.partial')
        and (p.is_dir() or p.suffix.lower() in (*VIDEO_SUFFIXES, SUFFIX))
    ]
    if not clips:
        raise MediaError(f'{key}: {root}: holds no clips (folders of frames, or video files)')
    return clips


def clips_by_name(root: str | Path, key: str) -> dict[str, Path]:
    """{name: clip} of a root.

    Raises:
        MediaError: as `list_clips`; or two clips have one name.
    """
    return by_name(list_clips(root, key))


def by_name(clips: list[Path]) -> dict[str, Path]:
    """{name: clip}; MediaError where two clips have one name."""
    named = {}
    for clip in clips:
        if clip_name(clip) in named:
            raise MediaError(f'{clip}: has the name of {named[clip_name(clip)]}; a clip is known by its name')
        named[clip_name(clip)] = clip
    return named


def check_same_clips(first: str | Path, clips: dict, other: str | Path, others: dict) -> None:
    """MediaError unless two roots, which `clips_by_name` looked through, have clips of the same names."""
    for name in sorted(set(clips) ^ set(others)):
        lacks, has = (first, other) if name in others else (other, first)
        raise MediaError(f"{lacks}: has no clip '{name}', which {has} has")


def clip_name(clip: Path) -> str:
    """Name of a clip: its folder's, or its file's without the suffix."""
    return clip.name if clip.is_dir() else clip.stem


def clip_lengths(clips: list[Path], at_least: int, reason: str) -> list[int]:
    """Number of frames of each clip; MediaError that names the first clip with fewer than `at_least`."""
    manifest = read_manifest(clips[0].parent) if clips else {}
    lengths = [manifest[c.name]['frames'] if c.name in manifest else count_frames(c) for c in clips]
    for clip, length in zip(clips, lengths):
        if length < at_least:
            raise MediaError(f'{clip}: has {length} frames, but {reason}')
    return lengths


def load_clip(path: str | Path, indices: list[int]) -> np.ndarray:
    """Frames of a clip as uint8 array (t, h, w, 3), RGB."""
    path = Path(path)
    if path.suffix == SUFFIX:
        return PackedClip(path).read(list(indices))
    frames = read_frames(path, indices)
    for i, frame in zip(indices, frames):
        _check_size(path, i, frame, indices[0], frames[0])
    return np.stack(frames)


def open_clip(path: Path) -> PackedClip | FolderClip | None:
    """What reads crops of a few frames of a clip; None for a video, of which every window is decoded from the
    key frame before it (`animevsr pack` packs it).
    """
    if path.is_dir():
        return FolderClip(path, list_images(path))
    return PackedClip(path) if path.suffix == SUFFIX else None


def stream_clip(path: Path, count: int) -> Iterator[np.ndarray]:
    """The first `count` frames of a clip, one at a time: (h, w, 3) uint8 RGB.

    Raises:
        MediaError: the clip ends before, or a frame has another size.
    """
    if path.suffix == SUFFIX:
        clip = PackedClip(path)
        yield from (clip.read([i])[0] for i in range(count))
        return
    first = None
    with open_reader(path) as reader:
        for i, (frame, _) in enumerate(itertools.islice(reader.frames(), count)):
            first = frame if first is None else first
            _check_size(path, i, frame, 0, first)
            yield frame
    if first is None or i + 1 < count:
        raise MediaError(f'{path}: ends after {0 if first is None else i + 1} frames, {count} were asked for')


def _check_size(path, i, frame, i0, first):
    if frame.shape != first.shape:
        raise MediaError(
            f'{path}: frame {i} is {frame.shape[1]}x{frame.shape[0]}, frame {i0} is'
            f' {first.shape[1]}x{first.shape[0]}'
        )
