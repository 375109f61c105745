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
from animevsr.video.packed import SUFFIX, PackedClip
from animevsr.video.reader import VideoReader, open_reader

NEAR = 32  # frames, for fewer of which the beginning of a video is decoded without looking further
# codecs (as decoders are named) of which a packet is one frame that is shown
ONE_EACH = {
    'h264',
    'hevc',
    'mpeg1video',
    'mpeg2video',
    'mpeg4',
    'msmpeg4v2',
    'msmpeg4',
    'flv',
    'vp9',
    'libvpx-vp9',
    'av1',
    'libdav1d',
    'libaom-av1',
    'ffv1',
    'prores',
    'mjpeg',
    'huffyuv',
    'ffvhuff',
    'utvideo',
    'rawvideo',
}


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
    wanted = sorted(set(indices))
    times = list_times(path) if wanted[-1] >= NEAR else None
    frames = {} if times is None else _read_from_key_frame(path, times, wanted)
    if not frames:
        with VideoReader(path) as reader:
            for i, frame in enumerate(reader.decoded()):
                if i in wanted:
                    frames[i] = reader.image(frame)
                if i >= wanted[-1]:
                    break
    if len(frames) < len(wanted):
        raise MediaError(f'{path}: ends after {i + 1} frames, frame {wanted[-1]} was asked for')
    return [frames[i] for i in indices]


def _read_from_key_frame(path: Path, times: np.ndarray, wanted: list[int]) -> dict[int, np.ndarray]:
    """{number: image}, decoded from the key frame before the first of them; empty where that does not find
    all.
    """
    if wanted[-1] >= len(times):
        return {}
    numbers, frames = {int(times[i]): i for i in wanted}, {}
    with VideoReader(path) as reader:
        if not _counts_from_first(reader, times):
            return {}
        try:
            for frame in reader.decoded_from(int(times[wanted[0]])):
                if frame.pts in numbers:
                    frames[numbers[frame.pts]] = reader.image(frame)
                if frame.pts is None or frame.pts >= times[wanted[-1]]:
                    break
        except (av.FFmpegError, MediaError):
            return {}
    return frames if len(frames) == len(wanted) else {}


def _counts_from_first(reader: VideoReader, times: np.ndarray) -> bool:
    """Whether the decoder gives the first frame of all, and does not leave out some that it cannot decode."""
    return reader.zero == int(times[0]) * reader.info.time_base


def list_times(path: Path) -> np.ndarray | None:
    """The times of a video's frames, in units of its stream, in the order in which they are shown, from its
    packets: nothing is decoded. None where they say nothing certain.
    """
    try:
        there = path.stat()
    except OSError:
        return None
    return _list_times(path, there.st_mtime_ns, there.st_size)


@functools.lru_cache(maxsize=256)
def _list_times(path, *_):
    """`list_times` of a file as it is now; 0.7 MB for an hour."""
    try:
        with open_container(path) as container:
            stream = next(s for s in container.streams.video if not is_cover(s))
            # AVI stores no times; a packet of a transport stream may be half a frame, one of another codec
            # no frame that is shown
            if container.format.name in ('avi', 'mpegts') or stream.codec_context.name not in ONE_EACH:
                return None
            times = [
                None if packet.is_discard else packet.pts for packet in container.demux(stream) if packet.size
            ]
    except (av.FFmpegError, OSError, ValueError, StopIteration):
        return None
    if None in times or len(set(times)) < len(times):
        return None
    return np.sort(np.array(times, np.int64))


def seek_frame(path: str | Path, index: int) -> np.ndarray:
    """Frame of a video file near number `index`, found by its time from the key frame before it: (h, w, 3)
    uint8 RGB.

    Exact where frames are evenly spaced from the start on; the last frame stands in for those beyond the end.
    For picking frames out of long videos; `read_frames` counts.
    """
    with VideoReader(path) as reader:
        return reader.image(reader.seek(index / reader.info.fps))


def count_frames(path: str | Path) -> int:
    """Number of frames of a clip: the images of a folder, those of a packed clip, or the frames of a video
    that can be read. Headers also count what an edit list leaves out, and what a truncated file does not have
    any more.
    """
    path = Path(path)
    if path.is_dir():
        return len(list_images(path))
    if path.suffix == SUFFIX:
        return PackedClip(path).count
    with VideoReader(path) as reader:
        times = list_times(path)
        if times is not None and len(times) and _counts_from_first(reader, times):
            return len(times)
        return sum(1 for _ in reader.decoded())


def count_decodable(path: str | Path, frames: Callable = iter) -> int:
    """Number of frames that can be decoded, where the header of a truncated or badly muxed video may count
    others.

    `frames(decoded)` may wrap the iterator of decoded frames, e.g. to show progress.
    """
    with open_reader(path) as reader:
        return sum(1 for _ in frames(reader.decoded())) if reader.info.is_video else reader.info.frame_count
