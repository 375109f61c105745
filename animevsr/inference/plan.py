"""The plan of an upscaling: shots, times and encoding, made in one pass over the input, kept beside the output until that is complete."""
import contextlib
import errno
import hashlib
import json
import os
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from animevsr.version import __version__
from animevsr.video.color import reformat
from animevsr.video.encoders import Encoding
from animevsr.video.reader import IMAGE_SUFFIXES, MediaError
from animevsr.video.shots import SIDE, CutDetector


@dataclass
class Plan:
    """What is to be done. It is a JSON file; every worker reads the same one.

    Attributes:
        made_of (dict): input, weights and options; a plan that was made of others is not continued.
        ticks (list[int]), time_base (str): when each frame is shown.
        shots (list[int]): the first frame of each shot.
        rate (str): frames a second.
        size (list[int]): (height, width) of the output.
        encoding (dict | None): of a video (`Encoding`).
        tile (int | None): see `Upscaler`.
        arithmetic (dict): what computes (`Upscaler.arithmetic`); all shots are computed by the same.
        damage (list): [(seconds, what)] of the input.
    """
    made_of: dict
    ticks: list
    time_base: str
    shots: list
    rate: str
    size: list
    encoding: dict | None
    tile: int | None
    arithmetic: dict
    damage: list

    def frames_of(self, shot):
        """The numbers of the frames of a shot."""
        return range(self.shots[shot], (*self.shots[1:], len(self.ticks))[shot])

    def encoder(self):
        return None if self.encoding is None else Encoding(**self.encoding)


class WorkFolder:
    """The folder `.OUTPUT.work` beside an output: the plan, and a segment for each shot that is done.

    Args:
        output (Path): a video, or a folder of images.
    """

    def __init__(self, output):
        self.output = output
        self.path = output.with_name(f'.{output.name}.work')
        self.plan_file = self.path / 'plan.json'
        self._lock = None

    def lock(self):
        """Keep other runs away from this output.

        Raises:
            MediaError: one is at work.
        """
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise MediaError(f'{self.output}: cannot be written ({error.strerror})') from None
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        self._lock = open(self.path / 'lock', 'w')  # noqa: SIM115  (held until the process ends or `unlock`)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):  # a file system without locks
                return
            self._lock.close()
            raise MediaError(f'{self.output}: another run is at work on it') from None

    def unlock(self):
        if self._lock:
            self._lock.close()
            self._lock = None

    def load(self, made_of):
        """The plan that is there, if it was made of the same things; else None, and a plan of other things is told."""
        plan = None
        if self.plan_file.exists():
            try:
                plan = self.read()
            except (ValueError, TypeError):
                plan = None
            if plan is None or plan.made_of != made_of:
                changed = [key for key in made_of if plan is None or plan.made_of.get(key) != made_of[key]]
                warnings.warn(f'{self.output}: begun with another {", ".join(changed) or "plan"}; it starts anew', stacklevel=2)
                plan = None
        for item in self.path.glob('*.partial*'):  # of a run that was killed
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        return plan

    def clear(self, keep=('lock', )):
        """Remove what is there, for a new plan."""
        for item in self.path.iterdir():
            if item.name not in keep:
                shutil.rmtree(item) if item.is_dir() else item.unlink()

    def read(self):
        """The plan that is there."""
        return Plan(**json.loads(self.plan_file.read_text(encoding='utf8')))

    def save(self, plan):
        partial = self.path / '.plan.json'
        partial.write_text(json.dumps(asdict(plan)), encoding='utf8')
        os.replace(partial, self.plan_file)

    def segment(self, shot, video):
        """Where the result of a shot lies: a file, or a folder of images."""
        return self.path / (f'shot_{shot:06d}.mkv' if video else f'shot_{shot:06d}')

    @property
    def joined(self):
        """Where the images of all shots are brought together; a folder."""
        return self.path / 'joined'

    def remove(self):
        """Remove all of it, the plan last: it says that there is something to remove."""
        with contextlib.suppress(OSError):
            self.clear(keep=(self.plan_file.name, 'lock'))
        shutil.rmtree(self.path, ignore_errors=True)
        self.unlock()


def fingerprint(path):
    """What an input is known by: name, size and time of change of its files."""
    path = Path(path)
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([str(path.resolve()), stats]).encode()).hexdigest()


def signature(input, weights, options):
    """`Plan.made_of`."""
    return dict(input=fingerprint(input), weights=hash_of(Path(weights)), options=json.loads(json.dumps(options, default=str)),
                version=__version__)


def hash_of(weights):
    """A hash of a weights file, of both files of an ncnn model, or the name of one that is no file."""
    files = [path for path in (weights, weights.with_suffix('.bin') if weights.suffix == '.param' else weights) if path.is_file()]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest() if files else str(weights)


def scan(reader, rate, cuts, progress=lambda: None):
    """One pass over the input: (ticks, time base, first frames of shots, damage).

    Args:
        reader: of a video or of images. rate (Fraction | None): the frames follow one another at it, whatever their times.
        cuts (bool): look for cuts; else all is one shot.
        progress: is called for each frame.
    """
    base = 1 / (rate or reader.fps)
    detector, ticks, shots = CutDetector(), [], [0]
    for i, (small, time) in enumerate(small_frames(reader, cuts)):
        if rate is None and time is not None:
            base = reader.time_base
        ticks.append(i if rate is not None or time is None else round(time / base))
        if i and ticks[i] <= ticks[i - 1]:
            ticks[i] = ticks[i - 1] + max(1, round(1 / reader.fps / base))
        if cuts:
            shots += detector.push(small)
        progress()
    shots += detector.finish()
    if not ticks:
        raise MediaError('no frame can be decoded')
    return ticks, base, shots, list(reader.damage)


def small_frames(reader, wanted):
    """(image made small for the detector of cuts, or None where it is not wanted; time) of each frame."""
    if not hasattr(reader, 'timed'):
        yield from reader.frames()
        return
    ratio = SIDE / max(reader.size)
    size = [max(1, round(side * min(1, ratio))) for side in reader.size]
    for frame, time in reader.timed():
        small = reformat(frame, width=size[0], height=size[1], format='rgb24', interpolation=0x10).to_ndarray() if wanted else None
        yield small, time


