"""What an upscaling will take, before it begins: frames, sizes, time, and space on the disk."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from animevsr.errors import MediaError
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.encoders import CODECS

if TYPE_CHECKING:
    from fractions import Fraction

    from animevsr.engine.upscaler import Upscaler
    from animevsr.upscaling.options import EncodeOptions


# bits of a pixel of animation at the default quality, about; and by how many steps of crf they halve
BITS = {'h264': 0.10, 'h265': 0.08, 'av1': 0.06, 'ffv1': 8, 'prores': 4}
IMAGE_BITS, HALVED = 9, 6
PROBE = 320  # side of the part of a frame on which a step is measured: a step takes as long as it has pixels
UNSURE = 4  # a run is refused where there is less than this part of the space that it is thought to need


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        frames (int | None): of the output; None where the container does not say. counted (bool): they are
            certain, and not told from how long the input is. rate (Fraction).
        source, size (tuple[int, int]): (width, height) of the input and of the output.
        seconds (float | None): of computing, by two steps that were measured here.
        needed, free (int): bytes on the disk of the output.
    """

    frames: int | None
    rate: Fraction
    source: tuple[int, int]
    size: tuple[int, int]
    seconds: float | None
    needed: int
    free: int
    counted: bool = True

    def __str__(self) -> str:
        (w, h), (width, height) = self.source, self.size
        about = '' if self.counted else 'about '
        frames = 'an unknown number of frames' if self.frames is None else f'{about}{self.frames} frames'
        took = '' if self.seconds is None else f', about {duration(self.seconds)}'
        return (
            f'{frames}, {w}x{h} -> {width}x{height}{took}; needs about {amount(self.needed)} on the disk,'
            f' {amount(self.free)} are free'
        )

    def check_space(self, output: Path) -> None:
        """MediaError where the disk is certainly too small."""
        if self.free < self.needed / UNSURE:
            raise MediaError(
                f'{output}: needs about {amount(self.needed)} on the disk, and only {amount(self.free)} are'
                ' free'
            )


def make_estimate(
    output: Path,
    frames: int | None,
    rate: Fraction,
    source: tuple[int, int],
    size: tuple[int, int],
    encode: EncodeOptions,
    seconds: float | None,
) -> Estimate:
    """An `Estimate`; sizes are (height, width) here. `seconds`: of one step."""
    pixels = (frames or 0) * size[0] * size[1]
    if output.suffix.lower() in VIDEO_SUFFIXES:
        bits = BITS[encode.codec]
        if encode.crf is not None and CODECS[encode.codec].crf is not None:
            bits *= 2 ** ((CODECS[encode.codec].crf - encode.crf) / HALVED)
        needed = 2 * pixels * bits / 8  # the segments lie there until they are joined
    else:
        needed = pixels * IMAGE_BITS / 8
    took = None if seconds is None or frames is None else seconds * frames
    free = shutil.disk_usage(output.absolute().parent).free
    return Estimate(frames, rate, source[::-1], size[::-1], took, round(needed), free)


def measure_step(upscaler: Upscaler, size: tuple[int, int]) -> float | None:
    """Seconds that a frame of (height, width) takes, with nothing held; None for a network over whole
    clips.
    """
    if upscaler.clips is not None:
        return None
    probe = type(upscaler)(upscaler.backend, None, upscaler.tile, steady=upscaler.steady)
    part = size if upscaler.tile else tuple(min(side, PROBE) for side in size)
    frames = np.random.default_rng(0).integers(0, 255, (3, *part, 3), np.uint8)
    times = []
    start = time.perf_counter()
    for _ in probe(frames):
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return min(times) * (size[0] * size[1]) / (part[0] * part[1])


def duration(seconds: float) -> str:
    """'40 s', '12 min', '3 h 05 min'."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60:02d} min'


def amount(count: float) -> str:
    """'340 MB', '1.2 GB'."""
    return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{max(1, round(count / 1e6))} MB'
