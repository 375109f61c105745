"""A BasicSR project of one's own that uses this package's parts by their registered names, in its own YAML.

    python examples/foreign_project.py -opt my_project.yml

Its YAML is like those in options/, with `network_g: {type: PlainUpscaler}`: dataset, model, losses and
metrics are this package's.
"""

from basicsr.train import train_pipeline
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

import animevsr  # noqa: F401  (fills BasicSR's registries)
from animevsr.train import run  # reads `_base_`, and says what is wrong in one line


@ARCH_REGISTRY.register()
class PlainUpscaler(nn.Module):
    """A network of this project. It is not recurrent: its state is nothing."""

    def __init__(self, num_feat=32):
        super().__init__()
        self.up = nn.Sequential(
            nn.Conv2d(3, num_feat, 3, 1, 1), nn.ReLU(), nn.Conv2d(num_feat, 48, 3, 1, 1), nn.PixelShuffle(4)
        )

    def step(self, prev, cur, nxt, state=None):
        """One frame, (b, 3, h, w); so validation and `upscale` can run it frame by frame."""
        return self.up(cur), ()

    def forward(self, clip):
        """(b, t, 3, h, w) -> (b, t, 3, 4h, 4w)."""
        return self.up(clip.flatten(0, 1)).unflatten(0, clip.shape[:2])


if __name__ == '__main__':
    run(train_pipeline)
