"""Several workers on one work list: processes on this machine, or those that torchrun or slurm started on many.

The list is a counter in torch.distributed's store; who adds to it takes that shot. The results lie in a folder that all of them see.
"""
import functools
import itertools
import multiprocessing
import os
import subprocess
import threading
import time
import warnings

from animevsr.video.reader import MediaError

POLL = 0.2  # seconds between two looks at the store
BEAT = 2  # seconds between two signs of life
SILENCE = 60  # seconds without one after which a process of a cluster is taken for dead
PARTING = 10  # seconds that the first process, in which the store may live, waits for the others


def claims(store, todo):
    """Shots of a list that nobody else has taken."""
    while True:
        place = store.add('claim', 1) - 1
        if place >= len(todo):
            return
        yield todo[place]


class Alone:
    """The only worker. The others have the same methods; each is a context, whose end tells the other workers."""

    rank, size = 0, 1

    def share(self, todo):
        """The shots that this worker is to do."""
        return todo

    def count(self, frames):
        """Note frames as done."""

    def counted(self):
        """The frames that all workers have done, or None where nobody counts."""
        return

    def tell(self, key, value=''):
        """Tell the other workers something before they start."""

    def wait(self, progress):
        """Wait until the others have done their shares."""

    def finish(self, failed):
        """End the work of all."""

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.finish(kind is not None)


class Group(Alone):
    """Workers with a store of torch.distributed."""

    def __init__(self, store, rank, size):
        self.store, self.rank, self.size = store, rank, size

    def share(self, todo):
        return claims(self.store, todo)

    def count(self, frames):
        self.store.add('frames', frames)

    def counted(self):
        return self.store.add('frames', 0)


class Processes(Group):
    """`jobs` workers on this machine: this process and others that it starts.

    Args:
        jobs (int): in all.
        start: a function of a module, `start(job, plan, port, todo, rank)`, that a new process runs.
    """

    def __init__(self, jobs, start, job, plan, todo):
        from torch.distributed import TCPStore
        super().__init__(TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False), 0, jobs)
        context = multiprocessing.get_context('spawn')
        self.others = [context.Process(target=start, args=(job, plan, self.store.port, todo, rank), daemon=True) for rank in range(1, jobs)]
        for other in self.others:
            other.start()

    def wait(self, progress):
        """Wait for the other processes; what one that died left undone is up to the caller."""
        while any(other.is_alive() for other in self.others):
            progress()
            time.sleep(POLL)
        if any(other.exitcode for other in self.others):
            warnings.warn('a worker stopped before its work was done; the others took it over', stacklevel=2)

    def finish(self, failed):
        for other in self.others:
            if other.is_alive():
                other.terminate()
            other.join()


class Cluster(Group):
    """Processes that torchrun or slurm started, on one machine or on many that share a folder. All of them make the same calls in the
    same order; each call has keys of its own in the store."""

    calls = itertools.count()

    def __init__(self):
        from torch.distributed import PrefixStore
        store, rank, size = meeting()
        super().__init__(PrefixStore(f'call{next(self.calls)}', store), rank, size)
        self.stop = threading.Event()
        if rank:
            threading.Thread(target=self._live, daemon=True).start()

    def _live(self):
        """Give signs of life, from a thread of its own."""
        try:
            while not self.stop.is_set():
                self.store.add(f'alive{self.rank}', 1)
                self.stop.wait(BEAT)
        except RuntimeError:  # the store is gone, which the process itself notices, too
            return

    def tell(self, key, value=''):
        self.store.set(key, f'{value} ')  # a value must not be empty

    def hear(self, key):
        """Wait, for as long as it takes, until the first process tells `key`; 'failed' ends it.

        Raises:
            MediaError: that process has stopped.
        """
        try:
            while not self.store.check([key]):
                if self.store.check(['failed']):
                    raise MediaError('the first process has stopped; see what it said')
                time.sleep(POLL)
            return self.store.get(key).decode()[:-1]
        except RuntimeError:
            raise MediaError('the first process is gone') from None

    def wait(self, progress):
        """Wait until all have done their shares; one without a sign of life is left behind, and its work is up to the caller."""
        beats = dict.fromkeys(range(1, self.size), (None, time.monotonic()))
        while beats:
            for rank, (beat, since) in list(beats.items()):
                now = self.store.add(f'alive{rank}', 0)
                if self.store.check([f'finished{rank}']):
                    del beats[rank]
                elif now != beat:
                    beats[rank] = now, time.monotonic()
                elif time.monotonic() - since > SILENCE:
                    warnings.warn(f'process {rank} gives no sign of life; its work is done here', stacklevel=2)
                    del beats[rank]
            progress()
            time.sleep(POLL)

    def finish(self, failed):
        """The first process says that the output is there, or that it is not; the others that they have finished, and wait for that."""
        self.stop.set()
        if self.rank == 0:
            self.tell('failed' if failed else 'joined')
            deadline = time.monotonic() + PARTING
            while self.store.add('left', 0) < self.size - 1 and time.monotonic() < deadline:
                time.sleep(POLL)
            return
        try:
            self.tell(f'finished{self.rank}')  # also after an error: the first process then does what is left
            if not failed:
                self.hear('joined')
            self.store.add('left', 1)
        except RuntimeError:
            if not failed:
                raise MediaError('the first process is gone') from None


@functools.cache
def meeting():
    """(store, rank, number of processes) of this process and the others; the store is made once."""
    from torch.distributed import rendezvous
    if 'RANK' not in os.environ:
        step = os.environ
        step.update(RANK=step['SLURM_PROCID'], WORLD_SIZE=step['SLURM_STEP_NUM_TASKS'], MASTER_ADDR=first_node(step['SLURM_STEP_NODELIST']),
                    MASTER_PORT=step.get('MASTER_PORT') or str(20000 + int(step.get('SLURM_JOB_ID', 9500)) % 10000))
    return next(iter(rendezvous('env://')))


def first_node(nodes):
    """The first host of slurm's list of nodes, such as 'node[03-07,12]'."""
    try:
        names = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not names and '[' in nodes:
        raise ValueError(f'scontrol is needed to read the list of nodes {nodes}; or set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT')
    return names[0] if names else nodes.split(',')[0]


def in_cluster():
    """Whether torchrun or slurm (srun) started this process as one of several."""
    if 'RANK' in os.environ:
        return int(os.environ.get('WORLD_SIZE', 1)) > 1
    return 'SLURM_PROCID' in os.environ and int(os.environ.get('SLURM_STEP_NUM_TASKS', 1)) > 1


def crew():
    """The `Cluster` that this process was started in, or `Alone`."""
    return Cluster() if in_cluster() else Alone()
