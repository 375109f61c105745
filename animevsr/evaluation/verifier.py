"""An audit of a result against its source: is everything there that should be?"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from animevsr.errors import MediaError
from animevsr.evaluation.container_checks import (
    CLOCK,
    Check,
    compare_headers,
    compare_reports,
    compare_tracks,
    count_tracks,
)
from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.rates import parse_rate
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.container import MP4, late_start, open_container
from animevsr.video.reader import VideoReader
from animevsr.video.selection import Crop, Part, find_crop
from animevsr.video.telecine import is_telecined

LEAST_PSNR = 20.0  # dB, of the output made small against the input: other pictures are far below


def verify(
    input: str | Path,
    output: str | Path,
    every: int = 10,
    start: str | None = None,
    end: str | None = None,
    crop: str | None = None,
    audio: str = 'copy',
    fps: Fraction | float | str | None = None,
) -> list[Check]:
    """Compare an upscaled video with its source.

    Args:
        input, output (str | Path): video files. every (int): compare the pictures of every n-th frame.
        start, end, crop (str | None), audio (str): as `upscale` was given them. Of the other tracks of a part
            it is only looked whether they are there.
        fps (Fraction | float | str | None): as `upscale` was given it: the times are those of this rate, and
            only the pictures are compared, since no other track fits them.

    Returns:
        list[Check]: frames, times, size, colours, picture, tracks, chapters, attachments, metadata.

    Raises:
        MediaError: one of the two cannot be read.
    """
    input, output = Path(input), Path(output)
    for path in (input, output):
        if not path.is_file():
            what = 'is a folder; two video files are compared' if path.is_dir() else 'no such file'
            raise MediaError(f'{path}: {what}')
    if every < 1:
        raise ValueError(f'every must be at least 1, got {every}')
    checks, part = [], Part.parse(start, end)
    fps = None if fps is None else parse_rate(fps)
    sides = find_crop(input) if crop == 'auto' else Crop.parse(crop or '0:0:0:0')
    with VideoReader(input) as source, VideoReader(output) as result:
        # film frames were made of telecined pictures: four for five, unless another rate was asked for
        ratio = result.info.fps / source.info.fps
        film = is_telecined(source) if fps else abs(ratio - Fraction(4, 5)) < Fraction(1, 1000)
    how = 'ivtc' if film else 'marked'
    with (
        VideoReader(input, conceal=True, deinterlace=how) as source,
        VideoReader(output, conceal=True) as result,  # every frame has a time then
    ):
        source.crop_to(sides)
        checks += compare_pictures(source, result, every, part, fps)
        if result.damage:
            checks.append(Check('damage', False, '{1} at {0:.2f} s of the result'.format(*result.damage[0])))
        checks += compare_headers(source, result)
        main = source.stream.index, result.stream.index
    if fps is not None:
        return checks
    with open_container(input) as before, open_container(output) as after:
        if part:
            checks.append(count_tracks(before, after, audio == 'copy'))
        else:
            checks += compare_tracks(before, after, main, output.suffix.lower() in MP4, audio == 'copy')
    return checks


def selected(source: VideoReader, part: Part | None) -> Iterator[tuple[Any, Fraction | None]]:
    """The frames of a part, with their times."""
    for number, (frame, time) in enumerate(source.timed()):
        since = source.since_first(number, time)
        if part and part.end and part.end.reached(number, since):
            return
        if not part or not part.start or part.start.reached(number, since):
            yield frame, time


def compare_pictures(
    source: VideoReader,
    result: VideoReader,
    every: int,
    part: Part | None = None,
    fps: Fraction | None = None,
) -> list[Check]:
    """Frames, their times (of a rate, where it is given), and what they show."""
    ours, theirs, values = [], [], []
    tick = max(source.info.time_base, result.info.time_base, CLOCK)  # how exact times are
    pairs, extra = result.timed(), 0
    for i, (frame, time) in enumerate(selected(source, part)):
        ours.append(i / fps if fps else time)
        other = next(pairs, None)
        if other is None:
            extra -= 1
            continue
        theirs.append(other[1])
        if i % every == 0:
            values.append(measure_psnr(source.image(frame), result.image(other[0])))
    extra += sum(1 for _ in pairs)
    checks = [Check('frames', extra == 0, f'{len(ours)} in the source, {len(ours) + extra} in the result')]
    # what starts before zero comes out later as a whole, a recording earlier
    late = late_start(source.container) if fps is None else 0
    zero = late or (min(0, ours[0]) if ours else 0)
    zero = ours[0] if part and ours else zero  # and a part begins at zero
    worst = max((abs(a - zero - b) for a, b in zip(ours, theirs)), default=0)
    spans = [float(times[-1] - times[0]) if times else 0.0 for times in (ours, theirs)]
    checks.append(
        Check(
            'duration',
            abs(spans[0] - spans[1]) <= 2 * tick,
            f'{spans[0]:.3f} s -> {spans[1]:.3f} s to the last frame',
        )
    )
    checks.append(
        Check(
            'times',
            worst <= tick,
            f'off by {float(worst) * 1000:.3f} ms at most (clock: {float(tick) * 1000:.3f} ms)',
        )
    )
    lowest = min(values, default=0)
    what = (
        f'{np.mean(values):.2f} dB on average, {lowest:.2f} dB at least, against the source'
        if values
        else 'no frames'
    )
    checks += compare_reports(result, theirs)
    checks.append(Check('picture', lowest >= LEAST_PSNR, what))
    return checks


def measure_psnr(small: np.ndarray, large: np.ndarray) -> float:
    """PSNR in dB of an image against a larger one made small by MATLAB's resize; both (h, w, 3) uint8."""
    shrunk = to_images(matlab_resize(to_tensor(large[None]), *small.shape[:2]).clamp(0, 1))[0]
    error = np.square(small.astype(np.float32) - shrunk).mean()
    return min(99.0, 10 * np.log10(255**2 / max(error, 1e-9)))
