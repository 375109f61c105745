"""Training of a probabilistic degradation model on clean and low-quality frames that do not belong together
(PDM, CVPR 2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from animevsr.models.base_gan_model import CheckedGANModel
from animevsr.utils.registry import MODEL_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


@MODEL_REGISTRY.register()
class PDMModel(CheckedGANModel):
    """The generator makes low-quality frames of clean ones; the discriminator compares them with real ones.

    What it adds to the options of CheckedGANModel:

        train:
          noise_weight: 100    # of the mean square of the noise, which keeps it as small as the discriminator
              lets it. Default: 100
    """

    TRAIN_KEYS = (*CheckedGANModel.TRAIN_KEYS, 'noise_weight')

    def needs_processes(self, opt: dict) -> bool:
        """Yes: the loss looks at the noise of the last pass."""
        return True

    def init_training_settings(self) -> None:
        super().init_training_settings()
        self.cri_pix = NoiseLoss(self.get_bare_model(self.net_g), self.opt['train'].get('noise_weight', 100))

    def feed_data(self, data: dict[str, Tensor]) -> None:
        """`gt` (b, 3, H, W), clean, and `lq` (b, 3, h, w), real ones of other pictures; RGB in [0, 1]."""
        super().feed_data(dict(lq=data['gt'], gt=data['lq']))

    def reduce_loss_dict(self, loss_dict: dict) -> dict:
        """As the base, with the loss of the noise under a name of its own: that it grows is no sign of a
        collapse.
        """
        if 'l_g_pix' in loss_dict:  # not where the discriminator trains alone
            loss_dict['l_g_noise'] = loss_dict.pop('l_g_pix')
        return super().reduce_loss_dict(loss_dict)


class NoiseLoss(nn.Module):
    """Mean square of the noise of a network's last pass, in place of a pixel loss: there is no ground truth
    to compare with.
    """

    def __init__(self, net: nn.Module, weight: float) -> None:
        super().__init__()
        self.net, self.weight = [net], weight  # in a list: the network is not a part of its loss

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.weight * self.net[0].last_noise.square().mean()
