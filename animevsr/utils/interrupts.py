"""Ctrl-C and termination at a moment that suits the work."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_came, _handlers = [], {}  # signals that wait, and what they are handled by otherwise


@contextlib.contextmanager
def at_checks() -> Iterator[None]:
    """Within, SIGINT and SIGTERM wait until `check()` or the end; a second one does not wait.

    What a handler raises can come up anywhere: in the callback of a weak reference or in `__del__`, where
    Python drops it, so that the work goes on; or while a thread is waited for, whose file is then closed
    under it. Nothing is changed outside the main thread, for a signal whose handler is not Python's, or
    within another `at_checks`.
    """
    if _handlers or threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            _handlers[number] = signal.signal(number, _note)
    try:
        yield
        check()
    finally:
        for number, handler in _handlers.items():
            signal.signal(number, handler)
        _handlers.clear()
        _came.clear()


def check() -> None:
    """Handle a signal that waits: raises KeyboardInterrupt, or whatever its handler does."""
    if _came:
        number = _came[0]
        _handlers[number](number, None)
        _came.clear()  # the handler let it pass


def _note(number, frame):
    _came.append(number)
    if len(_came) > 1:
        _handlers[number](number, frame)
