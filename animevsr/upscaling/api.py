"""From an input to an upscaled output: what `animevsr upscale` and `animevsr.upscale` do."""
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from torch.distributed import TCPStore
from tqdm import tqdm

from animevsr.engine.upscaler import choose_tile, fit
from animevsr.errors import MediaError
from animevsr.upscaling.options import check_options, parse_rate, size_for
from animevsr.upscaling.plan import Plan
from animevsr.upscaling.workdir import WorkFolder, image_name, signature
from animevsr.upscaling.worker import Job, work
from animevsr.upscaling.workers import Group, Processes, crew
from animevsr.utils.device import choose
from animevsr.utils.memory import keep_freed_memory
from animevsr.video.encoders import choose_encoding
from animevsr.video.images import IMAGE_SUFFIXES
from animevsr.video.mux import check_tracks, join
from animevsr.video.reader import VIDEO_SUFFIXES, open_reader
from animevsr.video.scan import scan
from animevsr.video.writer import check_output, write_image
from animevsr.zoo import find_weights

DEFAULT_WEIGHTS = 'animevsr_x4'
BAR = '{desc}{percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt} frames [{elapsed}<{remaining}, {rate_noinv_fmt}]'


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
        held (float): the share of the picture that was not computed again (`reuse`), in this process.
        damage (list): [(seconds, what)] of the input.
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
    held: float = 0.0
    damage: list = field(default_factory=list)


def upscale(input, output, weights=DEFAULT_WEIGHTS, outscale=None, fps=None, crf=None, codec='h264', device='auto', half=False,
            progress=False, *, backend='auto', fast=False, reuse=False, bf16=False, compiled=False, tile='auto', jobs=1,
            threads=None, depth=None, chroma=None, deinterlace='auto', hardware=False, cuts=True):
    """Upscale a video file, a folder of frames or one image.

    A video keeps its frames one for one, their times, and everything else in its container. It is divided into shots; each one that is
    finished is kept in a hidden folder beside the output, so that the same call, after whatever stopped it, goes on there.

    Args:
        input, output (str | Path): the output is a video or an image by its suffix, otherwise a new folder of PNG images.
        weights (str | Path): a weights file, or the name of one that comes with the package.
        outscale (float | None): size of the output over that of the input, above 0 and up to the network's scale (its default).
        fps (Fraction | float | str | None): frame rate for a folder of frames (default 24); a video is retimed, without its other tracks.
        crf (int | None): quality of h264 and h265 (0 to 51) and av1 (0 to 63); lower is better. Default: 18, 20, 24.
        codec (str): 'h264', 'h265', 'av1', 'prores', or 'ffv1', which is lossless.
        device (str): 'auto', 'cpu', or a name that torch knows.
        half (bool): compute in float16; ignored on a CPU.
        progress (bool): show frames, speed and time left on standard error.
        backend (str), fast, bf16, compiled (bool): see `open_backend`.
        reuse (bool): compute again only what changes from frame to frame; see `HeldRegions`.
        tile (int | str | None): side of the squares that are computed one after the other; 'auto': whole frames where memory allows.
        jobs (int): processes side by side, each on shots of its own. Under torchrun or slurm the processes are there already.
        threads (int | None): CPU threads of each process. Default: the cores, divided by `jobs` where that does not change results.
        depth (int | None), chroma (str | None): 8 or 10 bits; '420', '422' or '444'. Default: those of the input.
        deinterlace (str): 'auto' deinterlaces what is marked as interlaced, 'off' never.
        hardware (bool): take an encoder of the graphics hardware where there is one.
        cuts (bool): look for cuts; else the whole video is one shot.

    Returns:
        Summary; under torchrun or slurm None on all processes but the first.

    Raises:
        MediaError: the input or output cannot be read or written. CheckpointError: the weights cannot be used. ValueError: an
        option is out of range. Each is one line; nothing is left at the output's name.
    """
    input, output = Path(input), Path(output) if Path(output).name else Path(output).absolute()
    with crew() as group:  # before all that can fail: the other processes are told
        rate = None if fps is None else parse_rate(fps)
        check_options(codec, crf, depth, chroma, deinterlace, tile, jobs, threads)
        if output.exists() and input.exists() and output.samefile(input):
            raise MediaError(f'{output}: is the input; name another output')
        job = Job(str(input), str(output), str(weights), device, None if rate is None else str(rate), backend, fast, half, bf16, compiled,
                  reuse, threads, jobs if group.size == 1 else group.local_size)
        options = dict(outscale=outscale, crf=crf, codec=codec, depth=depth, chroma=chroma, hardware=hardware, tile=tile, cuts=cuts)
        with job.open_reader() as reader:
            upscaling = Upscaling(replace(job, deinterlace=deinterlace == 'auto'), options, group, progress)
            if group.rank == 0:
                if upscaling.is_finished():
                    group.tell('todo')
                    return upscaling.summary
                check_output(output, reader, codec)
                if rate is None and hasattr(reader, 'path') and output.suffix.lower() in VIDEO_SUFFIXES:
                    check_tracks(input, output)
            if group.rank == 0 and reader.transparent:
                warnings.warn(f'the transparency of {input} is left out: it is laid over black', stacklevel=2)
            if output.suffix.lower() in IMAGE_SUFFIXES:
                if group.size > 1:
                    raise ValueError('one image is not divided among processes')
                return upscale_image(job, reader, outscale, tile)
            if rate is not None and hasattr(reader, 'path'):
                warnings.warn(f'the sound of {input} is left out: fps changes the speed of the picture' if reader.has_sound else
                              f'only the picture of {input} is kept: fps changes its speed', stacklevel=2)
        if group.rank == 0 and half and choose(device).type == 'cpu':
            warnings.warn('half is left out: on a CPU it is slower than float32', stacklevel=2)
        return upscaling.run()


