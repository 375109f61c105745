"""Adversarial training of recurrent networks on clips (VQD-SR Sec. 3.4, stage 2; AnimeSR's GAN steps)."""

from animevsr.models.base_gan_model import CheckedGANModel
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class RecurrentVSRGANModel(RecurrentVSRModel, CheckedGANModel):
    """`RecurrentVSRModel` with an adversarial loss; its options are those of both bases. The discriminator
    must take clips.
    """

    TRAIN_KEYS = (*RecurrentVSRModel.TRAIN_KEYS, *CheckedGANModel.TRAIN_KEYS)
