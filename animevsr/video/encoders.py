"""Which encoder makes a codec, with what pixel format and options."""

from __future__ import annotations

import re
import struct
import warnings
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from animevsr.errors import MediaError
from animevsr.utils.files import check_folder
from animevsr.utils.native_output import without_native_output
from animevsr.video.codec import REPEATABLE
from animevsr.video.color import FULL, LIMITED, YUV_FORMATS, Color, is_rgb
from animevsr.video.container import MP4, VIDEO_SUFFIXES
from animevsr.video.images import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from animevsr.video.frame_reader import MediaInfo


THREADS = 4  # of an encoder, whatever the machine: another number would give other bits
LARGE = 8192  # a side of more pixels is tried with the encoder before the work
# formats of the same samples, which encoders of hardware take
SEMIPLANAR = {'yuv420p': 'nv12', 'yuv420p10le': 'p010le'}
HDR_ENCODERS = 'libx264', 'libx265', 'libsvtav1'  # that are told the metadata of HDR
QUANTIZER = 118  # libav's units of `global_quality` to one of `-q:v`


@dataclass(frozen=True)
class Codec:
    """What `--codec` offers.

    Attributes:
        software (str), hardware (tuple): FFmpeg's encoders.
        crf (int | None), highest (int): default and worst quality value; None: it has none.
        suffixes (tuple): containers that carry it.
        formats (dict): (subsampling, bits) -> pixel format that the encoder takes.
        least (int): pixels each way that a picture must have: below, x265 writes beyond its buffers and
            SVT-AV1 refuses.
        full_range (bool): it can say that its samples have the full range.
    """

    software: str
    crf: int | None
    highest: int
    suffixes: tuple
    formats: dict
    hardware: tuple = ()
    least: int = 1
    full_range: bool = True


def yuv(*kinds: Any) -> dict[tuple[str, int], str]:
    return {kind: YUV_FORMATS[kind] for kind in kinds}


CODECS = {
    'h264': Codec(
        'libx264', 18, 51, (*MP4, '.mkv'), YUV_FORMATS, ('h264_nvenc', 'h264_qsv', 'h264_videotoolbox')
    ),
    'h265': Codec(
        'libx265',
        20,
        51,
        ('.mp4', '.mov', '.mkv'),
        YUV_FORMATS,
        ('hevc_nvenc', 'hevc_qsv', 'hevc_videotoolbox'),
        64,
    ),
    'av1': Codec(
        'libsvtav1', 24, 63, ('.mp4', '.mkv'), yuv(('420', 8), ('420', 10)), ('av1_nvenc', 'av1_qsv'), 64
    ),
    'ffv1': Codec('ffv1', None, 0, ('.mkv',), {('rgb', 8): 'bgr0', ('rgb', 10): 'gbrp10le'}),
    'prores': Codec('prores_ks', None, 0, ('.mov', '.mkv'), yuv(('422', 10), ('444', 10)), full_range=False),
}


@dataclass(frozen=True)
class Encoding:
    """How the frames of an output are encoded: one for all its shots, stored with them.

    Attributes:
        codec (str), encoder (str), pix_fmt (str), options (dict).
        width, height (int), aspect (str): of the output; the shape of a pixel.
        matrix, range, primaries, transfer (int): colour, code points of H.273.
    """

    codec: str
    encoder: str
    pix_fmt: str
    options: dict
    width: int
    height: int
    aspect: str = '1'
    matrix: int = 1
    range: int = 1
    primaries: int = 2
    transfer: int = 2

    @property
    def color(self) -> Color:
        """What its samples mean."""
        return Color(self.matrix, self.range == FULL, self.primaries, self.transfer)

    def stream(self, container: Any, rate: Fraction, time_base: Fraction) -> Any:
        """A video stream of `container` that encodes so."""
        options = {key: str(value) for key, value in self.options.items()}
        if self.encoder == 'libx264':  # on each machine what makes it repeat its bits there
            for key, value in REPEATABLE.items():
                options[key] = ':'.join(filter(None, (options.get(key), value)))
        stream = container.add_stream(self.encoder, rate=rate, options=options)
        context = stream.codec_context
        context.width = self.width
        context.height = self.height
        context.pix_fmt = self.pix_fmt
        context.time_base = time_base
        context.sample_aspect_ratio = Fraction(self.aspect)
        if not is_rgb(self.pix_fmt):
            context.colorspace = self.matrix
            context.color_range = self.range
            context.color_primaries = self.primaries
            context.color_trc = self.transfer
        return stream


