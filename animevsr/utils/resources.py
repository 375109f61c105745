"""Where the YAML files and weights that come with the package lie, in a clone and in an installed package
alike.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).resolve().parents[1]


def find(path: str | Path) -> Path:
    """The file `path`, e.g. 'options/tiny/net.yml' or 'weights/animevsr_x4.pth': as given, else the one that
    came with the package.

    Where neither exists, the path is returned as given, for the caller's own error.
    """
    path = Path(path)
    for root in (Path(), PACKAGE.parent, PACKAGE):  # here, in a clone, in an installed package
        if (root / path).exists():
            return root / path
    return path


def cache_folder() -> Path:
    """Where fetched and converted networks are kept: $ANIMEVSR_CACHE, or animevsr in the user's cache."""
    return Path(os.environ.get('ANIMEVSR_CACHE') or platformdirs.user_cache_dir('animevsr', False))
