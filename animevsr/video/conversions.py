"""Tracks that a container cannot carry as they are, converted by the external ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
    """A container of Matroska with a track of sound as FLAC (what is decoded, without loss), or None.
    Arguments as `convert_subtitles`.
    """
    # 24 bits hold more than a codec with losses gives; LPCM says by itself how many it has
    depth = [] if stream.codec_context.name.startswith('pcm_') else ['-sample_fmt', 's16']
    return convert(source, stream.index, stack, folder, 's.mkv', ['-c:a', 'flac', *depth])


def convert(source: Path, index: int, stack: ExitStack, folder: Path, name: str, options: list[str]) -> Any:
    place = stack.enter_context(tempfile.TemporaryDirectory(prefix='.animevsr-', dir=folder))
    file = str(Path(place).absolute() / name)
    command = [binary(), '-v', 'error', '-copyts', '-i', str(source.absolute())]
    command += ['-map', f'0:{index}', '-map_chapters', '-1', '-map_metadata', '-1', *options, file]
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        return None
    return stack.enter_context(open_container(file))
