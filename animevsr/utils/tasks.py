"""The same function on many things, in processes of this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from signal import SIG_IGN, SIGINT, SIGTERM, signal
from typing import Any

from animevsr.utils.interrupts import check
from animevsr.utils.ray_cluster import connect
from animevsr.utils.threads import usable_cores

POLL = 0.2  # seconds between two looks at whether an interrupt came
MOST = 61 if sys.platform == 'win32' else 10_000  # processes, for which Windows waits at once
RETRIES = 3  # of a task whose node is gone
GRACE = 3  # seconds in which a process that is to end may remove its unfinished files

_ending = False  # whether this process is to end


def run_tasks(
    function: Callable, items: Sequence, jobs: int | None = None, cluster: str | None = None
) -> Iterator[tuple[Any, Any, str]]:
    """(item, result, what went wrong or '') of each item, in the order in which they are done. One that
    fails, or whose process is killed, has no result, and stops none of the others. An interrupt
    (`animevsr.utils.interrupts`) does not wait for those that are being worked on.

    Args:
        function: of a module, called with one item.
        jobs (int | None): processes. Default: the cores that this process may use; with 1 nothing is forked.
        cluster (str | None): 'auto' or the address of a Ray cluster instead, whose nodes see the same files.

    Raises:
        ValueError: Ray is not installed, or there is no such cluster.
    """
    attempt = functools.partial(attempted, function)
    if cluster is not None:
        yield from on_cluster(attempt, items, cluster)
        return
    jobs = min(jobs or usable_cores(), len(items), MOST)
    if jobs <= 1:
        for item in items:
            result, problem = attempt(item)
            yield item, result, problem
            check()
        return
    with process_pool(jobs) as pool:
        todo = {pool.submit(attempt, item): item for item in items}
        pending = set(todo)
        while pending:
            done, pending = wait(pending, POLL, FIRST_COMPLETED)
            for future in done:
                try:
                    result, problem = future.result()
                except BrokenProcessPool:
                    result, problem = None, 'a process was killed (out of memory?); run it again'
                yield todo[future], result, problem
            check()


@contextlib.contextmanager
def process_pool(
    jobs: int, start: Callable | None = None, arguments: tuple = ()
) -> Iterator[ProcessPoolExecutor]:
    """Processes that begin with `start(*arguments)`. Where the block is left by an exception, or this process
    ends by whatever, they end at once: what they are at is not waited for, but it may remove its unfinished
    files. Ctrl-C is for this process alone.
    """
    others = multiprocessing.active_children()
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(jobs, context, _start_process, (start, arguments))
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - set(others):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _start_process(start, arguments):
    signal(SIGINT, SIG_IGN)
    signal(SIGTERM, _end)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    if start is not None:
        start(*arguments)


def _end(*_):
    """End this process by an exception, so that what it is at can clear up; and soon."""
    global _ending
    _ending = True
    timer = threading.Timer(GRACE, os._exit, (143,))
    timer.daemon = True
    timer.start()
    sys.exit(143)


def _end_with(process):
    """End this process as soon as another one has ended."""
    process.join()
    os._exit(1)


def attempted(function: Callable, item: Any) -> tuple[Any, str]:
    """(result, '') of a call, or (None, what it raised in one line)."""
    if _ending:  # the pool goes on to the next item
        os._exit(143)
    try:
        return function(item), ''
    except Exception as error:  # of whatever a damaged file makes a library raise
        return None, ' '.join(str(error).split()) or type(error).__name__


def on_cluster(attempt: Callable, items: Sequence, address: str) -> Iterator[tuple[Any, Any, str]]:
    """`run_tasks` on the nodes of a Ray cluster."""
    ray = connect(address)
    task = ray.remote(attempt_remotely).options(max_retries=RETRIES)
    todo = {task.remote(attempt, item): item for item in items}
    try:
        while todo:
            finished, _ = ray.wait(list(todo), timeout=POLL)
            for done in finished:
                try:
                    result, problem = ray.get(done)
                except ray.exceptions.RayError as error:
                    result, problem = None, f'lost on the cluster ({type(error).__name__}); run it again'
                yield todo.pop(done), result, problem
            check()
    finally:
        for reference in todo:
            ray.cancel(reference, force=True)


def attempt_remotely(attempt: Callable, item: Any) -> tuple[Any, str]:
    """Ray takes functions, and no partial ones."""
    return attempt(item)
