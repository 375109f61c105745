"""Files: written whole or not at all, notes of what a folder is made of, locks."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from animevsr.errors import MediaError

UMASK = os.umask(0)  # which can be read by setting it alone
os.umask(UMASK)


def read_toml(path: str | Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        ValueError: it cannot be read, or is not TOML; names it.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding='utf-8-sig'))  # Windows' editors mark UTF-8
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error.strerror})') from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: is not TOML ({error})') from None


def make_partial_path(path: Path) -> Path:
    """Where a part of the work lies until it is complete, of a name that no other process uses, on whatever
    machine.
    """
    return path.with_name(f'{path.stem}.{socket.gethostname()}-{os.getpid()}.partial{path.suffix}')


@contextlib.contextmanager
def atomic_file(path: Path, writers: int = 1) -> Iterator[Path]:
    """A hidden path beside `path` to write to, moved there at the end; after any error, an interrupt
    included, nothing appears there, and what was there before stays. With more than one of `writers` at a
    time each has a path of its own.
    """
    hidden = path.with_name(f'.{path.name}')
    partial = (
        make_partial_path(hidden) if writers > 1 else path.with_name(f'.{path.stem}.partial{path.suffix}')
    )
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, is_complete: Any = Path.is_dir) -> Iterator[Any]:
    """A new hidden folder beside `path` to fill, moved there at the end. Where another process was faster
    (`is_complete(path)`), its result stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix='.partial-', dir=path.parent))
    try:
        yield partial
        with contextlib.suppress(OSError):  # `mkdtemp` keeps all others out, who may share a cache
            partial.chmod(0o777 & ~UMASK)
        os.replace(partial, path)
    except OSError:
        if not is_complete(path):
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; of names that are not UTF-8, bytes as \\udcNN."""
    with atomic_file(path, writers=2) as partial:
        partial.write_text(text, encoding='utf8', errors='backslashreplace')


def check_note(note: Path, text: str, message: str) -> None:
    """Note of what the files beside it are made: it is written where there is none.

    Raises:
        MediaError: it says something else; with this message.
    """
    written = text.encode('utf8', 'backslashreplace').decode('utf8')  # as `write_text` does
    if note.exists() and note.read_text(encoding='utf8', errors='backslashreplace') != written:
        raise MediaError(message)
    if not note.exists():
        write_text(note, text)


def no_folder(path: Path) -> str:
    """What to say of a path that should be a folder."""
    return 'is a file; name the folder it is in' if path.is_file() else 'no such folder'


def make_folder(path: Path) -> None:
    """Make a folder for results where it is missing.

    Raises:
        MediaError: it cannot be made, or nothing can be written into it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = 'a file has this name' if path.is_file() else error.strerror
        raise MediaError(f'{path}: cannot be made ({reason}); name another output') from None
    if not os.access(path, os.W_OK):
        raise MediaError(f'{path}: is not writable; name another output')


def check_folder(path: Path) -> None:
    """MediaError unless something can be made at `path`."""
    if not path.parent.is_dir():
        raise MediaError(f'{path}: its folder does not exist')
    if not os.access(path.parent, os.W_OK):
        raise MediaError(f'{path}: its folder is not writable')


def check_file(path: Path) -> None:
    """MediaError unless a file can be made at `path`."""
    check_folder(path)
    if path.is_dir():
        raise MediaError(f'{path}: is a folder')


def inherited_lock(path: Path) -> Any:
    """A file, made where it is missing, that is locked until it is closed, also in processes that inherit it
    (filelock's are not).

    Where there are no locks (Windows, some network folders) nobody is kept away.

    Raises:
        BlockingIOError: another process holds it.
    """
    file = open(path, 'w')  # noqa: SIM115  (the caller closes it)
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            file.close()
            raise BlockingIOError(error.errno, f'{path}: is locked') from None
    return file
