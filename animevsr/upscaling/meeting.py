"""How processes that torchrun, slurm or a person started find each other."""
import functools
import os
import re
import subprocess
from datetime import timedelta
from typing import NamedTuple

PATIENCE = timedelta(minutes=10)  # for the first process to be there


class Place(NamedTuple):
    """The store that all processes see (of torch.distributed), and which one this is: of all, and of those on its machine."""
    store: object
    rank: int
    size: int
    local_rank: int
    local_size: int


def in_cluster():
    """Whether torchrun, slurm (srun) or a person started this process as one of several."""
    if 'RANK' in os.environ:
        return int(os.environ.get('WORLD_SIZE', 1)) > 1
    return 'SLURM_PROCID' in os.environ and int(os.environ.get('SLURM_STEP_NUM_TASKS', 1)) > 1


@functools.cache
def meet():
    """The `Place` of this process; the store is made once, in the first one or in torchrun's agent.

    Raises:
        ValueError: the environment does not say where the first one is.
    """
    if 'RANK' not in os.environ:
        return by_slurm(os.environ)
    return by_torchrun(os.environ) if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True' else by_hand(os.environ)


def by_torchrun(said):
    from torch.distributed import PrefixStore, rendezvous
    store, rank, size = next(iter(rendezvous('env://')))
    # the agent's store outlives processes that it starts anew
    return Place(PrefixStore(said.get('TORCHELASTIC_RESTART_COUNT', '0'), store), rank, size, int(said['LOCAL_RANK']),
                 int(said['LOCAL_WORLD_SIZE']))


def by_hand(said):
    missing = [name for name in ('WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT') if name not in said]
    if missing:
        raise ValueError(f'RANK is set, but {" and ".join(missing)} not')
    rank, size = int(said['RANK']), int(said['WORLD_SIZE'])
    return Place(store(said['MASTER_ADDR'], said['MASTER_PORT'], rank, 'processes'), rank, size, int(said.get('LOCAL_RANK', rank)),
                 int(said.get('LOCAL_WORLD_SIZE', size)))


def by_slurm(said):
    rank, size = int(said['SLURM_PROCID']), int(said['SLURM_STEP_NUM_TASKS'])
    job, step = (int(said.get(name, 0)) for name in ('SLURM_JOB_ID', 'SLURM_STEP_ID'))
    port = said.get('MASTER_PORT') or 20000 + (job + 97 * step) % 10000
    bound = hasattr(os, 'sched_getaffinity') and len(os.sched_getaffinity(0)) < os.cpu_count()  # then slurm has divided the cores
    tasks = re.match(r'\d+', said.get('SLURM_STEP_TASKS_PER_NODE', str(size)))  # such as 4(x2),3
    first = first_node(said['SLURM_STEP_NODELIST'])
    return Place(store(first, port, rank, f'{job}.{step}'), rank, size, int(said.get('SLURM_LOCALID', rank)), 1 if bound else int(tasks[0]))


def store(address, port, rank, name):
    """A store that lives in the first process; the others may come later, or never."""
    from torch.distributed import PrefixStore, TCPStore
    return PrefixStore(name, TCPStore(address, int(port), is_master=rank == 0, wait_for_workers=False, timeout=PATIENCE))


def first_node(nodes):
    """The first host of slurm's list of nodes, such as 'node[03-07,12]'."""
    try:
        names = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not names and '[' in nodes:
        raise ValueError(f'scontrol is needed to read the list of nodes {nodes}; or set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT')
    return names[0] if names else nodes.split(',')[0]
