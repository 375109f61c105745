"""Writers of frames: a video file with the source's sound, a folder of images, or one image.

A writer is a context manager. It writes beside the output under a hidden name and moves the result to the output's name when it is
complete; on any error, an interrupt included, nothing appears there and what was there before stays.
"""
import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2

from animevsr.video.color import from_rgb
from animevsr.video.reader import IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaError

# name of --codec -> (encoder, pixel format, containers that carry it)
CODECS = {
    'h264': ('libx264', 'yuv420p', ('.mp4', '.mkv', '.mov', '.m4v')),
    'ffv1': ('ffv1', 'bgr0', ('.mkv', )),
}
LEAST_TICKS = 10_000  # of the output's clock in a second


def open_writer(path, reader, size, codec='h264', crf=18, fps=None):
    """Writer for `path`: a video by its suffix, one image by its suffix, otherwise a folder of PNG images.

    Args:
        path (str | Path): the output.
        reader: the input's reader; a video's sound, colour and pixel shape are taken from it.
        size (tuple): (height, width) of the frames that will be written.
        fps (Fraction | None): frame rate, instead of the reader's times.

    Raises:
        MediaError: the output cannot be written, or its container cannot carry what was asked for.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_folder_of(path)
    if suffix in VIDEO_SUFFIXES:
        if path.is_dir():
            raise MediaError(f'{path}: is a folder')
        if suffix not in CODECS[codec][2]:
            raise MediaError(f'{path}: {suffix} does not carry {codec}; use one of {", ".join(CODECS[codec][2])}')
        return VideoWriter(path, reader, size, codec, crf, fps)
    if suffix in IMAGE_SUFFIXES:
        if reader.frame_count != 1:
            raise MediaError(f'{path}: one image cannot hold {reader.frame_count or "all"} frames; name a folder or a video')
        return ImageWriter(path, single=True)
    if suffix and not path.is_dir():
        raise MediaError(f"{path}: unknown kind of output '{suffix}'; name a video ({', '.join(CODECS[codec][2])}), an image or a folder")
    if path.is_dir() and any(path.iterdir()):
        raise MediaError(f'{path}: is a folder that is not empty; name a new one')
    return ImageWriter(path)


def check_folder_of(path):
    """MediaError unless a file can be made at `path`."""
    if not path.parent.is_dir():
        raise MediaError(f'{path}: its folder does not exist')
    if not os.access(path.parent, os.W_OK):
        raise MediaError(f'{path}: its folder is not writable')


def write_image(path, image):
    """Write (h, w, 3) uint8 RGB; a file of that name is complete or not there.

    Raises:
        MediaError: it cannot be written.
    """
    partial = path.with_name(f'.{path.name}')
    try:
        written = cv2.imwrite(str(partial), image[..., ::-1])
    except cv2.error:
        written = False
    if not written:
        raise MediaError(f'{path}: could not be written')
    os.replace(partial, path)


class Writer:
    """What the writers share: the hidden name, and the move at the end."""

    def __init__(self, path):
        self.path = path
        self.partial = path.with_name(f'.{path.stem}.partial{path.suffix}')
        self._remove()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self._close(complete=kind is None)
            if kind is None:
                if self.path.is_dir():
                    self.path.rmdir()  # an empty folder of that name gives way
                os.replace(self.partial, self.path)
        finally:
            self._remove()

    def _remove(self):
        if self.partial.is_dir():
            shutil.rmtree(self.partial)
        else:
            self.partial.unlink(missing_ok=True)


class ImageWriter(Writer):
    """Numbered PNG images in a folder, or one image."""

    def __init__(self, path, single=False):
        super().__init__(path)
        self.single, self.count = single, 0
        if not single:
            self.partial.mkdir()

    def write(self, image, time=None):
        """(h, w, 3) uint8 RGB."""
        target = self.partial if self.single else self.partial / f'{self.count:08d}.png'
        if not cv2.imwrite(str(target), image[..., ::-1]):
            raise MediaError(f'{target}: could not be written')
        self.count += 1

    def _close(self, complete):
        pass


class VideoWriter(Writer):
    """A video whose frames keep their times, with the sound of the source copied packet by packet."""

    def __init__(self, path, reader, size, codec, crf, fps):
        super().__init__(path)
        self.reader, self.retimed, self.fps, self.count = reader, fps is not None, fps or reader.fps, 0
        self.ticks = self.fps.numerator * -(-LEAST_TICKS // self.fps.numerator)  # a multiple: constant rates stay exact
        self.color, self._last, self._source, self._start = reader.color, None, None, Fraction(0)
        encoder, self.pix_fmt, _ = CODECS[codec]
        try:
            self._container = av.open(str(self.partial.absolute()), 'w')
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f'{path}: cannot be written ({error.strerror})') from None
        try:
            self._add_video(encoder, size, crf if codec == 'h264' else None)
            # sound no longer fits where the frame rate was changed
            self._sound = {} if self.retimed or not hasattr(reader, 'path') else self._add_sound(reader.path)
        except BaseException:
            self._close(complete=False)
            self._remove()
            raise

    def _add_video(self, encoder, size, crf):
        self.stream = self._container.add_stream(encoder, rate=self.fps)
        context = self.stream.codec_context
        context.height, context.width, context.pix_fmt = *size, self.pix_fmt
        context.time_base = Fraction(1, self.ticks)
        context.sample_aspect_ratio = getattr(self.reader, 'sample_aspect_ratio', None) or Fraction(1)
        if crf is not None:
            self.stream.options = {'crf': str(crf)}
        if not self.pix_fmt.startswith('bgr'):
            context.colorspace, context.color_range = self.color.matrix, self.color.range_flag
            context.color_primaries, context.color_trc = self.color.primaries, self.color.transfer

    def _add_sound(self, source):
        """{index of a sound track of the source: its copy in the output}."""
        self._source = av.open(str(source.absolute()))
        tracks = {}
        for track in self._source.streams.audio:
            try:
                tracks[track.index] = self._container.add_stream_from_template(track)
            except (av.FFmpegError, ValueError) as error:
                raise MediaError(f'{self.path}: {self.path.suffix} cannot carry the sound of {source} '
                                 f'({track.codec_context.name}: {error}); use .mkv') from None
        self._packets = self._source.demux(list(self._source.streams.audio)) if tracks else iter(())
        self._waiting = None
        return tracks

    def write(self, image, time=None):
        """Append a frame, (h, w, 3) uint8 RGB, shown at `time` (Fraction of seconds; None: one frame after the last)."""
        frame = from_rgb(image, self.pix_fmt, self.color)
        frame.time_base = Fraction(1, self.ticks)
        frame.pts = self._tick(time)
        frame.duration = int(self.ticks / self.fps)
        self._last = frame.pts
        self.count += 1
        self._copy_sound(until=Fraction(frame.pts, self.ticks))
        self._mux(self.stream.encode(frame))

    def _tick(self, time):
        """Time of a frame in ticks. A time that the source's clock rounded is put back onto the grid of its frame rate."""
        if self.count == 0:
            self._start = Fraction(0) if time is None or self.retimed else time
            return round(self._start * self.ticks)
        following = self._last + round(self.ticks / self.fps)
        if time is None or self.retimed:
            return following
        regular = self._start + round((time - self._start) * self.fps) / self.fps
        tick = round((regular if abs(time - regular) <= self.reader.tick else time) * self.ticks)
        return tick if tick > self._last else following  # times that run backwards are no times

    def _copy_sound(self, until):
        """Copy the packets of sound that start before `until` seconds; all that are left where it is None."""
        while self._sound:
            packet = self._waiting or next(self._packets, None)
            if packet is None:
                return
            if until is not None and packet.dts is not None and packet.dts * packet.time_base > until:
                self._waiting = packet
                return
            self._waiting = None
            if packet.dts is not None and packet.size:
                packet.stream = self._sound[packet.stream.index]
                self._mux(packet)

    def _mux(self, packets):
        try:
            self._container.mux(packets)
        except (av.FFmpegError, ValueError) as error:
            tracks = ', '.join(sorted({s.codec_context.name for s in self._source.streams.audio})) if self._sound else ''
            hint = f'; does {self.path.suffix} carry {tracks}? if not, use .mkv' if tracks else ''
            raise MediaError(f'{self.path}: cannot be written ({getattr(error, "strerror", error)}{hint})') from None

    def _close(self, complete):
        try:
            if complete:
                self._copy_sound(until=None)
                self._mux(self.stream.encode(None))
            self._container.close()
        except av.FFmpegError as error:
            if complete:
                raise MediaError(f'{self.path}: cannot be finished ({error.strerror})') from None
        finally:
            if self._source:
                self._source.close()
