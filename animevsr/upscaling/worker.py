"""One worker of an upscaling: it takes shots from a work list and leaves a segment for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animevsr.engine.grain import Grain
from animevsr.engine.sizes import fit
from animevsr.errors import MediaError
from animevsr.upscaling.workdir import WorkFolder
from animevsr.utils.interrupts import at_checks, check
from animevsr.utils.threads import BackgroundWriter, prefetch
from animevsr.video.segments import ImageSegmentWriter, SegmentWriter

if TYPE_CHECKING:
    from animevsr.engine.upscaler import Upscaler
    from animevsr.upscaling.job import Job
    from animevsr.upscaling.plan import Plan
    from animevsr.video.frame_reader import FrameReader


PREFETCH = 6  # frames that are read before they are needed, and results that wait to be written


class Source:
    """The frames of an input by their numbers, forward; going back opens it anew."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.reader = None
        self.frames = None
        self.position = 0

    def open(self) -> FrameReader:
        """The reader, opened where it is not."""
        if self.reader is None:
            self.reader = self.job.open_reader()
            self.position = 0
            self.frames = self.reader.timed()
        return self.reader

    def take(self, numbers: range) -> Iterator[Any]:
        """The images of a range of frames, (h, w, 3) uint8 or uint16 RGB; before them None for each frame
        that is skipped (see `prefetch`)."""
        if numbers.start < self.position:
            self.close()
        self.open()
        while self.position < numbers.stop:
            frame = next(self.frames, None)
            if frame is None:
                raise MediaError(
                    f'{self.job.input}: ends after {self.position} frames; it had more when it was looked'
                    ' through'
                )
            self.position += 1
            # only what is needed is converted to RGB
            yield None if self.position <= numbers.start else self.reader.image(frame[0])

    def close(self) -> None:
        if self.reader is not None:
            self.frames = None
            self.reader.close()
            self.reader = None


class ShotWorker:
    """Computes shots of a plan. Where they come in order, the input is decoded once.

    Args:
        upscaler: see `Job.open_upscaler`.
    """

    def __init__(self, job: Job, plan: Plan, upscaler: Upscaler) -> None:
        self.plan = plan
        self.upscaler = upscaler
        self.folder = WorkFolder(Path(job.output))
        self.source = Source(job)
        self.encoder = plan.encoder()
        self.grain = Grain(job.options.grain) if job.options.grain else None

    def compute(self, shot: int, progress: Callable) -> None:
        """Leave the segment of a shot; `progress(frames)` is called now and then."""
        numbers, size = self.plan.frame_numbers(shot), tuple(self.plan.size)
        taken, lead = self.plan.input_numbers(shot)
        path = self.folder.segment(shot, self.encoder is not None)
        if self.encoder is None:
            made = ImageSegmentWriter(path, numbers.start)
        else:
            made = SegmentWriter(path, self.encoder, Fraction(self.plan.rate))
        # closing: the thread that reads must have ended before its source is closed
        with (
            at_checks(),
            made as writer,
            BackgroundWriter(writer.write, PREFETCH) as write,
            closing(prefetch(self.source.take(taken), PREFETCH)) as frames,
        ):
            for number, image in zip(range(lead + len(numbers)), self.upscaler(frames)):
                check()
                if number >= lead:
                    image = fit(image, size)
                    if self.grain:
                        image = self.grain.add(image, numbers[number - lead])
                    write(image)
                    progress(1)

    def close(self) -> None:
        self.source.close()


def work(job: Job, plan: Plan, shots: list[int], upscaler: Upscaler, progress: Callable) -> None:
    """Compute shots, in the order in which `shots` gives them."""
    with at_checks(), closing(ShotWorker(job, plan, upscaler)) as worker:
        for shot in shots:
            worker.compute(shot, progress)
