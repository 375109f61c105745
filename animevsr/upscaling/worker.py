"""One worker of an upscaling: it takes shots from a work list and leaves a segment for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animevsr.archs.interfaces import ClipNetwork
from animevsr.archs.loading import load_mixed
from animevsr.engine.backends import open_backend
from animevsr.engine.backends.torch_backend import use_threads
from animevsr.engine.grain import Grain
from animevsr.engine.upscaler import Upscaler, fit
from animevsr.errors import MediaError
from animevsr.upscaling.options import UpscaleOptions
from animevsr.upscaling.workdir import WorkFolder
from animevsr.utils.device import exact_float32, select_device, share
from animevsr.utils.interrupts import at_checks, check
from animevsr.utils.threads import BackgroundWriter, prefetch
from animevsr.video.reader import open_reader
from animevsr.video.segments import ImageSegmentWriter, SegmentWriter

if TYPE_CHECKING:
    import torch
    from torch import nn

    from animevsr.upscaling.plan import Plan
    from animevsr.video.frame_reader import FrameReader


DEINTERLACE = {'auto': 'marked', 'bwdif': 'all', 'ivtc': 'ivtc', 'off': 'off'}
PREFETCH = 6  # frames that are read before they are needed, and results that wait to be written


class DifferentRounding(ValueError):
    """This worker computes other bits than the one that the plan was made with."""


@dataclass(frozen=True)
class Job:
    """What every worker is sent; it can be sent to another process.

    Attributes:
        input, output (str): absolute paths, or '-'. options (UpscaleOptions)
    """

    input: str
    output: str
    options: UpscaleOptions

    def with_jobs(self, jobs: int) -> Job:
        """This job, for so many processes that share the cores."""
        return replace(self, options=replace(self.options, jobs=jobs))

    def open_reader(self) -> FrameReader:
        selection = self.options.selection
        return open_reader(
            self.input,
            self.options.fps,
            selection.part(),
            selection.crop_sides(),
            deep=True,
            deinterlace=DEINTERLACE[selection.deinterlace],
            conceal=True,
        )

    def load(self, rank: int | None = None) -> tuple[nn.Module, torch.device]:
        """(network, its device); `rank`: of this process among those that share the devices of the
        machine.
        """
        device = select_device(self.options.compute.device)
        device = device if rank is None else share(device, rank)
        return load_mixed(self.options.weights, self.options.strength, device, clips=True), device

    def open_upscaler(
        self,
        loaded: tuple[nn.Module, torch.device],
        tile: int | None = None,
        say: Callable = lambda text: None,
    ) -> Upscaler:
        """Put what `load` gave into what computes it; `say(text)` reports what that is."""
        (net, device), c = loaded, self.options.compute
        if isinstance(net, ClipNetwork):
            if ':' in c.backend:
                raise ValueError(f'{c.backend} runs recurrent networks, not a {type(net).__name__}')
            use_threads(device, c.threads)
            if not c.fast:  # as `open_backend` for the others
                exact_float32()
            return Upscaler(net, device, steady=self.options.averages)
        backend = open_backend(
            net,
            device,
            c.backend,
            c.fast,
            c.half,
            c.threads,
            self.options.jobs,
            say,
            bf16=c.bf16,
            compiled=c.compiled,
        )
        return Upscaler(
            backend, None, tile if backend.reach is not None else None, c.reuse, self.options.averages
        )

    def open_same_upscaler(
        self,
        plan: Plan,
        rank: int | None = None,
        loaded: tuple[nn.Module, torch.device] | None = None,
        say: Callable = lambda text: None,
    ) -> Upscaler:
        """The upscaler that computes the same bits as what the plan was made with.

        Raises:
            DifferentRounding: it cannot be had here. ValueError: its backend is not there.
        """
        wanted = plan.backend_id
        job = replace(
            self,
            options=self.options.with_compute(
                backend=wanted['backend'], threads=wanted['threads'] or self.options.compute.threads
            ),
        )
        upscaler = job.open_upscaler(loaded or job.load(rank), plan.tile, say)
        if upscaler.backend_id['name'] != wanted['name']:
            raise DifferentRounding(
                f'here computes {upscaler.backend_id["name"]}, elsewhere {wanted["name"]}, with other'
                ' rounding'
            )
        return upscaler


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
            color = self.plan.media_info().color
            made = SegmentWriter(path, self.encoder, color, Fraction(self.plan.rate))
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
