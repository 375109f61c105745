"""The output: the segments of all shots joined, with everything else that the source's container holds.

Nothing is encoded twice: the packets of the segments get their final times, those of the other tracks are
copied.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import warnings
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from animevsr.errors import MediaError
from animevsr.utils.files import atomic_file
from animevsr.video.container import (
    MP4,
    MP4_TAGS,
    OWN_TAGS,
    TEXT_SUBTITLES,
    explain,
    is_cover,
    late_start,
    open_container,
    read_tags,
)
from animevsr.video.conversions import convert_sound, convert_subtitles
from animevsr.video.segments import timed_packets
from animevsr.video.tracks import Tracks

COVERS = {'mjpeg': ('jpeg', 'jpg'), 'png': ('png', 'png')}  # their type and suffix


def join(
    segments: list[Path],
    ticks: list[int],
    time_base: Fraction,
    output: Path,
    source: Path | None = None,
    video_index: int = 0,
    window: tuple[Fraction, Fraction] | None = None,
    audio: bool = True,
) -> None:
    """Write the output: the segments one after the other, and the other tracks of the source.

    Args:
        segments (list[Path]): in order.
        ticks (list[int]), time_base (Fraction): when each frame is shown. A recording that begins at another
            time than zero (`late_start`) begins at zero in the output, with all its tracks.
        output (Path): its suffix chooses the container. It appears when it is complete.
        source (Path | None): whose other tracks, chapters, attachments and metadata are taken over.
        video_index (int): its stream that the segments replace.
        window (pair of Fraction | None): the seconds of the source that the output shows: its other tracks
            are cut to them, and the output begins at zero.
        audio (bool): take sound over.

    Raises:
        MediaError: it cannot be written, or the segments are not those of `ticks`.
    """
    later = Fraction(0)
    if window is not None:
        later = -window[0]
        ticks = [tick - ticks[0] for tick in ticks]
    elif ticks[0] < 0:  # which neither Matroska nor players know
        later = -ticks[0] * time_base
        ticks = [tick - ticks[0] for tick in ticks]
        if source is not None:
            warnings.warn(
                f'{source} starts {float(later):.3f} s before zero; in {output} all tracks are that much'
                ' later',
                stacklevel=2,
            )
    elif source is not None:
        with open_container(source) as origin:
            earlier = min(ticks[0], math.floor(late_start(origin) / time_base))
        later = -earlier * time_base
        ticks = [tick - earlier for tick in ticks]
    with atomic_file(output) as partial, contextlib.ExitStack() as stack:
        _write(stack, segments, ticks, time_base, partial, output, source, video_index, later, window, audio)


def _write(stack, segments, ticks, time_base, partial, output, source, video_index, later, window, audio):
    try:
        out = av.open(str(partial.absolute()), 'w', options=choose_muxer_options(output, time_base))
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
                elif audio or stream.type != 'audio':
                    track = add_track(out, stream, output, source, stack, others)
                    if track is not None:
                        tracks[track[:2]] = out.add_stream_from_template(track[1], opaque=True)
                        describe(tracks[track[:2]], track[2])
            tags = {key: value for key, value in read_tags(origin).items() if key.lower() not in OWN_TAGS}
            lost = [key for key in tags if output.suffix.lower() in MP4 and key.lower() not in MP4_TAGS]
            if lost:
                warnings.warn(
                    f'tags of {source} are left out: {output.suffix} does not have {", ".join(lost)}; .mkv'
                    ' does',
                    stacklevel=2,
                )
            out.metadata.update(tags)
            chapters = origin.chapters()
            if window is not None:
                chapters = [cut for cut in (cut_chapter(chapter, *window) for chapter in chapters) if cut]
            later_ones = (moved(chapter, later) for chapter in chapters)
            out.set_chapters([chapter for chapter in later_ones if chapter['end'] > 0])
        video.time_base = time_base
    except MediaError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f'{output}: cannot be written ({explain(error)})') from None
    packets = Tracks(others, tracks, later, f'of {source}', window, output.suffix.lower() in MP4)
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
        raise MediaError(f'{output}: cannot be written ({explain(error)}{hint})') from None
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
        raise MediaError(f'{output}: cannot be written ({explain(error)})') from None
    try:
        out.close()
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f'{output}: cannot be finished ({explain(error)})') from None


def choose_muxer_options(output: Path, time_base: Fraction) -> dict[str, str]:
    """Options of the muxer: times stay as they are."""
    options = {'avoid_negative_ts': 'disabled'}
    if output.suffix.lower() in MP4:
        options.update(movflags='+faststart', video_track_timescale=str(time_base.denominator))
    return options


def describe(track: Any, stream: Any) -> None:
    """Language, title and other tags of a source's stream, and its disposition."""
    track.metadata.update(
        {
            key: value
            for key, value in read_tags(stream).items()
            if not key.upper().startswith(('DURATION', 'ENCODER', 'NUMBER_OF_', 'BPS', '_STATISTICS'))
        }
    )
    track.disposition = stream.disposition


