"""What the package asks of a network, as types; a class fits by what it has, it need not inherit."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class FrameNetwork(Protocol):
    """Upscales frame by frame, from the past and one frame ahead.

    Attributes:
        scale (int): size of the output over that of the input.
    """

    scale: int

    def step(self, prev: Tensor, cur: Tensor, nxt: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Frames (b, 3, h, w), RGB in [0, 1] -> ((b, 3, scale*h, scale*w), the state for the next call).

        `state` is what the last call returned, or None at the start of a shot.
        """


@runtime_checkable
class RecurrentNetwork(FrameNetwork, Protocol):
    """A `FrameNetwork` whose state is tensors of the frame's size: it can be tiled, converted and exported.

    Attributes:
        state_channels (tuple[int, ...]): channels of each tensor of the state.
        reach (int): how many pixels of its input, each way, a pixel of a step's result depends on at most.
    """

    state_channels: tuple[int, ...]
    reach: int

    def core(self, prev: Tensor, cur: Tensor, nxt: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """`step` on heights and widths that are multiples of 4: returns (sr, *state)."""


@runtime_checkable
class ClipNetwork(Protocol):
    """Looks both ways in time: upscales whole clips (b, t, 3, h, w).

    Attributes:
        scale (int). whole_clips (bool): True.
    """

    scale: int
    whole_clips: bool

    def __call__(self, clip: Tensor) -> Tensor:
        """(b, t, 3, h, w), RGB in [0, 1] -> (b, t, 3, scale*h, scale*w)."""
