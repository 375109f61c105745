"""Training from a state that is already old (truncated back-propagation through time)."""

from __future__ import annotations

import inspect
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from animevsr.utils.windows import triples

if TYPE_CHECKING:
    from torch import Tensor, nn


class BurnIn:
    """Runs a recurrent network over a clip without gradients before it is trained on it: there and back, so
    that all of it is one long shot.

    A network that sees no more than the first dozen frames of a shot in training learns nothing about the
    state after them, and may blur what is held more and more. Each pass costs a third of a training pass.

    Args:
        passes (list[int]): how many passes, one of these at random each time; 0 begins with no state.

    Attributes:
        seed (str): of that choice, to be set for each iteration: a run that is resumed makes the same ones,
            and so do all processes.

    Raises:
        ValueError: it is no list of numbers >= 0, or the network cannot begin with a state.
    """

    def __init__(self, net: nn.Module, passes: Sequence[int]) -> None:
        if (
            not isinstance(passes, (list, tuple))
            or not passes
            or not all(isinstance(n, int) and n >= 0 for n in passes)
        ):
            raise ValueError(f'burn_in must be a list of numbers of passes >= 0, e.g. [0, 2], got {passes!r}')
        if 'state' not in inspect.signature(net.forward).parameters:
            raise ValueError(f'burn_in: a {type(net).__name__} cannot begin with a state')
        self.passes = passes
        self.seed = ''
        net.register_forward_pre_hook(self._add_state, with_kwargs=True)

    def _add_state(self, net: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple | None:
        if not net.training or len(args) != 1 or kwargs:
            return None
        return args, dict(state=self.state(net, args[0]))

    @torch.no_grad()
    def state(self, net: nn.Module, clip: Tensor) -> tuple[Tensor, ...] | None:
        """The state after the passes over a clip (b, t, 3, h, w); the last pass ends at its first frame."""
        state, frames = None, clip.unbind(1)
        passes = random.Random(self.seed).choice(self.passes)
        for left in range(passes, 0, -1):
            for prev, cur, nxt in triples(reversed(frames) if left % 2 else frames):
                state = net.step(prev, cur, nxt, state)[1]
        # older versions of PyTorch keep the weights that autocast has converted here, without gradients
        torch.clear_autocast_cache()
        return state
