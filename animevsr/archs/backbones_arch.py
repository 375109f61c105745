"""The other backbones of VQD-SR's tables 1, 3 and 5 on clips: BasicSR's networks, and what it does not
have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basicsr.archs.arch_util import ResidualBlockNoBN, make_layer
from basicsr.archs.basicvsr_arch import BasicVSR
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import nn
from torch.nn import functional as F

from animevsr.utils.registry import ARCH_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


LEAST_SIDE = 64  # of the frames that SPyNet takes: it halves them five times, and once more


@ARCH_REGISTRY.register()
class ClipRRDBNet(RRDBNet):
    """BasicSR's RRDBNet (Real-ESRGAN's and BSRGAN's network, 16.70 M parameters), frame by frame; the same
    arguments and layer names.
    """

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, t, 3, h, w) in [0, 1], or images (b, 3, h, w) -> the same, `scale` times as large."""
        out = super().forward(clip.flatten(0, -4))
        return out.view(*clip.shape[:-3], *out.shape[-3:])

    def step(self, prev: Tensor, cur: Tensor, nxt: Tensor, state: Any = None) -> tuple[Tensor, None]:
        """One frame, (b, 3, h, w); there is no state."""
        return self(cur), None


@ARCH_REGISTRY.register()
class ClipBasicVSR(BasicVSR):
    """BasicSR's BasicVSR (Chan et al., CVPR 2021; 6.29 M parameters with SPyNet) behind the interface of the
    networks here.

    The same arguments and layer names. It looks both ways in time: a clip must be given as a whole
    (`whole_clips`).
    """

    scale, whole_clips = 4, True

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, t, 3, h, w) in [0, 1] -> (b, t, 3, 4h, 4w); t >= 1, any h and w.

        What is too small for the optical flow, which needs two frames of 64x64 pixels, is repeated at its end
        and cropped afterwards.
        """
        t, h, w = clip.shape[1], *clip.shape[-2:]
        bottom, right = (max(0, LEAST_SIDE - side) for side in (h, w))
        frames = F.pad(clip.flatten(0, 1), (0, right, 0, bottom), mode='replicate').view(
            *clip.shape[:3], h + bottom, w + right
        )
        if t == 1:
            frames = frames.expand(-1, 2, -1, -1, -1)
        return super().forward(frames)[:, :t, :, : h * self.scale, : w * self.scale]

    @staticmethod
    def read_arguments(state: dict) -> dict[str, int] | None:
        """Constructor arguments read off the tensors {name: Tensor} of a checkpoint, or None if it is another
        network.
        """
        if (
            not any(name.startswith('spynet.') for name in state)
            or 'backward_trunk.main.0.weight' not in state
        ):
            return None
        blocks = {name.split('.')[3] for name in state if name.startswith('backward_trunk.main.2.')}
        return dict(num_feat=len(state['backward_trunk.main.0.weight']), num_block=len(blocks))


@ARCH_REGISTRY.register()
class RealBasicVSR(nn.Module):
    """RealBasicVSR (Chan et al., CVPR 2022): frames are cleaned, then super-resolved by BasicVSR. 6.29 M
    parameters with SPyNet.

    It looks both ways in time: a clip must be given as a whole (`whole_clips`).

    Args:
        num_feat (int): channels.
        num_block (int): residual blocks of BasicVSR in each direction.
        num_cleaning_block (int): of the cleaning module.
        max_cleanings (int): how often at most the frames are cleaned.
        refine_threshold (float): they are cleaned again while the mean change, in levels of 255, is at least
            this. The default cleans once, as in training; 5 is what the authors test with.
        spynet_path (str | None): weights of SPyNet, in BasicSR's format.
    """

    scale, whole_clips = 4, True

    def __init__(
        self,
        num_feat: int = 64,
        num_block: int = 20,
        num_cleaning_block: int = 20,
        max_cleanings: int = 3,
        refine_threshold: float = 255,
        spynet_path: str | None = None,
    ) -> None:
        super().__init__()
        self.max_cleanings = max_cleanings
        self.refine_threshold = refine_threshold
        self.cleaning = nn.Sequential(
            nn.Conv2d(3, num_feat, 3, 1, 1),
            nn.LeakyReLU(0.1),
            make_layer(ResidualBlockNoBN, num_cleaning_block, num_feat=num_feat),
            nn.Conv2d(num_feat, 3, 3, 1, 1),
        )
        self.basicvsr = ClipBasicVSR(num_feat, num_block, spynet_path)
        self.cleaned = None

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, t, 3, h, w) in [0, 1] -> (b, t, 3, 4h, 4w); the cleaned clip is kept as `cleaned`, for its
        loss.
        """
        frames = clip.flatten(0, 1)
        for _ in range(self.max_cleanings):
            change = self.cleaning(frames)
            frames = frames + change
            # a comparison waits for the device; of the default its outcome is known
            if self.refine_threshold >= 255 or change.detach().abs().mean() * 255 < self.refine_threshold:
                break
        self.cleaned = frames.view_as(clip)
        return self.basicvsr(self.cleaned)

    @staticmethod
    def read_arguments(state: dict[str, Tensor]) -> dict[str, int] | None:
        """As `ClipBasicVSR.read_arguments`."""
        inner = {
            name.removeprefix('basicvsr.'): tensor
            for name, tensor in state.items()
            if name.startswith('basicvsr.')
        }
        arguments = ClipBasicVSR.read_arguments(inner)
        if arguments is None or 'cleaning.0.weight' not in state:
            return None
        return dict(
            arguments,
            num_cleaning_block=len({name.split('.')[2] for name in state if name.startswith('cleaning.2.')}),
        )