def choose_encoding(
    codec: str,
    info: MediaInfo,
    size: tuple[int, int],
    crf: int | None = None,
    depth: int | None = None,
    chroma: str | None = None,
    hardware: bool = False,
    extra: dict[str, str] | None = None,
    square: bool = False,
) -> Encoding:
    """The `Encoding` for an output.

    Args:
        codec (str): a key of `CODECS`.
        info (MediaInfo): of the input, for depth, subsampling, colour, HDR metadata and pixel shape.
        size (pair of int): (height, width) of the output.
        crf (int | None): quality. depth (int | None): 8 or 10. chroma (str | None): '420', '422', '444'.
        hardware (bool): take an encoder of the graphics hardware where one works.
        extra (dict | None): more options of the encoder, as FFmpeg names them; they go before ours.
        square (bool): the output's pixels are square, whatever the input's are.

    What cannot be as wanted, and is done without, is a warning: an encoder of the hardware, metadata of HDR.

    Raises:
        ValueError: an option is out of range. MediaError: the codec has no such format, or the encoder does
            not take `extra`.
    """
    if codec not in CODECS:
        raise ValueError(f"codec '{codec}' is not known; known: {', '.join(CODECS)}")
    kind = CODECS[codec]
    if crf is not None and not 0 <= crf <= (kind.highest or 51):
        raise ValueError(f'crf must be between 0 and {kind.highest or 51}, got {crf}')
    if crf is not None and kind.crf is None:
        warnings.warn(f'crf is left out: {codec} has no levels of quality', stacklevel=2)
    if min(size) < kind.least:
        raise MediaError(
            f'{codec} takes pictures of {kind.least}x{kind.least} or more, the output is {size[1]}x{size[0]};'
            ' use h264 or ffv1'
        )
    source_depth, source_chroma = find_format(info)
    wanted = (chroma or source_chroma, depth or (10 if source_depth > 8 else 8))
    pix_fmt = kind.formats.get(wanted)
    if pix_fmt is None:
        check_format(codec, depth, chroma)
        pix_fmt = min(
            kind.formats.items(), key=lambda item: (item[0][1] < wanted[1], item[0][0] < wanted[0], item[0])
        )[1]
    hdr, color = read_hdr(info), info.color
    encoding = Encoding(
        codec,
        kind.software,
        pix_fmt,
        {},
        size[1],
        size[0],
        '1' if square else str(info.sample_aspect_ratio or 1),
        color.matrix,
        color.range_flag if kind.full_range else LIMITED,
        color.primaries,
        color.transfer,
    )
    if hardware:
        encoding = find_hardware(encoding, kind.hardware) or encoding
        if encoding.encoder == kind.software:
            warnings.warn(
                f'no hardware encoder of {codec} works here: {kind.software} is taken', stacklevel=2
            )
    encoder, sides = encoding.encoder, hdr if encoding.encoder in HDR_ENCODERS else {}
    if hdr and not sides:
        warnings.warn(f'{encoder} is not told the HDR metadata of the input: left out', stacklevel=2)
    options = choose_options(encoder, kind.crf if crf is None else crf, sides, pix_fmt)
    for key, value in (extra or {}).items():
        # what stands inside such an option (x264-params) is added to
        options[key] = f'{options[key]}:{value}' if key.endswith('-params') and key in options else value
    encoding = replace(encoding, options=options)
    if max(size) > LARGE:
        with without_native_output(2):
            taken = works(encoding, full_size=True)
        if not taken:
            raise MediaError(
                f'{encoder} does not take pictures of {size[1]}x{size[0]}; use ffv1, or a smaller size'
            )
    if extra:
        with without_native_output(2):  # x264 has words of its own
            taken = works(encoding)
        if not taken:
            said = ' '.join(f'{key}={value}' for key, value in extra.items())
            raise MediaError(f'{encoder} does not take these options: {said}')
    return encoding


