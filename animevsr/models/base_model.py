"""What all models of this package add to BasicSR's SRModel: checked options, safe loading, and a stop at
numbers that are not finite.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from basicsr.models.lr_scheduler import MultiStepRestartLR
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import distributed

from animevsr.utils.checkpoint import load_weights
from animevsr.utils.files import atomic_file
from animevsr.utils.options import check_keys
from animevsr.utils.resources import find

if TYPE_CHECKING:
    from torch import nn


class BaseSRModel(SRModel):
    """Base of the registered models. A subclass adds its keys of the `train` section to `TRAIN_KEYS`.

    What it adds to the options of SRModel:

        train:
          grad_clip: 1.0    # largest norm of the gradients of a network; larger ones are scaled down to it.
              Default: as they are
          amp: bf16         # networks compute in bfloat16 (autocast), parameters and their updates stay
              float32. Default: float32
    """

    TRAIN_KEYS = (
        'amp',
        'ema_decay',
        'grad_clip',
        'optim_g',
        'scheduler',
        'total_iter',
        'warmup_iter',
        'pixel_opt',
        'perceptual_opt',
    )

    def __init__(self, opt: dict) -> None:
        if not opt['dist'] and opt['num_gpu'] > 1 and self.needs_processes(opt):
            raise ValueError(
                f'{type(self).__name__}: {opt["num_gpu"]} GPUs need one process each: torchrun'
                f' --nproc_per_node {opt["num_gpu"]} -m animevsr.train -opt ... --launcher pytorch; or set'
                ' num_gpu: 1'
            )
        super().__init__(opt)
        # of all that is drawn at random in training: the same in all processes and in a run that is resumed,
        # also where the options say none (BasicSR then takes a random one, in each process)
        seed = torch.tensor(opt.get('manual_seed') or 0, device=self.device)
        if opt['dist']:
            distributed.broadcast(seed, 0)
        self.seed = seed.item()

    def needs_processes(self, opt: dict) -> bool:
        """Whether several GPUs cannot be used by one process (DataParallel), whose replicas lose what a
        forward pass leaves behind, and compute in float16 under `amp`.
        """
        return bool(opt.get('train', {}).get('amp'))

    def init_training_settings(self) -> None:
        check_keys(self.opt['train'], self.TRAIN_KEYS, 'train')
        if self.opt['train'].get('amp') not in (None, False, 'bf16'):
            raise ValueError(
                f"amp must be 'bf16' (float16 would need scaled losses), got {self.opt['train']['amp']!r}"
            )
        super().init_training_settings()
        limit = self.opt['train'].get('grad_clip')
        if limit is not None:
            if not limit > 0:
                raise ValueError(f'grad_clip must be above 0, got {limit}')
            for optimizer in self.optimizers:
                optimizer.register_step_pre_hook(lambda optimizer, *_: clip_gradients(optimizer, limit))

    def setup_optimizers(self) -> None:
        with self._options_kept('optim_g', 'optim_d'):
            super().setup_optimizers()

    def setup_schedulers(self) -> None:
        with self._options_kept('scheduler'):
            super().setup_schedulers()

    @contextlib.contextmanager
    def _options_kept(self, *keys):
        """BasicSR takes `type` out of these options of `train`; here they stay."""
        kept = {key: dict(self.opt['train'][key]) for key in keys if key in self.opt['train']}
        yield
        self.opt['train'].update(kept)

    def resume_training(self, resume_state: Any) -> None:
        """BasicSR's, after which a learning rate and a scheduler that were changed in the options since are
        those that count, and the seed that the run began with.
        """
        wanted = [[group['initial_lr'] for group in optimizer.param_groups] for optimizer in self.optimizers]
        settings = [scheduler_settings(scheduler) for scheduler in self.schedulers]
        super().resume_training(resume_state)
        for scheduler, mine in zip(self.schedulers, settings):
            for name, value in mine.items():
                before = getattr(scheduler, name)
                if value != before:
                    get_root_logger().info(f'scheduler: {name} was {before}, it is {value} from now on.')
                    setattr(scheduler, name, value)
                    set_rates(scheduler)
        self.seed = resume_state.get('manual_seed', self.seed)
        for optimizer, scheduler, rates in zip(self.optimizers, self.schedulers, wanted):
            for i, (group, rate) in enumerate(zip(optimizer.param_groups, rates)):
                if rate != group['initial_lr']:
                    factor = rate / group['initial_lr']
                    get_root_logger().info(
                        f'The learning rate was {group["initial_lr"]:g}, it is {rate:g} from now on.'
                    )
                    group['lr'], group['initial_lr'], scheduler.base_lrs[i] = group['lr'] * factor, rate, rate

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """BasicSR's, in the memory format in which convolutions are fastest. Before the network is wrapped:
        DistributedDataParallel remembers the strides of the parameters.
        """
        return super().model_to_device(net.to(memory_format=torch.channels_last))

    def load_network(
        self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = 'params'
    ) -> None:
        """BasicSR's `load_network` through this package's safe reader; bundled weights are found from any
        directory.

        With `strict` false, parts of the network that the file does not have start fresh, and the log names
        them.

        Raises:
            CheckpointError: the file cannot be read, or holds another network.
        """
        path, net = find(load_path), self.get_bare_model(net)
        if net is getattr(self, 'net_g_ema', None):  # the mean begins as the network, also what starts fresh
            net.load_state_dict(self.get_bare_model(self.net_g).state_dict())
        fresh = load_weights(net, path, prefer=param_key, strict=strict)
        logger = get_root_logger()
        logger.info(f'Loading {type(net).__name__} from {path} ({param_key} preferred).')
        for part, count in fresh.items():
            logger.info(f'Not in {path.name}, starts fresh: {part} ({count} tensors)')

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """BasicSR's, whose MultiStepLR would go on with the last rate of the warm-up, a little too low."""
        super().update_learning_rate(current_iter, warmup_iter)
        if current_iter == warmup_iter:
            for scheduler in self.schedulers:
                set_rates(scheduler)

    def optimize_parameters(self, current_iter: int) -> None:
        self.current_iter = current_iter
        # so that a resumed run draws what an uninterrupted one does, and each process something else
        torch.manual_seed(self.seed + current_iter * 1_000_003 + self.opt['rank'] * 1_000_000_007)
        with self.autocast():
            super().optimize_parameters(current_iter)

    def autocast(self) -> Any:
        """The precision in which networks are trained (`amp`)."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.opt['train'].get('amp') == 'bf16'
        )

    def reduce_loss_dict(self, loss_dict: dict) -> dict:
        """Mean of each loss over the processes, the same on all of them: so that all judge by one number and
        stop together.

        Raises:
            ValueError: a loss is not finite. What was saved before stays as it is.
        """
        log_dict = super().reduce_loss_dict(loss_dict)
        if self.opt['dist']:  # upstream's means are on the first process alone
            values = torch.tensor(list(log_dict.values()), dtype=torch.float64, device=self.device)
            distributed.broadcast(values, 0)
            log_dict = dict(zip(log_dict, values.tolist()))
        for name, value in log_dict.items():
            if not math.isfinite(value):
                raise ValueError(
                    f'{name} is {value} at iteration {self.current_iter}: training stops, the last checkpoint'
                    ' is kept; lower the learning rate, or look at the data, and go on with --auto_resume'
                )
        return log_dict

    def save(self, epoch: Any, current_iter: int) -> None:
        """Write networks and training state; nothing at all if a network holds numbers that are not finite,
        or others on each process.
        """
        self.check_finite(current_iter)
        self.check_alike(current_iter)
        super().save(epoch, current_iter)

    @master_only
    def save_network(
        self, net: nn.Module | list, net_label: str, current_iter: int, param_key: str | list = 'params'
    ) -> None:
        """BasicSR's, but a file is there when it is complete, and one that cannot be written is an error."""
        nets, keys = (value if isinstance(value, list) else [value] for value in (net, param_key))
        states = {
            key: {name: value.cpu() for name, value in self.get_bare_model(part).state_dict().items()}
            for part, key in zip(nets, keys, strict=True)
        }
        name = f'{net_label}_{"latest" if current_iter == -1 else current_iter}.pth'
        with atomic_file(Path(self.opt['path']['models']) / name) as partial:
            torch.save(states, partial)

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """BasicSR's, but as `save_network`."""
        if current_iter == -1:
            return
        state = dict(
            epoch=epoch,
            iter=current_iter,
            manual_seed=self.seed,
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
            schedulers=[scheduler.state_dict() for scheduler in self.schedulers],
        )
        with atomic_file(Path(self.opt['path']['training_states']) / f'{current_iter}.state') as partial:
            torch.save(state, partial)

    def check_alike(self, current_iter: int) -> None:
        """ValueError on all processes if their networks differ (a draw that was not the same, a parameter
        that was not averaged).
        """
        if not self.opt['dist']:
            return
        for name in ('net_g', 'net_d'):
            net = self.get_bare_model(getattr(self, name)) if hasattr(self, name) else None
            for key, parameter in net.named_parameters() if net is not None else ():
                first = parameter.detach().clone()
                distributed.broadcast(first, 0)
                apart = (first - parameter.detach()).abs().max().reshape(1)
                distributed.all_reduce(apart, distributed.ReduceOp.MAX)
                if apart > 0:
                    raise ValueError(
                        f'{name}: {key} is another one on each process at iteration {current_iter} (by'
                        f' {apart.item():.2g}): nothing is saved, the last checkpoint is kept'
                    )

    def check_finite(self, current_iter: int) -> None:
        """ValueError if a network holds numbers that are not finite."""
        networks = {
            name: self.get_bare_model(getattr(self, name))
            for name in ('net_g', 'net_d')
            if hasattr(self, name)
        }
        for net in networks.values():
            for name, value in net.state_dict().items():
                if not torch.isfinite(value).all():
                    raise ValueError(
                        f'{name} holds numbers that are not finite at iteration {current_iter}: nothing is'
                        ' saved, the last checkpoint is kept; lower the learning rate and go on with'
                        ' --auto_resume'
                    )


def set_rates(scheduler: Any) -> None:
    """Set the rates that BasicSR's MultiStepLR should have by now: it only multiplies those that there are.
    Others compute theirs anew in each step.
    """
    if isinstance(scheduler, MultiStepRestartLR):
        passed = sum(n for step, n in scheduler.milestones.items() if step <= scheduler.last_epoch)
        for group in scheduler.optimizer.param_groups:
            group['lr'] = group['initial_lr'] * scheduler.gamma**passed


def scheduler_settings(scheduler: Any) -> dict[str, Any]:
    """What a scheduler was made with; not how far it has come."""
    return {
        name: value
        for name, value in vars(scheduler).items()
        if not name.startswith('_') and name not in ('optimizer', 'last_epoch', 'base_lrs')
    }


def clip_gradients(optimizer: Any, limit: float) -> None:
    """Scale the gradients of all parameters of an optimizer so that their norm is at most `limit`."""
    torch.nn.utils.clip_grad_norm_(
        [p for group in optimizer.param_groups for p in group['params'] if p.grad is not None], limit
    )
