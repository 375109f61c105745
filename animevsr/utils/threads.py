"""Work that goes on in a thread beside the caller's: reading ahead, and writing behind."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from animevsr.utils.interrupts import check

if TYPE_CHECKING:
    import numpy as np


END = object()


def usable_cores() -> int:
    """Cores of the CPU that this process may use: in a share of a cluster fewer than all. A limit of time
    (docker --cpus) does not show here.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def prefetch(iterable: Iterator, size: int) -> Iterator[np.ndarray]:
    """The items of an iterable, which runs in a thread and is up to `size` items ahead. It can be stopped, by
    the end of this generator or a signal (see `interrupts`), at each of its items; an item that is None is no
    more than such a chance.
    """
    items, stop = queue.Queue(size), threading.Event()

    def run():
        try:
            for item in iterable:
                if stop.is_set() or (item is not None and not put(items, (item, None), stop)):
                    return
            put(items, (END, None), stop)
        except BaseException as error:  # noqa: BLE001  (it is raised where the items are taken)
            put(items, (END, error), stop)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = items.get(timeout=0.2)
            except queue.Empty:
                check()
                continue
            if error is not None:
                raise error
            if item is END:
                return
            yield item
    finally:
        stop.set()
        thread.join()


def put(items: Any, item: np.ndarray | object, stop: Any) -> bool:
    """Put an item into a queue, unless `stop` is set first; whether it was put."""
    while not stop.is_set():
        try:
            items.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


class BackgroundWriter:
    """Calls `function(item)` in a thread, in order, up to `size` items behind the caller. Leaving the context
    waits for all of them.

    What the function raises is raised by the next call, or on leaving.
    """

    def __init__(self, function: Callable, size: int) -> None:
        self.function = function
        self.items = queue.Queue(size)
        self.stop = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while True:
            item = self.items.get()
            if item is END or self.stop.is_set():
                return
            try:
                self.function(item)
            except BaseException as error:  # noqa: BLE001  (it is raised in the caller's thread)
                self.error = error
                self.stop.set()
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __call__(self, item: np.ndarray) -> None:
        if not put(self.items, item, self.stop):
            raise self.error

    def __exit__(self, kind, *_):
        if kind is None:
            put(self.items, END, self.stop)
        else:
            self.stop.set()
            with contextlib.suppress(queue.Full):
                self.items.put_nowait(END)
        self.thread.join()
        if kind is None and self.error is not None:
            raise self.error