def choose_options(encoder: str, crf: int | None, sides: dict, pix_fmt: str) -> dict:
    """Options of an encoder; with them it gives the same bits every time, but for hardware."""
    if encoder == 'libx264':
        parts = [f'{key}={value}' for key, value in sides.items()]
        return dict(crf=crf, threads=THREADS, **({'x264-params': ':'.join(parts)} if parts else {}))
    if encoder == 'libx265':
        names = {'mastering-display': 'master-display', 'cll': 'max-cll'}
        parts = [
            'log-level=error',
            'pools=1',
            'frame-threads=2',
            *(f'{names[key]}={value}' for key, value in sides.items()),
        ]
        return dict(crf=crf, **{'x265-params': ':'.join(parts + (['hdr10=1'] if sides else []))})
    if encoder == 'libsvtav1':
        parts = ['lp=2']
        if 'mastering-display' in sides:  # in its units, which are no integers
            parts.append(f'mastering-display={in_units(sides["mastering-display"])}')
        if 'cll' in sides:
            parts.append(f'content-light={sides["cll"]}')
        return dict(crf=crf, preset=6, **{'svtav1-params': ':'.join(parts)})
    if encoder == 'prores_ks':
        return dict(profile=4 if '444' in pix_fmt else 3, vendor='apl0')
    if encoder.endswith('nvenc'):
        return dict(cq=crf, rc='vbr', preset='p5')
    if encoder.endswith('qsv'):
        return dict(global_quality=crf)
    if encoder.endswith('videotoolbox'):
        return dict(flags='+qscale', global_quality=QUANTIZER * max(1, 100 - 2 * crf))
    return dict(level=3) if encoder == 'ffv1' else {}


def in_units(mastering: str) -> str:
    """A mastering display as x264 writes it, in coordinates of CIE 1931 and candelas a square metre."""

    def scaled(found):
        unit = 10000 if found[1] == 'L' else 50000
        return f'{found[1]}({int(found[2]) / unit:.5f},{int(found[3]) / unit:.5f})'

    return re.sub(r'([A-Z]+)\((\d+),(\d+)\)', scaled, mastering)


def find_hardware(encoding: Encoding, encoders: tuple[str, ...]) -> Encoding | None:
    """The encoding by the first of the encoders that works here, in a format that it takes."""
    for name in encoders:
        try:
            formats = {form.name for form in av.Codec(name, 'w').video_formats or ()}
        except ValueError:  # this build of FFmpeg does not have it
            continue
        for pix_fmt in (encoding.pix_fmt, SEMIPLANAR.get(encoding.pix_fmt)):
            candidate = replace(encoding, encoder=name, pix_fmt=pix_fmt)
            if pix_fmt in formats and works(candidate, full_size=True):
                return candidate
    return None


def works(encoding: Encoding, full_size: bool = False) -> bool:
    """Whether an encoder takes a frame here, with its options: of its full size, as hardware often has
    limits, or of a small one.
    """
    width, height = (encoding.width, encoding.height) if full_size else (256, 256)
    try:
        context = av.CodecContext.create(encoding.encoder, 'w')
        context.width = width
        context.height = height
        context.pix_fmt = encoding.pix_fmt
        context.time_base = Fraction(1, 25)
        context.options = {key: str(value) for key, value in encoding.options.items()}
        frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format='rgb24').reformat(
            format=encoding.pix_fmt
        )
        made = context.encode(frame) + context.encode(None)
        return bool(made) and not context.options  # what is left in them, the encoder does not know
    except (av.FFmpegError, ValueError):
        return False