def add_track(
    out: Any, stream: Any, output: Path, source: Path, stack: ExitStack, others: list
) -> tuple[int, Any, Any] | None:
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
                read_tags(stream)
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
        converted = convert_subtitles(source, stream.index, stack, output.parent, mp4)
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
    if is_cover(stream) and not mp4 and name in COVERS:  # in Matroska a file that is attached
        kind, suffix = COVERS[name]
        out.add_attachment(f'cover.{suffix}', f'image/{kind}', read_cover(source, stream.index))
        return None
    if not can_carry(out, stream):
        if is_cover(stream):
            warnings.warn(
                f'the cover picture of {source} ({name}) is left out: {output.suffix} cannot carry it',
                stacklevel=2,
            )
            return None
        if not converts(output, stream):
            raise not_carried(stream, output, source)
        return add_converted(stream, what, output, source, stack, others)
    return 0, stream, stream


def add_converted(
    stream: Any, what: str, output: Path, source: Path, stack: ExitStack, others: list
) -> tuple[int, Any, Any] | None:
    """As `add_track`, for sound and subtitles of which Matroska (or FFmpeg, writing it) has no name."""
    if stream.type == 'audio':
        converted, becomes = convert_sound(source, stream, stack, output.parent), 'FLAC, without loss'
    else:
        converted, becomes = (
            convert_subtitles(source, stream.index, stack, output.parent, False),
            'plain text',
        )
    if converted is None:
        warnings.warn(
            f'{what} is left out: {output.suffix} cannot carry it, and it cannot be converted', stacklevel=2
        )
        return None
    warnings.warn(f'{what} becomes {becomes}: {output.suffix} cannot carry it', stacklevel=2)
    others.append(converted)
    return len(others) - 1, converted.streams[0], stream


def read_cover(source: Path, index: int) -> bytes:
    """The file that a stream with an attached picture holds."""
    with open_container(source) as container:
        return next(bytes(p) for p in container.demux(container.streams[index]) if p.size)


def check_tracks(origin: Any, source: Path, output: Path, video_index: int, audio: bool = True) -> None:
    """MediaError if `output` cannot carry a track of `source`, before all the work; see `join`.

    Args:
        origin: PyAV's container of `source`.
    """
    kinds = {'video', *(['audio'] if audio else []), *([] if output.suffix.lower() in MP4 else ['subtitle'])}
    with tempfile.TemporaryDirectory() as folder, av.open(f'{folder}/x{output.suffix}', 'w') as out:
        for stream in origin.streams:
            name = getattr(stream.codec_context, 'name', None) if stream.type in kinds else None
            if name is None or stream.index == video_index or name == 'mov_text' or is_cover(stream):
                continue
            if not can_carry(out, stream) and not converts(output, stream):
                raise not_carried(stream, output, source)


def not_carried(stream: Any, output: Path, source: Path) -> MediaError:
    name = getattr(stream.codec_context, 'name', 'unknown')
    said = f'{output}: {output.suffix} cannot carry {stream.type} track {stream.index} ({name}) of {source}'
    return MediaError(
        f'{said}, nor can it be converted; leave sound out (audio none)'
        if output.suffix.lower() == '.mkv'
        else f'{said}; use .mkv'
    )


def converts(output: Path, stream: Any) -> bool:
    """Whether a track that the container cannot carry is converted: into the one that carries the most."""
    if output.suffix.lower() != '.mkv':
        return False
    # FLAC has no more channels; of subtitles, what cannot be text is left out, which is said
    return stream.type == 'subtitle' or stream.type == 'audio' and stream.codec_context.channels <= 8


def can_carry_in(suffix: str, stream: Any) -> bool:
    """`can_carry` for a container by its suffix."""
    with tempfile.TemporaryDirectory() as folder, av.open(f'{folder}/x{suffix}', 'w') as out:
        return can_carry(out, stream)


def can_carry(out: Any, stream: Any) -> bool:
    """Whether a container that is being written takes a stream."""
    codec = stream.codec_context.codec  # the list holds names of decoders, like dca for DTS
    return not {codec.name, codec.canonical_name}.isdisjoint(out.supported_codecs)


def cut_chapter(chapter: dict, start: Fraction, end: Fraction) -> dict | None:
    """What of a chapter, as PyAV gives it, lies between two times in seconds; None if nothing does."""
    base = chapter['time_base']
    first, last = max(chapter['start'], round(start / base)), min(chapter['end'], round(end / base))
    return {**chapter, 'start': first, 'end': last} if first < last else None


def moved(chapter: dict, later: Fraction) -> dict:
    """A chapter, as PyAV gives it, some seconds later."""
    shift = round(later / chapter['time_base'])
    return {**chapter, 'start': max(0, chapter['start'] + shift), 'end': chapter['end'] + shift}
