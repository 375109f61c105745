"""Tracks that a container cannot carry as they are, converted by the external ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from animevsr.errors import MediaError
from animevsr.video.container import open_container
from animevsr.video.ffmpeg import binary


def convert_subtitles(source: Path, index: int, stack: ExitStack, folder: Path, mp4: bool) -> Any:
    """A container with a text track, of MP4 or of Matroska, that is made of a subtitle track; or None.

    Args:
        index (int): of the track in `source`. stack (ExitStack): which closes and removes it. folder (Path):
            where there is room for it.
    """
    name, codec = ('s.mp4', 'mov_text') if mp4 else ('s.mkv', 'subrip')
    return convert(source, index, stack, folder, name, ['-c:s', codec])


def convert_sound(source: Path, stream: Any, stack: ExitStack, folder: Path) -> Any:
    """A container of Matroska with a track of sound as FLAC (what is decoded, without loss).
    Arguments as `convert_subtitles`; MediaError if it cannot be made.
    """
    codec = stream.codec_context
    # codecs with losses give floats, of which 16 bits hold enough; the others say how many bits they have
    lossy = codec.format is not None and codec.format.name.startswith('flt')
    depth = ['-sample_fmt', 's16'] if lossy and not codec.name.startswith('pcm_') else []
    return convert(source, stream.index, stack, folder, 's.mkv', ['-c:a', 'flac', *depth], must=True)


def convert(
    source: Path,
    index: int,
    stack: ExitStack,
    folder: Path,
    name: str,
    options: list[str],
    must: bool = False,
) -> Any:
    place = stack.enter_context(tempfile.TemporaryDirectory(prefix='.animevsr-', dir=folder))
    file = str(Path(place).absolute() / name)
    command = [binary(), '-v', 'error', '-copyts', '-i', str(source.absolute())]
    command += ['-map', f'0:{index}', '-map_chapters', '-1', '-map_metadata', '-1', *options, file]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace')
    if done.returncode:
        if must:
            said = (done.stderr.strip().splitlines() or ['no reason given'])[-1][:200]
            raise MediaError(f'{source}: track {index} cannot be converted ({said}); what is done is kept')
        return None
    return stack.enter_context(open_container(file))