class Upscaling:
    """One call of `upscale` for more than one frame."""

    def __init__(self, job, options, group, progress):
        self.job, self.jobs, self.options, self.group, self.progress = job, job.jobs, options, group, progress
        self.input, self.output = Path(job.input), Path(job.output)
        self.folder, self.upscaler, self.summary = WorkFolder(self.output), None, None

    def run(self):
        """Do all of it, or, in a process that is not the first, what the first one leaves to it."""
        if self.group.rank:
            return self.help()
        try:
            self.work(*self.prepare())
        finally:
            self.folder.unlock()
        return self.summary

    def help(self):
        todo = [int(shot) for shot in self.group.hear('todo').split(',') if shot]
        if not todo:
            return
        try:
            plan = self.folder.read()
            signed = self.signed()
            other = [key for key in ('weights', 'options', 'version') if signed[key] != plan.made_of[key]]
            if other:
                raise ValueError(f'its {" and ".join(other)} are others than those of the first process')
            self.open(plan.tile, plan.arithmetic)
            work(self.job, plan, self.group.share(todo), self.upscaler, self.group.count)
        except (MediaError, ValueError, OSError, RuntimeError) as error:  # with an error torchrun would stop the others, too
            warnings.warn(f'process {self.group.rank} cannot help: {" ".join(str(error).split())[:300]}', stacklevel=2)

    def signed(self):
        """`Plan.made_of`, of what is asked for now."""
        return signature(self.input, find_weights(self.job.weights), {**self.options, **self.lasting()})

    def prepare(self):
        """(Plan, shots that are not done), of which the other processes are told."""
        self.folder.lock()
        made_of = self.signed()
        plan = self.folder.load(made_of)
        todo = self.left_of(plan) if plan else []
        if todo:
            self.employ(len(todo))
            try:
                self.open(plan.tile, plan.arithmetic)
            except ValueError as error:
                warnings.warn(f'{self.output}: starts anew: {error}', stacklevel=2)
                plan = None
        if plan is None:
            try:
                plan = self.make_plan(made_of)
            except BaseException:
                if not self.folder.plan_file.exists():  # a slip in the options must not cost what was done with others
                    self.folder.remove()
                raise
            self.folder.clear()
            self.folder.save(plan)
            todo = self.left_of(plan)
            if self.employ(len(todo)):
                self.open(plan.tile, plan.arithmetic)
        if plan.interlaced and self.job.deinterlace:
            warnings.warn(f'{self.input} is interlaced; it is deinterlaced (deinterlace: off leaves it)', stacklevel=2)
        for seconds, what in plan.damage:
            warnings.warn(f'{self.input}: {what} at {seconds:.3f} s', stacklevel=2)
        self.group.tell('todo', ','.join(map(str, todo)))
        return plan, todo

    def employ(self, shots):
        """Divide the cores among no more processes than there are shots; whether that changes anything."""
        before, jobs = self.job.jobs, max(1, min(self.jobs, shots))
        if self.group.size == 1:
            self.job = replace(self.job, jobs=jobs)
        return self.job.jobs != before

    def left_of(self, plan):
        """The shots that are not done."""
        return [shot for shot in range(len(plan.shots)) if not self.folder.is_done(plan, shot)]

    def is_finished(self):
        """Whether all images are at the output's name, and only the work folder was not removed before a run was stopped."""
        if not self.output.is_dir() or not self.folder.plan_file.exists():
            return False
        self.folder.lock()
        try:
            plan = self.folder.read()
            finished = plan.made_of == self.signed() and all((self.output / image_name(i)).exists() for i in range(len(plan.ticks)))
            if finished:
                self.folder.remove()
                self.summarise(plan, 0, 0.0)
            return finished
        except (ValueError, TypeError):  # a plan of another version
            return False
        finally:
            self.folder.unlock()

    def load(self):
        """See `Job.load`."""
        return self.job.load(self.group.local_rank if self.group.size > 1 else 0 if self.job.jobs > 1 else None)

    def open(self, tile, arithmetic=None, loaded=None):
        """Load the network into what computes it: the fastest that is there, or the same as computed the other shots.

        Raises:
            ValueError: that one is not there.
        """
        job = self.job.like(arithmetic) if arithmetic else self.job
        first = self.progress and self.group.rank == 0 and self.upscaler is None
        say = tqdm.write if first else lambda text, **_: None
        upscaler = job.open_upscaler(loaded or self.load(), tile, lambda text: say(f'animevsr: {text}', file=sys.stderr))
        if arithmetic:
            check_arithmetic(upscaler, arithmetic)
        self.upscaler = upscaler

    def lasting(self):
        """The options of the job that the pixels depend on."""
        return {name: getattr(self.job, name) for name in ('rate', 'device', 'backend', 'fast', 'half', 'bf16', 'compiled', 'reuse',
                                                         'deinterlace', 'threads')}

    def make_plan(self, made_of):
        loaded = net, _ = self.load()
        with self.job.open_reader() as reader:
            size = size_for(reader, self.output, self.options['outscale'], net.scale, self.options['codec'])
            encoding = None
            if self.output.suffix.lower() in VIDEO_SUFFIXES:
                chosen = {key: self.options[key] for key in ('crf', 'depth', 'chroma', 'hardware')}
                encoding = vars(choose_encoding(self.options['codec'], reader, size, **chosen))
            tile = choose_tile(self.options['tile'], (reader.height, reader.width), choose(self.job.device))
            self.open(tile, loaded=loaded)
            rate = Fraction(self.job.rate) if self.job.rate else None
            with self.bar(reader.expected_frames, 'looking for cuts: ') as bar:
                ticks, base, shots, damage = scan(reader, rate, self.options['cuts'], bar.update)
            return Plan(made_of, ticks, str(base), shots, str(rate or reader.fps), list(size), encoding, tile, self.upscaler.arithmetic,
                        damage, getattr(reader, 'interlaced', False))

    def bar(self, total, text='', done=0):
        return tqdm(total=total, initial=done, unit='frame', file=sys.stderr, disable=not self.progress or self.group.rank > 0, desc=text,
                    mininterval=0.5 if sys.stderr.isatty() else 10, bar_format=BAR)

    def work(self, plan, todo):
        total, left, start = len(plan.ticks), sum(len(plan.frames_of(shot)) for shot in todo), time.monotonic()
        with contextlib.ExitStack() as stack:
            group = self.group
            if group.size == 1 and self.job.jobs > 1 and len(todo) > 1:
                job = self.job.like(plan.arithmetic)
                group = stack.enter_context(Processes(min(job.jobs, len(todo)), work_beside, job, plan, todo))
            bar = stack.enter_context(self.bar(total, done=total - left))

            def count(frames):
                group.count(frames)
                show(frames)

            def show(frames=0):
                counted = group.counted()
                bar.update(frames if counted is None else max(0, total - left + counted - bar.n))

            work(self.job, plan, group.share(todo), self.upscaler, count)
            group.wait(show)
            forgotten = [shot for shot in todo if not self.folder.is_done(plan, shot)]  # by a worker that died
            if forgotten:
                work(self.job, plan, forgotten, self.upscaler, count)
        self.join(plan)
        self.summarise(plan, left, time.monotonic() - start, len(todo))

    def summarise(self, plan, frames, seconds, shots=0):
        """`summary`, of so many frames and shots that were upscaled now."""
        (height, width), held = plan.size, getattr(self.upscaler, 'held', 0.0)
        self.summary = Summary(len(plan.ticks), frames / max(seconds, 1e-9), seconds, self.output, width, height, Fraction(plan.rate),
                               len(plan.shots), len(plan.shots) - shots, held, [tuple(item) for item in plan.damage])

    def join(self, plan):
        """Make the output of the segments, and remove the work folder."""
        segments = [self.folder.segment(shot, plan.encoding is not None) for shot in range(len(plan.shots))]
        if plan.encoding is not None:
            source, index = None, 0
            if not self.job.rate and self.input.is_file() and self.input.suffix.lower() not in IMAGE_SUFFIXES:
                with open_reader(self.input) as reader:
                    source, index = self.input, reader.stream.index
            join(segments, plan.ticks, Fraction(plan.time_base), self.output, source, index)
        else:
            self.folder.joined.mkdir(exist_ok=True)
            for segment in segments:
                for image in segment.iterdir() if segment.exists() else ():  # it is not where an earlier run moved them
                    os.replace(image, self.folder.joined / image.name)
            missing = [number for number in range(len(plan.ticks)) if not (self.folder.joined / image_name(number)).exists()]
            if missing:
                raise MediaError(f'{self.output}: the image of frame {missing[0]} is missing; run the command again')
            if self.output.is_dir():
                self.output.rmdir()  # an empty folder of that name gives way
            os.replace(self.folder.joined, self.output)
        self.folder.remove()


