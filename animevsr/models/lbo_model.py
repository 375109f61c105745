"""Training of a learnable basic operator on pairs of pseudo-HR and real low-quality frames (AnimeSR supplement Sec. 1 and 2)."""
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils.registry import MODEL_REGISTRY

from animevsr.models.checked_model import CheckedSRModel


@MODEL_REGISTRY.register()
class LBOModel(CheckedSRModel):
    """BasicSR's SRModel with the sides exchanged: the network maps `gt`, the pseudo-HR frame, to `lq`, the real one.

    In validation, and in the images that it saves, `lq` is therefore the pseudo-HR frame and `gt` the real one.
    """

    def feed_data(self, data):
        """A batch of pairs: `gt` (b, 3, 2h, 2w) and `lq` (b, 3, h, w), RGB in [0, 1]."""
        super().feed_data(dict(lq=data['gt'], gt=data['lq']))


@MODEL_REGISTRY.register()
class LBOGANModel(LBOModel, SRGANModel):
    """`LBOModel` under the training loop of BasicSR's SRGANModel; see there for `network_d`, `gan_opt` and `optim_d`."""

    TRAIN_KEYS = (*LBOModel.TRAIN_KEYS, *LBOModel.GAN_KEYS)
