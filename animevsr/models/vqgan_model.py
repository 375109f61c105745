"""Training of the multi-scale VQGAN on low-quality frames, under BasicSR's runner (VQD-SR Sec. 3.2 and
3.4).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.utils import get_root_logger
from torch import distributed

from animevsr.models.base_model import BaseSRModel
from animevsr.utils.registry import MODEL_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


RECENT = 100  # iterations in which an entry must have been used not to be reported as dead


@MODEL_REGISTRY.register()
class VQGANModel(BaseSRModel):
    """Reconstruction of frames through the codebook: pixel, perceptual and codebook loss, and an adversarial
    loss from some iteration on.

    What it adds to the options of SRModel:

        network_d: ...                 # with gan_opt
        train:
          codebook_weight: 1.0         # of the codebook loss
          gan_opt: ~                   # a GANLoss; loss_weight is multiplied with the adaptive weight
          gan_start: 10000             # iteration from which discriminator and adversarial loss are trained
          gan_adaptive: true           # scale the adversarial loss so that its gradient in the last layer is
              as large as that of the
                                       # reconstruction losses (VQGAN, Esser et al. 2021, eq. 7)
          optim_d: ...                 # with gan_opt
          lr_factors: {top: 0.25}      # learning rate of parameters by the beginning of their names, as part
              of optim_g's
          revive_after: ~              # move an entry that was not used for so many iterations onto a vector
              of the current batch; a
                                       # codebook that is not loaded starts from such vectors. Off in the
                                       papers; excludes ema_decay

    Validation reports BasicSR's metrics between frame and reconstruction. The training log has, for each
    branch, the perplexity of the entries used in the batch (1: a single one; number of entries: all alike),
    and how many entries were not used lately (`dead`).
    """

    TRAIN_KEYS = (
        *BaseSRModel.TRAIN_KEYS,
        'codebook_weight',
        'gan_opt',
        'gan_start',
        'gan_adaptive',
        'optim_d',
        'lr_factors',
        'revive_after',
    )

    def __init__(self, opt: dict) -> None:
        self.lookups = []  # (vectors, indices) of each branch in the last training pass
        super().__init__(opt)

    def needs_processes(self, opt: dict) -> bool:
        """Yes: the codebook's use is followed by a hook."""
        return True

    def init_training_settings(self) -> None:
        train = self.opt['train']
        self.cri_gan = None
        if train.get('amp'):
            raise ValueError(
                'amp: a VQGAN is trained in float32: rounding would pick other entries of the codebook'
            )
        if train.get('revive_after') and train.get('ema_decay'):
            raise ValueError(
                'ema_decay and revive_after exclude each other: an averaged network does not fit entries that'
                ' jump'
            )
        if train.get('gan_opt'):
            self.cri_gan = build_loss(train['gan_opt']).to(self.device)
            self.net_d = self.model_to_device(build_network(self.opt['network_d']))
            self.print_network(self.net_d)
            if self.opt['path'].get('pretrain_network_d'):
                self.load_network(
                    self.net_d,
                    self.opt['path']['pretrain_network_d'],
                    self.opt['path'].get('strict_load_d', True),
                )
        super().init_training_settings()
        net = self.get_bare_model(self.net_g)
        net.top.quantize.register_forward_hook(self._keep_lookup)
        loaded = self.opt['path'].get('pretrain_network_g') or self.opt['path'].get('resume_state')
        self.codebook_ready = bool(loaded) or not train.get('revive_after')

    def setup_optimizers(self) -> None:
        train = self.opt['train']
        options = dict(train['optim_g'])
        kind, factors = options.pop('type'), train.get('lr_factors') or {}
        groups = {}
        for name, parameter in self.get_bare_model(self.net_g).named_parameters():
            prefix = next((p for p in factors if name.startswith(p)), None)
            groups.setdefault(prefix, []).append(parameter)
        unused = set(factors) - set(groups)
        if unused:
            raise ValueError(f'lr_factors: no parameter begins with {sorted(unused)[0]!r}')
        groups = [
            dict(params=parameters, lr=options['lr'] * factors.get(prefix, 1))
            for prefix, parameters in groups.items()
        ]
        self.optimizer_g = self.get_optimizer(kind, groups, **options)
        self.optimizers.append(self.optimizer_g)
        if self.cri_gan:
            options = dict(train['optim_d'])
            self.optimizer_d = self.get_optimizer(options.pop('type'), self.net_d.parameters(), **options)
            self.optimizers.append(self.optimizer_d)

    def feed_data(self, data: dict[str, Tensor]) -> None:
        """A batch of frames: `lq` (b, 3, h, w) in [0, 1]."""
        self.lq = data['lq'].to(self.device)
        self.gt = self.lq

    def optimize_parameters(self, current_iter: int) -> None:
        self.current_iter = current_iter
        train = self.opt['train']
        adversarial = self.cri_gan is not None and current_iter >= train.get('gan_start', 10000)
        x, losses = self.lq * 2 - 1, OrderedDict()
        if not self.codebook_ready:
            self._start_codebook(x)
        if adversarial:
            self.net_d.requires_grad_(False)
        self.optimizer_g.zero_grad()
        self.lookups.clear()
        self.output, codebook_loss = self.net_g(x)

        reconstruction = 0
        if self.cri_pix:
            losses['l_pix'] = self.cri_pix(self.output, x)
            reconstruction = losses['l_pix']
        if self.cri_perceptual:
            # the perceptual loss, like BasicSR's, sees images in [0, 1]
            losses['l_percep'], _ = self.cri_perceptual((self.output + 1) / 2, self.lq)
            reconstruction = reconstruction + losses['l_percep']
        losses['l_codebook'] = codebook_loss * train.get('codebook_weight', 1.0)
        total = reconstruction + losses['l_codebook']
        if adversarial:
            l_gan = sum(self.cri_gan(score, True, is_disc=False) for score in self.net_d(self.output))
            weight = (
                self._adaptive_weight(reconstruction, l_gan)
                if train.get('gan_adaptive', True)
                else l_gan.new_ones(())
            )
            losses['l_g_gan'], losses['gan_weight'] = weight * l_gan, weight
            total = total + losses['l_g_gan']
        total.backward()
        self.optimizer_g.step()
        if adversarial:
            losses['l_d'] = self._optimize_discriminator(x)
        losses.update(self._track_codebook())
        self.log_dict = self.reduce_loss_dict(losses)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def save(self, epoch: Any, current_iter: int) -> None:
        self.check_finite(current_iter)
        self.check_alike(current_iter)
        if self.cri_gan:
            self.save_network(self.net_d, 'net_d', current_iter)
        super().save(epoch, current_iter)

    def _adaptive_weight(self, reconstruction, l_gan):
        last = self.get_bare_model(self.net_g).conv_out.weight
        of_reconstruction, of_gan = (
            torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (reconstruction, l_gan)
        )
        # l_gan carries its loss_weight already, which the ratio would cancel
        return (of_reconstruction / (of_gan + 1e-4)).clamp(0, 1e4).detach() * self.cri_gan.loss_weight

    def _optimize_discriminator(self, x):
        self.net_d.requires_grad_(True)
        self.optimizer_d.zero_grad()
        real, fake = self.net_d(x), self.net_d(self.output.detach())
        loss = sum(
            (self.cri_gan(r, True, is_disc=True) + self.cri_gan(f, False, is_disc=True)) / 2
            for r, f in zip(real, fake)
        )
        loss.backward()
        self.optimizer_d.step()
        return loss

    # --- codebook

    def _keep_lookup(self, quantizer, inputs, outputs):
        if quantizer.training:  # validation counts for itself
            self.lookups.append((inputs[0].detach(), outputs[2]))

    @torch.no_grad()
    def _start_codebook(self, x):
        """All entries start from vectors of the first batch."""
        net = self.get_bare_model(self.net_g)
        self._revive(
            torch.ones(len(net.codebook), dtype=torch.bool, device=self.device), list(net.encode(x).values())
        )
        self.codebook_ready = True

    @torch.no_grad()
    def _track_codebook(self):
        """Report the use of the codebook, and revive entries that are not used; {name: value}."""
        net = self.get_bare_model(self.net_g)
        report, entries = {}, len(net.codebook)
        used = torch.zeros(entries, device=self.device)
        for branch, (_, indices) in zip(net.branches, self.lookups):
            places = indices.flatten()
            # bincount would wait for the device
            counts = torch.zeros(entries, device=self.device).scatter_add_(
                0, places, torch.ones_like(places, dtype=torch.float32)
            )
            report[f'perplexity_{branch}'] = perplexity(counts)
            used += counts
        if self.opt['dist']:
            distributed.all_reduce(used)
        # kept with the optimizer's state of the codebook, so that a resumed run goes on with it; a float, as
        # the optimizer stores it
        state = self.optimizer_g.state[net.codebook]
        last_used = state.setdefault(
            'last_used', torch.full((entries,), float(self.current_iter - 1), device=self.device)
        )
        last_used[used > 0] = self.current_iter
        report['dead'] = (last_used <= self.current_iter - RECENT).float().sum()
        after = self.opt['train'].get('revive_after')
        if after:
            dead = last_used <= self.current_iter - after
            if dead.any():
                self._revive(dead, [z for z, _ in self.lookups])
                last_used[dead] = self.current_iter
                for moment in ('exp_avg', 'exp_avg_sq'):
                    if moment in state:
                        state[moment][dead] = 0
        return report

    def _revive(self, dead, vectors):
        """Move entries where `dead` (n_embed,) onto random vectors, as many from each branch; `vectors`: [(b,
        c, h, w)].
        """
        codebook, count = self.get_bare_model(self.net_g).codebook, int(dead.sum())
        # a generator of its own, so that a resumed run draws what an uninterrupted one does
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.current_iter)
        pools = [z.permute(0, 2, 3, 1).flatten(0, 2) for z in vectors]
        new = torch.cat(
            [
                pool[torch.randperm(len(pool), generator=draw)[: -(-count // len(pools))].to(pool.device)]
                for pool in pools
            ]
        )
        chosen = torch.randperm(len(new), generator=draw).repeat(-(-count // len(new)))[:count]
        # vectors that were drawn twice must not stay the same entry
        noise = torch.randn(count, new.shape[1], generator=draw).to(new)
        codebook.data[dead] = new[chosen.to(new.device)] + 1e-3 * new.std() * noise
        if self.opt['dist']:
            distributed.broadcast(codebook.data, 0)

    # --- validation

    @torch.no_grad()
    def test(self) -> None:
        net = getattr(self, 'net_g_ema', None) or self.get_bare_model(self.net_g)
        net.eval()
        z = net.encode(self.lq * 2 - 1)
        quantized, _, indices = net.quantize(z)
        self.output = (net.decode(quantized, self.lq.shape[-2:]) + 1) / 2
        for branch, found in indices.items():
            counts = torch.bincount(found.flatten(), minlength=len(net.codebook))
            self.usage[branch] = self.usage.get(branch, 0) + counts
        self.net_g.train(self.is_train)

    def nondist_validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        self.usage = {}
        super().nondist_validation(dataloader, current_iter, tb_logger, save_img)
        total = sum(self.usage.values())
        report = ', '.join(
            f'{branch} {perplexity(counts.float()).item():.0f}' for branch, counts in self.usage.items()
        )
        get_root_logger().info(
            f'{dataloader.dataset.opt["name"]} codebook: {int((total > 0).sum())} of {len(total)} entries'
            f' used; perplexity {report}'
        )


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of how often each entry was used; `counts` (n_embed,)."""
    share = counts / counts.sum()
    return torch.exp(-torch.special.xlogy(share, share).sum())
