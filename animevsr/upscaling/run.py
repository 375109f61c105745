"""One run of `upscale` over the frames of a video or a folder: plan, shots on an executor, join."""

from __future__ import annotations

import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from animevsr.errors import MediaError
from animevsr.upscaling.estimate import Estimate, make_estimate, measure_step
from animevsr.upscaling.executors import executor_for
from animevsr.upscaling.job import Job
from animevsr.upscaling.joining import join_segments
from animevsr.upscaling.options import check_output_for, encoding_for, size_for
from animevsr.upscaling.plan import Plan
from animevsr.upscaling.workdir import WorkFolder, fingerprint
from animevsr.upscaling.worker import work
from animevsr.utils.progress import progress_bar
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.images import image_name
from animevsr.video.reader import open_reader
from animevsr.video.scan import scan

if TYPE_CHECKING:
    from animevsr.video.frame_reader import MediaInfo


FEW = 48  # frames, for fewer of which no step is measured beforehand


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
            mine = pending
            if self.part:
                number, count = self.part
                mine = [shot for shot in pending if shot % count == number - 1]
            self.announce(plan, mine)
            if self.part:
                self.compute_part(plan, pending, mine)
            else:
                seconds, frames = self.compute_shots(plan, pending)
                join_segments(self.folder, plan)
                self.summarise(plan, frames, seconds, len(pending))
        finally:
            self.folder.unlock()
        return self.summary

    def compute_part(self, plan: Plan, pending: list[int], mine: list[int]) -> None:
        """Compute this call's share of the shots, beside other calls that compute theirs; join all of them if
        they are done.
        """
        with self.folder.lock_part(self.part):
            self.folder.unlock()
            seconds, frames = self.compute_shots(plan, mine)
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
        try:
            plan = self.find_plan(fingerprint(self.job), shared=self.part is not None)
        except BaseException:
            # a slip in the options must not cost what was done with others
            if not self.folder.plan_file.exists():
                self.folder.remove()
            raise
        if plan.interlaced and self.options.selection.deinterlace == 'auto':
            warnings.warn(
                f'{self.input} is interlaced; it is deinterlaced (deinterlace: off leaves it)', stacklevel=2
            )
        for seconds, what in plan.damage:
            warnings.warn(f'{self.input}: {what} at {seconds:.3f} s', stacklevel=2)
        return plan

    def find_plan(self, mine: dict, shared: bool) -> Plan:
        """`prepare`, for a fingerprint; `shared`: with other runs that are at work on the same plan."""
        plan = self.folder.load(mine, shared)
        if plan and self.folder.pending_shots(plan):
            try:
                self.upscaler = self.job.open_same_upscaler(plan, say=self.say)
            except ValueError as error:
                if shared:
                    raise
                pending = len(self.folder.pending_shots(plan))
                if pending < len(plan.shots):  # hours of work, and what is missing may come back
                    raise MediaError(
                        f'{self.output}: {len(plan.shots) - pending} of {len(plan.shots)} shots are done, and'
                        f' this process would compute other bits than they have ({error}); make it as it was,'
                        f' or remove {self.folder.path} to start anew'
                    ) from None
                warnings.warn(f'{self.output}: starts anew: {error}', stacklevel=2)
                plan = None
        if plan is None:
            plan = self.make_plan(mine)
            self.folder.clear()
            self.folder.save(plan)
        elif plan.audio != (self.options.encode.audio == 'copy') and not shared:  # only joining takes it
            plan.audio = not plan.audio
            self.folder.save(plan)
        return plan

    def say(self, text: str) -> None:
        if self.progress:
            tqdm.write(f'animevsr: {text}', file=sys.stderr)

    def announce(self, plan: Plan, pending: list[int]) -> None:
        """Say what will be done, how long it takes and how much space, before it begins.

        Raises:
            MediaError: the disk is too small.
        """
        frames, info = sum(len(plan.frame_numbers(shot)) for shot in pending), plan.media_info()
        seconds = None
        if self.progress and frames >= FEW and self.upscaler is not None:
            seconds = measure_step(self.upscaler, info.size)
        encode, rate = self.options.encode, Fraction(plan.rate)
        found = make_estimate(self.output, frames, rate, info.size, tuple(plan.size), encode, seconds)
        found.check_space(self.output)
        self.say(str(found))

    def estimate(self) -> Estimate:
        """What `run` would take; nothing is written."""
        options, loaded = self.options, self.job.load()
        with self.job.open_reader() as reader:
            info = reader.info
        check_output_for(self.output, info, options)
        size, _ = self.open_network(info, loaded)
        seconds = measure_step(self.upscaler, info.size)
        frames, part = info.expected_frames, options.selection.part()
        if frames and part:
            frames = round(frames * part.share(info))
        rate = options.fps or info.fps
        found = make_estimate(self.output, frames, rate, info.size, size, options.encode, seconds)
        found.check_space(self.output)
        return replace(found, counted=info.frame_count is not None and not part)

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
        """A new plan. The input is looked through while PyTorch is imported and the network loaded."""
        encode, part = self.options.encode, self.options.selection.part()
        is_video = self.output.suffix.lower() in VIDEO_SUFFIXES
        with ThreadPoolExecutor(1) as pool, self.job.open_reader() as reader:
            loading, opened, total = pool.submit(self.job.load), [], reader.info.expected_frames
            with progress_bar(None if part else total, 'frames', self.progress, 'looking for cuts') as bar:

                def seen():
                    bar.update()
                    if loading.done() and not opened:  # an error is said now, not after the last frame
                        opened.append(self.open_network(reader.info, loading.result()))

                timeline = scan(reader, self.options.fps, self.options.cuts, seen, part)
            size, tile = opened[0] if opened else self.open_network(reader.info, loading.result())
            encoding = vars(encoding_for(reader.info, size, self.options)) if is_video else None
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

    def open_network(self, info: MediaInfo, loaded: tuple) -> tuple[tuple[int, int], int | None]:
        """Put a loaded network into `upscaler`; (size of the output, tile) for an input."""
        size = size_for(info, self.output, self.options, loaded[0].scale, self.options.encode.codec)
        jobs = 1 if self.options.cluster else self.options.jobs
        tile = self.job.choose_tile(info.size, loaded[1], jobs)
        self.upscaler = self.job.open_upscaler(loaded, tile, self.say)
        return size, tile

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
