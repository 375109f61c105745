"""Frames of a clip by their numbers, and how many there are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from animevsr.errors import MediaError
from animevsr.video.container import is_cover, open_container
from animevsr.video.images import list_images, read_image
from animevsr.video.reader import VideoReader, open_reader


def read_frames(path: str | Path, indices: list[int] | range) -> list[np.ndarray]:
    """The frames of a clip at `indices` (not decreasing): list of (h, w, 3) uint8 RGB.

    Raises:
        MediaError: a frame is missing or unreadable; the message names the file.
    """
    path = Path(path)
    if path.is_dir():
        files = list_images(path)
        if max(indices) >= len(files):
            raise MediaError(f'{path}: has {len(files)} frames, frame {max(indices)} was asked for')
        return [read_image(files[i]) for i in indices]
    order, wanted = list_times(path), sorted(set(indices))
    frames = order and _read_from_key_frame(path, order, wanted)
    if not frames:
        frames = {}
        with VideoReader(path) as reader:
            for i, frame in enumerate(reader.decoded()):
                if i in set(wanted):
                    frames[i] = reader.image(frame)
                if i >= wanted[-1]:
                    break
    if len(frames) < len(wanted):
        raise MediaError(f'{path}: ends after {i + 1} frames, frame {wanted[-1]} was asked for')
    return [frames[i] for i in indices]


def _read_from_key_frame(path: Path, times: list[int], wanted: list[int]) -> dict[int, np.ndarray]:
    """{number: image}, decoded from the key frame before the first of them; empty where that does not find
    all.
    """
    if wanted[-1] >= len(times):
        return {}
    numbers, frames = {times[i]: i for i in wanted}, {}
    with VideoReader(path) as reader:
        if reader.zero != times[0] * reader.info.time_base:  # the decoder left out the first ones
            return {}
        try:
            for frame in reader.decoded_from(times[wanted[0]]):
                if frame.pts in numbers:
                    frames[numbers[frame.pts]] = reader.image(frame)
                if frame.pts is None or frame.pts >= times[wanted[-1]]:
                    break
        except (av.FFmpegError, MediaError):
            return {}
    return frames if len(frames) == len(wanted) else {}


def list_times(path: Path) -> tuple[int, ...] | None:
    """The times of a video's frames, in units of its stream, in the order in which they are shown, from its
    packets: nothing is decoded. None where they say nothing certain.
    """
    there = path.stat()
    return _list_times(path, there.st_mtime_ns, there.st_size)


@functools.lru_cache(maxsize=1024)
def _list_times(path, *_):
    """`list_times` of a file as it is now; a few hundred kB each for an hour."""
    try:
        with open_container(path) as container:
            if 'avi' in container.format.name:  # stores no times
                return None
            stream = next(s for s in container.streams.video if not is_cover(s))
            times = [
                None if packet.is_discard else packet.pts for packet in container.demux(stream) if packet.size
            ]
    except (av.FFmpegError, OSError, ValueError, StopIteration):
        return None
    if None in times or len(set(times)) < len(times):
        return None
    return tuple(sorted(times))


def seek_frame(path: str | Path, index: int) -> np.ndarray:
    """Frame of a video file near number `index`, found by its time from the key frame before it: (h, w, 3)
    uint8 RGB.

    Exact where frames are evenly spaced from the start on; the last frame stands in for those beyond the end.
    For picking frames out of long videos; `read_frames` counts.
    """
    with VideoReader(path) as reader:
        return reader.image(reader.seek(index / reader.info.fps))


def count_frames(path: str | Path) -> int:
    """Number of frames of a clip: the images of a folder, or the frames of a video, counted where the
    container does not say.
    """
    path = Path(path)
    if path.is_dir():
        return len(list_images(path))
    with VideoReader(path) as reader:
        return reader.info.frame_count or len(list_times(path) or ()) or sum(1 for _ in reader.decoded())


def count_decodable(path: str | Path, frames: Callable = iter) -> int:
    """Number of frames that can be decoded, where the header of a truncated or badly muxed video may count
    others.

    `frames(decoded)` may wrap the iterator of decoded frames, e.g. to show progress.
    """
    with open_reader(path) as reader:
        return sum(1 for _ in frames(reader.decoded())) if reader.info.is_video else reader.info.frame_count
