"""Patch discriminators: one scale for VQGAN and LBO, three scales for video super-resolution (VQD-SR Sec.
3.4, stage 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from basicsr.archs.discriminator_arch import UNetDiscriminatorSN
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from animevsr.utils.registry import ARCH_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


@ARCH_REGISTRY.register()
class MultiScalePatchDiscriminator(nn.Module):
    """PatchGAN discriminators that look at the image at full size, half size, quarter size and so on.

    Args:
        num_in_ch (int): channels of the image.
        num_feat (int): channels of the first layer; each further layer doubles them, up to `max_nf_mult`
            times.
        num_layers (tuple[int]): strided layers of each scale's discriminator, from full size on; one number
            is one discriminator.
        max_nf_mult (int): see `num_feat`.
        use_sn (bool): spectral normalisation of all layers.
        use_bn (bool): batch normalisation of all layers but the first and the last, weights drawn from N(0,
            0.02): the discriminator of taming-transformers, which the published VQGAN is trained against.
            Excludes `use_sn`.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        num_layers: Sequence[int] = (3, 3, 3),
        max_nf_mult: int = 8,
        use_sn: bool = True,
        use_bn: bool = False,
    ) -> None:
        super().__init__()
        if use_sn and use_bn:
            raise ValueError('use_sn and use_bn exclude each other')
        # each strided layer halves the image, and three pixels must be left for the last two convolutions
        self.least = max(3 * 2 ** (layers + scale) for scale, layers in enumerate(num_layers))
        self.dis_list = nn.ModuleList(
            PatchDiscriminator(num_in_ch, num_feat, layers, max_nf_mult, use_sn, use_bn)
            for layers in num_layers
        )

    def forward(self, x: Tensor) -> ScoreMaps:
        """Images (b, c, h, w), or clips of them (b, t, c, h, w) -> `ScoreMaps`, one map (b, 1, h', w') or
        (b*t, 1, h', w') for each scale.

        Raises:
            ValueError: an image is smaller than the coarsest scale can see: 96 pixels with three scales of
                three layers.
        """
        x, out = x.flatten(0, -4), ScoreMaps()
        if min(x.shape[-2:]) < self.least:
            raise ValueError(
                f'images of {x.shape[-1]}x{x.shape[-2]} are too small for this discriminator, which needs'
                f' {self.least} pixels each way; train on larger crops, or with fewer scales or layers'
                ' (num_layers)'
            )
        for i, discriminator in enumerate(self.dis_list):
            if i:
                x = F.interpolate(x, scale_factor=0.5, mode='bilinear', align_corners=True)
            out.append(discriminator(x))
        return out


@ARCH_REGISTRY.register()
class ClipUNetDiscriminatorSN(UNetDiscriminatorSN):
    """BasicSR's U-Net discriminator with spectral normalisation (Real-ESRGAN's), on images or frame by frame
    on clips.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) or (b, t, c, h, w), h and w multiples of 8 -> scores (b, 1, h, w) or (b*t, 1, h,
        w).
        """
        return super().forward(x.flatten(0, -4))


class ScoreMaps(list):
    """The maps of scores of several scales, as BasicSR's `MultiScaleGANLoss` takes them."""

    def detach(self) -> Tensor:
        """All scores, flat, without history: of this BasicSR's models log the mean."""
        return torch.cat([scores.detach().flatten() for scores in self])


class PatchDiscriminator(nn.Module):
    """Convolutions of 4x4, `num_layers` of them with stride 2, then two with stride 1."""

    def __init__(
        self,
        num_in_ch: int,
        num_feat: int,
        num_layers: int,
        max_nf_mult: int,
        use_sn: bool,
        use_bn: bool = False,
    ) -> None:
        super().__init__()
        wrap = spectral_norm if use_sn else nn.Identity()
        widths = [num_feat * min(2**i, max_nf_mult) for i in range(num_layers + 1)]
        layers = [wrap(nn.Conv2d(num_in_ch, num_feat, 4, 2, 1)), nn.LeakyReLU(0.2)]
        for i in range(num_layers):
            stride = 2 if i < num_layers - 1 else 1
            # the place of a normalisation layer in the published numbering
            norm = nn.BatchNorm2d(widths[i + 1]) if use_bn else nn.Identity()
            layers += [
                wrap(nn.Conv2d(widths[i], widths[i + 1], 4, stride, 1, bias=not use_bn)),
                norm,
                nn.LeakyReLU(0.2),
            ]
        self.model = nn.Sequential(*layers, wrap(nn.Conv2d(widths[-1], 1, 4, 1, 1)))
        if use_bn:
            self.model.apply(start_as_taming)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, 1, h', w')."""
        return self.model(x)


def start_as_taming(layer: nn.Module) -> None:
    """The initialisation of pix2pix and taming-transformers."""
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, 0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1, 0.02)
