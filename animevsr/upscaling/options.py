"""What `upscale` may be asked for: ranges of its options, and what they mean for one input."""
from fractions import Fraction

from animevsr.engine.upscaler import output_size
from animevsr.video.encoders import CODECS
from animevsr.video.reader import VIDEO_SUFFIXES


def size_for(reader, output, outscale, scale, codec):
    """(height, width) of the output.

    Raises:
        ValueError: the factor is out of range.
    """
    outscale = scale if outscale is None else outscale
    if not 0 < outscale <= scale:
        raise ValueError(f'outscale must be above 0 and at most {scale}, the scale of these weights; got {outscale:g}')
    even = output.suffix.lower() in VIDEO_SUFFIXES and codec != 'ffv1'
    return output_size(reader.height, reader.width, outscale, even)


def check_options(codec, crf, depth, chroma, deinterlace, tile, jobs, threads):
    """ValueError that names the first option that is out of range."""
    if codec not in CODECS:
        raise ValueError(f"codec '{codec}' is not known; known: {', '.join(CODECS)}")
    highest = CODECS[codec].highest or 51
    if crf is not None and not 0 <= crf <= highest:
        raise ValueError(f'crf must be between 0 and {highest}, got {crf}')
    for name, value, known in (('depth', depth, (None, 8, 10)), ('chroma', chroma, (None, '420', '422', '444')),
                               ('deinterlace', deinterlace, ('auto', 'off'))):
        if value not in known:
            raise ValueError(f'{name} must be one of {", ".join(str(k) for k in known if k)}, got {value}')
    if tile not in ('auto', None) and not (isinstance(tile, int) and tile >= 64):
        raise ValueError(f"tile must be 'auto' or at least 64, got {tile}")
    for name, value in (('jobs', jobs), ('threads', threads)):
        if value is not None and value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')


def parse_rate(value):
    """Frame rate as an exact Fraction, from '24000/1001', 23.976 (which is 24000/1001), 25 or a Fraction."""
    try:
        rate = Fraction(value) if not isinstance(value, float) else Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"fps '{value}' is not a frame rate; write e.g. 25, 23.976 or 24000/1001") from None
    for ntsc in (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)):
        if abs(rate - ntsc) < Fraction(1, 200):
            return ntsc
    if not 0 < rate <= 1000:
        raise ValueError(f'fps must be above 0 and at most 1000, got {value}')
    return rate
