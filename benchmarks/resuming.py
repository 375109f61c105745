"""Saving and loading a training's state: BasicSR's files, and torch.distributed.checkpoint; two processes.

    python benchmarks/resuming.py [--rounds 9]

The state is that of AnimeSR's second stage: the network, its average, the discriminator, and Adam's moments
of both. BasicSR's files are written by the first process and read by each; torch.distributed.checkpoint
divides the writing (the state is the same on each process, as data-parallel training has it).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp

from animevsr.archs.discriminator_arch import ClipUNetDiscriminatorSN
from animevsr.archs.vsr_arch import MSRBVSR


def make_state():
    networks = dict(g=MSRBVSR(), g_ema=MSRBVSR(), d=ClipUNetDiscriminatorSN(3))
    state = {}
    for name, net in networks.items():
        state[name] = net.state_dict()
        if name != 'g_ema':
            optimizer = torch.optim.Adam(net.parameters())
            for parameter in net.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
            moments = optimizer.state_dict()['state'].values()
            state[f'{name}_moments'] = {str(i): value for i, value in enumerate(moments)}
    return state


def work(rank, place, rounds):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT='29517')
    dist.init_process_group('gloo', rank=rank, world_size=2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    state, file, folder = make_state(), Path(place) / 'state.pth', Path(place) / 'dcp'

    def save_file():
        if rank == 0:
            torch.save(state, file)

    steps = {
        'file, saved by one process': save_file,
        'file, loaded by each': lambda: torch.load(file, weights_only=True),
        'torch.distributed.checkpoint, saved': lambda: dcp.save(state, checkpoint_id=folder),
        'torch.distributed.checkpoint, loaded': lambda: dcp.load(state, checkpoint_id=folder),
    }
    times = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            dist.barrier()
            start = time.perf_counter()
            step()
            dist.barrier()  # a training goes on when the last one is done
            if round_:
                times[name].append(time.perf_counter() - start)
    if rank == 0:
        print(f'{file.stat().st_size / 1e6:.1f} MB\n| | ms |\n| --- | --- |')
        for name, values in times.items():
            print(f'| {name} | {1000 * median(values):.0f} |')
    dist.destroy_process_group()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    with tempfile.TemporaryDirectory() as place:
        mp.spawn(work, (place, parser.parse_args().rounds), 2)
