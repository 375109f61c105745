"""What all adversarial models of this package share: BasicSR's training loop, and a guard over it."""

from __future__ import annotations

from typing import Any

from basicsr.models.srgan_model import SRGANModel
from basicsr.utils import get_root_logger

from animevsr.models.base_model import BaseSRModel
from animevsr.models.collapse import CollapseGuard
from animevsr.utils.options import check_keys


class CheckedGANModel(BaseSRModel, SRGANModel):
    """`BaseSRModel` under the training loop of BasicSR's SRGANModel, as it is.

    What it adds to the options of SRModel:

        network_d: the discriminator, e.g. MultiScalePatchDiscriminator
        train:
          gan_opt: MultiScaleGANLoss        # where the discriminator has several scales
          optim_d, net_d_iters, net_d_init_iters: as in SRGANModel
          guard: {window: 1000, least_d: 0.02, pix_rise: 3.0}    # see `CollapseGuard`; false: none
    """

    TRAIN_KEYS = (*BaseSRModel.TRAIN_KEYS, 'gan_opt', 'optim_d', 'net_d_iters', 'net_d_init_iters', 'guard')

    def init_training_settings(self) -> None:
        if not self.opt['train'].get('gan_opt'):
            raise ValueError(
                f'train: gan_opt is missing, but a {type(self).__name__} has an adversarial loss, '
                'e.g. gan_opt: {type: MultiScaleGANLoss, gan_type: lsgan}'
            )
        super().init_training_settings()
        options = self.opt['train'].get('guard')
        options = {} if options is True else options
        check_keys(options or {}, ('window', 'least_d', 'pix_rise'), 'guard')
        self.guard = None if options is False else CollapseGuard(self.cri_gan.gan_type, **(options or {}))

    def reduce_loss_dict(self, loss_dict: dict) -> dict:
        log_dict = super().reduce_loss_dict(loss_dict)
        if self.guard:
            self.guard.update(log_dict)
            problem = self.guard.problem()
            if problem:
                raise ValueError(
                    f'{problem}. Training stops at iteration {self.current_iter}, the last checkpoint is'
                    ' kept; lower the learning rate or the weight of the adversarial loss (gan_opt), clip'
                    ' gradients (grad_clip), and go on with --auto_resume; guard: false goes on regardless'
                )
        return log_dict

    def save(self, epoch: Any, current_iter: int) -> None:
        """Write networks and training state, unless there are signs of a collapse: the checkpoint before them
        is to stay the last.
        """
        sign = self.guard.problem(recent=True) if self.guard and current_iter != -1 else None
        if sign:
            get_root_logger().warning(f'Nothing is saved at iteration {current_iter}: {sign}.')
        else:
            super().save(epoch, current_iter)
