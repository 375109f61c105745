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


# of a run, as BasicSR and the models of this package read them; other models may read more
RUN_KEYS = {
    'the options': (
        'name',
        'model_type',
        'scale',
        'num_gpu',
        'manual_seed',
        'datasets',
        'network_g',
        'network_d',
        'path',
        'train',
        'val',
        'logger',
        'dist_params',
    ),
    'path': (
        'pretrain_network_g',
        'pretrain_network_d',
        'strict_load_g',
        'strict_load_d',
        'param_key_g',
        'param_key_d',
        'resume_state',
        'ignore_resume_networks',
        'root',
    ),
    'val': (
        'val_freq',
        'save_img',
        'suffix',
        'metrics',
        'pbar',
        'flip_seq',
        'center_frame_only',
        'num_val_samples',
    ),
    'logger': ('print_freq', 'save_checkpoint_freq', 'use_tb_logger', 'wandb'),
}
SIMILAR = 0.8  # of two keys from which one is taken for a slip of the other
# whose options are known; what models of other projects read is theirs
MODELS = 'RecurrentVSRModel', 'RecurrentVSRGANModel', 'VQGANModel', 'LBOModel', 'LBOGANModel', 'PDMModel'
REQUIRED = 'name', 'model_type', 'num_gpu', 'datasets', 'path'
REQUIRED_IN_TRAINING = {'': ('train', 'logger'), 'train': ('total_iter', 'optim_g', 'scheduler')}


def check_run(options: dict, file: Any, training: bool) -> None:
    """ValueError where a section that every run needs is missing, or a key looks like a slip of a known one;
    before anything is made.

    Args:
        options: of a whole run, merged. file: for the message. training (bool): else it is a test.
    """
    known_model = options.get('model_type') in MODELS
    required = [('', key) for key in REQUIRED]
    if training:
        parts = REQUIRED_IN_TRAINING if known_model else {'': REQUIRED_IN_TRAINING['']}
        required += [(part, key) for part, keys in parts.items() for key in keys]
    for part, key in required:
        inside = options if not part else options.get(part)
        if not isinstance(inside, dict) or key not in inside:
            raise ValueError(f"{file}: '{f'{part}: ' * bool(part)}{key}' is missing")
    for part, known in RUN_KEYS.items() if known_model else ():
        inside = options if part == 'the options' else options.get(part)
        for key in inside if isinstance(inside, dict) else ():
            near = difflib.get_close_matches(str(key), known, 1, SIMILAR)
            if key not in known and near:
                raise ValueError(f"{file}: unknown key '{key}' in {part}; did you mean '{near[0]}'?")


def check_dataset(opt: dict, known: tuple[str, ...]) -> None:
    """`check_keys` of a dataset's options, and that its files lie on a disk.

    Raises:
        ValueError: an unknown key, or an `io_backend` other than disk.
    """
    where = f'the options of dataset {opt.get("name", "")}'
    check_keys(opt, (*DATASET_KEYS, *known), where)
    if opt.get('use_shuffle') is False and opt.get('phase') == 'train':
        raise ValueError(f'use_shuffle in {where}: training data are always shuffled; leave it out')
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


FLAGS, NEGATED = {'compile': 'compiled'}, ('no_cuts', 'no_steady')  # of the command line


def read_settings(table: dict[str, Any], known: list[str] | tuple[str, ...], where: str) -> dict[str, Any]:
    """{name: value} of a table of settings: names with `-` or `_`, and `no-cuts = true` for `cuts = false`.

    Raises:
        ValueError: one is not `known`; names the nearest one.
    """
    settings = {}
    for key, value in table.items():
        name = FLAGS.get(key.replace('-', '_'), key.replace('-', '_'))
        if name in NEGATED and isinstance(value, bool):
            name, value = name.removeprefix('no_'), not value
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0)[0]
            raise ValueError(f"{where}: unknown setting '{key}'; did you mean '{near}'?")
        settings[name] = value
    return settings


def check_part(part: str | tuple[int, int]) -> None:
    """ValueError unless a share of divided work is (I, N) with 1 <= I <= N."""
    if not (isinstance(part, tuple) and len(part) == 2 and 1 <= part[0] <= part[1]):
        said = '/'.join(map(str, part)) if isinstance(part, tuple) else part
        raise ValueError(f'part must be I/N, e.g. 1/4, with 1 <= I <= N; got {said}')
