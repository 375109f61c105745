"""Which samples a training sees, in which order: the same after a resume, and with the next batch at hand."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import basicsr.train
import torch
from basicsr.data.data_sampler import EnlargedSampler


class Draw(int):
    """A dataset index that also says which draw of the whole training it is: the same clip drawn again is
    another draw.
    """

    def __new__(cls, index, number):
        self = super().__new__(cls, index)
        self.number = number
        return self

    def __reduce__(self):
        return Draw, (int(self), self.number)


class ResumableSampler(EnlargedSampler):
    """BasicSR's sampler, in the same order, whose indices are `Draw`s, and which goes on in the middle of an
    epoch.

    Upstream starts the epoch anew on resume, so that a resumed run sees other data than an uninterrupted one,
    and gives a dataset no way to know the epoch. `skip`: (an epoch, how many samples of it each process has
    used already); they are not loaded.
    """

    skip = (-1, 0)

    def __iter__(self) -> Iterator:
        generator = torch.Generator()
        generator.manual_seed(self.epoch)
        order = torch.randperm(self.total_size, generator=generator).tolist()
        positions = range(self.rank, self.total_size, self.num_replicas)
        epoch, used = self.skip
        if epoch == self.epoch:
            positions = positions[used:]
        size = len(self.dataset)
        return iter([Draw(order[p] % size, self.epoch * self.total_size + p) for p in positions])


class LookAhead:
    """A loader whose batches, dicts, hold the batch after them as `next`; the last one of an epoch holds
    None.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict]:
        current = None
        for following in self.loader:
            if current is not None:
                # a copy, because BasicSR's CUDA prefetcher changes the batches that it is given while they
                # are used
                current['next'] = dict(following)
                yield current
            current = following
        if current is not None:
            current['next'] = None
            yield current


@contextlib.contextmanager
def resumable_loaders() -> Iterator[Any]:
    """Within, BasicSR's runner makes its loaders with these classes."""
    create, load, sampler = (
        basicsr.train.create_train_val_dataloader,
        basicsr.train.load_resume_state,
        basicsr.train.EnlargedSampler,
    )
    resumed = {}

    def load_resume_state(opt):
        state = load(opt)
        if state:
            resumed.update(epoch=state['epoch'], iter=state['iter'])
        return state

    def create_train_val_dataloader(opt, logger):
        loader, sampler, validation, epochs, total_iters = create(opt, logger)
        if resumed:
            # of epochs as long as they are now: those before may have been shorter
            left = math.ceil((total_iters - resumed['iter']) / len(loader))
            epochs = max(epochs, resumed['epoch'] + left)
            used = resumed['iter'] - resumed['epoch'] * len(loader)
            sampler.skip = (resumed['epoch'], max(used, 0) * loader.batch_size)
        if opt['datasets']['train'].get('degrade_on') == 'device':
            loader = LookAhead(loader)
        return loader, sampler, validation, epochs, total_iters

    basicsr.train.create_train_val_dataloader = create_train_val_dataloader
    basicsr.train.load_resume_state = load_resume_state
    basicsr.train.EnlargedSampler = ResumableSampler
    try:
        yield
    finally:
        basicsr.train.create_train_val_dataloader = create
        basicsr.train.load_resume_state = load
        basicsr.train.EnlargedSampler = sampler
