"""How this process takes memory from the system."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
KEPT = 1 << 29  # bytes


def keep_freed_memory() -> None:
    """Let glibc keep large blocks that are freed, up to `KEPT` bytes, and give them out again.

    By default it returns each to the system, which fills the next one with zeros, page by page: a tenth of
    the time of upscaling a video, whose frames and states are tens of megabytes. It holds for the whole
    process, so programs call it, not functions. Does nothing where there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, KEPT)
