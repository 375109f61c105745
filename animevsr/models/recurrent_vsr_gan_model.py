"""Adversarial training of recurrent networks on clips (VQD-SR Sec. 3.4, stage 2; AnimeSR's GAN steps)."""
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils.registry import MODEL_REGISTRY

from animevsr.models.recurrent_vsr_model import RecurrentVSRModel


@MODEL_REGISTRY.register()
class RecurrentVSRGANModel(RecurrentVSRModel, SRGANModel):
    """`RecurrentVSRModel` under the training loop of BasicSR's SRGANModel.

    What it adds to the options of `RecurrentVSRModel`:

        network_d: a discriminator of frames that takes clips, e.g. MultiScalePatchDiscriminator
        train:
          gan_opt: MultiScaleGANLoss        # where the discriminator has several scales
          optim_d, net_d_iters, net_d_init_iters: as in SRGANModel
    """

    TRAIN_KEYS = (*RecurrentVSRModel.TRAIN_KEYS, *RecurrentVSRModel.GAN_KEYS)
