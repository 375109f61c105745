"""One pass over an input before all work: when its frames are shown, where its shots begin, and what is
damaged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from animevsr.errors import MediaError
from animevsr.video.reader import WARM_UP
from animevsr.video.selection import Part
from animevsr.video.shots import SIDE, CutDetector

if TYPE_CHECKING:
    from animevsr.video.frame_reader import FrameReader


@dataclass
class Timeline:
    """What one pass over an input tells.

    Attributes:
        ticks (list[int]), base (Fraction): when each frame of the output is shown.
        shots (list[int]): their first frames, of the output. damage (list): [(seconds, what)].
        first (int): how many frames the reader gives before that of the first one of the output.
        warmup (int): of those, how many of the same shot lead up to it.
        lookahead (int): frames of the last shot that follow the last one of the output: 0 or 1.
    """

    ticks: list
    base: Fraction
    shots: list
    damage: list
    first: int = 0
    warmup: int = 0
    lookahead: int = 0


def scan(
    reader: FrameReader,
    rate: Fraction | None,
    cuts: bool,
    progress: Callable = lambda: None,
    part: Part | None = None,
) -> Timeline:
    """One pass over the input.

    Args:
        reader: of a video or of images. rate (Fraction | None): the frames follow one another at it, whatever
            their times.
        cuts (bool): look for cuts; else all is one shot.
        progress: is called for each frame.
        part (Part | None): the output is made of these frames alone.

    Raises:
        MediaError: there is no frame, or none in the part.
    """
    base, part = 1 / (rate or reader.info.fps), part or Part()
    ticks, first, found = [], None, []
    detector, lead = CutDetector(), deque(maxlen=WARM_UP)
    lookahead = 0
    for number, (frame, time) in enumerate(reader.timed()):
        since = reader.since_first(number, time)
        small = reader.small(frame, SIDE) if cuts else None
        progress()
        if first is None:
            if part.start and not part.start.reached(number, since):
                lead.append(small)
                continue
            first, detector_starts = number, -len(lead)
            for earlier in lead:
                found += detector.push(earlier) if cuts else []
        if cuts:
            found += detector.push(small)
        if part.end and part.end.reached(number, since):
            lookahead = 1
            break
        if rate is None and time is not None:
            base = reader.info.time_base
        if not ticks:
            start = float(since if time is None else time)
        ticks.append(len(ticks) if rate is not None or time is None else round(time / base))
        if len(ticks) > 1 and ticks[-1] <= ticks[-2]:
            ticks[-1] = ticks[-2] + max(1, round(1 / reader.info.fps / base))
    if not ticks:
        raise MediaError(
            'no frame lies in this part' if lead or first is not None else 'no frame can be decoded'
        )
    found = [detector_starts + cut for cut in found + detector.finish()]
    begin = max((cut for cut in found if cut <= 0), default=detector_starts)
    shots = [0] + [cut for cut in found if 0 < cut < len(ticks)]
    damage = [item for item in reader.damage if item[0] >= start]
    damage = sorted([*damage, *gaps(ticks, base, reader)])
    return Timeline(ticks, base, shots, damage, first, -begin, lookahead * (len(ticks) not in found))


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
