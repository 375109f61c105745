"""Upscaling in a pipe: frames come as Y4M on standard input, or go as Y4M to standard output, in one pass."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import closing, nullcontext
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animevsr.engine.grain import Grain
from animevsr.engine.sizes import fit
from animevsr.errors import MediaError
from animevsr.upscaling.options import EncodeOptions, check_output_for, encoding_for, size_for
from animevsr.upscaling.run import Summary
from animevsr.utils.images import as_bytes
from animevsr.utils.progress import progress_bar
from animevsr.utils.threads import BackgroundWriter, prefetch
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.encoders import find_format
from animevsr.video.segments import SegmentWriter
from animevsr.video.shots import FLASH, CutDetector
from animevsr.video.y4m import Y4MWriter

if TYPE_CHECKING:
    from animevsr.upscaling.job import Job
    from animevsr.upscaling.options import UpscaleOptions
    from animevsr.video.frame_reader import FrameReader

PIPE = '-'
AHEAD = 4  # frames that are read before they are needed, and results that wait to be written


def upscale_pipe(job: Job, progress: bool) -> Summary:
    """`upscale` where the input or the output is '-'. Nothing can be resumed, and other tracks are not seen.

    Raises:
        ValueError: an option needs more than one pass. MediaError: as `upscale`.
    """
    options, start = job.options, time.monotonic()
    check_options(options, job.output == PIPE)
    with job.open_reader() as reader:
        info = reader.info
        if job.output != PIPE:
            if Path(job.output).suffix.lower() not in VIDEO_SUFFIXES:
                raise MediaError(f'{job.output}: frames of a pipe can be written to a video, or to -')
            check_output_for(Path(job.output), info, options)
        tile = job.choose_tile(info.size)
        upscaler = job.open_upscaler(job.load(), tile)
        # of Y4M the sides need not be even, but what reads it wants them so
        size = size_for(info, Path('x.mkv'), options, upscaler.scale, options.encode.codec)
        rate = options.fps or info.fps
        grain = Grain(options.grain) if options.grain else None
        shots = count = 0
        bar = progress_bar(info.expected_frames, 'frames', progress)
        with (
            bar,
            # ends the reading thread before the file is closed, also where what reads the pipe went away
            closing(prefetch(images(reader, late := Lateness(rate)), AHEAD)) as frames,
            open_writer(job, reader, size, rate) as writer,
            BackgroundWriter(writer.write, AHEAD) as write,
        ):
            for _, shot in groupby(settled(frames, options.cuts), lambda f: f[0]):
                shots += 1
                for image in upscaler(frame for _, frame in shot):
                    image = fit(image, size)
                    write(grain.add(image, count) if grain else image)
                    count += 1
                    bar.update()
        if not count:
            raise MediaError(f'{job.input}: no frame can be decoded')
        late.warn(job.input)
        seconds = time.monotonic() - start
        return Summary(
            count, count / seconds, seconds, Path(job.output), size[1], size[0], Fraction(rate), shots
        )


def check_options(options: UpscaleOptions, raw: bool) -> None:
    """ValueError for what cannot be done in one pass, by one process, or where the frames are not encoded
    (`raw`).
    """
    selection, encode, usual = options.selection, options.encode, EncodeOptions()
    impossible = dict(
        jobs=options.jobs > 1,
        cluster=options.cluster is not None,
        part=options.part is not None,
        start=selection.start is not None,
        end=selection.end is not None,
    )
    if raw:
        own = ('codec', 'crf', 'preset', 'tune', 'encoder_options', 'hardware', 'audio')
        impossible.update({name: getattr(encode, name) != getattr(usual, name) for name in own})
    for name, asked in impossible.items():
        if asked:
            raise ValueError(f'{name}: cannot be had in a pipe (-)')


class Lateness:
    """How far the times of frames are from one rate, which is all that a pipe has."""

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate
        self.count = 0
        self.first = None
        self.most = Fraction(0)

    def watch(self, time: Fraction | None) -> None:
        if time is not None:
            self.first = time - self.count / self.rate if self.first is None else self.first
            self.most = max(self.most, abs(time - self.first - self.count / self.rate))
        self.count += 1

    def warn(self, name: str | Path) -> None:
        if self.most > 1.5 / self.rate:
            warnings.warn(
                f'{name}: its frames come at uneven times, those of the pipe at {float(self.rate):.3f} a'
                f' second: up to {float(self.most):.2f} s apart from its sound',
                stacklevel=2,
            )


def images(reader: FrameReader, late: Lateness) -> Iterator[Any]:
    for image, shown in reader.frames():
        late.watch(shown)
        yield image


def settled(frames: Iterator[Any], cuts: bool) -> Iterator[tuple[int, Any]]:
    """(number of its shot, frame) of each, as soon as it is certain: a few frames late."""
    detector, waiting, starts, shot, given = CutDetector(), deque(), [], 0, 0

    def give(certain):
        nonlocal shot, given
        while waiting and given < certain:
            if starts and starts[0] == given:
                starts.pop(0)
                shot += 1
            yield shot, waiting.popleft()
            given += 1

    pushed = 0
    for frame in frames:
        waiting.append(frame)
        pushed += 1
        if cuts:
            starts += detector.push(as_bytes(frame))
        yield from give(pushed - FLASH - 1 if cuts else pushed)
    starts += detector.finish()
    yield from give(pushed)


def open_writer(job: Job, reader: FrameReader, size: tuple[int, int], rate: Fraction) -> Any:
    """A context of what has `write`: Y4M, or a video file."""
    encode, info = job.options.encode, reader.info
    aspect = Fraction(1) if job.options.square_pixels else info.sample_aspect_ratio or Fraction(1)
    if job.output == PIPE:
        depth, chroma = find_format(info)
        form = encode.chroma or chroma, encode.depth or (10 if depth > 8 else 8)
        return nullcontext(Y4MWriter(size, rate, aspect, form, info.color))
    encoding = encoding_for(info, size, job.options)
    return SegmentWriter(Path(job.output), encoding, Fraction(rate))
