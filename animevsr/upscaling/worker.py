"""One worker of an upscaling: it takes shots from a work list and leaves a segment for each."""
import os
import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2

from animevsr.archs.loading import load_upscaler
from animevsr.engine.backends import open_backend
from animevsr.engine.backends.torch_backend import use_threads
from animevsr.engine.upscaler import Upscaler, fit
from animevsr.errors import MediaError
from animevsr.upscaling.workdir import WorkFolder, image_name
from animevsr.utils.device import choose, exact_float32, share
from animevsr.utils.interrupts import at_checks, check
from animevsr.utils.threads import Behind, ahead
from animevsr.video.mux import SegmentWriter, partial_of
from animevsr.video.reader import open_reader

AHEAD = 6  # frames that are read before they are needed, and results that wait to be written


@dataclass(frozen=True)
class Job:
    """What every worker is told; it can be sent to another process.

    Attributes:
        input, output, weights, device (str), rate (str | None): see `upscale`.
        backend (str), fast, half, bf16, compiled, reuse (bool), threads (int | None), jobs (int, on this machine): see `upscale`.
        deinterlace (bool)
    """
    input: str
    output: str
    weights: str
    device: str
    rate: str | None = None
    backend: str = 'auto'
    fast: bool = False
    half: bool = False
    bf16: bool = False
    compiled: bool = False
    reuse: bool = False
    threads: int | None = None
    jobs: int = 1
    deinterlace: bool = False

    def open_reader(self):
        rate = Fraction(self.rate) if self.rate else None
        return open_reader(self.input, rate, deep=True, deinterlace=self.deinterlace, conceal=True)

    def load(self, rank=None):
        """(network, its device); `rank`: of this process among those that share the devices of the machine."""
        device = choose(self.device) if rank is None else share(choose(self.device), rank)
        return load_upscaler(self.weights, device, clips=True), device

    def open_upscaler(self, loaded, tile=None, say=lambda text: None):
        """Put what `load` gave into what computes it; `say(text)` is told what that is."""
        net, device = loaded
        if not hasattr(net, 'step'):
            use_threads(device, self.threads)
            if not self.fast:  # as `open_backend` for the others
                exact_float32()
            return Upscaler(net, device)
        backend = open_backend(net, device, self.backend, self.fast, self.half, self.threads, self.jobs, say, bf16=self.bf16,
                               compiled=self.compiled)
        return Upscaler(backend, None, tile if backend.reach is not None else None, self.reuse)

    def like(self, arithmetic):
        """This job, with what computed a part of it already (`Upscaler.arithmetic`)."""
        return replace(self, backend=arithmetic['backend'], threads=arithmetic['threads'] or self.threads)


class Source:
    """The frames of an input by their numbers, forward; going back opens it anew."""

    def __init__(self, job):
        self.job, self.reader, self.frames, self.position = job, None, None, 0

    def take(self, numbers):
        """The images of a range of frames, (h, w, 3) uint8 or uint16 RGB; before them None for each frame that is skipped (see `ahead`)."""
        if self.reader is None or numbers.start < self.position:
            self.close()
            self.reader, self.position = self.job.open_reader(), 0
            timed = getattr(self.reader, 'timed', None)
            self.frames = timed() if timed else self.reader.frames()
        while self.position < numbers.stop:
            frame = next(self.frames, None)
            if frame is None:
                raise MediaError(f'{self.job.input}: ends after {self.position} frames; it had more when it was looked through')
            self.position += 1
            if self.position <= numbers.start:
                yield None  # only what is needed is converted to RGB
            else:
                yield self.reader.image(frame[0]) if hasattr(self.reader, 'image') else frame[0]

    def close(self):
        if self.reader is not None:
            self.frames = None
            self.reader.__exit__()
            self.reader = None


class ImageSegment:
    """The images of one shot, in a folder; it is there when it is complete."""

    def __init__(self, path, first):
        self.path, self.number = path, first
        self.partial = partial_of(path)

    def __enter__(self):
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()
        return self

    def write(self, image):
        """(h, w, 3) uint8 RGB."""
        target = self.partial / image_name(self.number)
        if not cv2.imwrite(str(target), image[..., ::-1]):
            raise MediaError(f'{target}: could not be written')
        self.number += 1

    def __exit__(self, kind, *_):
        try:
            if kind is None and not self.path.exists():
                os.replace(self.partial, self.path)
        except OSError:
            if not self.path.exists():  # else another process has finished the same shot
                raise
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)


def work(job, plan, shots, upscaler, progress):
    """Upscale shots, in the order in which `shots` gives them; `progress(frames)` is called now and then."""
    folder, source, size, encoder = WorkFolder(Path(job.output)), Source(job), tuple(plan.size), plan.encoder()
    reader_color = None
    with at_checks(), closing(source):
        for shot in shots:
            numbers = plan.frames_of(shot)
            if reader_color is None:
                with job.open_reader() as reader:
                    reader_color = reader.color
            path = folder.segment(shot, encoder is not None)
            made = SegmentWriter(path, encoder, reader_color, Fraction(plan.rate)) if encoder else ImageSegment(path, numbers.start)
            # closing: the thread that reads must have ended before its source is closed
            with made as writer, Behind(writer.write, AHEAD) as write, closing(ahead(source.take(numbers), AHEAD)) as frames:
                for image in upscaler(frames):
                    check()
                    write(fit(image, size))
                    progress(1)
