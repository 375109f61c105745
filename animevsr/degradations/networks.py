"""Frozen networks that degrade, on whatever device the data is."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING

from animevsr.archs.loading import load_network
from animevsr.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import nn


class FrozenNetwork:
    """The network of a weights file, copied to a device once when data there first needs it; it can go to a
    loader's worker.

    Args:
        weights (str): file, or name of bundled weights.
        kind (type): the class that the network must be of.

    Raises:
        CheckpointError: the file cannot be read, or holds another network.
    """

    def __init__(self, weights: str, kind: type[nn.Module]) -> None:
        net = load_network(weights)
        if not isinstance(net, kind):
            raise CheckpointError(
                f'{weights}: holds a {type(net).__name__}, but degradation needs a {kind.__name__}'
            )
        self.cpu = net.requires_grad_(False)
        self._copies = {'cpu': self.cpu}
        self._copying = threading.Lock()

    def on(self, device: torch.device) -> nn.Module:
        """The network on a device."""
        with self._copying:
            if str(device) not in self._copies:
                self._copies[str(device)] = copy.deepcopy(self.cpu).to(device)
        return self._copies[str(device)]

    def __getstate__(self):  # a lock cannot be sent
        return self.cpu

    def __setstate__(self, net):
        self.cpu = net
        self._copies = {'cpu': net}
        self._copying = threading.Lock()
