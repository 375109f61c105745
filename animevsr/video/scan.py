"""One pass over an input before all work: when its frames are shown, where its shots begin, and what is
damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from animevsr.errors import MediaError
from animevsr.video.shots import SIDE, CutDetector

if TYPE_CHECKING:
    from animevsr.video.frame_reader import FrameReader


def scan(reader: FrameReader, rate: Fraction | None, cuts: bool, progress: Callable = lambda: None) -> tuple:
    """One pass over the input: (ticks, time base, first frames of shots, damage).

    Args:
        reader: of a video or of images. rate (Fraction | None): the frames follow one another at it, whatever
            their times.
        cuts (bool): look for cuts; else all is one shot.
        progress: is called for each frame.
    """
    base = 1 / (rate or reader.info.fps)
    detector, ticks, shots = CutDetector(), [], [0]
    for i, (small, time) in enumerate(small_frames(reader, cuts)):
        if rate is None and time is not None:
            base = reader.info.time_base
        ticks.append(i if rate is not None or time is None else round(time / base))
        if i and ticks[i] <= ticks[i - 1]:
            ticks[i] = ticks[i - 1] + max(1, round(1 / reader.info.fps / base))
        if cuts:
            shots += detector.push(small)
        progress()
    shots += detector.finish()
    if not ticks:
        raise MediaError('no frame can be decoded')
    return ticks, base, shots, sorted([*reader.damage, *gaps(ticks, base, reader)])


def gaps(ticks: list[int], base: Fraction, reader: FrameReader) -> list:
    """[(seconds, what)] where a video that keeps a constant rate otherwise leaves out frames, as the demuxers
    of damaged files do.
    """
    steps, usual = np.diff(ticks) * float(base), 1 / float(reader.info.fps)
    odd = np.flatnonzero(np.abs(steps - usual) > 0.25 * usual + 2 * float(base))
    if len(odd) > max(1, len(steps) // 50) or len(steps) < 10:  # the rate varies
        return []
    known = [seconds for seconds, _ in reader.damage]
    return [
        (
            float(ticks[i] * base),
            f'{round(steps[i] / usual) - 1} frames may be missing, the file may be damaged,',
        )
        for i in odd
        if steps[i] > 1.5 * usual
        and not any(abs(ticks[i] * float(base) - seconds) < 2 * usual for seconds in known)
    ]


def small_frames(reader: FrameReader, wanted: bool) -> Iterator[tuple]:
    """(image made small for the detector of cuts, or None where it is not wanted; time) of each frame."""
    for frame, time in reader.timed():
        yield reader.small(frame, SIDE) if wanted else None, time
