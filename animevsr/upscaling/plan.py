"""The plan of an upscaling: shots, times and encoding."""

from __future__ import annotations

from dataclasses import dataclass

from animevsr.video.encoders import Encoding
from animevsr.video.frame_reader import MediaInfo


@dataclass
class Plan:
    """What is to be done. It is a JSON file; every worker reads the same one.

    Attributes:
        fingerprint (dict): of input, weights and options; a plan with another one is not continued.
        source (str | None): the video whose other tracks go into the output.
        info (dict): what that input is (`MediaInfo.to_json`).
        ticks (list[int]), time_base (str): when each frame is shown.
        shots (list[int]): the first frame of each shot.
        first, warmup, lookahead (int): of a part of the input, see `video.scan.Timeline`.
        rate (str): frames a second.
        size (list[int]): (height, width) of the output.
        encoding (dict | None): of a video (`Encoding`).
        tile (int | None): see `Upscaler`.
        backend_id (dict): what computes (`Upscaler.backend_id`); all shots are computed by the same.
        damage (list): [(seconds, what)] of the input.
        interlaced (bool): some of its frames are.
        is_part (bool): the other tracks are cut to the time of the frames.
        audio (bool): sound is taken over.
    """

    fingerprint: dict
    source: str | None
    info: dict
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
    first: int = 0
    warmup: int = 0
    lookahead: int = 0
    is_part: bool = False
    audio: bool = True

    def frame_numbers(self, shot: int) -> range:
        """The numbers of the frames of a shot."""
        return range(self.shots[shot], (*self.shots[1:], len(self.ticks))[shot])

    def input_numbers(self, shot: int) -> tuple[range, int]:
        """(numbers of the frames of the input that a shot is computed from, how many of them come before its
        own): a shot that a part begins or ends within is computed with frames beside the part.
        """
        numbers = self.frame_numbers(shot)
        lead = self.warmup if shot == 0 else 0
        after = self.lookahead if shot == len(self.shots) - 1 else 0
        return range(self.first + numbers.start - lead, self.first + numbers.stop + after), lead

    def media_info(self) -> MediaInfo:
        """What the input is."""
        return MediaInfo.from_json(self.info)

    def encoder(self) -> Encoding | None:
        return None if self.encoding is None else Encoding(**self.encoding)
