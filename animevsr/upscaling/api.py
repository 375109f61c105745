"""From an input to an upscaled output: what `animevsr upscale` and `animevsr.upscale` do."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from animevsr.engine.grain import Grain
from animevsr.engine.upscaler import choose_tile, fit
from animevsr.errors import MediaError
from animevsr.upscaling.executors import executor_for
from animevsr.upscaling.joining import join_segments
from animevsr.upscaling.options import DEFAULT_WEIGHTS, UpscaleOptions, size_for
from animevsr.upscaling.plan import Plan
from animevsr.upscaling.workdir import WorkFolder, fingerprint
from animevsr.upscaling.worker import Job, work
from animevsr.utils.device import select_device
from animevsr.utils.progress import progress_bar
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.encoders import check_output, choose_encoding
from animevsr.video.images import IMAGE_SUFFIXES, image_name, write_image
from animevsr.video.reader import open_reader
from animevsr.video.remux import check_tracks
from animevsr.video.scan import scan
from animevsr.video.selection import find_crop

if TYPE_CHECKING:
    import torch

    from animevsr.video.frame_reader import FrameReader


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        frames (int): frames of the output.
        fps (float): frames upscaled per second, of those that this call upscaled.
        seconds (float): wall time, without loading the network.
        output (Path): what was written.
        width, height (int): of the output, in pixels.
        frame_rate (Fraction): of the output video.
        shots (int), resumed (int): shots, and those of them that an earlier call had finished.
        held (float | None): the share of the picture that was not computed again (`reuse`); None where other
            processes computed.
        damage (list): [(seconds, what)] of the input.
        missing (int): shots that other parts (`part`) have still to do; the output is there when it is 0.
    """

    frames: int
    fps: float
    seconds: float
    output: Path
    width: int
    height: int
    frame_rate: Fraction
    shots: int = 1
    resumed: int = 0
    held: float | None = None
    damage: list = field(default_factory=list)
    missing: int = 0


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
            PNG images.
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
    options = UpscaleOptions.of(
        weights=weights, outscale=outscale, fps=fps, crf=crf, codec=codec, device=device, half=half, **options
    )
    input, output = Path(input), Path(output) if Path(output).name else Path(output).absolute()
    if options.selection.crop == 'auto':
        options = options.with_crop(find_crop(input))
        if progress:
            tqdm.write(f'animevsr: crop {options.selection.crop} (top:bottom:left:right)', file=sys.stderr)
    if output.exists() and input.exists() and output.samefile(input):
        raise MediaError(f'{output}: is the input; name another output')
    job = Job(str(input.absolute()), str(output.absolute()), options)
    with replace(job, input=str(input)).open_reader() as reader:  # an error names the input as it was given
        upscaling = Upscaling(job, input, output, progress)
        if upscaling.is_finished() or (options.part and upscaling.summarise_joined()):
            return upscaling.summary
        check_output(output, reader.info, options.encode.codec)
        copies = options.fps is None and reader.info.is_video and options.encode.audio == 'copy'
        if copies and output.suffix.lower() in VIDEO_SUFFIXES:
            check_tracks(reader.container, input, output)
        if reader.info.transparent:
            warnings.warn(f'the transparency of {input} is left out: it is laid over black', stacklevel=2)
        if output.suffix.lower() in IMAGE_SUFFIXES:
            return upscale_image(job, reader)
        if options.fps is not None and reader.info.is_video:
            warnings.warn(
                (
                    f'the sound of {input} is left out: fps changes the speed of the picture'
                    if reader.info.has_sound
                    else f'only the picture of {input} is kept: fps changes its speed'
                ),
                stacklevel=2,
            )
    if options.compute.half and select_device(options.compute.device).type == 'cpu':
        warnings.warn('half is left out: on a CPU it is slower than float32', stacklevel=2)
    return upscaling.run()


