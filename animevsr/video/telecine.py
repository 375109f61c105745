"""Telecined video brought back to its film frames: inverse telecine.

NTSC television shows film of 24000/1001 frames a second in 30000/1001 pictures: of four film frames five are
made, two of which hold fields of two film frames each (3:2 pulldown). FFmpeg's `fieldmatch` puts the fields
together again; of the five, one is then there twice. Which one, a cartoon does not tell from a few frames,
since its drawings are held; so the place is found over many cycles, and kept while it can be true.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np

from animevsr.video.color import reformat

if TYPE_CHECKING:
    from animevsr.video.frame_reader import MediaInfo
    from animevsr.video.reader import VideoReader


CYCLE = 5  # pictures, of four film frames
LOOKAHEAD = 12  # cycles by which the place of the repeated picture is found
TICK = Fraction(1, 120000)  # exact for film and for video of NTSC
BLOCK = 16  # pixels of a picture made small, within which a change is looked for
REPEATED = 3.0  # levels of 255 by which the most changed block of a repeated picture may change: noise, codec
SAMPLES, SAMPLE = 5, 8 * CYCLE  # places of a video, and pictures at each, by which telecine is told
NTSC = Fraction(30000, 1001)


@dataclass
class Picture:
    """A picture after its fields were matched; `change`: in the most changed block since the one before."""

    frame: Any
    change: float
    small: np.ndarray


class InverseTelecine:
    """Film frames, with times of film, of telecined pictures; where there is no telecine, all pictures with
    their own times.

    Args:
        stream: PyAV's video stream.
        rate (Fraction): of its pictures.
        timeless (bool): their times say nothing.
    """

    def __init__(self, stream: Any, rate: Fraction, timeless: bool = False) -> None:
        self.stream = stream
        self.rate = rate
        self.timeless = timeless

    def describe(self, info: MediaInfo) -> MediaInfo:
        """What the input is then."""
        count = info.expected_frames and round(info.expected_frames * Fraction(CYCLE - 1, CYCLE))
        return replace(
            info,
            fps=info.fps * Fraction(CYCLE - 1, CYCLE),
            time_base=TICK,
            depth=8,  # fieldmatch knows no more
            frame_count=None,
            expected_frames=count,
        )

    def __call__(self, frames: Iterable) -> Iterator[Any]:
        frames = numbered(frames, self.rate) if self.timeless else stamped(frames, self.stream, self.rate)
        base = 1 / self.rate if self.timeless else self.stream.time_base
        pictures = measured(match_fields(frames, self.stream, self.rate, base))
        waiting = deque()
        place, clock = None, Metronome(CYCLE / self.rate)
        while True:
            while len(waiting) < LOOKAHEAD * CYCLE:
                picture = next(pictures, None)
                if picture is None:
                    break
                waiting.append(picture)
            if not waiting:
                return
            changes = [picture.change for picture in waiting]
            if len(waiting) >= CYCLE:
                place = find_place(changes, place)
            elif place is not None and place < len(waiting) and changes[place] > REPEATED:
                place = None  # the beginning of a cycle, in which that picture is not there twice
            cycle = [waiting.popleft() for _ in range(min(CYCLE, len(waiting)))]
            start = clock.at(cycle[0].frame.pts * cycle[0].frame.time_base)
            kept = [p.frame for i, p in enumerate(cycle) if i != place]
            step = CYCLE / self.rate / (CYCLE if place is None else CYCLE - 1)
            yield from (self._timed(frame, start + i * step) for i, frame in enumerate(kept))

    @staticmethod
    def _timed(frame, time):
        frame.time_base = TICK
        frame.pts = round(time / TICK)
        return frame


class Metronome:
    """Even times of cycles: containers round, and the times of MPEG jump now and then and come back.

    Args:
        step (Fraction): seconds from cycle to cycle.
    """

    def __init__(self, step: Fraction) -> None:
        self.step = step
        self.next = None
        self.odd = 0

    def at(self, time: Fraction) -> Fraction:
        """When the next cycle begins, where the container says `time`; what stays different is believed."""
        away = 0 if self.next is None else abs(time - self.next)
        picture = self.step / CYCLE
        self.odd = self.odd + 1 if away > picture / 2 else 0
        if self.next is None or away > 3 * picture / 2 or self.odd > 3:
            self.next, self.odd = time, 0
        begin, self.next = self.next, self.next + self.step
        return begin


def find_place(changes: list[float], last: int | None) -> int | None:
    """Which of the first five pictures is there twice, or None.

    Args:
        changes: of the pictures from now on, whole cycles and perhaps a part of one.
        last (int | None): the place in the cycle before, which is kept while it can be: of a held drawing
            several pictures are alike.
    """
    here = changes[:CYCLE]
    if last is not None and here[last] <= REPEATED:
        return last
    # the place where the changes are small in the most cycles from here on, one after the other
    lasts = []
    for place in range(CYCLE):
        following = changes[place::CYCLE]
        lasts.append(sum(1 for _ in itertools.takewhile(lambda change: change <= REPEATED, following)))
    most = max(lasts)
    # one place alone is that of telecine; several are a held drawing, or the end of it
    return lasts.index(most) if most else None


def numbered(frames: Iterable, rate: Fraction) -> Iterator[Any]:
    """The frames, one after the other at a rate."""
    for number, frame in enumerate(frames):
        frame.time_base = 1 / rate
        frame.pts = number
        yield frame


def stamped(frames: Iterable, stream: Any, rate: Fraction) -> Iterator[Any]:
    """The frames; those without a time follow the one before (raw and damaged streams have such)."""
    last, step = None, max(1, round(1 / (rate * stream.time_base)))
    for frame in frames:
        if frame.pts is None:
            frame.time_base = stream.time_base
            frame.pts = 0 if last is None else last + step
        last = frame.pts
        yield frame


def match_fields(frames: Iterable, stream: Any, rate: Fraction, time_base: Fraction) -> Iterator[Any]:
    """Pictures of fields of one time each; what stays combed is deinterlaced by bwdif."""
    graph = av.filter.Graph()
    shape = stream.sample_aspect_ratio or 1
    picture = f'video_size={stream.width}x{stream.height}:pix_fmt={stream.codec_context.pix_fmt}'
    times = f'time_base={time_base}:frame_rate={rate}'  # `add_buffer` would not say the rate
    source = graph.add('buffer', f'{picture}:{times}:pixel_aspect={Fraction(shape)}')
    chain = [
        source,
        graph.add('fieldmatch', 'combmatch=full'),
        graph.add('bwdif', 'mode=send_frame:deint=interlaced'),
        graph.add('buffersink'),
    ]
    graph.link_nodes(*chain).configure()
    for frame in itertools.chain(frames, [None]):
        graph.vpush(frame)
        while True:
            try:
                yield graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                break


def measured(frames: Iterable) -> Iterator[Picture]:
    """`Picture`s of frames."""
    last = None
    for frame in frames:
        small = luma(frame)
        change = 255.0 if last is None else most_changed(small, last)
        last = small
        yield Picture(frame, change, small)


def luma(frame: Any) -> np.ndarray:
    """Brightness of a frame, (h, w) float32, at half the width: all lines of both fields."""
    gray = reformat(frame, width=max(2, frame.width // 2), height=frame.height, format='gray').to_ndarray()
    return gray.astype(np.float32)


def most_changed(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in the block where it is largest."""
    return float(cv2.blur(np.abs(one - other), (BLOCK, BLOCK)).max())


