"""What all models of this package add to BasicSR's SRModel: checked options, safe loading, and a stop at numbers that are not finite."""
import math

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger

from animevsr.utils.checkpoint import load_weights
from animevsr.utils.options import check_keys
from animevsr.utils.resources import find


class CheckedSRModel(SRModel):
    """Base of the registered models. A subclass adds its keys of the `train` section to `TRAIN_KEYS`.

    Adversarial models inherit from it first and from BasicSR's SRGANModel second, whose training loop they use as it is.
    """

    GAN_KEYS = ('gan_opt', 'optim_d', 'net_d_iters', 'net_d_init_iters')
    TRAIN_KEYS = ('ema_decay', 'optim_g', 'scheduler', 'total_iter', 'warmup_iter', 'pixel_opt', 'perceptual_opt')

    def init_training_settings(self):
        check_keys(self.opt['train'], self.TRAIN_KEYS, 'train')
        super().init_training_settings()

    def load_network(self, net, load_path, strict=True, param_key='params'):
        """BasicSR's `load_network` through this package's safe reader; bundled weights are found from any directory.

        With `strict` false, parts of the network that the file does not have start fresh, and the log names them.

        Raises:
            CheckpointError: the file cannot be read, or holds another network.
        """
        path, net = find(load_path), self.get_bare_model(net)
        fresh = load_weights(net, path, prefer=param_key, strict=strict)
        logger = get_root_logger()
        logger.info(f'Loading {type(net).__name__} from {path} ({param_key} preferred).')
        for part, count in fresh.items():
            logger.info(f'Not in {path.name}, starts fresh: {part} ({count} tensors)')

    def optimize_parameters(self, current_iter):
        self.current_iter = current_iter
        super().optimize_parameters(current_iter)

    def reduce_loss_dict(self, loss_dict):
        """Mean of each loss over the processes.

        Raises:
            ValueError: a loss is not finite. What was saved before stays as it is.
        """
        log_dict = super().reduce_loss_dict(loss_dict)
        for name, value in log_dict.items():
            if not math.isfinite(value):
                raise ValueError(f'{name} is {value} at iteration {self.current_iter}: training stops, the last checkpoint is kept; '
                                 'lower the learning rate, or look at the data, and go on with --auto_resume')
        return log_dict

    def save(self, epoch, current_iter):
        """Write networks and training state; nothing at all if a network holds numbers that are not finite."""
        self.check_finite(current_iter)
        super().save(epoch, current_iter)

    def check_finite(self, current_iter):
        """ValueError if a network holds numbers that are not finite."""
        networks = {name: self.get_bare_model(getattr(self, name)) for name in ('net_g', 'net_d') if hasattr(self, name)}
        for net in networks.values():
            for name, value in net.state_dict().items():
                if not torch.isfinite(value).all():
                    raise ValueError(f'{name} holds numbers that are not finite at iteration {current_iter}: nothing is saved, '
                                     'the last checkpoint is kept; lower the learning rate and go on with --auto_resume')
