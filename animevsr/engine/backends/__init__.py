"""What computes a step of the network: PyTorch, or a runtime that is faster on some machine, behind one
interface (`Backend`). Converted networks are cached by the hash of their weights.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from animevsr.archs.interfaces import RecurrentNetwork
from animevsr.archs.single_image import NcnnNetwork
from animevsr.engine.backends.fastest import sort_by_speed
from animevsr.engine.backends.torch_backend import TorchBackend
from animevsr.engine.runtimes import find_runtime, is_runtime, is_vulkan
from animevsr.utils.device import exact_float32, select_device
from animevsr.utils.threads import usable_cores

if TYPE_CHECKING:
    from torch import nn

    from animevsr.engine.backends.base import Backend


# name: (module, class, packages that it needs)
OTHERS = {
    'ncnn': ('ncnn_backend', 'NcnnBackend', ('ncnn', 'pnnx')),
    'vulkan': ('vulkan_backend', 'VulkanBackend', ('ncnn', 'pnnx')),
    'mnn': ('mnn_backend', 'MNNBackend', ('MNN', 'onnx')),
    'openvino': ('openvino_backend', 'OpenVINOBackend', ('openvino',)),
    'onnxruntime': ('onnx_backend', 'OnnxBackend', ('onnxruntime', 'onnx')),
    'int8': ('openvino_backend', 'OpenVINOBackend', ('openvino', 'nncf')),
}
NAMES = 'auto', 'torch', 'ncnn', 'mnn', 'openvino', 'onnxruntime'  # what can be asked for
# one of these is the fastest on a CPU, which differs from machine to machine
EXACT = 'ncnn', 'mnn', 'openvino'
FAST = 'int8', 'ncnn', 'mnn'  # some processors have no instructions for 8-bit integers


def open_backend(
    net: nn.Module,
    device: torch.device,
    name: str = 'auto',
    fast: bool = False,
    half: bool = False,
    threads: int | None = None,
    jobs: int = 1,
    say: Callable = lambda text: None,
    *,
    bf16: bool = False,
    compiled: bool = False,
) -> Backend:
    """The backend for a network.

    Args:
        net: in eval mode, with `step` and `scale`.
        device (torch.device): a CPU takes any backend; others PyTorch alone.
        name (str): of `NAMES`. 'auto' is the fastest exact one that is installed: on a CPU that of `EXACT`
            which a short measurement shows to be it here (it is remembered), else PyTorch. Also what
            `find_runtime` gives for one of `RUNTIME_DEVICES`, with the CPU as `device`.
        fast (bool): 8-bit integers on a CPU (OpenVINO, calibrated on bundled clips), float16 elsewhere. Not
            exact. With 'auto', where an exact backend is measured to be as fast, that one.
        half (bool): float16, where the device is not a CPU, or is reached by Vulkan.
        threads (int | None): of a CPU. Default: its cores, divided by `jobs` but for PyTorch and MNN, whose
            results depend on their number.
        jobs (int): processes that share the CPU.
        say: is given a line about what was picked, and why something else was not.
        bf16 (bool): bfloat16, in PyTorch. compiled (bool): through torch.compile, which needs a C++ compiler
            on a CPU.

    Raises:
        ValueError: a backend that was asked for by name is not there, or cannot run this network.
    """
    cores = usable_cores()
    all_threads, threads = threads or cores, threads or max(1, cores // jobs)
    if name not in NAMES and not is_runtime(name):
        raise ValueError(f"backend '{name}' is not known; known: {', '.join(NAMES)}")
    if name not in ('auto', 'torch') and device.type != 'cpu':
        raise ValueError(f'backend {name} does not compute on {device}; with it goes the device cpu')
    if (bf16 or compiled) and (name not in ('auto', 'torch') or fast):
        raise ValueError('bf16 and compile belong to the backend torch, and not to fast')
    by_vulkan, (name, _, unit) = is_vulkan(name), name.partition(':')
    if unit and fast and not by_vulkan:
        raise ValueError(f'{unit} is a device of its own: not with fast')
    options = dict(unit=unit) if unit else {}
    if by_vulkan:
        name, options['half'], fast = 'vulkan', half or fast, False
    if not fast:
        exact_float32()
    dtype = (
        torch.bfloat16
        if bf16
        else torch.float16
        if (half or fast) and device.type != 'cpu'
        else torch.float32
    )
    in_torch = TorchBackend, (net, device, dtype, all_threads, compiled)
    if not isinstance(net, RecurrentNetwork):
        if by_vulkan and isinstance(net, NcnnNetwork):
            from animevsr.engine.backends.vulkan_backend import VulkanImages

            return _told(say, VulkanImages, (net, device, all_threads), **options)
        if name not in ('auto', 'torch'):
            raise ValueError(
                f'backend {name} runs recurrent networks of this package, not a {type(net).__name__}'
            )
        if fast and device.type == 'cpu':
            warnings.warn('fast is left out: 8-bit integers are for networks of this package', stacklevel=2)
        return _told(say, *in_torch)
    integers = fast and device.type == 'cpu'
    if integers:
        missing = find_missing('int8')
        if missing or name not in ('auto', 'openvino'):
            raise ValueError(
                'fast needs the backend openvino and the packages openvino and nncf on a CPU'
                + (f'; run: pip install {" ".join(missing)}' if missing else '')
            )
    if name == 'auto' and (device.type != 'cpu' or bf16 or compiled):
        return _told(say, *in_torch)
    if name == 'auto':
        candidates = [*(FAST if integers else EXACT), 'torch']
    else:
        candidates = ['int8' if integers else name]
    here = [c for c in candidates[:-1] if not find_missing(c)]
    if len(here) == 1:
        candidates = [*here, 'torch']
    if len(here) > 1:
        openers = {c: functools.partial(_open, c, net, device, threads, lambda text: None) for c in here}
        packages = sorted({package for c in here for package in OTHERS[c][2]})
        candidates = [*sort_by_speed(openers, packages, net, threads, say), 'torch']
        if 'int8' in candidates[1:]:
            say('8-bit integers are not faster here than an exact backend, which is taken')
    for candidate in candidates:
        if candidate == 'torch':
            return _told(say, *in_torch)
        missing = find_missing(candidate)
        if missing:
            if name != 'auto':
                raise ValueError(f'backend {name}: not installed; run: pip install {" ".join(missing)}')
            say(f'backend {candidate} would be faster; pip install {" ".join(missing)}')
            continue
        try:
            # measured with its share of the cores, but run with all: its results depend on their number
            count = all_threads if candidate == 'mnn' else threads
            return _open(candidate, net, device, count, say, **options)
        except Exception as error:  # of packages that are broken in any way
            reason = ' '.join(str(error).split())[:200]
            if name != 'auto':
                raise ValueError(f'backend {name} cannot run this network: {reason}') from None
            say(f'backend {candidate} cannot run this network ({reason})')
    raise AssertionError('torch is the last candidate')


def place(device: str) -> tuple[torch.device, str]:
    """Where the tensors are and the name for `open_backend`, of any device that `upscale` takes.

    Raises:
        ValueError: as `select_device`.
    """
    backend = find_runtime(device)
    return select_device('cpu' if backend else device), backend or 'auto'


def name_with_fast(device: torch.device) -> str:
    """The name by which `open_backend` with `fast` takes no exact backend instead."""
    return 'openvino' if device.type == 'cpu' else 'auto'


def find_missing(name: str) -> list[str]:
    """The packages of a backend that are not installed."""
    return [package for package in OTHERS[name][2] if importlib.util.find_spec(package) is None]


def _open(name, net, device, threads, say, **options):
    module, kind, _ = OTHERS[name]
    made = getattr(importlib.import_module(f'animevsr.engine.backends.{module}'), kind)
    return _told(say, made, (net, device, threads), **options, **(dict(fast=True) if name == 'int8' else {}))


def _told(say, kind, arguments, **options):
    backend = kind(*arguments, **options)
    say(f'backend: {backend.name}')
    return backend
