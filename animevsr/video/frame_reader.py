"""The interface of all readers of frames, and what they say of their input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animevsr.video.color import Color

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class MediaInfo:
    """What an input is, as far as it is known before its frames are read.

    Attributes:
        width, height (int): of the picture, upright. depth (int): bits of a sample. color (Color).
        fps (Fraction). time_base (Fraction): what the times of frames are multiples of.
        frame_count (int | None): None where the container does not say.
        expected_frames (int | None): an estimate where it does not.
        transparent (bool): has an alpha channel.
        is_video (bool): a file with a container, and in it perhaps other tracks; what follows is a video's.
        has_sound (bool), stream_index (int): of the video in its file.
        format (PyAV's, or None), sample_aspect_ratio (Fraction | None): the shape of a pixel.
        side_data (dict): {type: bytes} of the first frame.
    """

    width: int
    height: int
    fps: Fraction
    color: Color
    time_base: Fraction
    depth: int = 8
    frame_count: int | None = None
    expected_frames: int | None = None
    transparent: bool = False
    is_video: bool = False
    has_sound: bool = False
    stream_index: int = 0
    format: Any = None
    sample_aspect_ratio: Fraction | None = None
    side_data: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


class FrameReader(ABC):
    """An input of frames in order of presentation, one at a time; a context manager. It is read once.

    Attributes:
        info (MediaInfo).
        interlaced (bool): one of the frames so far is.
        damage (list): [(seconds, what)], known when all frames have been read.
    """

    info: MediaInfo
    damage: list
    interlaced = False

    @abstractmethod
    def timed(self) -> Iterator[tuple[Any, Fraction | None]]:
        """(frame as the source gives it, time in seconds as a Fraction, or None where there is none) of each
        frame.
        """

    @abstractmethod
    def image(self, frame: Any) -> np.ndarray:
        """(h, w, 3) uint8 or uint16 RGB of a frame that `timed` gave."""

    def small(self, frame: Path, side: int) -> np.ndarray:
        """RGB of a frame, no more than about `side` pixels each way where that is cheaper; for looking, not
        for keeping.
        """
        return self.image(frame)

    def frames(self) -> Iterator[tuple]:
        """(image, time) of each frame."""
        for frame, time in self.timed():
            yield self.image(frame), time

    def close(self) -> None:  # noqa: B027  (images keep nothing open)
        """Close what is open."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
