"""Reads network weights from files, safely: nothing in a file is ever executed."""

from __future__ import annotations

import pickle
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from animevsr.errors import CheckpointError
from animevsr.utils import safe_unpickler
from animevsr.utils.official_names import as_ours

if TYPE_CHECKING:
    from torch import Tensor, nn


# in the order of preference
WRAPPERS = ('params_ema', 'params', 'params-ema', 'state_dict', 'model_state_dict', 'model', 'net')
SETTINGS = ('norm_groups', 'downscale')  # tensors that are no weights: another value is another network
LIGHTNING = 'endecoder.'  # the network in VQD-SR's checkpoints
PREFIXES = ('module.', LIGHTNING)  # DistributedDataParallel's first


def read_state_dict(path: Path, prefer: str = 'params_ema') -> dict[str, Tensor]:
    """The tensors {name: Tensor} of a weights file, on the CPU.

    Reads bare state dicts, BasicSR's files, which hold the averaged weights (`params_ema`) beside the last
    ones (`params`; `prefer` is looked for first), and Lightning's checkpoints of VQD-SR, of which the
    network's part is taken.

    Raises:
        CheckpointError: the file is missing, truncated, not a checkpoint, or holds code to execute.
    """
    return {strip(name): tensor for name, tensor in read_named_tensors(path, prefer).items()}


def read_named_tensors(path: str | Path, prefer: str = 'params_ema') -> dict:
    """`read_state_dict` with the names as they stand in the file."""
    content = _unpickle(Path(path))
    for wrapper in (prefer, *WRAPPERS):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items())
    ):
        raise CheckpointError(
            f'{path}: holds no state dict (expected named tensors, bare or under {" | ".join(WRAPPERS)})'
        )
    content = as_ours(content, prefer == 'params_ema')
    # the losses' networks lie beside the one that was trained
    if any(name.startswith(LIGHTNING) for name in content):
        content = {name: tensor for name, tensor in content.items() if name.startswith(LIGHTNING)}
    return content


def _unpickle(path):
    if not path.is_file():
        raise CheckpointError(f'{path}: no such weights file')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about pickle protocols of files that are no checkpoints
            try:
                return torch.load(path, map_location='cpu', weights_only=True)
            except pickle.UnpicklingError as error:
                if not _holds_objects(error):
                    raise
                return torch.load(path, map_location='cpu', weights_only=False, pickle_module=safe_unpickler)
    except pickle.UnpicklingError as error:
        if _holds_objects(error):
            raise CheckpointError(
                f'{path}: refused, because it holds Python objects other than tensors '
                '(loading them could run code); save its state dict alone'
            ) from None
        raise CheckpointError(f'{path}: not a weights file of PyTorch, or damaged') from None
    except Exception as error:  # an unpickler raises anything on bytes of any kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f'{path}: not a weights file of PyTorch, or damaged ({reason[:120]})') from None


def _holds_objects(error):
    return 'Unsupported global' in str(error) or 'GLOBAL' in str(error)


def load_weights(net: nn.Module, path: Path, prefer: str = 'params_ema', strict: bool = True) -> dict:
    """Load a weights file into a network; with `strict` false as much of it as fits, as BasicSR's
    `strict_load_g: false` does.

    Returns:
        dict: {first part of the name: number of tensors} of what the network has and the file has not, or in
            another shape; empty with `strict`.

    Raises:
        CheckpointError: the file cannot be read, or nothing of it fits, or, with `strict`, anything does not.
    """
    state, own = read_state_dict(path, prefer), net.state_dict()
    other = [name for name in state if name not in own or own[name].shape != state[name].shape]
    settings = [
        name
        for name in SETTINGS
        if name in state and name in own and not torch.equal(state[name], own[name].cpu())
    ]
    missing = [name for name in own if name not in state]
    if (
        (strict and (other or missing))
        or settings
        or len(other) == len(state)
        or set(missing) & set(SETTINGS)
    ):
        first = (settings + other)[:1]
        what = f'has {first[0]} {tuple(state[first[0]].shape)}' if first else f'lacks {missing[0]}'
        count = f'{len(other)} tensors do not fit, {len(missing)} are missing'
        raise CheckpointError(f'{path}: not the weights of this {type(net).__name__}: it {what} ({count})')
    net.load_state_dict({name: tensor for name, tensor in state.items() if name not in other}, strict=False)
    return dict(Counter(name.split('.')[0] for name in own if name in missing or name in other))


def strip(name: str) -> str:
    """The name of a tensor without what wrappers put before it."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name
