"""The speed of this machine: one step of a network in every backend that is installed."""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path

import torch

from animevsr.archs.loading import load_upscaler
from animevsr.engine.backends import NAMES, name_with_fast, open_backend
from animevsr.utils.device import select_device
from animevsr.utils.report import markdown_table


def bench(
    weights: str | Path = 'animevsr_x4',
    size: str = '320x180',
    rounds: int = 5,
    device: str | torch.device = 'auto',
) -> str:
    """Measure a step in every backend, in interleaved rounds.

    Args:
        weights (str): of a recurrent network. size (str): 'WIDTHxHEIGHT' of the input. rounds (int). device
            (str).

    Returns:
        str: a table, as Markdown.

    Raises:
        ValueError, CheckpointError: one line.
    """
    try:
        width, height = (int(side) + -int(side) % 4 for side in size.split('x'))
        if min(width, height) < 16 or rounds < 1:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"size must be WIDTHxHEIGHT, e.g. 320x180, and rounds at least 1; got '{size}', {rounds}"
        ) from None
    device, entries, notes = select_device(device), {}, []
    exact = [(name, False) for name in NAMES if name != 'auto']
    for name, fast in [*exact, (name_with_fast(device), True)]:
        try:
            on = device if name in ('auto', 'torch') else torch.device('cpu')
            backend = open_backend(load_upscaler(weights), on, name, fast)
        except ValueError as error:
            notes.append(f'- {name}{", fast" if fast else ""}: {error}')
            continue
        frame = torch.rand(1, 3, height, width).to(on, backend.dtype)
        state = backend.initial_state(height, width)
        run = partial(backend.step, frame, frame, frame, state, **backend.for_bytes)
        run()
        entries[f'{backend.name}{", fast" if fast else ""}'] = lambda run=run: run()[0].sum().item()
    times = {name: [] for name in entries}
    for _ in range(rounds):
        for name, run in entries.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    rows = [['backend', f'ms for {width}x{height}', 'frames a second']]
    for name, values in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(values)
        rows.append([name, f'{middle * 1000:.0f}', f'{1 / middle:.2f}'])
    return '\n'.join([markdown_table(rows), '', *notes]) + '\n'