def find_format(info: Any) -> tuple[int, str]:
    """(bits, '420' | '422' | '444') of an input's samples; RGB and gray count as what holds all of them."""
    first = info.pixel_format and av.VideoFormat(info.pixel_format, 64, 64)
    if first is None or len(first.components) < 3 or first.is_rgb:
        return info.depth, '420' if first is None or len(first.components) < 3 else '444'
    wide, high = (
        first.components[0].width // max(1, first.components[1].width),
        first.components[0].height // max(1, first.components[1].height),
    )
    return info.depth, '444' if (wide, high) == (1, 1) else '422' if high == 1 else '420'


def read_hdr(info: Any) -> dict:
    """HDR metadata of an input as x264 writes them: {'mastering-display': ..., 'cll': ...}, what there is of
    it.
    """
    found = {}
    for kind, data in info.side_data.items():
        # of which x264 and others take all or nothing
        if (
            kind == 'MASTERING_DISPLAY_METADATA'
            and len(data) >= 88
            and all(struct.unpack('<ii', data[80:88]))
        ):
            numbers = [Fraction(a, b or 1) for a, b in struct.iter_unpack('<ii', data[:80])]
            rx, ry, gx, gy, bx, by, wx, wy = (round(n * 50000) for n in numbers[:8])
            low, high = (round(n * 10000) for n in numbers[8:10])
            found['mastering-display'] = f'G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})'
        if kind == 'CONTENT_LIGHT_LEVEL' and len(data) >= 8:
            found['cll'] = '{},{}'.format(*struct.unpack('<II', data[:8]))
    return found


def check_format(codec: str, depth: int | None, chroma: str | None) -> None:
    """Whether a codec has formats of so many bits, and of that resolution of colour; None: any.

    Raises:
        MediaError: it has none.
    """
    formats = CODECS[codec].formats
    if depth and not any(bits == depth for _, bits in formats):
        raise MediaError(f'{codec} has no format of {depth} bits here')
    if chroma and not any(form == chroma for form, _ in formats):
        forms = ', '.join(sorted({form for form, _ in formats}))
        raise MediaError(f'{codec} has no format of chroma {chroma} here, but {forms}')


def check_output(
    path: Path, info: Any, codec: str, depth: int | None = None, chroma: str | None = None
) -> None:
    """Whether `path` can be written: a video by its suffix, one image by its suffix, otherwise a folder of
    images.

    Raises:
        MediaError: it cannot, its container cannot carry the codec, or the codec has no such format.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_folder(path)
    if suffix in VIDEO_SUFFIXES:
        if path.is_dir():
            raise MediaError(f'{path}: is a folder')
        if suffix not in CODECS[codec].suffixes:
            raise MediaError(
                f'{path}: {codec} is not written into {suffix}; use {", ".join(CODECS[codec].suffixes)}'
            )
        check_format(codec, depth, chroma)
        return
    if suffix in IMAGE_SUFFIXES:
        if info.frame_count != 1:
            raise MediaError(
                f'{path}: one image cannot hold {info.frame_count or "all"} frames; name a folder or a video'
            )
        return
    if path.exists() and not path.is_dir():
        raise MediaError(f'{path}: is no folder; name a new one, a video or an image')
    if suffix and not path.is_dir():
        videos = ', '.join(CODECS[codec].suffixes)
        raise MediaError(
            f"{path}: unknown kind of output '{suffix}'; name a video ({videos}), an image or a folder"
        )
    if path.is_dir() and any(path.iterdir()):
        raise MediaError(f'{path}: is a folder that is not empty; name a new one')
