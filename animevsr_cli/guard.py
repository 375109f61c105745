"""How a command runs: every problem with the input is one line and a non-zero exit."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

# of modules that have another name
PACKAGES = {
    'cv2': 'opencv-python',
    'yaml': 'pyyaml',
    'PIL': 'pillow',
    'ffmpeg': 'ffmpeg-python',
    'skimage': 'scikit-image',
}


def guarded(function: Callable, interrupted: str) -> Any:
    """`function(animevsr)`; every problem with the input is one line and a non-zero exit; so is an interrupt,
    with what it means.
    """
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')  # a damaged image is reported once, in one line
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')  # as is a process that is gone
    os.environ.setdefault('SVT_LOG', '1')  # of AV1's encoder: errors alone
    for stream in (sys.stdout, sys.stderr):  # names of files may be anything
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    try:
        import animevsr
        from animevsr.errors import CheckpointError, MediaError
        from animevsr.utils.malloc_tuning import keep_freed_memory
    except ImportError as error:
        sys.exit(missing(error))
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
    except ImportError as error:  # most is imported when it is used
        sys.exit(missing(error))
    except RuntimeError as error:  # of torch and other runtimes: out of memory, a process that is gone
        if os.environ.get('ANIMEVSR_TRACEBACK'):
            raise
        reason = (str(error).splitlines() or [''])[0][:300]
        sys.exit(f'animevsr: {type(error).__name__}: {reason} (ANIMEVSR_TRACEBACK=1 shows where)')
    except MemoryError as error:
        sys.exit(f'animevsr: not enough memory ({error})')
    except Exception as error:
        if type(error).__module__ != 'cv2':
            raise
        sys.exit(f'animevsr: OpenCV: {" ".join(str(error).split())[:300]}')
    except KeyboardInterrupt:
        print(f'\nanimevsr: interrupted, {interrupted}', file=sys.stderr)
        sys.exit(130)


def missing(error: ImportError) -> str:
    """What to do about a package that is not there, or that cannot be imported."""
    package = (error.name or '').partition('.')[0]
    if package in ('animevsr', 'animevsr_cli'):
        raise error
    if not isinstance(error, ModuleNotFoundError):  # a library of the system, say
        return f'animevsr: {package or "a package"} cannot be imported: {error}'
    remedy = 'animevsr setup' if package == 'basicsr' else f'pip install {PACKAGES.get(package, package)}'
    return f'animevsr: the package {package} is missing; run: {remedy}'


def end_on_sigterm() -> None:
    """So that files that are half written are removed, and trainings end with this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
