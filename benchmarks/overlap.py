"""What preparing the next batch beside the training of the current one gives.

    python benchmarks/overlap.py [--iterations 24] [--rounds 3]

Seconds for an iteration of options/tiny/net_vq.yml's training (network, learned degradation, codec) with the
degradation in the main process one batch after the other (`device, no look ahead`), one batch ahead of the
training (`device`), and in one worker of the loader (`loader`); and of the training alone, on a batch that is
there. Medians over rounds; the order changes from round to round.
"""

import argparse
import itertools
import time
from pathlib import Path
from statistics import median

import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler

import animevsr  # noqa: F401
from animevsr.data.sampling import LookAhead
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.utils.overlays import read_options

ROOT = Path(__file__).resolve().parents[1]


def setup(place, workers, ahead):
    """(model, iterator over batches)"""
    opt = read_options(ROOT / 'options/tiny/net_vq.yml')
    opt.update(
        num_gpu=torch.cuda.device_count(), dist=False, is_train=True, rank=0, world_size=1, manual_seed=0
    )
    data = opt['datasets']['train']
    data.update(
        degrade_on=place, num_worker_per_gpu=workers, phase='train', scale=4, dataset_enlarge_ratio=1000
    )
    torch.manual_seed(0)
    model, dataset = RecurrentVSRModel(opt), build_dataset(data)
    loader = build_dataloader(
        dataset, data, num_gpu=1, dist=False, sampler=EnlargedSampler(dataset, 1, 0, 1000), seed=0
    )
    return model, iter(LookAhead(loader) if ahead else loader)


def seconds_of(model, batches, iterations):
    """Seconds for an iteration, after two that are not counted."""
    for i, batch in enumerate(itertools.islice(batches, iterations + 2)):
        if i == 2:
            start = time.perf_counter()
        model.feed_data(batch)
        model.optimize_parameters(i + 1)
    return (time.perf_counter() - start) / iterations


def ready(model, batches):
    """The same batch again and again, degraded."""
    model.feed_data(next(batches))
    return itertools.repeat(dict(lq=model.lq, gt=model.gt))


def main(iterations, rounds):
    kinds = {
        'device, no look ahead': ('device', 1, False),
        'device': ('device', 1, True),
        'loader': ('loader', 1, False),
        'training alone': ('device', 0, False),
    }
    times = {name: [] for name in kinds}
    for turn in range(rounds):
        names = list(kinds)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            model, batches = setup(*kinds[name])
            times[name].append(
                seconds_of(model, ready(model, batches) if name == 'training alone' else batches, iterations)
            )
    print(f'{model.device}, {torch.get_num_threads()} threads')
    for name, values in times.items():
        print(f'{name:24} {median(values) * 1000:7.0f} ms an iteration (median of {rounds})')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--iterations', type=int, default=24)
    parser.add_argument('--rounds', type=int, default=3)
    main(**vars(parser.parse_args()))