def work_beside(job, plan, port, todo, rank):
    """What a process that `Processes` starts does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    threading.Thread(target=end_with, args=(multiprocessing.parent_process(), ), daemon=True).start()
    keep_freed_memory()
    try:
        group = Group(TCPStore('127.0.0.1', port, is_master=False), rank, job.jobs)
        upscaler = job.open_upscaler(job.load(rank), plan.tile)
        check_arithmetic(upscaler, plan.arithmetic)
        work(job, plan, group.share(todo), upscaler, group.count)
    except Exception as error:
        sys.stderr.write(f'animevsr: process {rank}: {" ".join(str(error).split())[:300]}\n')
        sys.exit(1)


def end_with(process):
    """End this process as soon as another one has ended, by whatever: its list of work is gone."""
    process.join()
    os._exit(1)


def check_arithmetic(upscaler, arithmetic):
    """ValueError if this computes otherwise than what computed, or computes, the other shots."""
    if upscaler.arithmetic['name'] != arithmetic['name']:
        raise ValueError(f'here computes {upscaler.arithmetic["name"]}, elsewhere {arithmetic["name"]}, with other rounding')


def upscale_image(job, reader, outscale, tile):
    """The same for one image."""
    output = Path(job.output)
    chosen = choose_tile(tile, (reader.height, reader.width), choose(job.device))
    upscaler = job.open_upscaler(job.load(), chosen)
    size = size_for(reader, output, outscale, upscaler.scale, 'h264')
    start = time.monotonic()
    image, = upscaler(image for image, _ in reader.frames())
    write_image(output, fit(image, size))
    seconds = time.monotonic() - start
    return Summary(1, 1 / max(seconds, 1e-9), seconds, output, size[1], size[0], reader.fps)
