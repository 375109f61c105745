"""What a container says and holds besides pictures, compared between a source and its result."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av

from animevsr.video.container import OWN_TAGS, TEXT_SUBTITLES, is_cover, late_start, read_tags, track_end
from animevsr.video.remux import can_carry_in
from animevsr.video.tracks import JITTER

if TYPE_CHECKING:
    from animevsr.video.reader import VideoReader


# seconds by which the start and the end of a copied track may move: containers round, and know priming or not
LEEWAY = Fraction(1, 20)
CLOCK = Fraction(1, 1000)  # of Matroska: times may be off by as much


@dataclass(frozen=True)
class Check:
    """One line of an audit."""

    name: str
    ok: bool
    what: str


def count_tracks(before: Any, after: Any, sound: bool) -> Check:
    """Whether there are as many tracks of each kind; MP4's titles of chapters are none."""
    counts = [
        Counter(stream.type for stream in file.streams if stream.type != 'data') for file in (before, after)
    ]
    if not sound:
        counts[0].pop('audio', None)
    return Check('tracks', counts[0] == counts[1], f'{dict(counts[0])} -> {dict(counts[1])}')


def compare_reports(result: VideoReader, times: list[Fraction]) -> list[Check]:
    """What the container itself says of the track of pictures, by which players go: its length and its rate.

    Args:
        result (VideoReader): of the output. times (list[Fraction]): of its frames, in seconds.
    """
    if len(times) < 2 or times[0] is None:
        return []
    steps, stream = [b - a for a, b in zip(times, times[1:])], result.stream
    end, whole = track_end(stream), times[-1] + steps[-1] - times[0]
    # where the track does not say it, the whole file does, in which other tracks may be longer
    most = times[-1] + steps[-1] + max(4 * steps[-1], LEEWAY) if end is not None else float('inf')
    if end is None and stream.container.duration:
        end = Fraction(stream.container.duration, av.time_base)
    checks = []
    if end is not None:
        said = f'ends at {float(end):.3f} s, its frames at {float(times[-1] + steps[-1]):.3f} s'
        checks.append(Check('track length', times[-1] + min(steps) / 2 <= end <= most, said))
    # of a variable rate it is known only where the container counts frames
    if (max(steps) - min(steps) <= 2 * CLOCK or stream.frames) and stream.average_rate:
        # how long the last frame is shown, its times do not say
        least, most = (
            len(times) / (times[-1] - times[0] + last)
            for last in (max(steps) + CLOCK, max(min(steps) - CLOCK, 0))
        )
        what = f'{float(stream.average_rate):.3f}, its frames {float(len(times) / whole):.3f} a second'
        checks.append(Check('track rate', 0.99 * least <= stream.average_rate <= 1.01 * most, what))
    return checks


def compare_headers(source: VideoReader, result: VideoReader) -> list[Check]:
    """Size, pixel shape, colours, HDR metadata."""
    shapes = [reader.info.sample_aspect_ratio or Fraction(1) for reader in (source, result)]
    stretched = shapes[0] if shapes[1] == 1 else 1  # `--square-pixels` makes the picture wider
    factors = result.info.width / (source.info.width * stretched), result.info.height / source.info.height
    same = abs(factors[0] - factors[1]) * max(source.info.width, source.info.height) <= 4
    checks = [
        Check(
            'size',
            same,
            f'{source.info.width}x{source.info.height} -> {result.info.width}x{result.info.height}',
        )
    ]
    checks.append(
        Check('samples', True, f'{source.info.pixel_format} -> {result.info.pixel_format}')
    )  # as was asked for
    checks.append(Check('pixel shape', shapes[1] in (shapes[0], 1), f'{shapes[0]} -> {shapes[1]}'))
    if av.VideoFormat(result.info.pixel_format).is_rgb:
        checks.append(Check('colours', True, 'RGB'))
    else:
        before, after = source.info.color, result.info.color
        # the range may be another one (ProRes has one alone): `picture` shows whether it is understood
        same = replace(before, full_range=after.full_range) == after
        checks.append(Check('colours', same, f'{before} -> {after}'))
    hdr = [
        {key for key in reader.info.side_data if key in ('MASTERING_DISPLAY_METADATA', 'CONTENT_LIGHT_LEVEL')}
        for reader in (source, result)
    ]
    if hdr[0]:
        checks.append(Check('HDR metadata', hdr[0] <= hdr[1], ', '.join(sorted(hdr[0]))))
    return checks


