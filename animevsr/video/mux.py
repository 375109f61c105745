"""Segments of a video, one for each shot, and the output that is joined from them with everything else that
the source's container holds.

Nothing is encoded twice: the packets of the segments get their final times, those of the other tracks are
copied.
"""

import contextlib
import os
import subprocess
import tempfile
import warnings
from fractions import Fraction
from pathlib import Path

import av

from animevsr.errors import MediaError
from animevsr.utils.files import atomic_file, partial_of
from animevsr.video.color import from_rgb
from animevsr.video.encoders import MP4
from animevsr.video.ffmpeg import binary
from animevsr.video.reader import is_cover, open_container, reason_of, tags_of
from animevsr.video.tracks import Tracks

MS = Fraction(1, 1000)
# a container's own, not those of what is in it
OWN_TAGS = ('encoder', 'software', 'major_brand', 'minor_version', 'compatible_brands')
MP4_TAGS = (
    'title',
    'artist',
    'album_artist',
    'composer',
    'album',
    'date',
    'comment',
    'genre',
    'copyright',
    'grouping',
    'lyrics',
    'description',
    'synopsis',
    'show',
    'episode_id',
    'network',
    'keywords',
    'track',
    'disc',
    'creation_time',
)
TEXT_SUBTITLES = ('subrip', 'srt', 'ass', 'ssa', 'webvtt', 'text', 'mov_text')


class SegmentWriter:
    """Encodes the frames of one shot into a Matroska file; it is there when it is complete.

    Args:
        path (Path), encoding (Encoding), color (Color), rate (Fraction): the times in the file are those of
            this rate; the final ones are set when the segments are joined.
    """

    def __init__(self, path, encoding, color, rate):
        self.path, self.encoding, self.color, self.rate, self.count = path, encoding, color, rate, 0
        self.partial = partial_of(path)

    def __enter__(self):
        try:
            self._container = av.open(str(self.partial.absolute()), 'w')
            self._stream = self.encoding.stream(self._container, self.rate, 1 / self.rate)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f'{self.path}: cannot be written ({reason_of(error)})') from None
        return self

    def write(self, image):
        """(h, w, 3) uint8 or uint16 RGB."""
        frame = from_rgb(image, self.encoding.pix_fmt, self.color)
        frame.pts, frame.time_base = self.count, 1 / self.rate
        self.count += 1
        self._mux(frame)

    def _mux(self, frame):
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f'{self.path}: cannot be written ({reason_of(error)})') from None

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self._mux(None)
            try:
                self._container.close()
            except (av.FFmpegError, OSError) as error:
                if kind is None:
                    raise MediaError(f'{self.path}: cannot be finished ({reason_of(error)})') from None
            if kind is None:
                os.replace(self.partial, self.path)
        finally:
            self.partial.unlink(missing_ok=True)


def join(segments, ticks, time_base, output, source=None, video_index=0):
    """Write the output: the segments one after the other, and the other tracks of the source.

    Args:
        segments (list[Path]): in order.
        ticks (list[int]), time_base (Fraction): when each frame is shown.
        output (Path): its suffix chooses the container. It appears when it is complete.
        source (Path | None): whose other tracks, chapters, attachments and metadata are taken over.
        video_index (int): its stream that the segments replace.

    Raises:
        MediaError: it cannot be written, or the segments are not those of `ticks`.
    """
    later = Fraction(0)
    if ticks[0] < 0:  # which neither Matroska nor players know
        later = -ticks[0] * time_base
        ticks = [tick - ticks[0] for tick in ticks]
        if source is not None:
            warnings.warn(
                f'{source} starts {float(later):.3f} s before zero; in {output} all tracks are that much'
                ' later',
                stacklevel=2,
            )
    with atomic_file(output) as partial, contextlib.ExitStack() as stack:
        _write(stack, segments, ticks, time_base, partial, output, source, video_index, later)


