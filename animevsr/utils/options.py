"""Checks of options that come from YAML files. Options are read, never changed."""

from __future__ import annotations

import difflib
from typing import Any

# keys that BasicSR itself reads from a dataset's options
DATASET_KEYS = (
    'name',
    'type',
    'phase',
    'scale',
    'io_backend',
    'num_worker_per_gpu',
    'batch_size_per_gpu',
    'dataset_enlarge_ratio',
    'prefetch_mode',
    'num_prefetch_queue',
    'pin_memory',
    'persistent_workers',
    'use_shuffle',
)


def check_dataset(opt: dict, known: tuple[str, ...]) -> None:
    """`check_keys` of a dataset's options, and that its files lie on a disk.

    Raises:
        ValueError: an unknown key, or an `io_backend` other than disk.
    """
    where = f'the options of dataset {opt.get("name", "")}'
    check_keys(opt, (*DATASET_KEYS, *known), where)
    backend = (opt.get('io_backend') or {}).get('type', 'disk')
    if backend != 'disk':
        raise ValueError(
            f"io_backend '{backend}' in {where} is not read here; unpack the data into folders or videos"
            ' (type: disk)'
        )


def check_keys(options: dict | list[str], known: dict[str, Any] | list[str] | tuple, where: str) -> None:
    """Raise ValueError that names the first key of `options` that is not in `known`, and the nearest known
    one.
    """
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0)
            raise ValueError(
                f"unknown key '{key}' in {where}; did you mean '{near[0]}'? Known keys:"
                f' {", ".join(sorted(known))}'
            )


def check_part(part: str | tuple[int, int]) -> None:
    """ValueError unless a share of divided work is (I, N) with 1 <= I <= N."""
    if not (isinstance(part, tuple) and len(part) == 2 and 1 <= part[0] <= part[1]):
        said = '/'.join(map(str, part)) if isinstance(part, tuple) else part
        raise ValueError(f'part must be I/N, e.g. 1/4, with 1 <= I <= N; got {said}')
