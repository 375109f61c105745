"""The hidden folder beside an output that holds what is finished of it until all is, and what it is made of."""
import contextlib
import hashlib
import json
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path

from animevsr.errors import MediaError
from animevsr.upscaling.plan import Plan
from animevsr.utils.locks import lock_file
from animevsr.version import __version__
from animevsr.video.images import IMAGE_SUFFIXES
from animevsr.video.mux import frames_in
from animevsr.video.writer import write_text
from animevsr.zoo import hash_of_weights


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
            self._lock = lock_file(self.path / 'lock')
        except BlockingIOError:
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
        write_text(self.plan_file, json.dumps(asdict(plan)))

    def segment(self, shot, video):
        """Where the result of a shot lies: a file, or a folder of images."""
        return self.path / (f'shot_{shot:06d}.mkv' if video else f'shot_{shot:06d}')

    @property
    def joined(self):
        """Where the images of all shots are brought together; a folder."""
        return self.path / 'joined'

    def is_done(self, plan, shot):
        """Whether the segment of a shot is there, whole; one that is not is removed."""
        numbers = plan.frames_of(shot)
        if plan.encoding is None and all((self.joined / image_name(number)).exists() for number in numbers):
            return True
        segment = self.segment(shot, plan.encoding is not None)
        if not segment.exists():
            return False
        if segment.is_dir():  # a run may have been stopped while it moved the images
            found = sum((place / image_name(number)).exists() for number in numbers for place in (segment, self.joined))
        else:
            found = frames_in(segment)
        if found == len(numbers):
            return True
        shutil.rmtree(segment) if segment.is_dir() else segment.unlink()
        return False

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
    return dict(input=fingerprint(input), weights=hash_of_weights(Path(weights)), options=json.loads(json.dumps(options, default=str)),
                version=__version__)


def image_name(number):
    """Of the frame with a number, in a folder of images."""
    return f'{number:08d}.png'
