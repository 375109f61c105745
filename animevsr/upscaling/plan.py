"""The plan of an upscaling: shots, times and encoding."""

from __future__ import annotations

from dataclasses import dataclass

from animevsr.video.encoders import Encoding


@dataclass
class Plan:
    """What is to be done. It is a JSON file; every worker reads the same one.

    Attributes:
        fingerprint (dict): of input, weights and options; a plan with another one is not continued.
        source (str | None): the video whose other tracks go into the output.
        ticks (list[int]), time_base (str): when each frame is shown.
        shots (list[int]): the first frame of each shot.
        rate (str): frames a second.
        size (list[int]): (height, width) of the output.
        encoding (dict | None): of a video (`Encoding`).
        tile (int | None): see `Upscaler`.
        backend_id (dict): what computes (`Upscaler.backend_id`); all shots are computed by the same.
        damage (list): [(seconds, what)] of the input.
        interlaced (bool): some of its frames are.
        stream_index (int): of the video stream of `source` that is upscaled.
    """

    fingerprint: dict
    source: str | None
    ticks: list
    time_base: str
    shots: list
    rate: str
    size: list
    encoding: dict | None
    tile: int | None
    backend_id: dict
    damage: list
    interlaced: bool = False
    stream_index: int = 0

    def frame_numbers(self, shot: int) -> range:
        """The numbers of the frames of a shot."""
        return range(self.shots[shot], (*self.shots[1:], len(self.ticks))[shot])

    def encoder(self) -> Encoding | None:
        return None if self.encoding is None else Encoding(**self.encoding)
