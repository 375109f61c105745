"""Time and peak memory of the k-th nearest search against `torch.topk` on the whole distance matrix.

    python benchmarks/quantizer.py [--rounds 5] [--entries 1024] [--channels 256]

The inputs are those of the degradation: a clip of 15 frames whose bottom branch is 64x64, and a batch of 4
training crops at 256x256. Medians of interleaved rounds; the peak is that of the process above its size
before, each method in a process of its own.
"""

import argparse
import resource
import time
from multiprocessing import get_context
from statistics import median

import torch

from animevsr.archs.vq_lookup import kth_nearest
from animevsr.utils.device import select_device

SHAPES, KS = ((15, 64, 64), (4, 256, 256)), (1, 5, 50)


def by_topk(vectors, codebook, k):
    """The search as it is usually written: all distances, then topk."""
    flat = vectors.flatten(0, 1)
    distance = flat.square().sum(1, keepdim=True) + codebook.square().sum(1) - 2 * flat @ codebook.T
    return distance.topk(k, 1, largest=False).indices[:, -1].view(vectors.shape[:2])


def data(shape, entries, channels, device):
    generator = torch.Generator().manual_seed(0)
    b, h, w = shape
    return (
        torch.randn(b, h * w, channels, generator=generator).to(device),
        torch.randn(entries, channels, generator=generator).to(device),
    )


def peak(method, shape, entries, channels, k, queue):
    """MiB that one call adds to this process; runs in a process of its own."""
    device = select_device()
    inputs = data(shape, entries, channels, device)
    # libraries allocate their own memory first
    method(*(x[:1, :64] if i == 0 else x for i, x in enumerate(inputs)), k)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.max_memory_allocated()
        method(*inputs, k)
        queue.put((torch.cuda.max_memory_allocated() - before) / 2**20)
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        method(*inputs, k)
        queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)


def peak_of(*arguments):
    context = get_context('spawn')
    queue = context.Queue()
    process = context.Process(target=peak, args=(*arguments, queue))
    process.start()
    process.join()
    return queue.get()


def seconds_of(method, *arguments):
    start = time.perf_counter()
    method(*arguments)[0, 0].item()
    return time.perf_counter() - start


def main(rounds, entries, channels):
    device, methods = select_device(), {'topk': by_topk, 'animevsr': kth_nearest}
    print(f'{entries} entries of {channels} channels, {torch.get_num_threads()} threads, {device}')
    # first of all, because a new process starts with the peak of the one that starts it
    peaks = {
        (shape, k): [peak_of(method, shape, entries, channels, k) for method in methods.values()]
        for shape in SHAPES
        for k in KS
    }
    print(
        '| input | k | topk | animevsr | ratio | peak of topk | of animevsr |\n| --- | --- | --- | --- | ---'
        ' | --- | --- |'
    )
    for shape in SHAPES:
        inputs = data(shape, entries, channels, device)
        for k in KS:
            times = {name: [] for name in methods}
            for _ in range(rounds):
                for name, method in methods.items():
                    times[name].append(seconds_of(method, *inputs, k))
            a, b = (median(times[name]) for name in methods)
            of_topk, of_ours = peaks[shape, k]
            print(
                f'| {"x".join(map(str, shape))} | {k} | {a:.2f} s | {b:.2f} s | {a / b:.2f} | {of_topk:.0f}'
                f' MiB | {of_ours:.0f} MiB |',
                flush=True,
            )


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--entries', type=int, default=1024)
    parser.add_argument('--channels', type=int, default=256)
    main(**vars(parser.parse_args()))
