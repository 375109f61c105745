"""Degraded windows that are used several times: data echoing (Choi et al. 2019, "Faster Neural Network
Training with Data Echoing").

Where a GPU trains faster than the processor degrades, it waits. Echoing lets it train on windows that were
degraded before, in another orientation; several runs that name one folder share their windows.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.utils import get_root_logger

from animevsr.utils.options import check_keys
from animevsr.utils.resources import find

KEYS = ('folder', 'size', 'fresh')


class EchoPool:
    """Windows kept in a folder, in `size` places; a new one takes the place of any.

    Args:
        folder (str): best in memory (/dev/shm); a window of 14 frames with a GT of 192x192 takes 1.6 MB.
        size (int): how many windows are kept.
        fresh (float): the share of draws that are degraded anew, above 0 and at most 1; a window is used
            1 / fresh times in the mean.
        settings (dict): what the windows are made of and how; windows of other settings are not taken, nor
            those of files that it names, e.g. of weights, as they were before.
        clips (list): paths of what the windows are cut from, as they are now.

    Raises:
        ValueError: an option is unknown or does not fit.
    """

    def __init__(self, options: dict, settings: dict, clips: Sequence[str | Path] = ()) -> None:
        check_keys(options, KEYS, 'echo')
        if missing := [key for key in KEYS if key not in options]:
            raise ValueError(f'echo: {", ".join(missing)} missing; it needs {", ".join(KEYS)}')
        self.size, self.fresh = options['size'], options['fresh']
        files = [stamp(Path(path)) for path in (*named_files(settings), *clips)]
        text = json.dumps([settings, files], sort_keys=True, default=str)
        self.folder = Path(options['folder']) / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.full = False
        if not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f'echo: size must be a whole number >= 1, got {self.size!r}')
        if not 0 < self.fresh <= 1:
            raise ValueError(f'echo: fresh must be above 0 and at most 1, got {self.fresh!r}')
        others = [path for path in self.folder.parent.glob('?' * 12) if path != self.folder and path.is_dir()]
        if others and not self.folder.exists():
            get_root_logger().info(
                f'echo: a new pool of windows, {self.folder}; {len(others)} of other settings are beside it:'
                ' remove those that no run uses'
            )
        self.folder.mkdir(parents=True, exist_ok=True)

    def take(self, rng: np.random.Generator) -> dict | None:
        """A window that was kept, {name: array}, or None: a new one is due."""
        if rng.random() < self.fresh:
            return None
        try:
            with np.load(self._place(rng)) as window:
                return dict(window)
        except (OSError, zipfile.BadZipFile, ValueError, KeyError):  # none yet in this place
            return None

    def keep(self, rng: np.random.Generator, **window: np.ndarray) -> None:
        """Put a window into the pool; readers see all of it or the one before."""
        place = self._place(rng)
        partial = place.with_name(f'{place.stem}.{os.getpid()}.partial')
        try:
            with partial.open('wb') as file:
                np.savez(file, **window)
            partial.replace(place)
        except OSError as error:  # no room: there will be fewer
            partial.unlink(missing_ok=True)
            if not self.full:
                warnings.warn(f'echo: {self.folder} takes no more windows ({error.strerror})', stacklevel=2)
            self.full = True

    def _place(self, rng):
        return self.folder / f'{rng.integers(self.size):06d}.npz'


def named_files(settings: Any) -> Iterator[Path]:
    """The files that settings name, anywhere in them."""
    if isinstance(settings, dict):
        settings = list(settings.values())
    if isinstance(settings, (list, tuple)):
        for value in settings:
            yield from named_files(value)
    elif isinstance(settings, str):
        for name in (settings, f'weights/{settings}.pth'):  # the bundled ones have names
            if find(name).is_file():
                yield find(name)


def stamp(path: Path) -> tuple[int, int]:
    """(bytes, time of the last change) of a file or folder as it is now."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
