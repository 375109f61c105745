"""The progress of long work, on standard error."""

from __future__ import annotations

import os
import sys
from typing import Any

from tqdm import tqdm

BAR = (
    '{desc}{percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}, {rate_noinv_fmt}]'
)


def progress_bar(
    total: int | None, unit: str, shown: bool, text: str = '', done: int = 0, frames: Any = None
) -> Any:
    """A tqdm bar with the time left; in a log file a line every ten seconds.

    Args:
        total (int | None): of what `unit` names (plural). shown (bool): else it is silent.
        text (str): stands before it. done (int): of them, before this call.
        frames (iterable | None): what to count; else `update(n)` does.
    """
    return tqdm(
        frames,
        desc=f'{text}: ' if text else '',
        total=total,
        initial=done,
        unit=f' {unit}',
        file=sys.stderr,
        disable=not shown,
        bar_format=BAR if total else None,
        # in a log file a line now and then; the app reads more
        mininterval=float(os.environ.get('ANIMEVSR_PROGRESS') or (0.5 if sys.stderr.isatty() else 10)),
    )
