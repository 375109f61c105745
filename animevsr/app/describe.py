"""What a video is, in words, and what would be good for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from animevsr.upscaling import duration
from animevsr.video.reader import VideoReader
from animevsr.video.selection import Crop, find_crop
from animevsr.video.telecine import is_telecined


@dataclass(frozen=True)
class Description:
    """What a video is.

    Attributes:
        lines (list[str]): facts, each a sentence or a part of one.
        advice (list[str]): what is suggested, with the reason.
        settings (dict): the same as options of `upscale`.
        seconds (float): how long it is.
    """

    lines: list[str]
    advice: list[str]
    settings: dict = field(default_factory=dict)
    seconds: float = 0.0


def describe(path: str | Path) -> Description:
    """Look into a video: streams, interlacing, telecine, black bars, the shape of its pixels.

    Raises:
        MediaError: it cannot be read.
    """
    with VideoReader(path) as reader:
        info, interlaced = reader.info, reader.interlaced
        total = info.expected_frames or 0
        kinds = [stream.type for stream in reader.container.streams]
        codec = reader.stream.codec_context.name
        telecined = is_telecined(reader)
        interlaced = interlaced or reader.interlaced
    seconds = float(total / info.fps)
    rate = f'{float(info.fps):.3f} frames a second'
    lines = [
        f'{info.width}x{info.height}, {rate}, {total} frames, {duration(seconds)}',
        f'{codec}, {info.depth} bits ({info.pixel_format})',
        ', '.join(f'{kinds.count(kind)} {kind}' for kind in dict.fromkeys(kinds)),
    ]
    advice, settings = [], {}
    if telecined:
        lines.append('telecined film')
        advice.append('Telecine is undone by itself: a fifth fewer frames, and each one a frame of the film.')
    elif interlaced:
        lines.append('interlaced')
        advice.append('It is deinterlaced by itself.')
    crop = find_crop(path)
    if crop != Crop():
        lines.append(f'black bars {crop} (top:bottom:left:right)')
        advice.append(f'Crop {crop}: the bars would be upscaled for nothing.')
        settings['crop'] = str(crop)
    shape = info.sample_aspect_ratio or Fraction(1)
    if shape != 1:
        lines.append(f'pixels of the shape {shape}')
        advice.append('Square pixels, if programs show it too narrow or too wide.')
    if info.height >= 720:
        advice.append('It is large already: a height of 2160 is enough, and saves space.')
        settings['height'] = min(2160, 4 * (info.height - crop.top - crop.bottom))
    if total / max(1, info.fps) > 300:
        advice.append('It is long: preview first, and take --reuse where drawings are held.')
    return Description(lines, advice or ['Nothing special: the usual settings will do.'], settings, seconds)
