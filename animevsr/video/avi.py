"""When the frames of AVI files are shown, which do not say it."""

from __future__ import annotations

import heapq
from typing import Any

# frames by which packets may come before their turn, where it is more than one
REORDERED = {'h264': 16, 'hevc': 16}


class AviTimes:
    """When the frames of an AVI file are shown: it numbers its packets, of which empty ones are frames that
    were dropped when it was made, and libav takes the order of decoding for that of presentation where there
    are B-frames.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.waiting = []
        self.begun = False
        self.shown = []  # since the last key frame, (number of a frame's packet, when it was shown)
        self.most = REORDERED.get(stream.codec_context.name, 1)

    def add(self, packet: Any) -> None:
        """One more packet goes to the decoder."""
        if packet.size and packet.dts is not None:
            packet.pts = packet.dts  # the decoder gives its frame that again
            heapq.heappush(self.waiting, packet.dts)

    def discard(self, packet: Any) -> None:
        """The decoder refused one (or one before it: decoders work ahead)."""
        reorders = self.stream.codec_context.has_b_frames  # else the frames know their packets
        if reorders and packet is not None and packet.dts in self.waiting:
            self.waiting.remove(packet.dts)
            heapq.heapify(self.waiting)

    def set(self, frame: Any) -> None:
        """Give a frame its time: that of the first packet that has no frame yet. Those that never get one are
        told by being further behind than a decoder reorders.
        """
        if frame.dts is not None and frame.time_base == self.stream.time_base:
            most = self.most if self.stream.codec_context.has_b_frames else 0
            while len(self.waiting) > 1 and self.waiting[0] < frame.dts - most:
                heapq.heappop(self.waiting)
        own = frame.pts
        if own is not None and (frame.key_frame or not self.begun):
            self._begin_again(own)
        self.begun = True
        frame.pts = heapq.heappop(self.waiting) if self.waiting else None
        self.shown.append((own, frame.pts))

    def _begin_again(self, own):
        """At a key frame, that of packet `own`, it is known which packets gave no frame: shown before it are
        those of earlier packets, and B-frames of later ones that lean on it.
        """
        known = [(number, time) for number, time in self.shown if number is not None and time is not None]
        leading = sum(number > own for number, _ in known) - sum(time >= own for _, time in known)
        while len(self.waiting) > 1 and (self.waiting[0] < own or leading > 0):
            leading -= self.waiting[0] >= own
            heapq.heappop(self.waiting)
        self.shown = []
