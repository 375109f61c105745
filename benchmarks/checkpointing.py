"""Gradient checkpointing: peak memory against time of one training iteration, on clips of 15 frames and GT
crops of 256.

    python benchmarks/checkpointing.py [--batch 1] [--repeat 3]

Each variant runs in a process of its own. Memory: on a GPU torch's peak; on a CPU the growth of the process's
peak above what it had before the first iteration. Time: median of the iterations after the first.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.utils.device import select_device


def peak(device):
    """Bytes."""
    if device.type == 'cpu':
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return torch.accelerator.max_memory_allocated(device)


def measure(checkpointing, batch, repeat):
    """{'memory': GiB, 'time': seconds} of one variant, in this process."""
    device = select_device()
    net = MSRBVSR(checkpointing=checkpointing).to(device)
    optimizer = torch.optim.Adam(net.parameters())
    lq, gt = (
        torch.rand(batch, 15, 3, 64, 64, device=device),
        torch.rand(batch, 15, 3, 256, 256, device=device),
    )
    before, times = peak(device), []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = (net(lq) - gt).abs().mean()
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device
        times.append(time.perf_counter() - start)
    return dict(memory=(peak(device) - before) / 2**30, time=statistics.median(times[1:]))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--variant', type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant is not None:
        print(json.dumps(measure(bool(args.variant), args.batch, args.repeat)))
        sys.exit()
    rows = []
    for variant in (0, 1):
        command = [
            sys.executable,
            __file__,
            '--variant',
            str(variant),
            '--batch',
            str(args.batch),
            '--repeat',
            str(args.repeat),
        ]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print('| checkpointing | memory | time of an iteration |\n| --- | --- | --- |')
    for name, row in zip(('off', 'on'), rows):
        print(f'| {name} | {row["memory"]:.2f} GiB | {row["time"]:.2f} s |')
    print(
        f'{rows[0]["memory"] / rows[1]["memory"]:.1f} times less memory,'
        f' {rows[1]["time"] / rows[0]["time"]:.2f} times the time'
    )
