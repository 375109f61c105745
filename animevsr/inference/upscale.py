"""From an input to an upscaled output: what `animevsr upscale` and `animevsr.upscale` do."""
import sys
import time
import warnings
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from animevsr.archs.loading import load_upscaler
from animevsr.inference.engine import Upscaler, fit, output_size
from animevsr.utils.device import choose
from animevsr.video.reader import VIDEO_SUFFIXES, MediaError, open_reader
from animevsr.video.writer import CODECS, open_writer

DEFAULT_WEIGHTS = 'animevsr_x4'
BAR = '{percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt} frames [{elapsed}<{remaining}, {rate_noinv_fmt}]'


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        frames (int): frames read and written.
        fps (float): frames upscaled per second.
        seconds (float): wall time, without loading the network.
        output (Path): what was written.
        width, height (int): of the output, in pixels.
        frame_rate (Fraction): of the output video.
    """
    frames: int
    fps: float
    seconds: float
    output: Path
    width: int
    height: int
    frame_rate: Fraction


def upscale(input, output, weights=DEFAULT_WEIGHTS, outscale=None, fps=None, crf=18, codec='h264', device='auto', half=False,
            progress=False):
    """Upscale a video file, a folder of frames or one image.

    A video keeps its frames one for one, their times, its sound (copied untouched), colour matrix and range, and pixel shape.

    Args:
        input, output (str | Path): the output is a video or an image by its suffix, otherwise a new folder of PNG images.
        weights (str | Path): a weights file, or the name of one that comes with the package.
        outscale (float | None): size of the output over that of the input, above 0 and up to the network's scale (its default).
        fps (Fraction | float | str | None): frame rate for a folder of frames (default 24); a video is retimed, without its sound.
        crf (int): quality of h264, 0 (lossless) to 51.
        codec (str): 'h264', or 'ffv1', which is lossless.
        device (str): 'auto', 'cpu', or a name that torch knows.
        half (bool): compute in float16; ignored on a CPU.
        progress (bool): show frames, speed and time left on standard error.

    Returns:
        Summary

    Raises:
        MediaError: the input or output cannot be read or written. CheckpointError: the weights cannot be used. ValueError: an
        option is out of range. Each is one line; nothing is left at the output's name.
    """
    input, output = Path(input), Path(output)
    rate = None if fps is None else parse_rate(fps)
    if codec not in CODECS:
        raise ValueError(f"codec '{codec}' is not known; known: {', '.join(CODECS)}")
    if not 0 <= crf <= 51:
        raise ValueError(f'crf must be between 0 and 51, got {crf}')
    if output.exists() and input.exists() and output.samefile(input):
        raise MediaError(f'{output}: is the input; name another output')
    with open_reader(input, rate) as reader:
        chosen = choose(device)
        net = load_upscaler(weights, chosen, clips=True)
        outscale = net.scale if outscale is None else outscale
        if not 0 < outscale <= net.scale:
            raise ValueError(f'outscale must be above 0 and at most {net.scale}, the scale of these weights; got {outscale:g}')
        even = CODECS[codec][1] == 'yuv420p' and output.suffix.lower() in VIDEO_SUFFIXES
        size = output_size(reader.height, reader.width, outscale, even)
        if half and chosen.type == 'cpu':
            warnings.warn('half is left out: on a CPU it is slower than float32', stacklevel=2)
        if rate is not None and getattr(reader, 'has_sound', False):
            warnings.warn(f'the sound of {input} is left out: fps changes the speed of the picture', stacklevel=2)
        upscaler = Upscaler(net, chosen, half and chosen.type != 'cpu')
        with open_writer(output, reader, size, codec, crf, rate) as writer:
            start, times = time.monotonic(), deque()
            bar = tqdm(total=reader.expected_frames, unit='frame', file=sys.stderr, disable=not progress,
                       mininterval=0.5 if sys.stderr.isatty() else 10, bar_format=BAR)
            with bar:
                for image in upscaler(_noting_times(reader.frames(), times)):
                    writer.write(fit(image, size), times.popleft())
                    bar.update()
            frames, seconds = writer.count, time.monotonic() - start
    return Summary(frames, frames / max(seconds, 1e-9), seconds, output, size[1], size[0], rate or reader.fps)


def _noting_times(frames, times):
    """The images of (image, time) pairs; the times are put aside in order."""
    for image, shown in frames:
        times.append(shown)
        yield image


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
