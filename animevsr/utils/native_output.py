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
def without_native_output(descriptor: int = 1) -> Iterator[None]:
    """Leave out what is written to the process's standard output (1; it may be a video) or error (2)
    meanwhile, by any language. Not for where another thread may write to it.
    """
    with ONE_AT_A_TIME:
        stream = sys.stdout if descriptor == 1 else sys.stderr
        if stream is not None:
            stream.flush()
        try:
            kept = os.dup(descriptor)
        except OSError:  # a program that has none
            yield
            return
        with open(os.devnull, 'wb') as nothing:
            os.dup2(nothing.fileno(), descriptor)
        try:
            yield
        finally:
            with contextlib.suppress(OSError, AttributeError):  # what C keeps would be written later
                ctypes.CDLL('ucrtbase' if os.name == 'nt' else None).fflush(None)
            os.dup2(kept, descriptor)
            os.close(kept)
