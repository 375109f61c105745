"""What a container says of itself and of its streams, and opening one."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

# fmt: off
VIDEO_SUFFIXES = (
    '.mp4', '.mkv', '.avi', '.mov', '.webm', '.flv', '.wmv', '.mpg', '.mpeg', '.ts', '.m2ts', '.m4v',
    '.ogv', '.ogm', '.rm', '.rmvb', '.vob', '.3gp', '.y4m',
)
# fmt: on
MP4 = ('.mp4', '.m4v', '.mov')
# a container's own, not those of what is in it
OWN_TAGS = ('encoder', 'software', 'major_brand', 'minor_version', 'compatible_brands')
# fmt: off
MP4_TAGS = (
    'title', 'artist', 'album_artist', 'composer', 'album', 'date', 'comment', 'genre', 'copyright',
    'grouping', 'lyrics', 'description', 'synopsis', 'show', 'episode_id', 'network', 'keywords', 'track',
    'disc', 'creation_time',
)
# fmt: on
TEXT_SUBTITLES = ('subrip', 'srt', 'ass', 'ssa', 'webvtt', 'text', 'mov_text')


def open_container(path: Path) -> Any:
    """PyAV's container of a file that is read. Tags that are not UTF-8 are taken for Latin-1, as old AVI
    files have them.

    Raises:
        av.FFmpegError, OSError, ValueError: it is not readable.
    """
    if str(path) == '-':  # standard input
        return av.open('pipe:0')
    name = str(Path(path).absolute())  # 'a: b.mkv' would be taken for a protocol
    try:
        return av.open(name)
    except UnicodeDecodeError:
        return av.open(name, metadata_encoding='latin-1')


def read_tags(thing: Any) -> dict:
    """{name: text} of a container or a stream. PyAV 19 gives bytes that are not UTF-8 as surrogates: those
    are Latin-1, see above.
    """
    return {
        key: (
            value.encode('utf8', 'surrogateescape').decode('latin-1')
            if re.search('[\udc80-\udcff]', value)
            else value
        )
        for key, value in thing.metadata.items()
    }


def track_end(stream: Any) -> Fraction | None:
    """When a stream ends, as its container says, in seconds; None where it does not."""
    # which only knows how long the longest track is
    if stream.duration and 'matroska' not in stream.container.format.name:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    parts = re.fullmatch(r'(\d+):(\d+):(\d+(?:\.\d+)?)', stream.metadata.get('DURATION', ''))
    return int(parts[1]) * 3600 + int(parts[2]) * 60 + Fraction(parts[3]) if parts else None


def explain(error: Any) -> str:
    """What an error of PyAV or of the system says, in a few words."""
    return ' '.join(str(getattr(error, 'strerror', None) or error).split())[:100]


def late_start(container: Any) -> Fraction:
    """Seconds at which a recording begins (a transport stream or a disc: its clock was on long before), or 0
    where that is within half a second. A result that kept it would begin with nothing.
    """
    if container.format.name not in ('mpegts', 'mpeg'):
        return Fraction(0)
    start = Fraction(container.start_time or 0, av.time_base)
    return start if start > Fraction(1, 2) else Fraction(0)


def is_cover(stream: Any) -> bool:
    """Whether a video stream is an attached picture (cover art) and no video."""
    disposition = getattr(stream, 'disposition', None)
    return stream.type == 'video' and 'attached_pic' in str(getattr(disposition, 'name', disposition))
