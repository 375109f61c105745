"""The hidden folder beside an output that holds what is finished of it until all is, and what it is made of."""
import contextlib
import hashlib
import json
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from animevsr.errors import MediaError
from animevsr.upscaling.plan import Plan
from animevsr.utils.files import write_text
from animevsr.version import __version__
from animevsr.video.images import IMAGE_SUFFIXES
from animevsr.video.mux import frames_in
from animevsr.zoo import find_weights, hash_of_weights


class WorkFolder:
    """The folder `.OUTPUT.work` beside an output: the plan, and a segment for each shot that is done.

    Args:
        output (Path): a video, or a folder of images.
    """

    def __init__(self, output):
        self.output = output
        self.path = output.with_name(f'.{output.name}.work')
        self.plan_file = self.path / 'plan.json'
        self._lock = FileLock(self.path / 'lock')

    def lock(self, wait=False):
        """Keep other runs away from this output; with `wait` until they are done, however long that takes.

        Raises:
            MediaError: one is at work.
        """
        try:
            self.path.mkdir(exist_ok=True)
            self._lock.acquire(timeout=-1 if wait else 0, poll_interval=0.2)
        except Timeout:
            raise MediaError(f'{self.output}: another run is at work on it') from None
        except OSError as error:
            raise MediaError(f'{self.output}: cannot be written ({error.strerror})') from None

    def unlock(self):
        self._lock.release(force=True)

    def load(self, fingerprint, shared=False):
        """The plan that is there, if it has this fingerprint; else None, with a warning about a plan of other things.

        Args:
            shared (bool): other runs are at work on the same plan.

        Raises:
            ValueError: a plan of other things is shared.
        """
        plan = None
        if self.plan_file.exists():
            try:
                plan = self.read()
            except (ValueError, TypeError):
                plan = None
            if plan is None or plan.fingerprint != fingerprint:
                changed = [key for key in fingerprint if plan is None or plan.fingerprint.get(key) != fingerprint[key]]
                other = f'{self.output}: begun with another {", ".join(changed) or "plan"}'
                if shared:
                    raise ValueError(f'{other}; all parts need the same; or remove {self.path}')
                warnings.warn(f'{other}; it starts anew', stacklevel=2)
                plan = None
        if not shared:
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

    def pending_shots(self, plan):
        """The shots that are not done."""
        return [shot for shot in range(len(plan.shots)) if not self.is_done(plan, shot)]

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


def fingerprint(job):
    """`Plan.fingerprint`: what the output depends on. An input is known by names, sizes and times of change of its files."""
    path = Path(job.input)
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return dict(input=hashlib.sha256(json.dumps([str(path), stats]).encode()).hexdigest(),
                weights=hash_of_weights(find_weights(job.options.weights)), options=job.options.pixels(), version=__version__)


def image_name(number):
    """Of the frame with a number, in a folder of images."""
    return f'{number:08d}.png'