class Upscaling:
    """One call of `upscale` for more than one frame."""

    def __init__(self, job: Job, input: Path, output: Path, progress: bool) -> None:
        self.job = job
        self.options = job.options
        self.part = job.options.part
        self.progress = progress
        self.input = input
        self.output = output
        self.folder = WorkFolder(self.output)
        self.upscaler = None
        self.summary = None

    def run(self) -> Summary:
        self.folder.lock(self.part)
        try:
            if self.part and self.summarise_joined():  # by the part that was waited for
                self.folder.remove()
                return self.summary
            plan = self.prepare()
            pending = self.folder.pending_shots(plan)
            if self.part:
                self.compute_part(plan, pending)
            else:
                seconds, frames = self.compute_shots(plan, pending)
                join_segments(self.folder, plan)
                self.summarise(plan, frames, seconds, len(pending))
        finally:
            self.folder.unlock()
        return self.summary

    def compute_part(self, plan: Plan, pending: list[int]) -> None:
        """Compute this call's share of the shots, beside other calls that compute theirs; join all of them if
        they are done.
        """
        number, count = self.part
        with self.folder.lock_part(self.part):
            self.folder.unlock()
            seconds, frames = self.compute_shots(
                plan, [shot for shot in pending if shot % count == number - 1]
            )
        missing = []
        if self.folder.lock(self.part, create=False):  # else another part has joined all
            missing = self.folder.pending_shots(plan)
            if not missing:
                join_segments(self.folder, plan)
        self.summarise(plan, frames, seconds, len(pending), len(missing))

    def summarise_joined(self) -> bool:
        """`summary` of an output that other parts have written already; whether there is one."""
        there = any(self.output.iterdir()) if self.output.is_dir() else self.output.exists()
        if not there or self.folder.plan_file.exists():
            return False
        with open_reader(self.output) as reader:
            self.summary = Summary(
                reader.info.expected_frames or 0,
                0.0,
                0.0,
                self.output,
                reader.info.width,
                reader.info.height,
                reader.info.fps,
                0,
            )
        return True

    def prepare(self) -> Plan:
        """The plan: the one that is there, if it can be continued, or a new one."""
        mine, shared = fingerprint(self.job), self.part is not None
        plan = self.folder.load(mine, shared)
        if plan and self.folder.pending_shots(plan):
            try:
                self.upscaler = self.job.open_same_upscaler(plan, say=self.say)
            except ValueError as error:
                if shared:
                    raise
                warnings.warn(f'{self.output}: starts anew: {error}', stacklevel=2)
                plan = None
        if plan is None:
            try:
                plan = self.make_plan(mine)
            except BaseException:
                # a slip in the options must not cost what was done with others
                if not self.folder.plan_file.exists():
                    self.folder.remove()
                raise
            self.folder.clear()
            self.folder.save(plan)
        if plan.interlaced and self.options.selection.deinterlace == 'auto':
            warnings.warn(
                f'{self.input} is interlaced; it is deinterlaced (deinterlace: off leaves it)', stacklevel=2
            )
        for seconds, what in plan.damage:
            warnings.warn(f'{self.input}: {what} at {seconds:.3f} s', stacklevel=2)
        return plan

    def say(self, text: str) -> None:
        if self.progress:
            tqdm.write(f'animevsr: {text}', file=sys.stderr)

    def is_finished(self) -> bool:
        """Whether all images are at the output's name, and only the work folder was not removed before a run
        was stopped.
        """
        if not self.output.is_dir() or not self.folder.plan_file.exists():
            return False
        self.folder.lock(self.part)
        try:
            plan = self.folder.read()
            finished = plan.fingerprint == fingerprint(self.job)
            finished = finished and all(
                (self.output / image_name(i)).exists() for i in range(len(plan.ticks))
            )
            if finished:
                self.folder.remove()
                self.summarise(plan, 0, 0.0)
            return finished
        except MediaError:  # a plan of another version, or none any more
            return False
        finally:
            self.folder.unlock()

    def make_plan(self, mine: dict) -> Plan:
        loaded, encode = self.job.load(), self.options.encode
        with self.job.open_reader() as reader:
            size = size_for(reader.info, self.output, self.options, loaded[0].scale, encode.codec)
            is_video, encoding = self.output.suffix.lower() in VIDEO_SUFFIXES, None
            if is_video:
                encoding = vars(
                    choose_encoding(
                        encode.codec,
                        reader.info,
                        size,
                        encode.crf,
                        encode.depth,
                        encode.chroma,
                        encode.hardware,
                        encode.extra_options(),
                        self.options.square_pixels,
                    )
                )
            tile = choose_tile(
                self.options.compute.tile, reader.info.size, select_device(self.options.compute.device)
            )
            self.upscaler = self.job.open_upscaler(loaded, tile, self.say)
            part, total = self.options.selection.part(), reader.info.expected_frames
            with progress_bar(None if part else total, 'frames', self.progress, 'looking for cuts') as bar:
                timeline = scan(reader, self.options.fps, self.options.cuts, bar.update, part)
            source = (
                str(self.input.resolve())
                if is_video and self.options.fps is None and reader.info.is_video
                else None
            )
            return Plan(
                fingerprint=mine,
                source=source,
                info=reader.info.to_json(),
                ticks=timeline.ticks,
                time_base=str(timeline.base),
                shots=timeline.shots,
                rate=str(self.options.fps or reader.info.fps),
                size=list(size),
                encoding=encoding,
                tile=tile,
                backend_id=self.upscaler.backend_id,
                damage=timeline.damage,
                interlaced=reader.interlaced,
                first=timeline.first,
                warmup=timeline.warmup,
                lookahead=timeline.lookahead,
                is_part=part is not None,
                audio=encode.audio == 'copy',
            )

    def compute_shots(self, plan: Plan, shots: list[int]) -> tuple[float, int]:
        """Compute shots, by the executor that was asked for and, what it leaves, here; (seconds, frames) of
        it.
        """
        frames, start = sum(len(plan.frame_numbers(shot)) for shot in shots), time.monotonic()
        others = 0 if self.part else len(plan.ticks) - frames  # that were done before
        executor, asked = executor_for(self.options, len(shots)), self.options.jobs
        with progress_bar(others + frames, 'frames', self.progress, done=others) as bar:
            if executor:
                self.upscaler = None  # its memory is the workers'
                jobs = asked if self.options.cluster else min(asked, len(shots))
                shots = executor.run(self.job.with_jobs(jobs), plan, shots, bar.update)
            if shots:
                if asked > 1 or self.upscaler is None:  # all cores are this process's
                    self.upscaler = self.job.with_jobs(1).open_same_upscaler(plan)
                work(self.job, plan, shots, self.upscaler, bar.update)
        return time.monotonic() - start, frames

    def summarise(self, plan: Plan, frames: int, seconds: float, shots: int = 0, missing: int = 0) -> None:
        """`summary`, of so many frames that were upscaled in this call, and shots that were not done before
        it.
        """
        (height, width), held = plan.size, getattr(self.upscaler, 'held', None)
        self.summary = Summary(
            len(plan.ticks),
            frames / max(seconds, 1e-9),
            seconds,
            self.output,
            width,
            height,
            Fraction(plan.rate),
            len(plan.shots),
            len(plan.shots) - shots,
            held,
            [tuple(item) for item in plan.damage],
            missing,
        )


def upscale_image(job: Job, reader: FrameReader) -> Summary:
    """The same for one image."""
    output, options = Path(job.output), job.options
    tile = choose_tile(options.compute.tile, reader.info.size, select_device(options.compute.device))
    upscaler = job.open_upscaler(job.load(), tile)
    size = size_for(reader.info, output, options, upscaler.scale, 'h264')
    start = time.monotonic()
    (image,) = upscaler(image for image, _ in reader.frames())
    image = fit(image, size)
    write_image(output, Grain(options.grain).add(image, 0) if options.grain else image)
    seconds = time.monotonic() - start
    return Summary(1, 1 / max(seconds, 1e-9), seconds, output, size[1], size[0], reader.info.fps)