def _write(stack, segments, ticks, time_base, partial, output, source, video_index, later):
    try:
        out = av.open(str(partial.absolute()), 'w', options=options_of(output, time_base))
        first = stack.enter_context(open_container(segments[0]))
        others, tracks, video = [], {}, None
        if source is None:
            video = out.add_stream_from_template(first.streams.video[0], opaque=True)
        else:
            origin = stack.enter_context(open_container(source))
            others = [origin]
            for stream in origin.streams:
                if stream.index == video_index:
                    video = out.add_stream_from_template(first.streams.video[0], opaque=True)
                    describe(video, stream)
                else:
                    track = add_track(out, stream, output, source, stack, others)
                    if track is not None:
                        tracks[track[:2]] = out.add_stream_from_template(track[1], opaque=True)
                        describe(tracks[track[:2]], track[2])
            tags = {key: value for key, value in tags_of(origin).items() if key.lower() not in OWN_TAGS}
            lost = [key for key in tags if output.suffix.lower() in MP4 and key.lower() not in MP4_TAGS]
            if lost:
                warnings.warn(
                    f'tags of {source} are left out: {output.suffix} does not have {", ".join(lost)}; .mkv'
                    ' does',
                    stacklevel=2,
                )
            out.metadata.update(tags)
            out.set_chapters([moved(chapter, later) for chapter in origin.chapters()])
        video.time_base = time_base
    except MediaError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f'{output}: cannot be written ({reason_of(error)})') from None
    packets = Tracks(others, tracks, later, f'of {source}')
    try:
        out.start_encoding()
    except (av.FFmpegError, OSError, ValueError) as error:
        names = ', '.join(sorted({s.codec_context.name for _, s in tracks if s.type == 'audio'}))
        hint = (
            f'; does {output.suffix} carry {names}? if not, use .mkv'
            if names and output.suffix.lower() != '.mkv'
            else ''
        )
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            out.close()
        raise MediaError(f'{output}: cannot be written ({reason_of(error)}{hint})') from None
    try:
        for packet in timed_packets(segments, ticks, time_base, output.suffix.lower() in MP4):
            packets.copy_until(out, packet.dts * time_base)
            packet.stream = video
            out.mux(packet)
        packets.copy_until(out, None)
    except MediaError:
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            out.close()
        raise
    except (av.FFmpegError, ValueError) as error:
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            out.close()
        raise MediaError(f'{output}: cannot be written ({reason_of(error)})') from None
    try:
        out.close()
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f'{output}: cannot be finished ({reason_of(error)})') from None


def options_of(output, time_base):
    """Options of the muxer: times stay as they are."""
    options = {'avoid_negative_ts': 'disabled'}
    if output.suffix.lower() in MP4:
        options.update(movflags='+faststart', video_track_timescale=str(time_base.denominator))
    return options


def describe(track, stream):
    """Language, title and other tags of a source's stream, and its disposition."""
    track.metadata.update(
        {
            key: value
            for key, value in tags_of(stream).items()
            if not key.upper().startswith(('DURATION', 'ENCODER', 'NUMBER_OF_', 'BPS', '_STATISTICS'))
        }
    )
    track.disposition = stream.disposition


def add_track(out, stream, output, source, stack, others):
    """(which of `others`, its stream, the source's own) to copy a stream from; None where it is added
    already, or cannot be (said).
    """
    mp4, name = (
        output.suffix.lower() in MP4,
        (getattr(stream.codec_context, 'name', None) if stream.type != 'attachment' else None),
    )
    what = f'{stream.type} track {stream.index} ({name or "unknown"}) of {source}'
    if stream.type == 'attachment':
        if mp4:
            warnings.warn(
                f'{stream.name} attached to {source} is left out: {output.suffix} has no attachments; use'
                ' .mkv',
                stacklevel=2,
            )
        else:
            out.add_attachment(stream.name, stream.mimetype, bytes(stream.data)).metadata.update(
                tags_of(stream)
            )
        return None
    if (
        stream.type == 'subtitle'
        and name is not None
        and (name == 'mov_text') != mp4
        and (mp4 or name == 'mov_text')
    ):
        if name not in TEXT_SUBTITLES:
            warnings.warn(
                f'{what} is left out: {output.suffix} has no subtitles made of pictures; use .mkv',
                stacklevel=2,
            )
            return None
        converted = convert_subtitles(source, stream.index, stack, mp4)
        if converted is None:
            warnings.warn(
                f'{what} is left out: it could not be turned into a text track of {output.suffix}',
                stacklevel=2,
            )
            return None
        if name != 'mov_text' and name not in ('subrip', 'srt', 'text'):
            warnings.warn(
                f'{what} becomes plain text: {output.suffix} keeps no styles; .mkv does', stacklevel=2
            )
        others.append(converted)
        return len(others) - 1, converted.streams.subtitles[0], stream
    if stream.type not in ('audio', 'subtitle', 'video') or name is None:
        # the titles of chapters are a track of their own in MP4; they come along as chapters
        titles = stream.type == 'data' and stream.container.chapters() and source.suffix.lower() in MP4
        if (stream.type == 'data' or name is None) and not titles:
            warnings.warn(f'{what} is left out: it cannot be copied', stacklevel=2)
        return None
    if not can_carry(out, stream):
        if stream.type == 'video' and is_cover(stream):
            warnings.warn(
                f'the cover picture of {source} ({name}) is left out: {output.suffix} cannot carry it',
                stacklevel=2,
            )
            return None
        raise not_carried(stream, output, source)
    return 0, stream, stream


