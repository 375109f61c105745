"""Several workers on one work list: processes on this machine, or those that torchrun or slurm started on many.

The list is a counter in torch.distributed's store; who adds to it takes that shot. The results lie in a folder that all of them see.
"""
import contextlib
import itertools
import multiprocessing
import threading
import time
import warnings

from animevsr.errors import MediaError
from animevsr.upscaling.meeting import in_cluster, meet

POLL = 0.2  # seconds between two looks at the store
BEAT = 2  # seconds between two signs of life
SILENCE = 60  # seconds without one after which a process of a cluster is taken for dead
PARTING = 10  # seconds that the first process, in which the store may live, waits for the others


class Alone:
    """The only worker. The others have the same methods; each is a context, whose end tells the other workers."""

    rank, size, local_rank, local_size = 0, 1, 0, 1

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
        """Shots of a list that nobody else has taken."""
        while True:
            place = self.store.add('claim', 1) - 1
            if place >= len(todo):
                return
            yield todo[place]

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


class Gone(MediaError):
    """The first process of a cluster has stopped."""


class Cluster(Group):
    """Processes that torchrun or slurm started, on one machine or on many that share a folder. All of them make the same calls in the
    same order; each call has keys of its own in the store, also one that is made within another.

    Attributes:
        local_rank, local_size (int): among the processes that share a machine.
    """

    calls, current, lost = itertools.count(), [], set()  # of this process; the ranks that gave no sign of life

    def __init__(self):
        from torch.distributed import PrefixStore
        store, rank, size, self.local_rank, self.local_size = meet()
        outer = self.current[-1] if self.current else None
        super().__init__(PrefixStore(f'call{next(outer.within if outer else self.calls)}', outer.store if outer else store), rank, size)
        self.within, self.stop = itertools.count(), threading.Event()
        self.current.append(self)
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
        """Wait, for as long as it takes, until the first process tells `key`; its end, in this call or an outer one, ends it.

        Raises:
            Gone
        """
        try:
            while not self.store.check([key]):
                if any(group.has_failed() for group in self.current):
                    raise Gone('the first process has stopped; see what it said')
                time.sleep(POLL)
            return self.store.get(key).decode()[:-1]
        except RuntimeError:
            raise Gone('the first process is gone') from None

    def has_failed(self):
        """Whether the first process has stopped before the end of this call."""
        try:
            return self.store.check(['failed'])
        except RuntimeError:
            return True

    def wait(self, progress):
        """Wait until all have done their shares; one without a sign of life is left behind, and its work is up to the caller."""
        beats = dict.fromkeys(range(1, self.size), (0, time.monotonic()))
        while beats:
            for rank, (beat, since) in list(beats.items()):
                now = self.store.add(f'alive{rank}', 0)
                if self.store.check([f'finished{rank}']):
                    del beats[rank]
                elif now != beat:
                    beats[rank] = now, time.monotonic()
                    self.lost.discard(rank)
                elif rank in self.lost:  # in an earlier call
                    del beats[rank]
                elif time.monotonic() - since > SILENCE:
                    warnings.warn(f'process {rank} gives no sign of life; its work is done here', stacklevel=2)
                    self.lost.add(rank)
                    del beats[rank]
            progress()
            time.sleep(POLL)

    def finish(self, failed):
        """The first process says that the output is there, or that it is not; the others that they have finished, and wait for that."""
        self.stop.set()
        self.current.remove(self)
        if self.rank == 0:
            self.tell('failed' if failed else 'joined')
            deadline = time.monotonic() + PARTING
            while self.store.add('left', 0) < self.size - 1 - len(self.lost) and time.monotonic() < deadline:
                time.sleep(POLL)
            return
        with contextlib.suppress(RuntimeError):
            self.tell(f'finished{self.rank}')  # also after an error: the first process then does what is left
        try:
            if not failed:
                self.hear('joined')
        finally:
            with contextlib.suppress(RuntimeError):
                self.store.add('left', 1)


def crew():
    """The `Cluster` that this process was started in, or `Alone`."""
    return Cluster() if in_cluster() else Alone()
