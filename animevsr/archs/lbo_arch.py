"""The learnable basic operator of AnimeSR (supplement Sec. 1): a small network that degrades as one real
video was degraded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

from animevsr.utils.registry import ARCH_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


@ARCH_REGISTRY.register()
class LearnableBasicOperator(nn.Module):
    """Pixel-unshuffle, then three convolutions: maps a picture to the degraded one of half its size.

    Args:
        num_in_ch, num_out_ch (int): channels of the picture.
        num_feat (int): channels of the features.
        downscale (int): the height and the width are divided by it, rounded up.

    With the default sizes it has 45,635 parameters.
    """

    def __init__(
        self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, downscale: int = 2
    ) -> None:
        super().__init__()
        self.downscale = downscale
        self.main = nn.Sequential(
            nn.Conv2d(num_in_ch * downscale**2, num_feat, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(num_feat, num_feat, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(num_feat, num_out_ch, 3, 1, 1),
        )
        from basicsr.archs.arch_util import default_init_weights  # here: BasicSR takes seconds to import

        default_init_weights(self.main)  # Kaiming's normal distribution, biases zero: as published

    def forward(self, x: Tensor) -> Tensor:
        """Images (b, 3, 2h, 2w), RGB in [0, 1] -> (b, 3, h, w), not clamped. Odd sizes are padded by
        replication.
        """
        h, w = x.shape[-2:]
        x = F.pad(x, (0, -w % self.downscale, 0, -h % self.downscale), mode='replicate')
        return self.main(F.pixel_unshuffle(x, self.downscale))

    @staticmethod
    def read_arguments(state: dict) -> dict[str, int] | None:
        """Constructor arguments read off the tensors {name: Tensor} of a checkpoint, or None if it is another
        network.
        """
        if set(state) != {f'main.{i}.{kind}' for i in (0, 2, 4) for kind in ('weight', 'bias')}:
            return None
        num_feat, unshuffled = state['main.0.weight'].shape[:2]
        num_out_ch = state['main.4.weight'].shape[0]
        # the shapes hold the product of channels and downscale^2 alone: a picture has as many channels before
        # as after
        downscale = round((unshuffled / num_out_ch) ** 0.5)
        return dict(num_in_ch=num_out_ch, num_out_ch=num_out_ch, num_feat=num_feat, downscale=downscale)
