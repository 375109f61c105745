"""Where the shots of an upscaling are computed: in this process, in several of this machine, or on the nodes
of a Ray cluster.

A task is one shot: it leaves a segment in the work folder, which all workers see. A task that runs twice is
harmless, and one whose worker is gone runs again.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from animevsr.errors import CheckpointError, MediaError
from animevsr.upscaling.job import DifferentRounding
from animevsr.upscaling.worker import ShotWorker
from animevsr.utils.malloc_tuning import keep_freed_memory
from animevsr.utils.ray_cluster import connect
from animevsr.utils.tasks import process_pool

if TYPE_CHECKING:
    from animevsr.upscaling.job import Job
    from animevsr.upscaling.options import UpscaleOptions
    from animevsr.upscaling.plan import Plan


POLL = 0.2  # seconds between two looks at the progress


class Executor(ABC):
    """Runs tasks somewhere else than in this process."""

    @abstractmethod
    def run(self, job: Job, plan: Plan, shots: list[int], progress: Callable[[int], None]) -> list[int]:
        """Compute shots; `progress(frames)` is called with the number of frames that have been done since the
        last call.

        Returns:
            list[int]: shots that could not be computed, which are left to the caller; a warning says why.

        Raises:
            MediaError, CheckpointError, ValueError: the input, the output or the options are wrong.
        """


class LocalExecutor(Executor):
    """`jobs` processes on this machine, which share its devices. When one of them dies or cannot go on (no
    memory), the work goes on with one less."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def run(self, job: Job, plan: Plan, shots: list[int], progress: Callable[[int], None]) -> list[int]:
        left, jobs = set(shots), self.jobs
        while left and jobs > 0:
            try:
                self._run(job, plan, left, min(jobs, len(left)), progress)
            except (DifferentRounding, RuntimeError, MemoryError) as error:
                reason = (
                    'it was killed'
                    if isinstance(error, BrokenProcessPool)
                    else ' '.join(str(error).split())[:200]
                )
                jobs -= 1
                rest = f'{jobs} of them' if jobs else 'this process alone'
                warnings.warn(
                    f'a worker process has stopped ({reason}); the work goes on with {rest}', stacklevel=2
                )
        return sorted(left)

    def _run(self, job, plan, left, jobs, progress):
        """Compute the shots of the set `left`, and take those that are done out of it."""
        context = multiprocessing.get_context('spawn')
        frames, number, seen = context.Value('q', 0), context.Value('q', 0), 0
        with process_pool(jobs, _start_process, (job, plan, frames, number)) as pool:
            tasks = {pool.submit(_run_in_process, shot): shot for shot in sorted(left)}
            pending = set(tasks)
            while pending:
                done, pending = wait(pending, POLL, FIRST_COMPLETED)
                progress(frames.value - seen)
                seen = frames.value
                for task in done:
                    task.result()
                    left.discard(tasks[task])


def _start_process(job, plan, frames, number):
    """What a process of `LocalExecutor` begins with; its network is loaded by its first task."""
    global _worker
    keep_freed_memory()
    with number.get_lock():
        rank, number.value = number.value, number.value + 1

    def progress(count):
        with frames.get_lock():
            frames.value += count

    _worker = dict(job=job, plan=plan, rank=rank, worker=None, progress=progress)


def _run_in_process(shot):
    job, plan = _worker['job'], _worker['plan']
    if _worker['worker'] is None:
        _worker['worker'] = ShotWorker(job, plan, job.open_same_upscaler(plan, _worker['rank']))
    _worker['worker'].compute(shot, _worker['progress'])


class RayExecutor(Executor):
    """The nodes of a Ray cluster, which share the folders of input and output; Ray runs the tasks of a node
    that is gone elsewhere.

    Args:
        address (str): of the cluster; 'auto' finds the one that this machine belongs to.
        jobs (int): tasks that share a GPU.

    Raises:
        ValueError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str | None, jobs: int) -> None:
        self.ray = connect(address)
        self.jobs = jobs

    def resources(self, job: Job, plan: Plan) -> Any:
        """(CPUs, GPUs) that a task asks for: no more than the smallest node has, or it would never start."""
        nodes = [
            node['Resources'] for node in self.ray.nodes() if node['Alive'] and node['Resources'].get('CPU')
        ]
        if not nodes:
            raise ValueError('the Ray cluster has no CPUs')
        gpu_nodes = [node for node in nodes if node.get('GPU')]
        if gpu_nodes and job.options.compute.may_use_gpu:
            return (
                max(1, int(min(node['CPU'] // (node['GPU'] * self.jobs) for node in gpu_nodes))),
                1 / self.jobs,
            )
        threads = plan.backend_id['threads'] or job.options.compute.threads
        return min(int(min(node['CPU'] for node in nodes)), threads or sys.maxsize), 0

    def run(self, job: Job, plan: Plan, shots: list[int], progress: Callable[[int], None]) -> list[int]:
        ray, left = self.ray, {}
        cpus, gpus = self.resources(job, plan)
        if not plan.backend_id['threads']:  # the machine's cores are not all this task's
            job = replace(job, options=job.options.with_compute(threads=cpus))
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=5)(_run_on_node)
        shared = ray.put((job, plan))
        pending = {task.remote(shared, shot): shot for shot in shots}
        try:
            while pending:
                done, _ = ray.wait(list(pending), timeout=POLL)
                for reference in done:
                    shot = pending.pop(reference)
                    try:
                        ray.get(reference)
                        progress(len(plan.frame_numbers(shot)))
                    except DifferentRounding as error:
                        left[shot] = f'it would round differently: {str(error).splitlines()[-1]}'
                    except ray.exceptions.RayTaskError as error:
                        cause = error.cause
                        if isinstance(cause, (MediaError, CheckpointError, ValueError, OSError)):
                            raise type(cause)(*cause.args) from None
                        left[shot] = f'{type(cause).__name__}: {" ".join(str(cause).split())[:200]}'
                    except ray.exceptions.RayError as error:
                        left[shot] = type(error).__name__
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
        if left:
            reason = next(iter(left.values()))
            warnings.warn(
                f'workers of the cluster were excluded ({reason}); {len(left)} of {len(shots)} shots are'
                ' computed here',
                stacklevel=2,
            )
        return sorted(left)


_opened = {}  # of a worker process of Ray: what computes the shots of the last job


def _run_on_node(shared, shot):
    job, plan = shared
    # the fingerprint tells files that were changed in place
    key = repr((job, plan.tile, plan.backend_id, plan.ticks, plan.fingerprint))
    if key not in _opened:
        for worker in _opened.values():
            worker.close()
        _opened.clear()
        _opened[key] = ShotWorker(job, plan, job.open_same_upscaler(plan))
    _opened[key].compute(shot, lambda frames: None)


def executor_for(options: UpscaleOptions, shots: int) -> Executor | None:
    """The executor for so many shots, or None for this process."""
    if options.cluster and shots:
        return RayExecutor(options.cluster, options.jobs)
    return LocalExecutor(min(options.jobs, shots)) if options.jobs > 1 and shots > 1 else None