def is_telecined(reader: VideoReader) -> bool:
    """Whether a video of 30000/1001 pictures a second is telecined film in most of the places that were
    looked at and in which something moves: at half of the changes fields must be matched anew, after which
    one of five pictures is there twice.

    Args:
        reader (VideoReader): freshly opened, without deinterlacing; it is read here and there.
    """
    if abs(reader.info.fps - NTSC) > Fraction(1, 20):
        return False
    total = (reader.info.expected_frames or SAMPLE) / reader.info.fps
    votes = []
    for i in range(SAMPLES):
        reader.skip_to(total * Fraction(2 * i + 1, 2 * SAMPLES))
        pictures = list(itertools.islice(reader.decoded(), SAMPLE))
        if len(pictures) < 2 * CYCLE:
            continue
        before = [luma(frame) for frame in pictures]
        after = list(
            measured(match_fields(pictures, reader.stream, reader.info.fps, reader.stream.time_base))
        )
        rematched = [most_changed(a, b.small) > REPEATED for a, b in zip(before, after)]
        moving = sum(p.change > REPEATED for p in after[1:])
        if moving < 3:  # nothing moves enough to tell
            continue
        repeats = max(
            np.mean([p.change <= REPEATED for p in after[1:][place::CYCLE]]) for place in range(CYCLE)
        )
        votes.append(sum(rematched) >= 0.2 * moving and repeats > 0.9 and moving <= 0.9 * len(after))
    return len(votes) > 0 and sum(votes) > len(votes) / 2
