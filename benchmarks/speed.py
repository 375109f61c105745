"""Speed of the network and of upscaling on this machine, medians of interleaved rounds.

    python benchmarks/speed.py [--rounds 5]

Prints the step of the full-size network on a 180x320 frame (the papers' runtime measure) with and without
channels-last memory, and the frames per second of `animevsr.upscale` on the demo clip.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

import animevsr
from animevsr.utils.device import select_device

ROOT = Path(__file__).resolve().parents[1]


def seconds_of(function, device):
    start = time.perf_counter()
    function()
    if device.type != 'cpu':
        torch.zeros(1, device=device).item()  # waits for the device
    return time.perf_counter() - start


@torch.inference_mode()
def step_times(device, rounds):
    """{memory format: median seconds of one step on 180x320}."""
    from animevsr.archs.vsr_arch import MSRBVSR

    times, runs = {}, {}
    for name, layout in (('contiguous', torch.contiguous_format), ('channels-last', torch.channels_last)):
        net = MSRBVSR().to(device, memory_format=layout).eval()
        frame = torch.rand(1, 3, 180, 320, device=device).contiguous(memory_format=layout)
        runs[name] = lambda net=net, frame=frame: net.step(frame, frame, frame)
        runs[name]()
        times[name] = []
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds_of(run, device))
    return {name: median(values) for name, values in times.items()}


def main(rounds):
    device = select_device()
    print(
        f'{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch'
        f' {torch.__version__}, {device}'
    )
    times = step_times(device, rounds)
    for name, value in times.items():
        print(
            f'step on 180x320, {name}: {value:.3f} s (median of {rounds}; {times["contiguous"] / value:.2f}x)'
        )
    with tempfile.TemporaryDirectory() as folder:
        done = animevsr.upscale(
            ROOT / 'assets/demo/cartoon.avi', Path(folder) / 'out.mp4', device=str(device)
        )
    print(f'upscale of the demo clip (400x300, {done.frames} frames): {done.fps:.2f} frames a second')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    main(parser.parse_args().rounds)
