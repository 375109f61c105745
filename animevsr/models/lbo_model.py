"""Training of a learnable basic operator on pairs of pseudo-HR and real low-quality frames (AnimeSR
supplement Sec. 1 and 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from animevsr.models.base_gan_model import CheckedGANModel
from animevsr.models.base_model import BaseSRModel
from animevsr.utils.registry import MODEL_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


@MODEL_REGISTRY.register()
class LBOModel(BaseSRModel):
    """BasicSR's SRModel with the sides exchanged: the network maps `gt`, the pseudo-HR frame, to `lq`, the
    real one.

    In validation, and in the images that it saves, `lq` is therefore the pseudo-HR frame and `gt` the real
    one.
    """

    def feed_data(self, data: dict[str, Tensor]) -> None:
        """A batch of pairs: `gt` (b, 3, 2h, 2w) and `lq` (b, 3, h, w), RGB in [0, 1]."""
        super().feed_data(dict(lq=data['gt'], gt=data['lq']))


@MODEL_REGISTRY.register()
class LBOGANModel(LBOModel, CheckedGANModel):
    """`LBOModel` with an adversarial loss; its options are those of both bases."""

    TRAIN_KEYS = CheckedGANModel.TRAIN_KEYS
