"""Conversion between a video's own YUV and RGB, by its matrix and range (ITU-R BT.601, BT.709, BT.2020)."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

FLAGS = (  # of swscale: chroma is interpolated at full resolution
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
LIMITED, FULL = 1, 2  # AVColorRange
BT709, FCC, BT601, SMPTE240M, BT2020 = 1, 4, 5, 7, 9  # SWS_CS_*

YUV_FORMATS = {  # (subsampling, bits): FFmpeg's pixel format
    ('420', 8): 'yuv420p',
    ('422', 8): 'yuv422p',
    ('444', 8): 'yuv444p',
    ('420', 10): 'yuv420p10le',
    ('422', 10): 'yuv422p10le',
    ('444', 10): 'yuv444p10le',
}
UNSPECIFIED = 2  # of H.273, for matrix, primaries and transfer
# H.273 matrix -> swscale's; 5 and 6 are the same matrix (BT.601)
MATRICES = {1: BT709, 4: FCC, 5: BT601, 6: BT601, 7: SMPTE240M, 9: BT2020, 10: BT2020}
# their names in FFmpeg's filters
FILTERS = {BT709: 'bt709', FCC: 'fcc', BT601: 'bt601', SMPTE240M: 'smpte240m', BT2020: 'bt2020'}
NAMES = {1: 'BT.709', 4: 'FCC', 5: 'BT.601', 6: 'BT.601', 7: 'SMPTE 240M', 9: 'BT.2020', 10: 'BT.2020'}
SCALE_FLAGS = 'bicubic+accurate_rnd+full_chroma_int+full_chroma_inp'  # the same for a filter
# from this width on, or above this height, untagged video is taken for BT.709, else for BT.601, as players do
HD_WIDTH, SD_HEIGHT = 1280, 576


@dataclass(frozen=True)
class Color:
    """Colour description of a video, in the code points of ITU-T H.273 (as in FFmpeg).

    Attributes:
        matrix (int): RGB-to-YUV matrix, never unspecified.
        full_range (bool): luma 0..255 instead of 16..235.
        primaries, transfer (int): passed on to the output; 2 where the source does not say.
    """

    matrix: int = 1
    full_range: bool = False
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @classmethod
    def of_frame(cls, frame: Any) -> Color:
        """Colour of a decoded frame; what the file does not say is guessed by the picture's size."""
        matrix = int(frame.colorspace)
        if matrix not in MATRICES:
            matrix = guess_matrix(frame.width, frame.height)
        full = int(frame.color_range) == FULL or frame.format.name.startswith('yuvj')
        return cls(matrix, full, int(frame.color_primaries), int(frame.color_trc))

    def __str__(self) -> str:
        tags = {'primaries': self.primaries, 'transfer': self.transfer}
        said = [f'{name} {code}' for name, code in tags.items() if code != UNSPECIFIED]
        return ', '.join([NAMES[self.matrix], 'full range' if self.full_range else 'TV range', *said])

    @property
    def range_flag(self) -> int:
        return FULL if self.full_range else LIMITED

    @property
    def range_name(self) -> str:
        return 'full' if self.full_range else 'limited'


def guess_matrix(width: int, height: int) -> int:
    """H.273 matrix of untagged video of this size."""
    return 6 if height <= SD_HEIGHT and width < HD_WIDTH else 1


_reformatters = {}


def reformat(frame: Any, **options: Any) -> Any:
    """`frame.reformat(**options)` that is safe in the forked workers of a data loader.

    PyAV 19 keeps one converter for the whole process, with threads of its own; a forked child waits for them
    for ever. Here every process and thread has its own. (They are never released: releasing one that came
    through a fork is what hangs.)
    """
    key = os.getpid(), threading.get_ident()
    if key not in _reformatters:
        _reformatters[key] = VideoReformatter()
    return _reformatters[key].reformat(frame, **options)


_graphs = threading.local()


def convert(frame: Any, pix_fmt: str, options: str) -> Any:
    """A frame in another format, by swscale with options of FFmpeg's filter `scale`, which can be told
    where samples of chroma are to lie (`reformat` cannot). It has no threads, so that a fork does it no harm.
    """
    key = frame.width, frame.height, frame.format.name, pix_fmt, options
    known = _graphs.__dict__
    if key not in known:
        if len(known) >= 4:
            known.clear()
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
        )
        scale = graph.add('scale', f'flags={SCALE_FLAGS}:{options}')
        form, sink = graph.add('format', f'pix_fmts={pix_fmt}'), graph.add('buffersink')
        source.link_to(scale)
        scale.link_to(form)
        form.link_to(sink)
        graph.configure()
        known[key] = graph
    known[key].push(frame)
    return known[key].pull()


def to_rgb(frame: Any, color: Color, deep: bool = False) -> np.ndarray:
    """(h, w, 3) RGB of a decoded frame: uint8, or uint16 of the full range where `deep`; transparency is laid
    over black. Where its samples of chroma lie, the frame says itself.
    """
    alpha = has_alpha(frame.format)
    target = ('rgba64le' if deep else 'rgba') if alpha else ('rgb48le' if deep else 'rgb24')
    yuv = dict(
        src_colorspace=MATRICES[color.matrix],
        dst_colorspace=MATRICES[color.matrix],
        src_color_range=color.range_flag,
        dst_color_range=FULL,
        interpolation=FLAGS,
    )
    options = {} if is_rgb(frame.format.name) else yuv
    image = reformat(frame, format=target, **options).to_ndarray()
    if alpha:
        opaque = np.iinfo(image.dtype).max
        image = np.round(image[..., :3] * (image[..., 3:] / opaque)).astype(image.dtype)
    return image


def has_alpha(pixel_format: Any) -> bool:
    """Whether a PyAV format holds transparency (a palette says so, but hardly ever has it)."""
    return pixel_format.name != 'pal8' and any(c.is_alpha for c in pixel_format.components)


def from_rgb(image: np.ndarray, pix_fmt: str, color: Color) -> Any:
    """Frame in `pix_fmt` of (h, w, 3) uint8 or uint16 RGB, with its colour tags set."""
    frame = av.VideoFrame.from_ndarray(image, format='rgb24' if image.dtype == np.uint8 else 'rgb48le')
    if not is_rgb(pix_fmt):
        matrix = FILTERS[MATRICES[color.matrix]]
        options = f'in_color_matrix={matrix}:out_color_matrix={matrix}:in_range=full'
        # where decoders of what is written take samples of chroma to be
        frame = convert(frame, pix_fmt, f'{options}:out_range={color.range_name}:out_chroma_loc=left')
        frame.colorspace = color.matrix
        frame.color_range = color.range_flag
        frame.color_primaries = color.primaries
        frame.color_trc = color.transfer
    elif pix_fmt not in ('rgb24', 'bgr0'):
        frame = reformat(frame, format=pix_fmt)
    return frame


def is_rgb(pix_fmt: str) -> bool:
    """Whether a pixel format of FFmpeg holds RGB, or a palette of it."""
    return pix_fmt.startswith(('rgb', 'gbr', 'bgr', 'argb', 'abgr', '0rgb', '0bgr', 'pal8'))
