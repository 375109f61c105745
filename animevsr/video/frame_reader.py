"""The interface of all readers of frames, and what they say of their input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animevsr.utils.images import as_bytes
from animevsr.video.color import Color

if TYPE_CHECKING:
    import numpy as np

    from animevsr.video.selection import Crop


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
        pixel_format (str | None): FFmpeg's name. sample_aspect_ratio (Fraction | None): the shape of a pixel.
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
    pixel_format: str | None = None
    sample_aspect_ratio: Fraction | None = None
    side_data: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def to_json(self) -> dict:
        """As JSON holds it; `from_json` gives it back."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            'fps': str(self.fps),
            'time_base': str(self.time_base),
            'sample_aspect_ratio': self.sample_aspect_ratio and str(self.sample_aspect_ratio),
            'color': asdict(self.color),
            'side_data': {kind: data.hex() for kind, data in self.side_data.items()},
        }

    @classmethod
    def from_json(cls, values: dict) -> MediaInfo:
        """What `to_json` gave."""
        shape = values['sample_aspect_ratio']
        return cls(
            **{
                **values,
                'fps': Fraction(values['fps']),
                'time_base': Fraction(values['time_base']),
                'sample_aspect_ratio': shape and Fraction(shape),
                'color': Color(**values['color']),
                'side_data': {kind: bytes.fromhex(data) for kind, data in values['side_data'].items()},
            }
        )


class FrameReader(ABC):
    """An input of frames in order of presentation, one at a time; a context manager. It is read once.

    Attributes:
        info (MediaInfo).
        interlaced (bool): one of the frames so far is.
        damage (list): [(seconds, what)], known when all frames have been read.
        crop (Crop | None): what is left out of each image.
        zero (Fraction | None): time of the input's first frame; None where frames have no times.
    """

    info: MediaInfo
    damage: list
    interlaced = False
    crop: Crop | None = None
    zero: Fraction | None = None

    @abstractmethod
    def timed(self) -> Iterator[tuple[Any, Fraction | None]]:
        """(frame as the source gives it, time in seconds as a Fraction, or None where there is none) of each
        frame.
        """

    @abstractmethod
    def whole_image(self, frame: Any) -> np.ndarray:
        """(h, w, 3) uint8 or uint16 RGB of a frame that `timed` gave, not cropped."""

    def image(self, frame: Any) -> np.ndarray:
        """(h, w, 3) uint8 or uint16 RGB of a frame that `timed` gave."""
        image = self.whole_image(frame)
        return self.crop.cut(image) if self.crop else image

    def crop_to(self, crop: Crop) -> None:
        """Leave rows and columns out of each image from now on; `info` changes its size."""
        self.crop = crop
        width, height = crop.size(self.info.width, self.info.height)
        self.info = replace(self.info, width=width, height=height)

    def since_first(self, number: int, time: Fraction | None) -> Fraction:
        """Seconds from the input's first frame to the frame `number` that `timed` gave with `time`."""
        return number / self.info.fps if time is None or self.zero is None else time - self.zero

    def skip_to(self, seconds: Fraction) -> None:  # noqa: B027  (a reader may know no short cut)
        """Let `timed` begin at some frame no later than `seconds` after the first one, where there is a short
        cut to it; always the same frame.
        """

    def small(self, frame: Path, side: int) -> np.ndarray:
        """uint8 RGB of a frame, no more than about `side` pixels each way where that is cheaper: for looking,
        not for keeping.
        """
        return as_bytes(self.image(frame))

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
