"""The same function on many things, in processes of this machine or on a Ray cluster."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from animevsr.utils.ray_cluster import connect

RETRIES = 3  # of a task whose node is gone


def run_tasks(
    function: Callable, items: Sequence, jobs: int | None = None, cluster: str | None = None
) -> Iterator[tuple[Any, Any, str]]:
    """(item, result, what went wrong or '') of each item, in the order in which they are done. One that
    fails, or whose process is killed, has no result, and stops none of the others.

    Args:
        function: of a module, called with one item.
        jobs (int | None): processes. Default: the CPUs; with 1 nothing is forked.
        cluster (str | None): 'auto' or the address of a Ray cluster instead, whose nodes see the same files.

    Raises:
        ValueError: Ray is not installed, or there is no such cluster.
    """
    attempt = functools.partial(attempted, function)
    if cluster is not None:
        yield from on_cluster(attempt, items, cluster)
        return
    jobs = min(jobs or os.cpu_count() or 1, len(items))
    if jobs <= 1:
        yield from ((item, *attempt(item)) for item in items)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn')) as pool:
        todo = {pool.submit(attempt, item): item for item in items}
        try:
            for future in as_completed(todo):
                try:
                    result, problem = future.result()
                except BrokenProcessPool:
                    result, problem = None, 'a process was killed (out of memory?); run it again'
                yield todo[future], result, problem
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def attempted(function: Callable, item: Any) -> tuple[Any, str]:
    """(result, '') of a call, or (None, what it raised in one line)."""
    try:
        return function(item), ''
    except Exception as error:  # of whatever a damaged file makes a library raise
        return None, ' '.join(str(error).split()) or type(error).__name__


def on_cluster(attempt: Callable, items: Sequence, address: str) -> Iterator[tuple[Any, Any, str]]:
    """`run_tasks` on the nodes of a Ray cluster."""
    ray = connect(address)
    task = ray.remote(attempt_remotely).options(max_retries=RETRIES)
    todo = {task.remote(attempt, item): item for item in items}
    while todo:
        (done,), _ = ray.wait(list(todo))
        try:
            result, problem = ray.get(done)
        except ray.exceptions.RayError as error:
            result, problem = None, f'lost on the cluster ({type(error).__name__}); run it again'
        yield todo.pop(done), result, problem


def attempt_remotely(attempt: Callable, item: Any) -> tuple[Any, str]:
    """Ray takes functions, and no partial ones."""
    return attempt(item)
