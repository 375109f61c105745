"""PDM's probabilistic degradation model (Luo et al., "Learning the Degradation Distribution for Blind Image
Super-Resolution", CVPR 2022), one of the methods in VQD-SR's table 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from animevsr.utils.registry import ARCH_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


@ARCH_REGISTRY.register()
class ProbabilisticDegradation(nn.Module):
    """Degradation as a random variable: y = (x * k) shrunk by `scale`, plus n; kernel k and noise n come from
    random vectors.

    The kernel is not negative and adds up to 1, so that colours stay; it is symmetric about its centre,
    because a shift could be told from blur by no discriminator, and would teach the super-resolution network
    to shift back. Its size is even, so that the pixels of y lie in the middle of those of x (the paper's 21
    would shift them by half a pixel).

    Args:
        scale (int): the size is divided by it.
        kernel_size (int): of k, even.
        kernel_dim (int): length of the random vector that k is made of.
        noise_dim (int): channels of the random image that n is made of.
        num_feat (int): channels inside.
    """

    def __init__(
        self,
        scale: int = 4,
        kernel_size: int = 20,
        kernel_dim: int = 64,
        noise_dim: int = 3,
        num_feat: int = 64,
    ) -> None:
        super().__init__()
        if kernel_size % 2 or kernel_size < scale:
            raise ValueError(f'kernel_size must be even and at least scale {scale}, got {kernel_size}')
        self.kernel_size = kernel_size
        self.kernel_dim = kernel_dim
        self.noise_dim = noise_dim
        self.scale = scale
        # so that the file tells it: no tensor's shape does
        self.register_buffer('downscale', torch.tensor(scale))
        self.kernel = nn.Sequential(
            nn.Linear(kernel_dim, num_feat),
            nn.ReLU(),
            nn.Linear(num_feat, num_feat),
            nn.ReLU(),
            nn.Linear(num_feat, kernel_size**2),
        )
        self.noise = nn.Sequential(
            nn.Conv2d(noise_dim, num_feat, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(num_feat, num_feat, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(num_feat, 3, 3, 1, 1),
        )
        with torch.no_grad():  # training starts from a plain Gaussian antialiasing filter without noise
            at = torch.arange(kernel_size) - (kernel_size - 1) / 2
            self.kernel[-1].bias.copy_((-(at[:, None] ** 2 + at**2) / (2 * (scale / 2) ** 2)).flatten())
            self.kernel[-1].weight *= 0.1
            self.noise[-1].weight *= 0.1
            self.noise[-1].bias.zero_()
        self.last_noise = None

    def draw(
        self, count: int, height: int, width: int, generator: Any = None, device: torch.device | None = None
    ) -> tuple:
        """The random input for `count` images of this size: (count, kernel_dim), and (count, noise_dim, h, w)
        of the degraded size.
        """
        h, w = (-(-side // self.scale) for side in (height, width))
        shapes = (count, self.kernel_dim), (count, self.noise_dim, h, w)
        return tuple(
            torch.randn(*shape, generator=generator, device=generator.device if generator else device)
            for shape in shapes
        )

    def kernels(self, z: Tensor) -> Tensor:
        """(b, kernel_dim) -> kernels (b, kernel_size, kernel_size)."""
        kernel = self.kernel(z).softmax(1).view(-1, self.kernel_size, self.kernel_size)
        return (kernel + kernel.flip(1, 2)) / 2

    def forward(self, x: Tensor, z_kernel: Any = None, z_noise: Any = None) -> Tensor:
        """Images (b, 3, h, w) in [0, 1] -> (b, 3, h/scale, w/scale), rounded up, not clamped; the noise alone
        is kept as `last_noise`.

        z_kernel, z_noise: from `draw`, which is called where they are missing.
        """
        b, (h, w), scale = len(x), x.shape[-2:], self.scale
        if z_kernel is None:
            z_kernel, z_noise = (z.to(x) for z in self.draw(b, h, w, device=x.device))
        kernel = self.kernels(z_kernel)
        before = (self.kernel_size - scale) // 2
        after = self.kernel_size - scale - before
        padded = F.pad(x, (before, after + -w % scale, before, after + -h % scale), mode='replicate')
        y = F.conv2d(
            padded.flatten(0, 1)[None], kernel.repeat_interleave(3, 0)[:, None], stride=scale, groups=3 * b
        )
        self.last_noise = self.noise(z_noise)
        return y.view(b, 3, *y.shape[-2:]) + self.last_noise

    @staticmethod
    def read_arguments(state: dict[str, Tensor]) -> Any:
        """Constructor arguments read off the tensors {name: Tensor} of a checkpoint, or None if it is another
        network.
        """
        if 'downscale' not in state or 'kernel.0.weight' not in state:
            return None
        return dict(
            scale=int(state['downscale']),
            kernel_size=round(len(state['kernel.4.bias']) ** 0.5),
            kernel_dim=state['kernel.0.weight'].shape[1],
            noise_dim=state['noise.0.weight'].shape[1],
            num_feat=state['kernel.0.weight'].shape[0],
        )
