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
from animevsr.upscaling.options import UpscaleOptions
from animevsr.upscaling.workdir import WorkFolder, image_name
from animevsr.utils.device import exact_float32, select_device, share
from animevsr.utils.interrupts import at_checks, check
from animevsr.utils.threads import BackgroundWriter, prefetch
from animevsr.video.mux import SegmentWriter, partial_of
from animevsr.video.reader import open_reader

PREFETCH = 6  # frames that are read before they are needed, and results that wait to be written


class DifferentRounding(ValueError):
    """This worker computes other bits than the one that the plan was made with."""


@dataclass(frozen=True)
class Job:
    """What every worker is sent; it can be sent to another process.

    Attributes:
        input, output (str): absolute paths. options (UpscaleOptions)
    """
    input: str
    output: str
    options: UpscaleOptions

    def open_reader(self):
        deinterlace = self.options.deinterlace == 'auto'
        return open_reader(self.input, self.options.fps, deep=True, deinterlace=deinterlace, conceal=True)

    def load(self, rank=None):
        """(network, its device); `rank`: of this process among those that share the devices of the machine."""
        device = select_device(self.options.compute.device)
        device = device if rank is None else share(device, rank)
        return load_upscaler(self.options.weights, device, clips=True), device

    def open_upscaler(self, loaded, tile=None, say=lambda text: None):
        """Put what `load` gave into what computes it; `say(text)` reports what that is."""
        (net, device), c = loaded, self.options.compute
        if not hasattr(net, 'step'):
            use_threads(device, c.threads)
            if not c.fast:  # as `open_backend` for the others
                exact_float32()
            return Upscaler(net, device)
        backend = open_backend(net, device, c.backend, c.fast, c.half, c.threads, self.options.jobs, say, bf16=c.bf16, compiled=c.compiled)
        return Upscaler(backend, None, tile if backend.reach is not None else None, c.reuse)

    def open_same_upscaler(self, plan, rank=None, loaded=None, say=lambda text: None):
        """The upscaler that computes the same bits as what the plan was made with.

        Raises:
            DifferentRounding: it cannot be had here. ValueError: its backend is not there.
        """
        wanted = plan.backend_id
        job = replace(self, options=self.options.with_compute(backend=wanted['backend'],
                                                              threads=wanted['threads'] or self.options.compute.threads))
        upscaler = job.open_upscaler(loaded or job.load(rank), plan.tile, say)
        if upscaler.backend_id['name'] != wanted['name']:
            raise DifferentRounding(f'here computes {upscaler.backend_id["name"]}, elsewhere {wanted["name"]}, with other rounding')
        return upscaler


class Source:
    """The frames of an input by their numbers, forward; going back opens it anew."""

    def __init__(self, job):
        self.job, self.reader, self.frames, self.position = job, None, None, 0

    def take(self, numbers):
        """The images of a range of frames, (h, w, 3) uint8 or uint16 RGB; before them None for each frame that is skipped
        (see `prefetch`)."""
        if self.reader is None or numbers.start < self.position:
            self.close()
            self.reader, self.position = self.job.open_reader(), 0
            self.frames = self.reader.timed()
        while self.position < numbers.stop:
            frame = next(self.frames, None)
            if frame is None:
                raise MediaError(f'{self.job.input}: ends after {self.position} frames; it had more when it was looked through')
            self.position += 1
            # only what is needed is converted to RGB
            yield None if self.position <= numbers.start else self.reader.image(frame[0])

    def close(self):
        if self.reader is not None:
            self.frames = None
            self.reader.close()
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
            with (made as writer, BackgroundWriter(writer.write, PREFETCH) as write,
                  closing(prefetch(source.take(numbers), PREFETCH)) as frames):
                for image in upscaler(frames):
                    check()
                    write(fit(image, size))
                    progress(1)
