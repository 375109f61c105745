"""Checks of options that come from YAML files. Options are read, never changed."""
import difflib

# keys that BasicSR itself reads from a dataset's options
DATASET_KEYS = ('name', 'type', 'phase', 'scale', 'io_backend', 'num_worker_per_gpu', 'batch_size_per_gpu', 'dataset_enlarge_ratio',
                'prefetch_mode', 'num_prefetch_queue', 'pin_memory', 'persistent_workers', 'use_shuffle')


def check_dataset(opt, known):
    """`check_keys` of a dataset's options, and that its files lie on a disk.

    Raises:
        ValueError: an unknown key, or an `io_backend` other than disk.
    """
    where = f'the options of dataset {opt.get("name", "")}'
    check_keys(opt, (*DATASET_KEYS, *known), where)
    backend = (opt.get('io_backend') or {}).get('type', 'disk')
    if backend != 'disk':
        raise ValueError(f"io_backend '{backend}' in {where} is not read here; unpack the data into folders or videos (type: disk)")


def check_keys(options, known, where):
    """Raise ValueError that names the first key of `options` that is not in `known`, and the nearest known one."""
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0)
            raise ValueError(f"unknown key '{key}' in {where}; did you mean '{near[0]}'? Known keys: {', '.join(sorted(known))}")
