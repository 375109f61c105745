"""The same function on many things, in processes of this machine or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

RETRIES = 3  # of a task whose node is gone


def run_tasks(
    function: Callable, items: Sequence, jobs: int | None = None, cluster: str | None = None
) -> Iterator[tuple[Any, Any]]:
    """(item, result) of each item, in the order in which they are done.

    Args:
        function: of a module, called with one item. Errors of the input it must return, not raise.
        jobs (int | None): processes. Default: the CPUs; with 1 nothing is forked.
        cluster (str | None): 'auto' or the address of a Ray cluster instead, whose nodes see the same files.

    Raises:
        ValueError: Ray is not installed, or there is no such cluster.
    """
    if cluster is not None:
        yield from on_cluster(function, items, cluster)
        return
    jobs = min(jobs or os.cpu_count() or 1, len(items))
    if jobs <= 1:
        yield from ((item, function(item)) for item in items)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn')) as pool:
        todo = {pool.submit(function, item): item for item in items}
        try:
            for future in as_completed(todo):
                yield todo[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def on_cluster(function: Callable, items: Sequence, address: str) -> Iterator[tuple[Any, Any]]:
    try:
        import ray
    except ImportError:
        raise ValueError("cluster: needs Ray; run: pip install '.[cluster]'") from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False)
        except ConnectionError as error:
            raise ValueError(f'cluster {address}: {str(error).splitlines()[0]}') from None
    task = ray.remote(function).options(max_retries=RETRIES)
    todo = {task.remote(item): item for item in items}
    while todo:
        (done,), _ = ray.wait(list(todo))
        yield todo.pop(done), ray.get(done)
