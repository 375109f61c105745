"""Paths as people type them into the page, and logs as they read them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def clean(path: str | None) -> str:
    """A path as it is typed or pasted."""
    return (path or '').strip().strip('"')


def beside(path: str) -> Path:
    """Where results of an input go: its folder; of one that was dropped on the page, where the app was
    started.
    """
    uploads = Path(os.environ.get('GRADIO_TEMP_DIR') or Path(tempfile.gettempdir()) / 'gradio').resolve()
    folder = Path(path).resolve().parent
    return Path.cwd() if uploads in folder.parents else folder


def tail(log: Path) -> str:
    """The end of what a command said, with what it wrote over left out."""
    text = log.read_text(encoding='utf8', errors='replace')
    return '\n'.join(line.split('\r')[-1] for line in text.splitlines()[-40:])
