"""Readers of frames: a video file, a folder of images, or one image, behind one small interface
(`FrameReader`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from animevsr.errors import MediaError
from animevsr.video.avi import AviTimes
from animevsr.video.color import Color, has_alpha, reformat, to_rgb
from animevsr.video.container import explain, is_cover, open_container, track_end
from animevsr.video.frame_reader import FrameReader, MediaInfo
from animevsr.video.images import IMAGE_SUFFIXES, STILLS_FPS, ImageReader, images_in, list_images
from animevsr.video.orientation import orientation, side_data
from animevsr.video.packed import SUFFIX as PACKED
from animevsr.video.packed import PackedReader
from animevsr.video.selection import Crop, Part
from animevsr.video.telecine import InverseTelecine

# frames before a part that are read as well, and seconds before those: what follows a key frame may refer
# to frames before it
WARM_UP = 8
STANDARD_INPUT = '-'
# frames by which a decoder may work ahead: it refuses a packet before it gives the frames that come earlier
AHEAD = 32
LEEWAY = 2  # seconds before a part that are decoded as well


def open_reader(
    path: str | Path,
    fps: Fraction | None = None,
    part: Part | None = None,
    crop: Crop | None = None,
    **options: Any,
) -> FrameReader:
    """Reader for a video file, a packed clip, a folder of images or one image.

    Args:
        path (str | Path): the input.
        fps (Fraction | None): frame rate of images; the rate of a video is its own.
        part (Part | None): what will be used; frames before it may be skipped, see `skip_to`.
        crop (Crop | None): what is left out of each image.
        options: of `VideoReader`; of images `deep` counts alone.

    Raises:
        MediaError: missing, empty, without a picture, or not readable.
    """
    reader = open_whole(Path(path), fps, **options)
    if crop:
        reader.crop_to(crop)
    # frames are counted from the first one where the end is a number
    counted = part and part.end and part.end.frame is not None
    if part and part.start and part.start.seconds is not None and not counted:
        reader.skip_to(part.start.seconds - WARM_UP / reader.info.fps)
    return reader


def open_whole(path: Path, fps: Fraction | None, **options: Any) -> FrameReader:
    """`open_reader` without a selection."""
    deep = options.get('deep', False)
    if str(path) == STANDARD_INPUT:
        return VideoReader(path, **options)
    if not path.exists():
        raise MediaError(f'{path}: no such file or folder')
    if path.is_dir():
        return ImageReader(list_images(path), fps, deep)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        count = images_in(path)
        if count > 1:
            raise MediaError(
                f'{path}: is an animation of {count} images, of which only the first could be read; make a'
                ' video of it'
            )
        return ImageReader([path], fps, deep)
    if path.suffix == PACKED:
        return PackedReader(path, fps)
    return VideoReader(path, **options)


class VideoReader(FrameReader):
    """The first video stream of a file, upright and, where wanted, deinterlaced.

    Args:
        path (str | Path)
        deep (bool): more than 8 bits come as uint16 of the full range, instead of being rounded to 8.
        deinterlace (str): 'marked': frames go through bwdif from the first one on that is marked as
            interlaced, which leaves those that are not; 'all': all of them; 'ivtc': telecined film is brought
            back to its frames, see `telecine`; 'off'.
        conceal (bool): what cannot be decoded is replaced by the frame before it, and noted in `damage`; else
            it is a MediaError.

    Attributes:
        mirrored (bool), rotation (int): whether frames are swapped left and right, and then by how many
            degrees, counter-clockwise, they are turned.
        timeless (bool): its times are those of `AviTimes`, and the file cannot be searched by them.
    """

    def __init__(
        self, path: str | Path, deep: bool = False, deinterlace: str = 'off', conceal: bool = False
    ) -> None:
        self.path = Path(path)
        self.conceal = conceal
        self.damage = []
        try:
            self.container = open_container(self.path)
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = (
                'the file is empty'
                if self.path.is_file() and self.path.stat().st_size == 0
                else f'not readable as a video ({explain(error)})'
            )
            raise MediaError(f'{path}: {reason}') from None
        streams = [s for s in self.container.streams.video if not is_cover(s)]
        if not streams:
            kinds = ', '.join(sorted({s.type for s in self.container.streams})) or 'nothing'
            self.container.close()
            raise MediaError(f'{path}: has no video stream (it holds {kinds})')
        self._take(streams[0])
        self.timeless = 'avi' in self.container.format.name
        # libav's guess knows the usual rates; the average is off by a gap, or by the clock of the container.
        # Before the first frame is decoded: by that both may change
        # (a type of PyAV's own, since 19)
        rate = Fraction(self.stream.guessed_rate or self.stream.average_rate or STILLS_FPS)
        self._lost = self._calm = 0  # packets that were refused, and frames that came since
        self._filter = None
        self._frames = None
        self._packets = None
        self._first = first = self._decode_first()
        self.zero = None if first.pts is None else first.pts * first.time_base
        self.size = first.width, first.height
        self.mirrored, self.rotation = orientation(first)
        self.info = self._describe(first, rate if 0 < rate <= 1000 else STILLS_FPS)
        self.interlaced = bool(first.interlaced_frame)
        if deinterlace == 'ivtc':
            self._filter = InverseTelecine(self.stream, self.info.fps, self.timeless)
            self.info = self._filter.describe(self.info)
            self.timeless, self.zero = False, Fraction(0) if self.timeless else self.zero or Fraction(0)
        elif deinterlace != 'off':
            self._filter = Deinterlacer(self.stream, deinterlace == 'all')
        self.deep = deep and self.info.depth > 8

    def _take(self, stream):
        """Decode this stream from now on."""
        self.stream = stream
        # not a frame to each thread: what a damaged file gives would depend on their number, and what comes
        # after damage near its end be lost (and on two cores it is no faster)
        stream.thread_type = 'SLICE'

    def _describe(self, first, rate):
        """`info`, with what the first frame tells."""
        upright = self.rotation % 180 == 0
        width, height = self.size if upright else self.size[::-1]
        shape = Fraction(self.stream.sample_aspect_ratio or 0) or None
        count, seconds = self.stream.frames or None, (self.container.duration or 0) / av.time_base
        return MediaInfo(
            width,
            height,
            rate,
            Color.of_frame(first),
            Fraction(self.stream.time_base),
            depth=max(component.bits for component in first.format.components),
            frame_count=count,
            expected_frames=count or round(seconds * rate) or None,
            transparent=has_alpha(first.format),
            is_video=True,
            has_sound=bool(self.container.streams.audio),
            stream_index=self.stream.index,
            pixel_format=first.format.name,
            sample_aspect_ratio=1 / shape if shape and not upright else shape,
            side_data=side_data(first),
        )

    def skip_to(self, seconds: Fraction) -> None:
        """By the key frames, where the times of frames can be trusted."""
        seconds -= LEEWAY
        timeless = self.timeless or getattr(self._filter, 'timeless', False)
        if timeless or self.zero is None or seconds <= 0:
            return
        time = self.zero + seconds
        try:
            self.container.seek(int(time / self.stream.time_base), stream=self.stream)
            self._start_decoding()
            first = self._first = next(self._frames, None)
        except (av.FFmpegError, MediaError):
            first = None
        found = first and first.pts is not None and self.zero <= first.pts * first.time_base <= time
        if not found:  # no key frame follows, or the file's index is wrong: from the beginning
            self.container.close()
            self.container = open_container(self.path)
            self._take(self.container.streams[self.info.stream_index])
            if self._filter is not None:
                self._filter.stream = self.stream
            self._first = self._decode_first()

    def _start_decoding(self):
        self._packets = self.container.demux(self.stream)
        self._frames = self._decode_packets()

    def _decode_first(self):
        self._start_decoding()
        try:
            return next(self._frames)
        except (StopIteration, MediaError):
            self.close()
            raise MediaError(f'{self.path}: no frame of its video can be decoded') from None

    def _decode_packets(self):
        """Frames as the decoder gives them; packets that it refuses are counted in `_lost`, or raise."""
        last = None
        times = AviTimes(self.stream) if self.timeless else None
        while True:
            try:
                packet = next(self._packets, None)
                # an empty packet within the video (Theora has them) says that the picture stays; to the
                # decoder it would be the end
                stays = packet is not None and not packet.size and packet.dts is not None
                if times and packet is not None:
                    times.add(packet)
                frames = [] if packet is None or stays else packet.decode()
            except av.FFmpegError as error:
                if isinstance(error, (av.EOFError, EOFError)):
                    return
                if last is None and self._lost > 500:  # this is no video at all
                    return
                if not self.conceal and last is not None:
                    raise MediaError(f'{self.path}: damaged after {last.time} s ({error.strerror})') from None
                self._lost, self._calm = self._lost + 1, 0
                if times:
                    times.discard(packet)
                continue
            if packet is None:
                return
            for last in frames:
                if times:
                    times.set(last)
                self.interlaced = self.interlaced or bool(last.interlaced_frame)
                yield last

    def close(self) -> None:
        """Close the file. The decoder goes with it: left to the garbage collector of a process forked later,
        it would hang there, because its threads did not come along."""
        self._frames = self._packets = self._filter = self._first = None
        self.container.close()

    def small(self, frame: Any, side: int) -> np.ndarray:
        """Not turned upright, and not cropped."""
        ratio = min(1, side / max(self.size))
        width, height = (max(1, round(length * ratio)) for length in self.size)
        return reformat(frame, width=width, height=height, format='rgb24', interpolation=0x10).to_ndarray()

    def whole_image(self, frame: Any) -> np.ndarray:
        """uint16 where `deep`; upright."""
        image = to_rgb(frame, self.info.color, self.deep)
        if self.mirrored:
            image = image[:, ::-1]
        return np.ascontiguousarray(np.rot90(image, self.rotation // 90))

    def timed(self) -> Iterator[tuple[Any, Fraction | None]]:
        """With `conceal` there are frames for those that are damaged, every frame has a time, and times
        rise.
        """
        last, before = None, None
        for frame in self.decoded():
            time = None if frame.pts is None else frame.pts * frame.time_base
            if self.conceal:
                if last is None:
                    time = time or Fraction(0)
                else:
                    if time is None or time <= last:  # times that run backwards are no times
                        time = last + 1 / self.info.fps
                    missing = max(0, min(self._lost, round((time - last) * self.info.fps) - 1))
                    for _ in range(missing):
                        last += 1 / self.info.fps
                        self.damage.append((float(last), 'a lost frame, replaced by the one before it'))
                        yield before, last
                    self._lost -= missing
                if frame.is_corrupt:
                    self.damage.append((float(time), 'a damaged frame, as the decoder mended it'))
                self._calm += 1
                if self._calm > AHEAD:
                    self._lost = 0
                before = frame
            last = time
            yield frame, time
        if self.conceal and before is not None:
            says, shown = track_end(self.stream), Fraction(before.duration or 0) * (before.time_base or 0)
            missing = says and says - last - max(shown, 1 / self.info.fps)
            if (self._lost and not self._calm) or (missing and missing > self._leeway(says)):
                where = (
                    f'before the {float(says):.2f} s that the file says' if says else 'before the file does'
                )
                self.damage.append((float(last), f'the picture ends {where},'))

    def _leeway(self, says: Fraction) -> Fraction:
        """By how much a video may end sooner than its file says, which may be an estimate."""
        if 'mpeg' in self.container.format.name:
            return max(Fraction(1), says / 50)
        return max(3 / self.info.fps, Fraction(1, 5))

    def seek(self, time: Fraction) -> Any:
        """The frame (as PyAV gives it) that is shown `time` seconds after the first one; the last one where
        the video is shorter.
        """
        best, half = self._first, 1 / self.info.fps / 2
        frames, target = self.decoded(), None
        if best.pts is not None:
            target = best.pts + round(time / best.time_base)
            self._seek(target)
            frames = self.container.decode(self.stream)
        try:
            shown = 0
            for i, best in enumerate(frames):
                if target is None:
                    reached = i >= time * self.info.fps
                else:  # MPEG-2 gives the time of some frames alone
                    shown = shown + 2 * half / best.time_base if best.pts is None else best.pts
                    reached = shown + half / best.time_base > target
                if reached:
                    break
        except av.FFmpegError as error:
            raise MediaError(f'{self.path}: damaged near {float(time):.2f} s ({error.strerror})') from None
        return best

    def decoded_from(self, time: int) -> Iterator[Any]:
        """`decoded` from a key frame before `time` on, in units of the stream; from after it where the file's
        index is wrong.
        """
        self._seek(time)
        self._first = self._decode_first()
        return self.decoded()

    def _seek(self, time: int) -> None:
        """Go to a key frame before `time`, in units of the stream."""
        if self.container.format.name == 'mpeg':  # there libav's times are wrong for a while after a seek
            time -= round(LEEWAY / self.stream.time_base)
        self.container.seek(time, stream=self.stream)

    def decoded(self) -> Iterator[Any]:
        """The frames as PyAV gives them, not converted, but deinterlaced where that was asked for."""
        frames = self._of_one_size(itertools.chain([self._first], self._frames))
        yield from self._filter(frames) if self._filter else frames

    def _of_one_size(self, frames):
        """Filters do not take another size, and end the process."""
        for frame in frames:
            if (frame.width, frame.height) != self.size:
                raise MediaError(
                    f'{self.path}: the picture changes its size to {frame.width}x{frame.height} at'
                    f' {frame.time} s'
                )
            yield frame


class Deinterlacer:
    """bwdif on interlaced frames: as many frames come out as went in.

    Args:
        stream: PyAV's video stream.
        all (bool): also those that are not marked.
    """

    def __init__(self, stream: Any, all: bool = False) -> None:
        self.stream = stream
        self.all = all
        self.graph = None

    def _open(self):
        stream = self.stream
        self.graph = av.filter.Graph()
        source = self.graph.add_buffer(template=stream, time_base=stream.time_base)
        chain = [
            source,
            self.graph.add('bwdif', f'mode=send_frame:deint={"all" if self.all else "interlaced"}'),
            self.graph.add('buffersink'),
        ]
        self.graph.link_nodes(*chain).configure()

    def __call__(self, frames: Any) -> Iterator[Any]:
        for frame in itertools.chain(frames, [None]):
            if self.graph is None:
                if frame is None or not (self.all or frame.interlaced_frame):
                    if frame is not None:
                        yield frame
                    continue
                self._open()
            self.graph.vpush(frame)
            while True:
                try:
                    yield self.graph.vpull()
                except (av.BlockingIOError, av.EOFError):
                    break
