"""The recurrent video super-resolution network of both papers (AnimeSR Sec. 3.3 and supplement Sec. 1, VQD-SR
Sec. 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from animevsr.utils.registry import ARCH_REGISTRY
from animevsr.utils.windows import triples

if TYPE_CHECKING:
    from torch import Tensor


SLOPE = 0.1  # of every leaky ReLU outside the residual blocks


@ARCH_REGISTRY.register()
class MSRBVSR(nn.Module):
    """Unidirectional recurrent network: multi-scale recurrent block, bilinear skip, no explicit alignment.

    Args:
        num_feat (int): channels of the features and of the hidden state.
        num_block (tuple[int]): residual blocks at full, half and quarter resolution; not increasing.
        scale (int): upscaling factor.
        sr_feedback (bool): feed the previous SR frame back (AnimeSR: True; VQD-SR: False, "to ensure a more
            stable training").
        fusion_factor (float): width of the fusion's hidden layer, over that of its output (the papers: 2; a
            light network: 1, since the fusion is more than half of the multiply-adds).
        checkpointing (bool): in training keep only the states between the frames, and compute each frame once
            more on the way back: less memory, more time, the same gradients.

    With the default sizes the network has 1,495,376 parameters with feedback and 1,467,728 without.
    """

    def __init__(
        self,
        num_feat: int = 64,
        num_block: Sequence[int] = (5, 3, 2),
        scale: int = 4,
        sr_feedback: bool = False,
        checkpointing: bool = False,
        fusion_factor: float = 2,
    ) -> None:
        super().__init__()
        if len(num_block) != 3 or min(num_block) < 1 or list(num_block) != sorted(num_block, reverse=True):
            raise ValueError(
                'num_block must be three numbers >= 1 that do not increase, e.g. (5, 3, 2); got'
                f' {tuple(num_block)}'
            )
        self.num_feat = num_feat
        self.scale = scale
        self.sr_feedback = sr_feedback
        self.checkpointing = checkpointing
        num_in_ch = 9 + num_feat + (3 * scale**2 if sr_feedback else 0)
        self.recurrent_cell = MultiScaleRecurrentBlock(
            num_in_ch, num_feat, 3 * scale**2 + num_feat, num_block, fusion_factor
        )

    def forward(self, clip: Tensor, state: tuple | None = None) -> Tensor:
        """Clip (b, t, 3, h, w) in [0, 1] -> (b, t, 3, scale*h, scale*w). t >= 1; any h and w.

        The clip is one shot: its first and its last frame stand in for their missing neighbours.
        `state`: as in `step`.
        """
        out = []
        step = self._step_in_checkpoint if self.checkpointing and torch.is_grad_enabled() else self.step
        for prev, cur, nxt in triples(clip.unbind(1)):
            sr, state = step(prev, cur, nxt, state)
            out.append(sr)
        return torch.stack(out, 1)

    def _step_in_checkpoint(self, *arguments):
        return checkpoint(self.step, *arguments, use_reentrant=False)

    def step(self, prev: Tensor, cur: Tensor, nxt: Tensor, state: tuple | None = None) -> tuple:
        """One frame.

        Args:
            prev, cur, nxt (Tensor): (b, 3, h, w), RGB in [0, 1].
            state: what the last call returned, or None at the start of a shot.

        Returns:
            sr (Tensor): (b, 3, scale*h, scale*w), not clamped.
            state (tuple[Tensor]): for the next call. Hidden features (b, num_feat, h', w') and, with
                feedback, the SR frame unshuffled to (b, 3*scale^2, h', w'); h' and w' are h and w rounded up
                to multiples of 4.
        """
        h, w = cur.shape[-2:]
        # the coarsest branch works at a quarter of the size
        frames = F.pad(torch.cat([prev, cur, nxt], 1), (0, -w % 4, 0, -h % 4), mode='replicate')
        if state is None:
            state = self._initial_state(frames)
        sr, *state = self.core(*frames.split(3, 1), *state)
        return sr[..., : h * self.scale, : w * self.scale], tuple(state)

    def core(self, prev: Tensor, cur: Tensor, nxt: Tensor, *state: Any) -> tuple:
        """`step` without padding: heights and widths are multiples of 4; returns (sr, *state). What is
        exported to other runtimes.
        """
        # the order of the channels is that of the published weights: frames, feedback, hidden
        out = self.recurrent_cell(torch.cat([prev, cur, nxt, *reversed(state)], 1))
        residual, hidden = out.split([3 * self.scale**2, self.num_feat], 1)
        hidden = F.leaky_relu(hidden, SLOPE)
        base = F.interpolate(cur, scale_factor=self.scale, mode='bilinear', align_corners=False)
        sr = F.pixel_shuffle(residual, self.scale) + base
        return (sr, hidden, F.pixel_unshuffle(sr, self.scale)) if self.sr_feedback else (sr, hidden)

    @property
    def state_channels(self) -> tuple:
        """Channels of each tensor of the state."""
        return (self.num_feat, 3 * self.scale**2) if self.sr_feedback else (self.num_feat,)

    @property
    def reach(self) -> int:
        """How many pixels of its input, each way, a pixel of a step's result depends on at most."""
        blocks = [len(getattr(self.recurrent_cell, f'body_s{s}_first')) for s in (1, 2, 4)]
        # along each branch: the convolutions on the way down, two in each block, the interpolation up, the
        # last block and the fusion
        return max(2 * blocks[0] + 3, 2 + 4 * blocks[1] + 2 + 4 + 4, 4 + 8 * blocks[2] + 4 + 4 + 4)

    def _initial_state(self, frames):
        b, _, h, w = frames.shape
        return tuple(frames.new_zeros(b, c, h, w) for c in self.state_channels)

    @staticmethod
    def read_arguments(state: dict[str, Tensor]) -> dict[str, int | tuple[int, int, int]] | None:
        """Constructor arguments read off the tensors {name: Tensor} of a checkpoint, or None if it is another
        network.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        first = shapes.get('recurrent_cell.conv_s1_first.0.weight')
        last = shapes.get('recurrent_cell.fusion.2.weight')
        if first is None or last is None:
            return None
        num_feat = first[0]
        scale = round(((last[0] - num_feat) / 3) ** 0.5)
        blocks = tuple(
            len({n.split('.')[2] for n in shapes if n.startswith(f'recurrent_cell.body_s{s}_first.')})
            for s in (1, 2, 4)
        )
        return dict(
            num_feat=num_feat,
            num_block=blocks,
            scale=scale,
            sr_feedback=first[1] > 9 + num_feat,
            fusion_factor=last[1] / last[0],
        )


class MultiScaleRecurrentBlock(nn.Module):
    """Residual branches at full, half and quarter resolution that help each other from coarse to fine, then a
    fusion.

    The branches end together: a coarser branch has fewer blocks and starts later, and every block sees the
    sum of its own features and of the coarser branches' so far.
    """

    def __init__(
        self,
        num_in_ch: int,
        num_feat: int,
        num_out_ch: int,
        num_block: Sequence[int],
        fusion_factor: float = 2,
    ) -> None:
        super().__init__()
        self.conv_s1_first = conv_lrelu(num_in_ch, num_feat)
        self.conv_s2_first = conv_lrelu(num_feat, num_feat, stride=2)
        self.conv_s4_first = conv_lrelu(num_feat, num_feat, stride=2)
        self.body_s1_first = nn.ModuleList(ResidualBlock(num_feat) for _ in range(num_block[0]))
        self.body_s2_first = nn.ModuleList(ResidualBlock(num_feat) for _ in range(num_block[1]))
        self.body_s4_first = nn.ModuleList(ResidualBlock(num_feat) for _ in range(num_block[2]))
        hidden = round(fusion_factor * num_out_ch)
        self.fusion = nn.Sequential(
            nn.Conv2d(3 * num_feat, hidden, 3, 1, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(hidden, num_out_ch, 3, 1, 1),
        )
        self.fusion[-1].weight.data *= 0.1  # training starts near the bilinear skip

    def forward(self, x: Tensor) -> Tensor:
        """(b, num_in_ch, h, w) -> (b, num_out_ch, h, w); h and w are multiples of 4."""
        s1 = self.conv_s1_first(x)
        s2 = self.conv_s2_first(s1)
        s4 = self.conv_s4_first(s2)
        start2 = len(self.body_s1_first) - len(self.body_s2_first)
        start4 = len(self.body_s1_first) - len(self.body_s4_first)
        up2_s2 = up4_s4 = up2_s4 = None
        for i, block in enumerate(self.body_s1_first):
            s1 = block(add(s1, up2_s2, up4_s4))
            if i >= start2:
                s2 = self.body_s2_first[i - start2](add(s2, up2_s4))
                up2_s2 = upsample(s2, 2)
            if i >= start4:
                s4 = self.body_s4_first[i - start4](s4)
                up2_s4, up4_s4 = upsample(s4, 2), upsample(s4, 4)
        return self.fusion(torch.cat([s1, up2_s2, up4_s4], 1))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between, no normalisation."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        for conv in (self.conv1, self.conv2):  # small residuals at the start of training (ESRGAN)
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= 0.1
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(b, num_feat, h, w) -> the same."""
        return x + self.conv2(F.relu(self.conv1(x)))


def conv_lrelu(in_ch: int, out_ch: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_ch, out_ch, 3, stride, 1), nn.LeakyReLU(SLOPE))


def upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)


def add(x: Tensor, *others: Any) -> Tensor:
    """Sum of `x` and of those of `others` that exist already."""
    for other in others:
        if other is not None:
            x = x + other
    return x
