"""Degraded windows that are used several times: data echoing (Choi et al. 2019, "Faster Neural Network
Training with Data Echoing").

Where a GPU trains faster than the processor degrades, it waits. Echoing lets it train on windows that were
degraded before, in another orientation; several runs that name one folder share their windows.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from animevsr.utils.options import check_keys

KEYS = ('folder', 'size', 'fresh')


class EchoPool:
    """Windows kept in a folder, in `size` places; a new one takes the place of any.

    Args:
        folder (str): best in memory (/dev/shm); a window of 14 frames with a GT of 192x192 takes 1.6 MB.
        size (int): how many windows are kept.
        fresh (float): the share of draws that are degraded anew, above 0 and at most 1; a window is used
            1 / fresh times in the mean.
        settings (dict): what the windows are made of and how; windows of other settings are not taken.

    Raises:
        ValueError: an option is unknown or does not fit.
    """

    def __init__(self, options: dict, settings: dict) -> None:
        check_keys(options, KEYS, 'echo')
        if missing := [key for key in KEYS if key not in options]:
            raise ValueError(f'echo: {", ".join(missing)} missing; it needs {", ".join(KEYS)}')
        self.size, self.fresh = options['size'], options['fresh']
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
        self.folder = Path(options['folder']) / digest[:12]
        if not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f'echo: size must be a whole number >= 1, got {self.size!r}')
        if not 0 < self.fresh <= 1:
            raise ValueError(f'echo: fresh must be above 0 and at most 1, got {self.fresh!r}')
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
        except OSError:  # no room: there will be fewer
            partial.unlink(missing_ok=True)

    def _place(self, rng):
        return self.folder / f'{rng.integers(self.size):06d}.npz'
