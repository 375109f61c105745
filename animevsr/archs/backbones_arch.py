"""The other backbones of VQD-SR's tables 1, 3 and 5 on clips: BasicSR's networks, and what it does not have."""
from basicsr.archs.arch_util import ResidualBlockNoBN, make_layer
from basicsr.archs.basicvsr_arch import BasicVSR
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn


@ARCH_REGISTRY.register()
class ClipRRDBNet(RRDBNet):
    """BasicSR's RRDBNet (Real-ESRGAN's and BSRGAN's network, 16.70 M parameters), frame by frame; the same arguments and layer names."""

    def forward(self, clip):
        """Clip (b, t, 3, h, w) in [0, 1], or images (b, 3, h, w) -> the same, `scale` times as large."""
        out = super().forward(clip.flatten(0, -4))
        return out.view(*clip.shape[:-3], *out.shape[-3:])

    def step(self, prev, cur, nxt, state=None):
        """One frame, (b, 3, h, w); there is no state."""
        return self(cur), None


@ARCH_REGISTRY.register()
class RealBasicVSR(nn.Module):
    """RealBasicVSR (Chan et al., CVPR 2022): frames are cleaned, then super-resolved by BasicVSR. 6.29 M parameters with SPyNet.

    It looks both ways in time: a clip must be given as a whole, of two frames at least.

    Args:
        num_feat (int): channels.
        num_block (int): residual blocks of BasicVSR in each direction.
        num_cleaning_block (int): of the cleaning module.
        max_cleanings (int): how often at most the frames are cleaned.
        refine_threshold (float): they are cleaned again while the mean change, in levels of 255, is at least this. The default cleans
            once, as in training; 5 is what the authors test with.
        spynet_path (str | None): weights of SPyNet, in BasicSR's format.
    """

    def __init__(self, num_feat=64, num_block=20, num_cleaning_block=20, max_cleanings=3, refine_threshold=255, spynet_path=None):
        super().__init__()
        self.scale, self.max_cleanings, self.refine_threshold = 4, max_cleanings, refine_threshold
        self.cleaning = nn.Sequential(
            nn.Conv2d(3, num_feat, 3, 1, 1), nn.LeakyReLU(0.1),
            make_layer(ResidualBlockNoBN, num_cleaning_block, num_feat=num_feat),
            nn.Conv2d(num_feat, 3, 3, 1, 1))
        self.basicvsr = BasicVSR(num_feat, num_block, spynet_path)
        self.cleaned = None

    def forward(self, clip):
        """Clip (b, t, 3, h, w) in [0, 1], t >= 2 -> (b, t, 3, 4h, 4w); the cleaned clip is kept as `cleaned`, for its loss.

        Raises:
            ValueError: fewer frames, or smaller than the 64 pixels that SPyNet needs.
        """
        if clip.shape[1] < 2 or min(clip.shape[-2:]) < 64:
            raise ValueError('RealBasicVSR needs two frames of 64x64 pixels at least; '
                             f'got {clip.shape[1]} of {clip.shape[-1]}x{clip.shape[-2]}')
        frames = clip.flatten(0, 1)
        for _ in range(self.max_cleanings):
            change = self.cleaning(frames)
            frames = frames + change
            if change.detach().abs().mean() * 255 < self.refine_threshold:
                break
        self.cleaned = frames.view_as(clip)
        return self.basicvsr(self.cleaned)
