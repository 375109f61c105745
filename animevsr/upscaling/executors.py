"""Where the shots of an upscaling are computed: in this process, in several of this machine, or on the nodes of a Ray cluster.

A task is one shot: it leaves a segment in the work folder, which all workers see. A task that runs twice is harmless, and one whose worker
is gone runs again.
"""
import multiprocessing
import os
import socket
import sys
import threading
import warnings
from abc import ABC, abstractmethod
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from signal import SIG_IGN, SIGINT, signal

from animevsr.upscaling.worker import DifferentRounding, work
from animevsr.utils.malloc_tuning import keep_freed_memory

POLL = 0.2  # seconds between two looks at the progress
RESTARTS = 2  # of the processes of this machine, after one of them has died


class Executor(ABC):
    """Runs tasks somewhere else than in this process."""

    @abstractmethod
    def run(self, job, plan, shots, progress):
        """Compute shots; `progress(frames)` is called with the number of frames that have been done since the last call.

        Shots that nobody could compute are left to the caller, with a warning. Errors of the input, the options or the output are raised.
        """


class LocalExecutor(Executor):
    """`jobs` processes on this machine, which share its devices."""

    def __init__(self, jobs):
        self.jobs = jobs

    def run(self, job, plan, shots, progress):
        context = multiprocessing.get_context('spawn')
        frames, number, seen = context.Value('q', 0), context.Value('q', 0), 0
        left, others = set(shots), multiprocessing.active_children()
        for _ in range(RESTARTS + 1):
            pool = ProcessPoolExecutor(min(self.jobs, len(left)), context, _start_process, (job, plan, frames, number))
            try:
                tasks = {pool.submit(_run_in_process, shot): shot for shot in sorted(left)}
                pending = set(tasks)
                while pending:
                    done, pending = wait(pending, POLL, FIRST_COMPLETED)
                    progress(frames.value - seen)
                    seen = frames.value
                    for task in done:
                        task.result()
                        left.discard(tasks[task])
                return
            except BrokenProcessPool:
                warnings.warn('a worker stopped before its work was done; its shot is computed again', stacklevel=2)
            finally:  # an interrupt does not wait for the shots that are being computed
                if left:
                    for process in set(multiprocessing.active_children()) - set(others):
                        process.terminate()
                pool.shutdown(wait=not left, cancel_futures=True)


def _start_process(job, plan, frames, number):
    """What a process of `LocalExecutor` begins with; its network is loaded by its first task."""
    global _worker
    signal(SIGINT, SIG_IGN)  # the first process ends this one
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(), ), daemon=True).start()
    keep_freed_memory()
    with number.get_lock():
        rank, number.value = number.value, number.value + 1

    def progress(count):
        with frames.get_lock():
            frames.value += count

    _worker = dict(job=job, plan=plan, rank=rank, upscaler=None, progress=progress)


def _run_in_process(shot):
    job, plan = _worker['job'], _worker['plan']
    if _worker['upscaler'] is None:
        _worker['upscaler'] = job.open_same_upscaler(plan, _worker['rank'])
    work(job, plan, [shot], _worker['upscaler'], _worker['progress'])


def _end_with(process):
    """End this process as soon as another one has ended, by whatever."""
    process.join()
    os._exit(1)


class RayExecutor(Executor):
    """The nodes of a Ray cluster, which share the folders of input and output; Ray runs the tasks of a node that is gone elsewhere.

    Args:
        address (str): of the cluster; 'auto' finds the one that this machine belongs to.
        jobs (int): tasks that share a GPU.

    Raises:
        ValueError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, address, jobs):
        os.environ.setdefault('RAY_BACKEND_LOG_LEVEL', 'fatal')  # a cluster that is not there is reported once, in one line
        try:
            import ray
        except ModuleNotFoundError:
            raise ValueError("cluster: the package ray is missing; run: pip install 'ray>=2.40'") from None
        self.ray, self.jobs = ray, jobs
        if not ray.is_initialized():
            try:
                host, _, port = address.removeprefix('ray://').rpartition(':')
                if host:  # where nobody listens, Ray ends the process after a minute
                    socket.create_connection((host, int(port)), 10).close()
                ray.init(address=address, log_to_driver=False, logging_level='ERROR')
            except (ConnectionError, OSError, ValueError, RuntimeError) as error:
                raise ValueError(f"cluster '{address}': no Ray cluster answers there ({' '.join(str(error).split())[:150]}); start one: "
                                 'ray start --head') from None

    def run(self, job, plan, shots, progress):
        ray, excluded = self.ray, []
        nodes = [node['Resources'] for node in ray.nodes() if node['Alive'] and node['Resources'].get('CPU')]
        # no more than the smallest node has, or its tasks would never start
        cores = min(int(min(node['CPU'] for node in nodes)), plan.backend_id['threads'] or job.options.compute.threads or sys.maxsize)
        gpus = 1 / self.jobs if any(node.get('GPU') for node in nodes) and job.options.compute.device != 'cpu' else 0
        task = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=5)(_run_on_node)
        shared = ray.put((job, plan))
        pending = {task.remote(shared, shot): shot for shot in shots}
        try:
            while pending:
                done, _ = ray.wait(list(pending), timeout=POLL)
                for reference in done:
                    shot = pending.pop(reference)
                    try:
                        ray.get(reference)
                        progress(len(plan.frames_of(shot)))
                    except DifferentRounding as error:
                        excluded.append(str(error).splitlines()[-1])
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause if isinstance(error.cause, (ValueError, OSError, RuntimeError)) else error from None
                    except ray.exceptions.RayError as error:
                        warnings.warn(f'a worker was lost ({type(error).__name__}); its shot is computed here', stacklevel=2)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
        if excluded:
            warnings.warn(f'workers that would round differently are excluded, {len(excluded)} shots are computed here: {excluded[0]}',
                          stacklevel=2)


_opened = {}  # of a worker process of Ray: the network of the last job


def _run_on_node(shared, shot):
    job, plan = shared
    key = repr((job, plan.tile, plan.backend_id))
    if key not in _opened:
        _opened.clear()
        _opened[key] = job.open_same_upscaler(plan)
    work(job, plan, [shot], _opened[key], lambda frames: None)


def executor_for(options, shots):
    """The executor for so many shots, or None for this process."""
    if options.cluster:
        return RayExecutor(options.cluster, options.jobs)
    return LocalExecutor(min(options.jobs, shots)) if options.jobs > 1 and shots > 1 else None
