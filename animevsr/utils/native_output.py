"""What libraries of other languages print by themselves."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Leave out what is written to the process's standard output meanwhile, by any language: the output may
    be a video. Not for where another thread may write to it.
    """
    if sys.stdout is not None:
        sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # a program without a standard output
        yield
        return
    with open(os.devnull, 'wb') as nothing:
        os.dup2(nothing.fileno(), 1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, TypeError, AttributeError):
            ctypes.CDLL(None).fflush(None)  # what C keeps would be written later
        os.dup2(kept, 1)
        os.close(kept)
