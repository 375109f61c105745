"""Where converted networks are kept, and under what name."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from animevsr.utils.files import atomic_folder
from animevsr.utils.resources import cache_folder

if TYPE_CHECKING:
    from torch import Tensor


EXAMPLE = 64, 80  # height and width of the frames with which a network is traced


class StepGraph(nn.Module):
    """The step of a recurrent network as a module: (prev, cur, next, *state) -> (sr, *state)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, prev: Tensor, cur: Tensor, nxt: Tensor, *state: Any) -> tuple[Tensor, Tensor]:
        """See `MSRBVSR.core`."""
        return self.net.core(prev, cur, nxt, *state)


def make_example(net: nn.Module, height: int = EXAMPLE[0], width: int = EXAMPLE[1]) -> tuple[Tensor, ...]:
    """Inputs of a network's step, random."""
    generator = torch.Generator().manual_seed(0)
    frames = [torch.rand(1, 3, height, width, generator=generator) for _ in range(3)]
    return (
        *frames,
        *(torch.rand(1, c, height, width, generator=generator) * 0.1 for c in net.state_channels),
    )


def list_names(net: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs of a network's step."""
    states = [f'state{i}' for i in range(len(net.state_channels))]
    return ['prev', 'cur', 'next', *states], ['sr', *(f'new_{name}' for name in states)]


def hash_network(net: nn.Module) -> str:
    """A hash of a network's class, arguments and weights."""
    digest = hashlib.sha256(f'{type(net).__name__} {getattr(net, "scale", "")}'.encode())
    for name, tensor in net.state_dict().items():
        digest.update(f'{name} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def run_converter(command: list[str], folder: Path) -> tuple[bool, str]:
    """Run a program in a folder: whether it ended well, and the end of what it said."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace'
    )
    return done.returncode == 0, (done.stderr or done.stdout).strip()[-200:]


def cached(net: nn.Module, kind: str, make: Callable) -> Path:
    """Folder of a converted network; `make(folder)` fills it where it is not there yet. `kind` names format
    and versions.
    """
    path = cache_folder() / f'{kind}-{hash_network(net)}'
    if not path.is_dir():
        with atomic_folder(path) as partial:
            make(partial)
    return path
