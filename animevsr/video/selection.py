"""What of an input is wanted: a part of its time, and the picture without its black bars."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from animevsr.errors import MediaError

if TYPE_CHECKING:
    from animevsr.video.frame_reader import MediaInfo
    from animevsr.video.reader import VideoReader


LOOKS = 32  # frames in which black bars are looked for
BLACK = 30  # level of 255 that almost all pixels of a black row or column stay below
VISIBLE = 40  # level that the brightest part of a frame must reach to tell anything


@dataclass(frozen=True)
class Moment:
    """A place in a video: `seconds` after its first frame, or the frame with a number, from 0."""

    seconds: Fraction | None = None
    frame: int | None = None

    @classmethod
    def parse(cls, text: str, name: str = 'time') -> Moment:
        """Of '83.5', '1:23.5', '0:01:23.5', or '1200f', which is frame 1200; ValueError for others."""
        text = str(text).strip()
        try:
            if text.endswith('f'):
                number = int(text[:-1])
                if number < 0:
                    raise ValueError
                return cls(frame=number)
            seconds = Fraction(0)
            for part in text.split(':'):
                seconds = 60 * seconds + Fraction(part)
            if seconds < 0:
                raise ValueError
            return cls(seconds)
        except (ValueError, ZeroDivisionError):
            raise ValueError(
                f"{name} '{text}' is not a time; write e.g. 83.5, 1:23.5, or 1200f for frame 1200"
            ) from None

    def reached(self, number: int, time: Fraction) -> bool:
        """Whether the frame `number`, shown at `time` seconds after the first one, is this or a later one."""
        return number >= self.frame if self.seconds is None else time >= self.seconds - Fraction(1, 2000)

    def approximate(self, rate: Fraction) -> Fraction:
        """Seconds, where frames follow one another at `rate`."""
        return self.frame / rate if self.seconds is None else self.seconds


@dataclass(frozen=True)
class Part:
    """The frames from `start` on, up to and without `end`; None: from the first, to the last."""

    start: Moment | None = None
    end: Moment | None = None

    @classmethod
    def parse(cls, start: str | None, end: str | None) -> Part | None:
        """None where both are None; ValueError if one is no time, or the end is not after the start."""
        if start is None and end is None:
            return None
        part = cls(
            None if start is None else Moment.parse(start, 'start'),
            None if end is None else Moment.parse(end, 'end'),
        )
        one, other = part.start or Moment(Fraction(0)), part.end
        if other is not None:
            pairs = (one.seconds, other.seconds), (one.frame, other.frame)  # of two kinds nobody knows yet
            if any(a is not None and b is not None and b <= a for a, b in pairs):
                raise ValueError(f'end {end} must be after start {start or 0}')
        return part

    def share(self, info: MediaInfo) -> float:
        """About what share of an input's frames it holds."""
        total = Fraction(info.expected_frames or 1) / info.fps
        start = self.start.approximate(info.fps) if self.start else 0
        end = min(self.end.approximate(info.fps), total) if self.end else total
        return float(max(0, min(1, (end - start) / total)))


@dataclass(frozen=True)
class Crop:
    """Rows and columns that are left out at each side."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Of 'TOP:BOTTOM:LEFT:RIGHT'; ValueError for others."""
        try:
            crop = cls(*map(int, str(text).split(':')))
            if min(crop.top, crop.bottom, crop.left, crop.right) < 0 or str(text).count(':') != 3:
                raise ValueError
        except (ValueError, TypeError):
            raise ValueError(
                f"crop '{text}' must be auto, or TOP:BOTTOM:LEFT:RIGHT in pixels of the input, e.g. 60:60:0:0"
            ) from None
        return crop

    def __str__(self) -> str:
        return f'{self.top}:{self.bottom}:{self.left}:{self.right}'

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(h, w, 3) -> what is left of it."""
        height, width = image.shape[:2]
        return np.ascontiguousarray(image[self.top : height - self.bottom, self.left : width - self.right])

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of what is left; ValueError if nothing is."""
        width, height = width - self.left - self.right, height - self.top - self.bottom
        if min(width, height) < 1:
            raise ValueError(f'crop {self} leaves nothing of the picture')
        return width, height


def find_crop(path: str | Path) -> Crop:
    """The black bars of a video, a folder of images or an image: rows and columns that are black in every
    frame that was looked at, spread over the whole of it; what is left has an even size. Dark frames tell
    nothing.
    """
    from animevsr.video.reader import VideoReader, open_reader  # which take a `Crop`

    found = []
    with open_reader(path) as reader:
        if isinstance(reader, VideoReader):
            total = (reader.info.expected_frames or 1) / reader.info.fps
            moments = [total * Fraction(2 * i + 1, 2 * LOOKS) for i in range(LOOKS)]
            images = (image for moment in moments if (image := look(reader, moment)) is not None)
        else:
            every = max(1, (reader.info.frame_count or 1) // LOOKS)
            images = (reader.image(frame) for i, (frame, _) in enumerate(reader.timed()) if i % every == 0)
        for image in images:
            bars = measure_bars(image)
            if bars is not None:
                found.append(bars)
        width, height = reader.info.width, reader.info.height
    if not found:
        return Crop()
    top, bottom, left, right = np.min(found, 0).tolist()
    # at even places, so that colours of half the resolution stay where they are
    top, left = top - top % 2, left - left % 2
    bottom, right = (
        max(0, n - (length - m - n) % 2) for length, m, n in ((height, top, bottom), (width, left, right))
    )
    return Crop(top, bottom, left, right)


def look(reader: VideoReader, moment: Fraction) -> np.ndarray | None:
    """The frame at a moment; None where the video is damaged there."""
    try:
        return reader.image(reader.seek(moment))
    except MediaError:
        return None


def measure_bars(image: np.ndarray) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) black rows and columns of an image (h, w, 3) uint8; None if it is dark."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    bars = []
    for lines in (gray, gray.T):
        # a bar carries noise of compression, and perhaps a subtitle, which is not black
        bright = np.percentile(lines, 98, axis=1) > BLACK
        if not bright.any() or gray.max() < VISIBLE:
            return None
        bars += [int(bright.argmax()), int(bright[::-1].argmax())]
    return tuple(bars)
