"""The hidden folder beside an output that holds what is finished of it until all is, and what it is made
of.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from animevsr.errors import MediaError
from animevsr.upscaling.plan import Plan
from animevsr.utils.files import write_text
from animevsr.version import __version__
from animevsr.video.images import IMAGE_SUFFIXES, image_name
from animevsr.video.segments import frames_in
from animevsr.zoo import faithful_twin, find_weights, hash_weights

if TYPE_CHECKING:
    from animevsr.upscaling.job import Job


class WorkFolder:
    """The folder `.OUTPUT.work` beside an output: the plan, and a segment for each shot that is done.

    Args:
        output (Path): a video, or a folder of images.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.with_name(f'.{output.name}.work')
        self.plan_file = self.path / 'plan.json'
        self._lock = FileLock(self.path / 'lock')

    def lock(self, part: tuple[int, int] | None = None, create: bool = True) -> bool:
        """Keep other runs away from this output. For a part (I, N) of several, which share it, wait until it
        is free.

        Returns:
            bool: False where `create` is False, and the folder is gone.

        Raises:
            MediaError: another run, or a part, is at work.
        """
        while True:
            try:
                if create:
                    self.path.mkdir(exist_ok=True)
                elif not self.path.is_dir():
                    return False
            except OSError as error:
                raise MediaError(f'{self.output}: cannot be written ({error.strerror})') from None
            try:
                self._lock.acquire(timeout=0)
                break
            except FileNotFoundError:  # the folder was removed in between, by the run that was waited for
                continue
            except Timeout:
                if part is None:
                    raise MediaError(f'{self.output}: another run is at work on it') from None
                time.sleep(0.2)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                    raise MediaError(f'{self.output}: cannot be written ({error.strerror})') from None
                if part:
                    raise MediaError(
                        f'{self.output}: this folder knows no locks, which parts need; choose another one'
                    ) from None
                warnings.warn(
                    f'{self.output}: this folder knows no locks; start no other run on it', stacklevel=2
                )
                break
        if part is None:
            for file in self.path.glob('part_*.lock'):
                try:
                    FileLock(file).acquire(timeout=0).lock.release()
                except Timeout:
                    self.unlock()
                    raise MediaError(
                        f'{self.output}: {file.stem.replace("_", " ")} is at work on it'
                    ) from None
        return True

    def unlock(self) -> None:
        self._lock.release(force=True)

    def lock_part(self, part: tuple[int, int]) -> Any:
        """A context in which a part is at work; MediaError if the same one is at work elsewhere."""
        number, count = part
        lock = FileLock(self.path / f'part_{number}_of_{count}.lock')
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            raise MediaError(f'{self.output}: part {number}/{count} is at work on it already') from None

    def load(self, fingerprint: dict, shared: bool = False) -> Plan | None:
        """The plan that is there, if it has this fingerprint; else None, with a warning about a plan of other
        things.

        Args:
            shared (bool): other runs are at work on the same plan.

        Raises:
            ValueError: a plan of other things is shared.
        """
        plan = None
        if self.plan_file.exists():
            try:
                plan = self.read()
            except MediaError:
                plan = None
            if plan is None or plan.fingerprint != fingerprint:
                changed = [
                    key
                    for key in fingerprint
                    if plan is None or plan.fingerprint.get(key) != fingerprint[key]
                ]
                other = f'{self.output}: was begun with different {", ".join(changed) or "plans"}'
                if shared:
                    raise ValueError(
                        f'{other}; all parts must be given the same ones (or remove {self.path})'
                    )
                warnings.warn(f'{other}; it starts anew', stacklevel=2)
                plan = None
        if not shared:
            for item in self.path.glob('*.partial*'):  # of a run that was killed
                shutil.rmtree(item) if item.is_dir() else item.unlink()
        return plan

    def clear(self, keep: tuple = ('lock',)) -> None:
        """Remove what is there, for a new plan."""
        for item in self.path.iterdir():
            if item.name not in keep:
                shutil.rmtree(item) if item.is_dir() else item.unlink()

    def read(self) -> Plan:
        """The plan that is there.

        Raises:
            MediaError: there is none, or one of another version.
        """
        try:
            return Plan(**json.loads(self.plan_file.read_text(encoding='utf8')))
        except FileNotFoundError:
            raise MediaError(
                f'{self.output}: nothing of it has been begun (there is no {self.plan_file})'
            ) from None
        except (ValueError, TypeError):
            raise MediaError(
                f'{self.output}: was begun by another version of animevsr; remove {self.path}'
            ) from None

    def save(self, plan: Plan) -> None:
        write_text(self.plan_file, json.dumps(asdict(plan)))

    def segment(self, shot: int, video: bool) -> Path:
        """Where the result of a shot lies: a file, or a folder of images."""
        return self.path / (f'shot_{shot:06d}.mkv' if video else f'shot_{shot:06d}')

    @property
    def joined(self) -> Path:
        """Where the images of all shots are brought together; a folder."""
        return self.path / 'joined'

    def pending_shots(self, plan: Plan) -> list[int]:
        """The shots that are not done."""
        return [shot for shot in range(len(plan.shots)) if not self.is_done(plan, shot)]

    def is_done(self, plan: Plan, shot: int) -> bool:
        """Whether the segment of a shot is there, whole; one that is not is removed."""
        numbers = plan.frame_numbers(shot)
        if plan.encoding is None and all((self.joined / image_name(number)).exists() for number in numbers):
            return True
        segment = self.segment(shot, plan.encoding is not None)
        if not segment.exists():
            return False
        if segment.is_dir():  # a run may have been stopped while it moved the images
            found = sum(
                (place / image_name(number)).exists()
                for number in numbers
                for place in (segment, self.joined)
            )
        else:
            found = frames_in(segment)
        if found == len(numbers):
            return True
        shutil.rmtree(segment) if segment.is_dir() else segment.unlink()
        return False

    def remove(self) -> None:
        """Remove all of it, the plan last: it says that there is something to remove."""
        with contextlib.suppress(OSError):
            self.clear(keep=(self.plan_file.name, 'lock'))
        shutil.rmtree(self.path, ignore_errors=True)
        self.unlock()
        with contextlib.suppress(OSError):  # Windows keeps the folder of an open file
            self.path.rmdir()


PICTURES = 2  # goes up where this package makes other pictures of the same options


def hash_model(weights: str, strength: float | None = None) -> str:
    """A hash of a model's file, and with a strength of its faithful twin's, too."""
    names = [weights] if strength is None else [weights, faithful_twin(weights)]
    return ' '.join(hash_weights(find_weights(name)) for name in names)


def fingerprint(job: Job) -> dict:
    """`Plan.fingerprint`: what the output depends on. An input is known by names, sizes and times of change
    of its files.
    """
    path = Path(job.input).resolve()
    files = (
        sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
    )
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return dict(
        input=hashlib.sha256(json.dumps([str(path), stats]).encode()).hexdigest(),
        weights=hash_model(job.options.weights, job.options.strength),
        options=job.options.pixels(),
        version=f'{__version__}, {PICTURES}',
    )
