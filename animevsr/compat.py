"""The one place that knows about broken upstream versions.

`prepare()` runs before BasicSR is imported, `correct()` after it. Every change replaces an attribute
at run time and leaves the upstream files alone; it does nothing where the upstream version is sound, and
nothing the second time. What a CUDA machine did before, it does after.

BasicSR 1.4.2 (the last release):

* imports `torchvision.transforms.functional_tensor`, which torchvision 0.17 removed;
* resumes with `torch.cuda.current_device()`, and unpickles the state without `weights_only`, so that it could
run code;
* starts `torch.distributed` with NCCL on a CUDA device, and wraps networks with CUDA device ids;
* makes the folders of an experiment on the first process, and writes into them on all, without waiting;
* counts epochs as if the last, incomplete batch were used, so that small datasets train too little, or not at
all, in silence.
"""

from __future__ import annotations

import importlib.util
import math
import os
import pickle
import re
import struct
import sys
import types
import warnings
import zipfile
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


if TYPE_CHECKING:
    import torch

# what torch.load raises on a file that is damaged or no checkpoint at all
UNREADABLE = (
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    AssertionError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
)


def prepare() -> None:
    """What must be done before BasicSR is imported."""
    # BasicSR's optical flow
    warnings.filterwarnings('ignore', message='torch.meshgrid: in an upcoming release')
    _restore_functional_tensor()


def correct() -> None:
    """Make the BasicSR that is imported work with the installed torch, torchvision and device. Idempotent."""
    import basicsr.models.base_model
    import basicsr.train
    import basicsr.utils.dist_util

    if getattr(basicsr, '_animevsr_compat', False):
        return
    basicsr._animevsr_compat = True
    basicsr.utils.dist_util._init_dist_pytorch = _init_dist_pytorch
    basicsr.models.base_model.BaseModel.model_to_device = _model_to_device
    basicsr.train.load_resume_state = _load_resume_state
    basicsr.train.make_exp_dirs = _then_wait(basicsr.train.make_exp_dirs)
    basicsr.train.copy_opt_file = basicsr.utils.dist_util.master_only(basicsr.train.copy_opt_file)
    basicsr.train.create_train_val_dataloader = _count_epochs(basicsr.train.create_train_val_dataloader)


def _restore_functional_tensor():
    name = 'torchvision.transforms.functional_tensor'
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    from torchvision.transforms.functional import rgb_to_grayscale

    module = types.ModuleType(name)
    module.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[name] = module


# --- devices


def _init_dist_pytorch(backend='nccl', **kwargs):
    """`torchrun` with CUDA devices as upstream does it, without them over gloo."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(
            int(os.environ.get('LOCAL_RANK', os.environ['RANK'])) % torch.cuda.device_count()
        )
    elif backend == 'nccl':
        backend = 'gloo'
    torch.distributed.init_process_group(backend=backend, **kwargs)


def _model_to_device(self, net):
    """BasicSR's `BaseModel.model_to_device`, with device ids only where there are CUDA devices."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel

    net = net.to(self.device)
    if self.opt['dist']:
        device_ids = None if self.device.type == 'cpu' else [net_device(net)]
        return DistributedDataParallel(
            net, device_ids=device_ids, find_unused_parameters=self.opt.get('find_unused_parameters', False)
        )
    return DataParallel(net) if self.opt['num_gpu'] > 1 else net


def net_device(net: nn.Module) -> torch.device:
    """The device on which a network's parameters lie."""
    return next(net.parameters()).device


# --- resume


def _load_resume_state(opt):
    """The training state with which all processes go on, or None."""
    import torch

    state, group = _newest_state(opt), torch.distributed
    if group.is_available() and group.is_initialized():
        found = [None] * group.get_world_size()
        group.all_gather_object(found, state['iter'] if state else None)
        if len(set(found)) > 1:
            said = ', '.join('none' if number is None else str(number) for number in found)
            raise ValueError(
                f'the processes find training states of different iterations ({said}); all must see'
                f' the folder {opt["path"]["experiments_root"]}'
            )
    return state


def _newest_state(opt):
    """The newest complete training state, on the CPU (optimisers move their state to their parameters), or
    None.

    A state file that an interrupt left half-written is passed over with a warning.
    """
    import torch
    from basicsr.utils import check_resume

    candidates = [opt['path']['resume_state']] if opt['path'].get('resume_state') else []
    if opt['auto_resume']:
        folder = opt['path']['training_states']
        # by their numbers: what a killed process was writing has another name
        names = os.listdir(folder) if os.path.isdir(folder) else []
        numbers = sorted(
            (int(n[1]) for n in map(re.compile(r'(\d+)\.state').fullmatch, names) if n), reverse=True
        )
        candidates = [os.path.join(folder, f'{number}.state') for number in numbers]
    for path in candidates:
        try:
            with torch.serialization.safe_globals(_harmless()):
                state = torch.load(path, map_location='cpu', weights_only=True)
        except UNREADABLE as error:
            found = re.search(r'Unsupported global: GLOBAL (\S+)', str(error))
            if found:
                raise ValueError(
                    f'{path}: refused, because it holds {found[1]}: reading it could run code'
                ) from None
            print(
                f'Passing over {path}, which is damaged (an interrupted save?): {type(error).__name__}',
                flush=True,
            )
            continue
        opt['path']['resume_state'] = path
        check_resume(opt, state['iter'])
        return state
    if candidates:
        raise ValueError(
            f'none of the training states can be read ({", ".join(candidates)}); to start anew, move them'
            ' away'
        )
    return None


def _harmless():
    """What a training state may hold beside tensors and plain values: the counters of schedulers, and numbers
    of numpy.
    """
    import numpy as np

    scalar = getattr(np, '_core', None) or np.core
    kinds = {type(np.dtype(kind)) for kind in ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'bool')}
    return [Counter, np.dtype, scalar.multiarray.scalar, *kinds]


def _then_wait(function):
    """`function`, after which every process waits for the others."""

    def wrapper(*args):
        import torch

        function(*args)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()

    return wrapper


def _count_epochs(create):
    """`create_train_val_dataloader` that counts epochs of whole batches."""

    def create_train_val_dataloader(opt, logger):
        loader, sampler, validation, _, total_iters = create(opt, logger)
        if len(loader) == 0:
            raise ValueError(
                f'an epoch of {len(sampler)} samples is less than one batch of {loader.batch_size}; '
                'raise dataset_enlarge_ratio'
            )
        return loader, sampler, validation, math.ceil(total_iters / len(loader)), total_iters

    return create_train_val_dataloader
