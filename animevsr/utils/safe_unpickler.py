"""An unpickler for training checkpoints of Lightning, as `pickle_module` of `torch.load`: tensors are read,
nothing is executed.

Such files hold, beside the tensors, objects of the trainer (callbacks, hyper-parameters). Those of the
packages in `TRAINERS` are replaced by empty stand-ins; whatever else is not needed to rebuild tensors is
refused.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor


TRAINERS = ('pytorch_lightning', 'lightning', 'lightning_fabric', 'omegaconf')


class Rebuild:
    """A function of torch that the pickle may call, but not change: pickles can set attributes, even those of
    functions.
    """

    __slots__ = ('_function',)

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Tensor:
        return self._function(*arguments)

    def __setstate__(self, state):
        pass


REBUILD = {
    ('torch._utils', '_rebuild_tensor_v2'): Rebuild(torch._utils._rebuild_tensor_v2),
    ('torch._utils', '_rebuild_parameter'): Rebuild(torch._utils._rebuild_parameter),
    ('collections', 'OrderedDict'): OrderedDict,
    ('collections', 'defaultdict'): defaultdict,
    **{('torch', name): getattr(torch, name) for name in ('Size', 'float32', 'float16', 'int64')},
}


class Inert:
    """Stands in for any object: takes whatever the pickle gives it and does nothing."""

    def __new__(cls, *_, **__):
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass


class Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[Inert]:
        if (module, name) in REBUILD:
            return REBUILD[module, name]
        if module.split('.')[0] in TRAINERS:
            return Inert
        raise UnpicklingError(f'Unsupported global: {module}.{name}')


def load(file: Any, **options: Any) -> Any:
    """`pickle.load`, which torch calls for files in its old format."""
    return Unpickler(file, **options).load()


def loads(data: bytes, **options: Any) -> Any:
    return load(io.BytesIO(data), **options)
