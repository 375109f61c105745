"""The external ffmpeg, where a filter graph or an encoder that PyAV lacks is wanted (ffmpeg-python builds the
command).
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from animevsr.errors import CodecError
from animevsr.video.codec import FPS


def binary() -> str:
    """Path of ffmpeg: the one on PATH, else the one that imageio-ffmpeg brings."""
    import imageio_ffmpeg  # where it is wanted: its import looks for the program

    return shutil.which('ffmpeg') or imageio_ffmpeg.get_ffmpeg_exe()


@functools.cache
def passthrough(path: Path) -> dict:
    """The option that gives each frame out once: `-fps_mode` since ffmpeg 5.1, which later dropped its older
    name.
    """
    version = re.search(
        r'version n?(\d+)\.(\d+)', subprocess.run([path, '-version'], capture_output=True, text=True).stdout
    )
    old = version is not None and (int(version[1]), int(version[2])) < (5, 1)
    return {'vsync': 'passthrough'} if old else {'fps_mode': 'passthrough'}


def roundtrip(
    frames: np.ndarray, options: dict, suffix: str, filters: str = '', decode_filters: str = ''
) -> np.ndarray:
    """Filter and encode a clip into a file, decode and filter it back.

    Args:
        frames (ndarray): (t, h, w, 3), uint8 RGB.
        options (dict): output options of ffmpeg, e.g. `{'vcodec': 'mpeg2video', 'q:v': 8}`.
        suffix (str): of the file, which chooses the container, e.g. 'mpg'.
        filters, decode_filters (str): filter chains before the encoder and after the decoder, e.g.
            'tinterlace=interleave_top' and 'yadif=1'. Together they keep size and number of the frames.

    Returns:
        ndarray: (t, h, w, 3), uint8 RGB.

    Raises:
        CodecError: ffmpeg failed, or not exactly t frames of this size came back.
    """
    import ffmpeg

    t, h, w, _ = frames.shape
    # most encoders need even sizes
    padded = np.pad(frames, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode='edge')
    size = padded.shape[1:3]
    raw = dict(format='rawvideo', pix_fmt='rgb24')
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / f'clip.{suffix.lstrip(".")}')
        source = ffmpeg.input('pipe:', **raw, s=f'{size[1]}x{size[0]}', framerate=FPS)
        _run(
            ffmpeg.output(source, file, **_chain(filters), **{'pix_fmt': 'yuv420p', 'threads': 1, **options}),
            padded.tobytes(),
        )
        out = _run(
            ffmpeg.output(
                ffmpeg.input(file), 'pipe:', **_chain(decode_filters), **raw, **passthrough(binary())
            )
        )
    if len(out) != padded.nbytes:
        raise CodecError(
            f'ffmpeg round trip ({options}) of {t} frames of {w}x{h} gave back'
            f' {len(out) / padded[0].nbytes:g} frames'
        )
    return np.frombuffer(out, np.uint8).reshape(padded.shape)[:, :h, :w].copy()


def _chain(filters):
    return {'vf': filters} if filters else {}


def _run(stream, data=None):
    """Standard output of ffmpeg; its last line of complaint as CodecError."""
    import ffmpeg

    try:
        return ffmpeg.run(
            stream, cmd=binary(), input=data, capture_stdout=True, capture_stderr=True, quiet=True
        )[0]
    except ffmpeg.Error as error:
        lines = error.stderr.decode(errors='replace').strip().splitlines() or ['no message']
        raise CodecError(f'ffmpeg failed: {lines[-1]}') from None
