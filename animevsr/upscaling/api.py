"""From an input to an upscaled output: what `animevsr upscale` and `animevsr.upscale` do."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from animevsr.engine.grain import Grain
from animevsr.engine.runtimes import is_vulkan
from animevsr.engine.sizes import fit
from animevsr.errors import MediaError
from animevsr.upscaling.estimate import Estimate
from animevsr.upscaling.job import Job
from animevsr.upscaling.options import DEFAULT_WEIGHTS, UpscaleOptions, check_output_for, size_for
from animevsr.upscaling.pipe import PIPE, upscale_pipe
from animevsr.upscaling.run import Summary, Upscaling
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.images import IMAGE_SUFFIXES, write_image
from animevsr.video.reader import VideoReader, open_reader
from animevsr.video.remux import check_tracks
from animevsr.video.selection import find_crop
from animevsr.video.telecine import is_telecined
from animevsr.zoo import check_name

if TYPE_CHECKING:
    import torch

    from animevsr.video.frame_reader import FrameReader


def upscale(
    input: str | Path,
    output: str | Path,
    weights: str | Path = DEFAULT_WEIGHTS,
    outscale: float | None = None,
    fps: Fraction | float | str | None = None,
    crf: int | None = None,
    codec: str = 'h264',
    device: str | torch.device = 'auto',
    half: bool = False,
    progress: bool = False,
    **options: Any,
) -> Summary:
    """Upscale a video file, a folder of frames or one image.

    A video keeps its frames one for one, their times, and everything else in its container. It is divided
    into shots; each one that is finished is kept in a hidden folder beside the output, so that the same call,
    after whatever stopped it, continues there.

    Args:
        input, output (str | Path): the output is a video or an image by its suffix, otherwise a new folder of
            PNG images; '-' is Y4M on standard input, and on standard output.
        progress (bool): show frames, speed and time left on standard error.
        weights, outscale, fps, crf, codec, device, half, options: see `UpscaleOptions`, and in it
            `EncodeOptions` and `ComputeOptions`.

    Returns:
        Summary

    Raises:
        MediaError: the input or output cannot be read or written. CheckpointError: the weights cannot be
            used. ValueError: an
        option is out of range. Each is one line; nothing is left at the output's name.
    """
    options = dict(
        weights=weights, outscale=outscale, fps=fps, crf=crf, codec=codec, device=device, half=half, **options
    )
    job, input, output = check_input(input, output, options, progress)
    if PIPE in (job.input, job.output):
        return upscale_pipe(job, progress)
    options = job.options
    idle = options.idle(output)
    if idle:
        warnings.warn(f'left out, since images are made: {", ".join(idle)}', stacklevel=2)
    with replace(job, input=str(input)).open_reader() as reader:  # an error names the input as it was given
        upscaling = Upscaling(job, input, output, progress)
        if upscaling.is_finished():
            return upscaling.summary
        if options.part and upscaling.summarise_joined():
            warnings.warn(f'{output} is there already, and kept; remove it to make it anew', stacklevel=2)
            return upscaling.summary
        check_output_for(output, reader.info, options)
        copies = options.fps is None and reader.info.is_video
        if copies and output.suffix.lower() in VIDEO_SUFFIXES:
            sound = options.encode.audio == 'copy'
            check_tracks(reader.container, input, output, reader.info.stream_index, sound)
        if reader.info.has_sound and output.suffix.lower() not in VIDEO_SUFFIXES:
            warnings.warn(f'only the pictures of {input} are kept: images have no sound', stacklevel=2)
        if output.is_file():
            warnings.warn(f'{output} is there already; it is replaced when the new one is done', stacklevel=2)
        if reader.info.transparent:
            warnings.warn(f'the transparency of {input} is left out: it is laid over black', stacklevel=2)
        c = options.compute
        if c.half and not is_vulkan(c.backend) and job.device().type == 'cpu':
            warnings.warn('half is left out: on a CPU it is slower than float32', stacklevel=2)
        if output.suffix.lower() in IMAGE_SUFFIXES:
            return upscale_image(job, reader)
        if options.fps is not None and reader.info.is_video:
            warnings.warn(
                f'only the picture of {input} is kept, no sound and no other track: fps changes its speed',
                stacklevel=2,
            )
    return upscaling.run()


def estimate(input: str | Path, output: str | Path, **options: Any) -> Estimate:
    """How many frames `upscale` with these arguments would make, how large, how long it would take, and how
    much space; nothing is written.

    Raises:
        as `upscale`; MediaError also where the disk is too small.
    """
    job, input, output = check_input(input, output, options)
    if PIPE in (job.input, job.output):
        raise ValueError('of a pipe (-) nothing can be estimated')
    return Upscaling(job, input, output, False).estimate()


def check_input(
    input: str | Path, output: str | Path, options: dict, progress: bool = False
) -> tuple[Job, Path, Path]:
    """(the job, input, output) of a call; with the black bars found where they are to be left out."""
    options = UpscaleOptions.of(**options)
    input, output = Path(input), Path(output) if Path(output).name else Path(output).absolute()
    check_name(options.weights)
    pipe = PIPE in (str(input), str(output))
    if options.selection.crop == 'auto' and str(input) == PIPE:
        raise ValueError('crop: auto cannot be had of a pipe (-); say TOP:BOTTOM:LEFT:RIGHT')
    if options.selection.crop == 'auto':
        options = options.with_selection(crop=str(find_crop(input)))
        if progress:
            tqdm.write(f'animevsr: crop {options.selection.crop} (top:bottom:left:right)', file=sys.stderr)
    depth = telecined_depth(input) if options.selection.deinterlace == 'auto' and str(input) != PIPE else None
    if depth:
        options = options.with_selection(deinterlace='ivtc')
        bits = f', {depth} bits become 8' if depth > 8 else ''
        warnings.warn(
            f'{input} is telecined film; it is brought back to its frames{bits} (deinterlace: off leaves it)',
            stacklevel=3,
        )
    if not pipe and output.exists() and input.exists() and output.samefile(input):
        raise MediaError(f'{output}: is the input; name another output')
    names = (PIPE if str(path) == PIPE else str(path.absolute()) for path in (input, output))
    return Job(*names, options), input, output


def telecined_depth(path: Path) -> int | None:
    """The bits of a sample of a video of telecined film; None for any other input, and for what cannot be
    read.
    """
    try:
        with open_reader(path) as reader:
            telecined = isinstance(reader, VideoReader) and is_telecined(reader)
            return reader.info.depth if telecined else None
    except MediaError:  # which is reported where it is read
        return None


def upscale_image(job: Job, reader: FrameReader) -> Summary:
    """The same for one image."""
    output, options = Path(job.output), job.options
    tile = job.choose_tile(reader.info.size)
    upscaler = job.open_upscaler(job.load(), tile)
    size = size_for(reader.info, output, options, upscaler.scale, 'h264')
    start = time.monotonic()
    (image,) = upscaler(image for image, _ in reader.frames())
    image = fit(image, size)
    write_image(output, Grain(options.grain).add(image, 0) if options.grain else image)
    seconds = time.monotonic() - start
    return Summary(1, 1 / max(seconds, 1e-9), seconds, output, size[1], size[0], reader.info.fps)
