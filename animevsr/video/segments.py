"""Segments of a video, one for each shot: encoded once, and later read again with their final times."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from animevsr.errors import MediaError
from animevsr.utils.files import make_partial_path
from animevsr.video.color import from_rgb
from animevsr.video.container import explain, open_container
from animevsr.video.images import image_name, save_image

if TYPE_CHECKING:
    import numpy as np

    from animevsr.video.encoders import Encoding


class SegmentWriter:
    """Encodes the frames of one shot into a Matroska file; it is there when it is complete.

    Args:
        path (Path), encoding (Encoding), rate (Fraction): the times in the file are those of this rate; the
            final ones are set when the segments are joined.
    """

    def __init__(self, path: Path, encoding: Encoding, rate: Fraction) -> None:
        self.path = path
        self.encoding = encoding
        self.rate = rate
        self.count = 0
        self.partial = make_partial_path(path)

    def __enter__(self):
        try:
            self._container = av.open(str(self.partial.absolute()), 'w')
            self._stream = self.encoding.stream(self._container, self.rate, 1 / self.rate)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f'{self.path}: cannot be written ({explain(error)})') from None
        return self

    def write(self, image: np.ndarray) -> None:
        """(h, w, 3) uint8 or uint16 RGB."""
        frame = from_rgb(image, self.encoding.pix_fmt, self.encoding.color)
        frame.pts = self.count
        frame.time_base = 1 / self.rate
        self.count += 1
        self._mux(frame)

    def _mux(self, frame):
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f'{self.path}: cannot be written ({explain(error)})') from None

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self._mux(None)
            try:
                self._container.close()
            except (av.FFmpegError, OSError) as error:
                if kind is None:
                    raise MediaError(f'{self.path}: cannot be finished ({explain(error)})') from None
            if kind is None:
                os.replace(self.partial, self.path)
        finally:
            self.partial.unlink(missing_ok=True)


class ImageSegmentWriter:
    """The images of one shot, in a folder; it is there when it is complete."""

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        self.number = first
        self.partial = make_partial_path(path)

    def __enter__(self):
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()
        return self

    def write(self, image: np.ndarray) -> None:
        """(h, w, 3) uint8 or uint16 RGB."""
        save_image(self.partial / image_name(self.number), image)
        self.number += 1

    def __exit__(self, kind, *_):
        try:
            if kind is None and not self.path.exists():
                os.replace(self.partial, self.path)
        except OSError:
            if not self.path.exists():  # else another process has finished the same shot
                raise
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)


def timed_packets(
    segments: list[Path], ticks: list[int], time_base: Fraction, mp4: bool = False
) -> Iterator[Any]:
    """The packets of the segments in order of decoding, with their final times."""
    delay, start, extradata, step = max(reordering(segment)[0] for segment in segments), 0, None, 1
    pace = ticks[1] - ticks[0] if len(ticks) > 1 else 1
    for segment in segments:
        ranks = reordering(segment)[1]
        if start + len(ranks) > len(ticks):
            raise MediaError(
                f'{segment}: holds more frames than the plan says; remove it and run the command again'
            )
        with open_container(segment) as container:
            stream = container.streams.video[0]
            header = bytes(stream.codec_context.extradata or b'')
            if extradata is None:
                rate, usual = (
                    stream.average_rate or stream.guessed_rate,
                    (ticks[-1] - ticks[-2] if len(ticks) > 1 else 1),
                )
                # how long the last frame is shown
                extradata, step = header, max(1, round(1 / (rate * time_base)) if rate else usual)
            if header != extradata:
                raise MediaError(
                    f'{segment}: was encoded in another way than the first one; remove it and run the command'
                    ' again'
                )
            for i, packet in enumerate(p for p in container.demux(stream) if p.size):
                order = start + i
                packet.time_base = time_base
                packet.pts = ticks[start + ranks[i]]
                # decoding begins before zero, at the pace of the frames, as encoders write it: MP4 measures a
                # track from there, and notes the delay in an edit list
                packet.dts = ticks[order - delay] if order >= delay else ticks[0] - (delay - order) * pace
                following = start + ranks[i] + 1
                packet.duration = ticks[following] - ticks[following - 1] if following < len(ticks) else step
                # which adds up a track's length by decoding: to the end of the last frame
                if mp4 and order == len(ticks) - 1:
                    packet.duration = ticks[-1] + step - delay * pace - packet.dts
                yield packet
        start += len(ranks)
    if start != len(ticks):
        raise MediaError(
            f'{segments[-1]}: the segments hold {start} frames, the plan {len(ticks)}; remove them and run'
            ' the command again'
        )


def reordering(segment: Path) -> tuple[int, list[int]]:
    """(by how many packets the order of decoding runs ahead of that of presentation, the place of each packet
    in presentation).
    """
    try:
        with open_container(segment) as container:
            times = [packet.pts for packet in container.demux(container.streams.video[0]) if packet.size]
    except (av.FFmpegError, OSError) as error:
        raise MediaError(
            f'{segment}: cannot be read ({explain(error)}); remove it and run the command again'
        ) from None
    places = {time: i for i, time in enumerate(sorted(times))}
    ranks = [places[time] for time in times]
    return max((i - rank for i, rank in enumerate(ranks)), default=0), ranks


def frames_in(segment: Path) -> int | None:
    """Number of frames of a segment, or None where it cannot be read."""
    try:
        return len(reordering(Path(segment))[1])
    except MediaError:
        return None
