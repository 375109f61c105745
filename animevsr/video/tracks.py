"""The packets of tracks that are copied from one container to another, with times that its muxer takes."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from animevsr.video.container import explain, is_cover

# seconds by which times may run backwards by carelessness; by more, two recordings were joined
JITTER = Fraction(1, 10)
DISORDER = 10  # the same of subtitles, which need not be in order


class Tracks:
    """The packets of the tracks that are copied, by the time at which they are needed.

    Args:
        containers (list): sources. tracks (dict): {(which source, its stream): the stream of the output}.
        later (Fraction): seconds by which all of them are moved.
        whose (str): names the source, for messages.
        window (pair of Fraction | None): seconds of the sources; what lies outside is left out.
        strict (bool): the muxer takes no two packets of one track with the same time (MP4).
    """

    def __init__(
        self,
        containers: list,
        tracks: dict,
        later: Fraction = Fraction(0),
        whose: str = '',
        window: tuple[Fraction, Fraction] | None = None,
        strict: bool = False,
    ) -> None:
        self.queues = []
        self.whose = whose
        self.window = window
        self.dropped = set()
        for i, container in enumerate(containers):
            mine = {stream.index: made for (which, stream), made in tracks.items() if which == i}
            if mine:
                clocks = {
                    index: Clock(f'{container.streams[index].type} track {index} {whose}', later, strict)
                    for index in mine
                }
                self.queues.append([self._packets(container, mine, clocks), None])

    def _packets(self, container, mine, clocks):
        demuxed = container.demux([container.streams[index] for index in mine])
        covers = {index for index in mine if is_cover(container.streams[index])}
        while True:
            try:
                packet = next(demuxed, None)
            except av.FFmpegError as error:  # what was read before is kept
                warnings.warn(
                    f'the tracks {self.whose} cannot be read to their end ({explain(error)})', stacklevel=2
                )
                packet = None
            if packet is None:
                for index, clock in clocks.items():
                    yield from ((item, mine[index]) for item in clock.flush())
                return
            index = packet.stream.index
            if index in covers:  # has no time, and belongs to any part
                packet.pts = packet.dts = 0
                if packet.size:
                    yield packet, mine[index]
                continue
            due = packet.size and (packet.dts is not None or packet.pts is not None)
            if due and (self.window is None or cut(packet, *self.window)):
                yield from ((item, mine[index]) for item in clocks[index].push(packet))

    def copy_until(self, out: Any, time: Fraction | None) -> None:
        """Copy what is due before `time` seconds; all that is left where it is None."""
        for queue in self.queues:
            while True:
                item = queue[1] or next(queue[0], None)
                if item is None or (time is not None and item[0].dts * item[0].time_base > time):
                    queue[1] = item
                    break
                queue[1] = None
                self._mux(out, *item)

    def _mux(self, out, packet, stream):
        if stream.index in self.dropped:
            return
        at = packet.dts * packet.time_base
        packet.stream = stream
        try:
            out.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            if getattr(error, 'errno', None) != errno.EINVAL:
                raise
            # what the muxer does not take must not cost all the rest
            self.dropped.add(stream.index)
            warnings.warn(
                f'{stream.type} track {stream.index} {self.whose} ends at {float(at):.3f} s in the result: it'
                f' cannot be written from there on ({explain(error)})',
                stacklevel=2,
            )


def cut(packet: Any, start: Fraction, end: Fraction) -> bool:
    """Whether a packet is shown or heard between two times in seconds; a subtitle that lies across one of
    them is cut.
    """
    time = packet.pts if packet.pts is not None else packet.dts
    first, last = start / packet.time_base, end / packet.time_base
    if packet.stream.type == 'subtitle' and time < first < time + (packet.duration or 0):
        packet.duration -= round(first) - time
        packet.pts = packet.dts = time = round(first)
    if packet.stream.type == 'subtitle' and time < last < time + (packet.duration or 0):
        packet.duration = round(last) - time
    return round(first) <= time < last


class Clock:
    """The times of one track: each packet gets one of decoding, and they do not run backwards.

    Args:
        what (str): names the track. later (Fraction): seconds by which it is moved.
        strict (bool): times must rise, and not only stay.
    """

    def __init__(self, what: str, later: Fraction, strict: bool = True) -> None:
        self.what = what
        self.later = later
        self.strict = strict
        self.waiting = []
        self.last = self.before = None
        self.step = 1
        self.shift = 0

    def push(self, packet: Any) -> Iterator[Any]:
        """The packets that can go on, after one more has come."""
        # those of the first packets may be unknown where their order is another than that of presentation
        if packet.dts is None:
            if packet.stream.type == 'video' and self.last is None:
                self.waiting.append(packet)
                return
            packet.dts = (
                packet.pts if self.last is None else min(packet.pts, self.last - self.shift + self.step)
            )
        yield from self.flush(packet.dts)
        yield self._moved(packet)

    def flush(self, known: int | None = None) -> Iterator[Any]:
        """The packets that wait: their times lead up to the `known` one."""
        steps = [packet.duration or 1 for packet in self.waiting]
        if known is None and self.waiting:
            known = min(packet.pts for packet in self.waiting) + 1
        for i, packet in enumerate(self.waiting):
            packet.dts = known - sum(steps[i:])
            yield self._moved(packet)
        self.waiting = []

    def _moved(self, packet):
        if self.later and not self.shift and self.last is None:
            self.shift = round(self.later / packet.time_base)
        # subtitles may begin together, and so may packets of sound where a container rounds to milliseconds
        subtitle = packet.stream.type == 'subtitle'
        behind = (
            0 if self.last is None else self.last + (self.strict and not subtitle) - (packet.dts + self.shift)
        )
        back = 0 if self.before is None else self.before - packet.dts  # in the source itself
        self.before = packet.dts
        if min(back, behind) * packet.time_base > (DISORDER if subtitle else JITTER):
            warnings.warn(
                f'the times of {self.what} run backwards at {float(self.last * packet.time_base):.3f} s; it'
                ' goes on from there',
                stacklevel=2,
            )
            self.shift += behind + self.step
            behind = 0
        elif min(back, behind) * packet.time_base > JITTER:
            warnings.warn(
                f'{self.what} is not in order: what was due at'
                f' {float((packet.dts + self.shift) * packet.time_base):.3f} s comes'
                f' {float(behind * packet.time_base):.1f} s late',
                stacklevel=2,
            )
        packet.pts = None if packet.pts is None else packet.pts + self.shift
        packet.dts += self.shift + max(0, behind)
        if packet.pts is not None and packet.pts < packet.dts:
            packet.pts = packet.dts
        self.last, self.step = packet.dts, packet.duration or self.step
        return packet
