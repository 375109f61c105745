"""PyTorch itself, on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from animevsr.archs.interfaces import RecurrentNetwork
from animevsr.engine.backends.base import Backend

if TYPE_CHECKING:
    from torch import Tensor, nn


def use_threads(device: torch.device, threads: int | None) -> None:
    """Let PyTorch use as many threads of a CPU, where a number is given."""
    if threads and device.type == 'cpu':
        torch.set_num_threads(threads)


def describe(device: torch.device, *how: Any) -> str:
    """What results depend on, as words: on a CPU also the number of threads."""
    where = f'{device.type}, threads: {torch.get_num_threads()}' if device.type == 'cpu' else device.type
    return f'torch {torch.__version__} ({", ".join((*how, "on " + where))})'


class TorchBackend(Backend):
    """A step in PyTorch, channels last, which is faster on CPUs and on tensor cores.

    Args:
        net: with `step` and `scale`; a recurrent one of this package (with `core`) or any other.
        device (torch.device), threads (int | None), compiled (bool): see `open_backend`.
        dtype (torch.dtype): float32, float16 or bfloat16; float32 where a network says that it does not
            support float16.
    """

    kind = 'torch'

    def __init__(
        self,
        net: nn.Module,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        threads: int | None = None,
        compiled: bool = False,
    ) -> None:
        self.device = device
        if dtype == torch.float16 and not getattr(net, 'supports_half', True):
            dtype = torch.float32
        self.dtype = dtype
        use_threads(device, threads)
        self.threads = torch.get_num_threads() if device.type == 'cpu' else None
        self.net = net.to(device, self.dtype, memory_format=torch.channels_last)
        self.core = net.core if isinstance(net, RecurrentNetwork) else None
        if compiled and self.core is None:
            raise ValueError(f'compile is for recurrent networks of this package, not a {type(net).__name__}')
        if compiled:
            self.core = torch.compile(self.core, dynamic=True)  # tiles and held regions have many sizes
        self.name = describe(device, str(dtype).removeprefix('torch.'), *(['compiled'] if compiled else []))
        self.scale = net.scale
        self.is_recurrent = self.core is not None
        self.batches = self.is_recurrent and device.type != 'cpu'
        self.multiple = 4 if self.is_recurrent else 1
        self.reach = getattr(net, 'reach', None)

    def initial_state(self, height: int, width: int) -> tuple:
        if self.core is None:
            return ()
        return tuple(
            torch.zeros(1, c, height, width, device=self.device, dtype=self.dtype)
            for c in self.net.state_channels
        )

    @torch.inference_mode()
    def step(self, prev: Tensor, cur: Tensor, nxt: Tensor, state: tuple) -> tuple:
        if self.core is None:
            sr, state = self.net.step(prev, cur, nxt, state or None)
            return sr, state if state is not None else ()
        sr, *state = self.core(
            *(x.contiguous(memory_format=torch.channels_last) for x in (prev, cur, nxt, *state))
        )
        return sr, tuple(state)