def compare_tracks(before: Any, after: Any, main: tuple[int, int], mp4: bool, sound: bool) -> list[Check]:
    """Everything in the containers but the `main` tracks, the pictures."""
    kept, checks = [s for s in after.streams if s.type != 'attachment' and s.index != main[1]], []
    wanted = [
        s
        for s in before.streams
        if s.type != 'attachment' and s.index != main[0] and not (s.type == 'data' and before.chapters())
        if sound or s.type != 'audio'
    ]  # the titles of chapters in MP4
    ours, theirs = contents(before, wanted), contents(after, kept)
    start = before.streams[main[0]].start_time
    # what starts before zero comes out later as a whole, a recording earlier
    zero = late_start(before) or min(0, (start or 0) * before.streams[main[0]].time_base)
    for stream in wanted:
        name = f'{stream.type} track {stream.index}'
        codec = getattr(stream.codec_context, 'name', None)
        flac = stream.type == 'audio' and not mp4 and not can_carry_in('.mkv', stream)
        text = stream.type == 'subtitle' and codec in TEXT_SUBTITLES and (mp4 or codec == 'mov_text')
        match = next(
            (
                s
                for s in kept
                if s.type == stream.type
                and (
                    text
                    or (flac and s.codec_context.name == 'flac')
                    or ours[stream.index][:2] == theirs[s.index][:2]
                )
            ),
            None,
        )
        if match is None:
            checks.append(Check(name, False, f'{codec}: is missing, or its content differs'))
            continue
        kept.remove(match)
        tags = [
            (read_tags(s).get('language', 'und'), read_tags(s).get('title', ''), int(s.disposition))
            for s in (stream, match)
        ]
        if mp4:  # which keeps the language and whether a track is the default
            tags = [(language, disposition & 1) for language, _, disposition in tags]
        same = tags[0] == tags[1] or (mp4 and tags[0][0] == tags[1][0])
        checks.append(
            Check(
                name,
                same,
                f'{codec}, {ours[stream.index][0]} packets, {tags[0]}' + ('' if same else f' -> {tags[1]}'),
            )
        )
        lengths = [own_length(stream), own_length(match)]
        if (
            all(lengths)
            and stream.type in ('audio', 'video')
            and not is_cover(stream)
            and ours[stream.index][2]
        ):
            same = abs(lengths[0] - lengths[1]) <= 2 * LEEWAY
            checks.append(
                Check(f'{name}, length', same, f'{float(lengths[0]):.3f} s -> {float(lengths[1]):.3f} s')
            )
        times, others = ours[stream.index][2], theirs[match.index][2]
        if times and others and not is_cover(stream):
            # where it was converted, packets are of another length, and what leads in is left out
            leeway = 3 * LEEWAY if flac else LEEWAY
            off = max(abs(a - zero - b) for a, b in list(zip(times, others))[: 1 if flac else 2])
            checks.append(
                Check(
                    f'{name}, times', off <= leeway, f'off by {float(off) * 1000:.0f} ms at its start or end'
                )
            )
    chapters = [
        [(round(c['start'] * c['time_base'] * 1000), c['metadata'].get('title')) for c in file.chapters()]
        for file in (before, after)
    ]
    close = len(chapters[0]) == len(chapters[1]) and all(
        abs(a - round(1000 * zero) - b) <= 1 and s == t for (a, s), (b, t) in zip(*chapters)
    )
    checks.append(
        Check('chapters', close, str(len(chapters[0])) if close else f'{chapters[0]} -> {chapters[1]}')
    )
    files = [
        {(s.name, hashlib.sha256(bytes(s.data)).hexdigest()) for s in file.streams if s.type == 'attachment'}
        for file in (before, after)
    ]
    checks.append(
        Check(
            'attachments',
            files[0] <= files[1],
            (
                str(len(files[0]))
                if files[0] <= files[1]
                else 'missing: ' + ', '.join(sorted(name for name, _ in files[0] - files[1]))
            ),
        )
    )
    own = {key.lower(): value for key, value in read_tags(after).items()}
    ignored = (*OWN_TAGS, 'duration', 'creation_time')
    lost = [
        key
        for key, value in read_tags(before).items()
        if key.lower() not in ignored and own.get(key.lower()) != value
    ]
    if mp4:
        lost = [
            key
            for key in lost
            if key.lower() in ('title', 'artist', 'comment', 'album', 'genre', 'date', 'copyright')
        ]
    checks.append(
        Check(
            'metadata',
            not lost,
            f'{len(before.metadata)} tags' if not lost else f'missing or changed: {", ".join(lost)}',
        )
    )
    return checks


def own_length(stream: Any) -> Fraction | None:
    """Seconds that a track says it takes, or None."""
    # in streams it is guessed from the last packet, which may hold half a second
    if not stream.duration or stream.container.format.name in ('mpegts', 'mpeg'):
        return None
    return stream.duration * stream.time_base


def contents(container: Any, streams: list) -> dict:
    """{index: (number of packets, hash of what is in them, (first, last time in seconds) or None where times
    run backwards)} of streams.
    """
    found = {stream.index: [0, hashlib.sha256(), []] for stream in streams}
    if streams:
        try:
            for packet in container.demux(streams):
                if packet.size:
                    found[packet.stream.index][0] += 1
                    found[packet.stream.index][1].update(without_header(packet))
                    if packet.pts is not None:
                        order = packet.pts if packet.dts is None else packet.dts
                        found[packet.stream.index][2].append(
                            (packet.pts * packet.time_base, order * packet.time_base)
                        )
        except av.FFmpegError:
            pass  # a damaged end: what was read before counts
    spans = {index: span(times) for index, (_, _, times) in found.items()}
    return {index: (count, digest.hexdigest(), spans[index]) for index, (count, digest, _) in found.items()}


def span(times: list[tuple[Fraction, Fraction]]) -> tuple[Fraction, Fraction] | None:
    """(first, last) of [(when a packet is shown, when it is decoded)]; None where there is none, or where
    times run backwards.
    """
    backwards = any(b < a - JITTER for (_, a), (_, b) in zip(times, times[1:]))
    return (min(times)[0], max(times)[0]) if times and not backwards else None


def without_header(packet: Any) -> bytes:
    """What is in a packet; AAC of transport streams has a header of its own before each (ADTS), which other
    containers do not keep.
    """
    data = bytes(packet)
    if (
        getattr(packet.stream.codec_context, 'name', None) == 'aac'
        and len(data) > 9
        and data[0] == 0xFF
        and data[1] & 0xF6 == 0xF0
    ):
        return data[7 if data[1] & 1 else 9 :]
    return data