def check_tracks(source, output):
    """MediaError if `output` cannot carry a sound track of `source`, before all the work; see `join`."""
    with (
        open_container(source) as origin,
        tempfile.TemporaryDirectory() as folder,
        av.open(f'{folder}/x{output.suffix}', 'w') as out,
    ):
        for stream in origin.streams:
            if (
                stream.type == 'audio'
                and getattr(stream.codec_context, 'name', None)
                and not can_carry(out, stream)
            ):
                raise not_carried(stream, output, source)


def not_carried(stream, output, source):
    name = getattr(stream.codec_context, 'name', 'unknown')
    return MediaError(
        f'{output}: {output.suffix} cannot carry {stream.type} track {stream.index} ({name}) of {source}; use'
        ' .mkv'
    )


def can_carry(out, stream):
    """Whether a container that is being written takes a stream."""
    return stream.codec_context.codec.canonical_name in out.supported_codecs


def convert_subtitles(source, index, stack, mp4):
    """A container with a text track, of MP4 or of Matroska, that is made of a subtitle track; or None."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    file, codec = (f'{folder}/s.mp4', 'mov_text') if mp4 else (f'{folder}/s.mkv', 'subrip')
    command = [
        binary(),
        '-v',
        'error',
        '-copyts',
        '-i',
        str(source.absolute()),
        '-map',
        f'0:{index}',
        '-c:s',
        codec,
        file,
    ]
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        return None
    return stack.enter_context(open_container(file))


def moved(chapter, later):
    """A chapter, as PyAV gives it, some seconds later."""
    shift = round(later / chapter['time_base'])
    return {**chapter, 'start': chapter['start'] + shift, 'end': chapter['end'] + shift}


def timed_packets(segments, ticks, time_base, mp4=False):
    """The packets of the segments in order of decoding, with their final times."""
    delay, start, extradata, step = max(reordering(segment)[0] for segment in segments), 0, None, 1
    pace = ticks[1] - ticks[0] if len(ticks) > 1 else 1
    for segment in segments:
        ranks = reordering(segment)[1]
        if start + len(ranks) > len(ticks):
            raise MediaError(
                f'{segment}: holds more frames than the plan says; remove it and run the command again'
            )
        with open_container(segment) as container:
            stream = container.streams.video[0]
            header = bytes(stream.codec_context.extradata or b'')
            if extradata is None:
                rate, usual = (
                    stream.average_rate or stream.guessed_rate,
                    (ticks[-1] - ticks[-2] if len(ticks) > 1 else 1),
                )
                # how long the last frame is shown
                extradata, step = header, max(1, round(1 / (rate * time_base)) if rate else usual)
            if header != extradata:
                raise MediaError(
                    f'{segment}: was encoded in another way than the first one; remove it and run the command'
                    ' again'
                )
            for i, packet in enumerate(p for p in container.demux(stream) if p.size):
                order = start + i
                packet.time_base = time_base
                packet.pts = ticks[start + ranks[i]]
                # decoding begins before zero, at the pace of the frames, as encoders write it: MP4 measures a
                # track from there, and notes the delay in an edit list
                packet.dts = ticks[order - delay] if order >= delay else ticks[0] - (delay - order) * pace
                following = start + ranks[i] + 1
                packet.duration = ticks[following] - ticks[following - 1] if following < len(ticks) else step
                # which adds up a track's length by decoding: to the end of the last frame
                if mp4 and order == len(ticks) - 1:
                    packet.duration = ticks[-1] + step - delay * pace - packet.dts
                yield packet
        start += len(ranks)
    if start != len(ticks):
        raise MediaError(
            f'{segments[-1]}: the segments hold {start} frames, the plan {len(ticks)}; remove them and run'
            ' the command again'
        )


def reordering(segment):
    """(by how many packets the order of decoding runs ahead of that of presentation, the place of each packet
    in presentation).
    """
    try:
        with open_container(segment) as container:
            times = [packet.pts for packet in container.demux(container.streams.video[0]) if packet.size]
    except (av.FFmpegError, OSError) as error:
        raise MediaError(
            f'{segment}: cannot be read ({reason_of(error)}); remove it and run the command again'
        ) from None
    places = {time: i for i, time in enumerate(sorted(times))}
    ranks = [places[time] for time in times]
    return max((i - rank for i, rank in enumerate(ranks)), default=0), ranks


def frames_in(segment):
    """Number of frames of a segment, or None where it cannot be read."""
    try:
        return len(reordering(Path(segment))[1])
    except MediaError:
        return None
