"""The interface of all backends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from animevsr.archs.interfaces import RecurrentNetwork


class Backend(ABC):
    """Computes a step of a network.

    Attributes:
        kind (str): of `NAMES`. name (str): with the version, and what else results depend on.
        device (torch.device), dtype (torch.dtype): of the frames that it takes.
        scale (int), reach (int | None): see `RecurrentNetwork`; None where a network cannot be tiled.
        multiple (int): heights and widths must be multiples of it.
        is_recurrent (bool): of a `RecurrentNetwork`.
        threads (int | None): None where results do not depend on it.
        batches (bool): many small squares are faster together than one after the other.
        gives_bytes (bool): `step` can give its result as bytes, and saves time so.
        patience (float): for how many times as long what is held is averaged; above 1 where results answer to
            noise more than the network's own do.
    """

    kind: str
    name: str
    device: torch.device
    scale: int
    reach: int | None
    dtype = torch.float32
    multiple, is_recurrent, batches, gives_bytes = 4, True, False, False
    threads: int | None = None
    patience = 1.0

    @property
    def for_bytes(self) -> dict[str, bool]:
        """What `step` is told besides where its result becomes 8 bits."""
        return {'as_bytes': True} if self.gives_bytes else {}

    @abstractmethod
    def initial_state(self, height: int, width: int) -> tuple[Tensor, ...]:
        """The state at the start of a shot."""

    @abstractmethod
    def step(
        self, prev: Tensor, cur: Tensor, nxt: Tensor, state: tuple[Tensor, ...], **how: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Frames (n, 3, h, w), RGB in [0, 1] -> ((n, 3, scale*h, scale*w), not clamped; the next state).

        The state is a tuple of tensors (n, c, h, w), of any type. n is 1 unless the backend `batches`. `how`:
        `as_bytes=True` where it `gives_bytes`, for a result (n, 3, scale*h, scale*w) in uint8.
        """


class ConvertedBackend(Backend):
    """Base of those that run a converted network, by another runtime, in float32.

    Args:
        net (RecurrentNetwork), device (torch.device): where the tensors are; see `open_backend`.
    """

    def __init__(self, net: RecurrentNetwork, device: torch.device) -> None:
        self.device = device
        self.scale = net.scale
        self.reach = net.reach
        self.channels = net.state_channels

    def initial_state(self, height: int, width: int) -> tuple[Tensor, ...]:
        return tuple(torch.zeros(1, c, height, width) for c in self.channels)
