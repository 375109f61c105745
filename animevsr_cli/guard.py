"""How a command runs: every problem with the input is one line and a non-zero exit."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any


def guarded(function: Callable, interrupted: str) -> Any:
    """`function(animevsr)`; every problem with the input is one line and a non-zero exit; so is an interrupt,
    with what it means.
    """
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')  # a damaged image is reported once, in one line
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')  # as is a process that is gone
    os.environ.setdefault('SVT_LOG', '1')  # of AV1's encoder: errors alone
    try:
        import animevsr
        from animevsr.errors import CheckpointError, MediaError
        from animevsr.utils.malloc_tuning import keep_freed_memory
    except ModuleNotFoundError as error:
        remedy = 'animevsr setup' if error.name == 'basicsr' else f'pip install {error.name}'
        sys.exit(f'animevsr: the package {error.name} is missing; run: {remedy}')
    except KeyboardInterrupt:
        sys.exit(130)
    keep_freed_memory()
    warnings.showwarning = lambda message, *_: print(f'animevsr: {message}', file=sys.stderr)
    for kind in (DeprecationWarning, FutureWarning):  # of libraries, to their users: not to ours
        warnings.simplefilter('ignore', kind)
    try:
        return function(animevsr)
    except (MediaError, CheckpointError, ValueError, OSError) as error:
        sys.exit(f'animevsr: {error}')
    except RuntimeError as error:  # of torch and other runtimes: out of memory, a process that is gone
        if os.environ.get('ANIMEVSR_TRACEBACK'):
            raise
        reason = (str(error).splitlines() or [''])[0][:300]
        sys.exit(f'animevsr: {type(error).__name__}: {reason} (ANIMEVSR_TRACEBACK=1 shows where)')
    except KeyboardInterrupt:
        print(f'\nanimevsr: interrupted, {interrupted}', file=sys.stderr)
        sys.exit(130)


def end_on_sigterm() -> None:
    """So that files that are half written are removed, and trainings end with this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
