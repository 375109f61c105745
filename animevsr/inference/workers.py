"""Several workers on one work list: processes on this machine, or those that torchrun or slurm started on many.

The list is a counter in torch.distributed's store; who adds to it takes that shot. The results lie in a folder that all of them see.
"""
import multiprocessing
import os
import subprocess
import sys
import time
import warnings

from animevsr.video.reader import MediaError

POLL = 0.2  # seconds


def claims(store, todo):
    """Shots of a list that nobody else has taken."""
    while True:
        place = store.add('claim', 1) - 1
        if place >= len(todo):
            return
        yield todo[place]


class Alone:
    """The only worker."""

    rank, size = 0, 1

    def share(self, todo):
        return todo

    def count(self, frames):
        pass

    def counted(self):
        return None

    def wait(self, progress):
        pass

    def finish(self, error=None):
        pass


class Processes:
    """`jobs` workers on this machine: this process and others that it starts.

    Args:
        jobs (int): in all.
        start: a function of a module, `start(job, plan, port, todo, rank)`, that a new process runs.
    """

    rank = 0

    def __init__(self, jobs, start, job, plan, todo):
        from torch.distributed import TCPStore
        self.store, self.size = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False), jobs
        context = multiprocessing.get_context('spawn')
        self.others = [context.Process(target=start, args=(job, plan, self.store.port, todo, rank), daemon=True) for rank in range(1, jobs)]
        for other in self.others:
            other.start()

    def share(self, todo):
        return claims(self.store, todo)

    def count(self, frames):
        self.store.add('frames', frames)

    def counted(self):
        return self.store.add('frames', 0)

    def wait(self, progress):
        """Wait for the other processes; what one that died left undone is up to the caller."""
        while any(other.is_alive() for other in self.others):
            progress()
            time.sleep(POLL)
        if any(other.exitcode for other in self.others):
            warnings.warn('a worker stopped before its work was done; the others took it over', stacklevel=2)

    def finish(self, error=None):
        for other in self.others:
            if other.is_alive():
                other.terminate()
            other.join()


class Cluster:
    """Processes that torchrun or slurm started, on one machine or on many that share a folder."""

    def __init__(self):
        from torch.distributed import rendezvous
        self.store, self.rank, self.size = next(iter(rendezvous('env://')))

    def share(self, todo):
        return claims(self.store, todo)

    def count(self, frames):
        self.store.add('frames', frames)

    def counted(self):
        return self.store.add('frames', 0)

    def tell(self, key, value='1'):
        self.store.set(key, value)

    def hear(self, key):
        """Wait, for as long as it takes, until somebody says `key`; 'failed' ends it."""
        while not self.store.check([key]):
            if self.store.check(['failed']):
                raise MediaError('the first process has stopped; see what it said')
            time.sleep(POLL)
        return self.store.get(key).decode()

    def wait(self, progress):
        """Wait until all have finished their shares."""
        while self.store.add('finished', 0) < self.size - 1:
            progress()
            time.sleep(POLL)

    def finish(self, error=None):
        """The first process says that the output is there, or that it is not; the others that they have finished, and wait for that."""
        if self.rank == 0:
            self.tell('failed' if error else 'joined')
            deadline = time.monotonic() + 10
            while self.store.add('left', 0) < self.size - 1 and time.monotonic() < deadline:  # the store lives in this process
                time.sleep(POLL)
        else:
            self.store.add('finished', 1)  # also after an error: the first process then does what is left
            try:
                if error is None:
                    self.hear('joined')
            finally:
                self.store.add('left', 1)


def in_cluster():
    """Whether torchrun or slurm (srun) started this process as one of several."""
    return max(int(os.environ.get(name, 1)) for name in ('WORLD_SIZE', 'SLURM_STEP_NUM_TASKS')) > 1


def cluster():
    """The `Cluster` that this process was started in, or None."""
    if 'RANK' not in os.environ and int(os.environ.get('SLURM_STEP_NUM_TASKS', 1)) > 1 and 'SLURM_PROCID' in os.environ:
        nodes = subprocess.run(['scontrol', 'show', 'hostnames', os.environ['SLURM_STEP_NODELIST']], capture_output=True, text=True).stdout
        os.environ.update(RANK=os.environ['SLURM_PROCID'], WORLD_SIZE=os.environ['SLURM_STEP_NUM_TASKS'],
                          MASTER_ADDR=[*nodes.split(), '127.0.0.1'][0], MASTER_PORT=os.environ.get('MASTER_PORT', '29500'))
    if int(os.environ.get('WORLD_SIZE', 1)) < 2 or 'MASTER_ADDR' not in os.environ:
        return None
    sys.stdout.flush()
    return Cluster()
