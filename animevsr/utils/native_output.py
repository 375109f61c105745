"""What libraries of other languages print by themselves."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

ONE_AT_A_TIME = threading.Lock()  # two would take each other's nothing for the output


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Leave out what is written to the process's standard output meanwhile, by any language: the output may
    be a video. Not for where another thread may write to it.
    """
    with ONE_AT_A_TIME:
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
            with contextlib.suppress(OSError, AttributeError):  # what C keeps would be written later
                ctypes.CDLL('ucrtbase' if os.name == 'nt' else None).fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
