"""`python -m animevsr.train -opt options/vqd_sr/net.yml`: BasicSR's training runner with everything of
animevsr registered.

All of BasicSR's arguments work: `--auto_resume`, `--launcher pytorch|slurm`, `--debug`, `--force_yml
key:key=value` (a number names a place in a list). Experiments are written under the current directory.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import tempfile
from functools import partial
from typing import Any

import torch.distributed
import yaml
from basicsr.train import train_pipeline
from basicsr.utils.registry import ARCH_REGISTRY, METRIC_REGISTRY

from animevsr.data.sampling import resumable_loaders
from animevsr.errors import CheckpointError, CodecError, MediaError
from animevsr.utils.options import check_keys, check_run
from animevsr.utils.overlays import plain_file
from animevsr.utils.resources import find


def run(pipeline: Any) -> None:
    """Run one of BasicSR's pipelines on this process' arguments; what is wrong with the input is one line,
    without traceback.
    """
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')  # a damaged image is reported once, in one line
    # torch.distributed.launch says --local-rank, BasicSR --local_rank
    sys.argv = [a.replace('--local-rank', '--local_rank') for a in sys.argv]
    try:
        with tempfile.TemporaryDirectory(prefix='animevsr-options-') as folder, resumable_loaders():
            if '-opt' in sys.argv[:-1]:
                forced, at = take_forced(sys.argv), sys.argv.index('-opt') + 1
                check = partial(check_options, training=pipeline is train_pipeline)
                sys.argv[at] = str(plain_file(find(sys.argv[at]), folder, forced, check))
            pipeline(os.getcwd())
    except KeyboardInterrupt:
        sys.exit('Interrupted. Run the same command with --auto_resume to go on from the last checkpoint.')
    except (
        MediaError,
        CheckpointError,
        CodecError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        AssertionError,
        ImportError,
        ArithmeticError,
        RuntimeError,
        yaml.YAMLError,
    ) as error:
        if os.environ.get('ANIMEVSR_TRACEBACK'):
            raise
        log_traceback()
        if peer_is_gone(error):
            sys.exit(
                'Another process of this training has ended; its own message says why. Run the same command'
                ' with --auto_resume to go on from the last checkpoint.'
            )
        lines = [line for line in str(error).splitlines() if line.strip()]
        # an error in a loader's worker arrives with its traceback as text: its last line says what was wrong
        missing = isinstance(error, KeyError) and 'registry' not in str(error)
        hint = ', which may be an option that is missing' if missing else ''
        said = f'{type(error).__name__}: {lines[-1] if lines else ""}{hint}'
        sys.exit(f'{said} (ANIMEVSR_TRACEBACK=1 shows where)')


def check_options(options: dict, file: Any, training: bool) -> None:
    """`check_run`, and ValueError where a network or a metric is given an argument that it does not take, or
    lacks one: else a metric is first looked at in the first validation.
    """
    check_run(options, file, training)
    for part, arguments in options.items():
        kind = arguments.get('type') if part.startswith('network_') and isinstance(arguments, dict) else None
        if kind in ARCH_REGISTRY:
            known = inspect.signature(ARCH_REGISTRY.get(kind)).parameters
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
                check_keys(arguments, ('type', *known), f'{part} of {file}')
    val = options.get('val')
    for key in ('val_freq', 'save_img') if isinstance(val, dict) and training else ():
        if key not in val:
            raise ValueError(f"{file}: 'val: {key}' is missing")
    for name, metric in ((val or {}).get('metrics') or {}).items():
        check_metric(metric, f'metric {name} of {file}')


def check_metric(options: dict, where: str) -> None:
    """ValueError where validation could not call a metric with these options."""
    kind = options.get('type') if isinstance(options, dict) else None
    check_keys([kind], [name for name, _ in METRIC_REGISTRY], f'{where}: type')
    arguments = {key: value for key, value in options.items() if key not in ('type', 'better')}
    signature = inspect.signature(METRIC_REGISTRY.get(kind))
    images = {key: None for key in ('img', 'img2') if key in signature.parameters}
    try:
        signature.bind(**images, **arguments)
    except TypeError as error:
        raise ValueError(f'{where}: {kind}: {error}') from None


def take_forced(arguments: list[str]) -> list[str]:
    """Take what `--force_yml` says out of a command line: BasicSR's parser takes 6e-5 and -1 for text."""
    forced = []
    while '--force_yml' in arguments:
        start = end = arguments.index('--force_yml') + 1
        while end < len(arguments) and not arguments[end].startswith('-'):
            end += 1
        forced += arguments[start:end]
        del arguments[start - 1 : end]
    return forced


def peer_is_gone(error: Exception) -> bool:
    """Whether an error says that a process that was waited for is not there any more."""
    said = str(error)
    return isinstance(error, torch.distributed.DistError) or (
        torch.distributed.is_initialized()
        and ('closed by peer' in said or 'reset by peer' in said or 'remote worker crashing' in said)
    )


def log_traceback() -> None:
    """Write where an error came from into the log file of the experiment, where there is one."""
    record = logging.getLogger('basicsr').makeRecord(
        'basicsr', logging.ERROR, __file__, 0, 'Stopped by:', (), sys.exc_info()
    )
    for handler in logging.getLogger('basicsr').handlers:
        if isinstance(handler, logging.FileHandler):
            handler.emit(record)


if __name__ == '__main__':
    run(train_pipeline)
