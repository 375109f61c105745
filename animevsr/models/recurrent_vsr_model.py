"""Training and validation of recurrent networks on clips, under BasicSR's runner (VQD-SR Sec. 3.4, stage
1).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from basicsr.losses import build_loss
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, imwrite, tensor2img
from basicsr.utils.img_process_util import USMSharp
from basicsr.utils.registry import METRIC_REGISTRY
from torch import distributed, nn
from tqdm import tqdm

from animevsr.archs.interfaces import FrameNetwork
from animevsr.degradations import BatchDegrader
from animevsr.losses.cleaning import CleaningLoss
from animevsr.losses.steady import SteadyLoss
from animevsr.metrics.clip_metric import METERS
from animevsr.models.base_model import BaseSRModel
from animevsr.models.burn_in import BurnIn
from animevsr.models.teacher import Teacher
from animevsr.utils.options import check_keys
from animevsr.utils.registry import MODEL_REGISTRY
from animevsr.utils.windows import triples

if TYPE_CHECKING:
    from torch import Tensor


@MODEL_REGISTRY.register()
class RecurrentVSRModel(BaseSRModel):
    """BasicSR's SRModel for clips.

    What it adds to the options of SRModel:

        train:
          gt_usm: {weight: 0.3, radius: 50}   # the training target is the sharpened ground truth (not used in
              validation); `gan: false`:
                                              # not what the discriminator sees as real (Real-ESRGAN)
          flow_lr_mul: 0.25                   # learning rate of the optical flow network (SPyNet), as part of
              optim_g's
          fix_flow: 5000                      # iterations for which it is not trained
          cleaning_opt: {type: L1Loss}        # of a network that cleans its frames first (RealBasicVSR),
              added to pixel_opt
          steady_weight: 1.0                  # of the change of the output where the ground truth is held,
              added to pixel_opt
          steady_ramp: 1                      # frames for which a pixel must have been held for its change to
              count in full
          burn_in: [0, 2, 4]                  # passes over a clip without gradients before it is trained on,
              there and back, see `burn_in.BurnIn`
          teacher_opt: {weights: FILE, share: 0.5, tolerance: 12}   # targets are in part a teacher's, see
              `teacher.Teacher`
        val:
          metrics: each of BasicSR's. Those named *_pt are given tensors on the device, the others uint8
              images; all see the 8-bit
                   frames that would be saved. A clip's value is the mean over its frames that have one; those
                   named *_clip look at whole clips. Where there is no ground truth, those that need one are
                   left out. `better: lower` belongs to NIQE, line width, flicker and cut bleed: BasicSR takes
                   the highest value for the best.

    In validation a network with `step` runs frame by frame, another one over whole clips; in distributed runs
    the clips are divided among the processes.
    """

    TRAIN_KEYS = (
        *BaseSRModel.TRAIN_KEYS,
        'gt_usm',
        'cleaning_opt',
        'steady_weight',
        'steady_ramp',
        'teacher_opt',
        'burn_in',
        'flow_lr_mul',
        'fix_flow',
    )
    usm = steady = teacher = burn_in = None
    usm_in_losses = False

    def __init__(self, opt: dict) -> None:
        if opt['dist'] and opt.get('train', {}).get('fix_flow'):
            opt['find_unused_parameters'] = True  # those of the flow, for so long
        super().__init__(opt)

    def needs_processes(self, opt: dict) -> bool:
        """With `cleaning_opt`, whose loss looks at the cleaned frames of the last pass."""
        return super().needs_processes(opt) or bool(opt.get('train', {}).get('cleaning_opt'))

    def init_training_settings(self) -> None:
        usm = self.opt['train'].get('gt_usm')
        check_keys(usm or {}, ('weight', 'radius', 'gan'), 'gt_usm')
        self.usm_weight = usm.get('weight', 0.3) if usm else 0
        self.usm = USMSharp(radius=usm.get('radius', 50)).to(self.device) if usm else None
        self.usm_in_losses = bool(usm) and not usm.get('gan', True)
        train_set = self.opt['datasets']['train']
        if train_set.get('degrade_on') == 'device':
            self.degrader = BatchDegrader(
                train_set['degradation'], self.device, train_set.get('degrade_threads')
            )
        super().init_training_settings()
        if self.opt['train'].get('cleaning_opt'):
            net = self.get_bare_model(self.net_g)
            if not hasattr(net, 'cleaned') or self.cri_pix is None:
                raise ValueError(
                    'cleaning_opt: needs pixel_opt and a network that cleans its frames, not a'
                    f' {type(net).__name__}'
                )
            self.cri_pix = CleaningLoss(net, self.cri_pix, build_loss(self.opt['train']['cleaning_opt']))
        if self.opt['train'].get('burn_in'):
            self.burn_in = BurnIn(self.get_bare_model(self.net_g), self.opt['train']['burn_in'])
        if self.usm_in_losses:
            self.cri_pix, self.cri_perceptual = (
                loss and Sharpened(loss, self.usm, self.usm_weight)
                for loss in (self.cri_pix, self.cri_perceptual)
            )
        if self.opt['train'].get('steady_weight'):
            if self.cri_pix is None:
                raise ValueError('steady_weight: needs pixel_opt')
            self.cri_pix = self.steady = SteadyLoss(
                self.cri_pix, self.opt['train']['steady_weight'], self.opt['train'].get('steady_ramp', 1)
            )
        teacher = self.opt['train'].get('teacher_opt')
        check_keys(teacher or {}, ('weights', 'share', 'tolerance', 'sees'), 'teacher_opt')
        self.teacher = Teacher(**teacher, device=self.device) if teacher else None

    def setup_optimizers(self) -> None:
        super().setup_optimizers()
        factor = self.opt['train'].get('flow_lr_mul', 1)
        if factor == 1 and not self.opt['train'].get('fix_flow'):
            return
        net = self.get_bare_model(self.net_g)
        flow = {id(p): p for name, p in net.named_parameters() if 'spynet' in name}
        if not flow:
            raise ValueError(f'flow_lr_mul, fix_flow: a {type(net).__name__} has no optical flow network')
        group = self.optimizer_g.param_groups[0]
        group['params'] = [p for p in group['params'] if id(p) not in flow]
        self.optimizer_g.add_param_group(dict(params=list(flow.values()), lr=group['lr'] * factor))

    def optimize_parameters(self, current_iter: int) -> None:
        if self.burn_in is not None:
            self.burn_in.seed = f'{self.seed} {current_iter}'
        fixed = self.opt['train'].get('fix_flow')
        if fixed:
            for name, parameter in self.get_bare_model(self.net_g).named_parameters():
                if 'spynet' in name:
                    parameter.requires_grad_(current_iter > fixed)
        super().optimize_parameters(current_iter)

    def feed_data(self, data: dict[str, Any]) -> None:
        """A batch of the training set: `gt` (b, t, 3, H, W), and `lq` (b, t, 3, h, w) or, to make it here,
        `params`; float in [0, 1] or uint8.
        """
        if 'lq' in data:
            super().feed_data(data)
            self.lq, self.gt = as_float(self.lq), as_float(self.gt)
        else:
            self.lq, self.gt = self.degrader(data)
            if self.lq.shape[-1] * self.opt['scale'] != self.gt.shape[-1]:
                raise ValueError(
                    f'the degradation gives {self.lq.shape[-1]} pixels for a GT of {self.gt.shape[-1]}, '
                    f'but scale is {self.opt["scale"]}'
                )
        if self.steady is not None:
            self.steady.watch(self.gt)
        if self.teacher is not None:
            with self.autocast():
                self.gt = self.teacher.target(self.gt, self.lq)
        if self.usm is not None and not self.usm_in_losses:
            self.gt = sharpened(self.gt, self.usm, self.usm_weight)

    def dist_validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    @torch.no_grad()
    def nondist_validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        dataset = dataloader.dataset
        metrics = self.opt['val'].get('metrics') or {}
        if not getattr(dataset, 'has_gt', True):
            metrics = {
                metric: options for metric, options in metrics.items() if not needs_gt(options['type'])
            }
        name, rank, world = dataset.opt['name'], self.opt['rank'], self.opt['world_size']
        net = getattr(self, 'net_g_ema', None) or self.get_bare_model(self.net_g)
        net.eval()
        scores = torch.zeros(len(dataset), len(metrics), dtype=torch.float64, device=self.device)
        mine = range(rank, len(dataset), world)
        for index in tqdm(mine, unit='clip', disable=rank > 0 or not self.opt['val'].get('pbar', False)):
            key = dataset.key(index)
            folder = f'{self.opt["path"]["visualization"]}/{name}/{key}' if save_img else None
            values = self._validate_clip(net, dataset.stream(index), metrics, folder, current_iter)
            if metrics:
                scores[index] = values
                report = ', '.join(f'{metric} {value:.4f}' for metric, value in zip(metrics, values.tolist()))
                get_root_logger().info(f'{name} {key}: {report}')
        self.net_g.train(self.is_train)
        if self.opt['dist']:
            distributed.all_reduce(scores)
        if metrics and rank == 0:
            # a clip without a cut, say, has no value
            self._report(name, scores.nanmean(0).tolist(), metrics, current_iter, tb_logger)

    def _validate_clip(self, net, frames, metrics, folder, current_iter):
        """Each metric of a clip, whose `frames` come one at a time (`ClipPairDataset.stream`); writes results
        into `folder` unless it is None. No more than three frames are held, but for networks and metrics that
        look at whole clips.
        """
        suffix = current_iter if self.is_train else self.opt['val'].get('suffix') or self.opt['name']
        meters = {name: make_meter(m) for name, m in metrics.items()}
        for i, (sr, truth) in enumerate(self._results(net, frames)):
            sr = (sr.clamp(0, 1) * 255).round() / 255
            image = tensor2img([sr.float().cpu()])
            if folder:
                imwrite(image, f'{folder}/{i:08d}_{suffix}.png')
            if not metrics:
                continue
            as_images, as_tensors = dict(img=image), dict(img=sr)
            if truth is not None:
                as_images['img2'], as_tensors['img2'] = tensor2img([truth]), truth.to(self.device)
            for name, meter in meters.items():
                meter.update(
                    **(as_tensors if metrics[name]['type'].endswith(('_pt', '_clip')) else as_images)
                )
        return (
            torch.tensor(
                [meter.value() for meter in meters.values()], dtype=torch.float64, device=self.device
            )
            if metrics
            else None
        )

    def _results(self, net, frames):
        """(result, ground truth or None) of each frame, (1, 3, H, W)."""
        if isinstance(net, FrameNetwork):
            state = None
            for prev, cur, nxt in triples(
                (frame['lq'][None].to(self.device), frame.get('gt')) for frame in frames
            ):
                sr, state = net.step(prev[0], cur[0], nxt[0], state)
                yield sr, cur[1] if cur[1] is None else cur[1][None]
        else:
            frames = list(frames)
            whole = net(torch.stack([frame['lq'] for frame in frames])[None].to(self.device))[0]
            for sr, frame in zip(whole, frames):
                yield sr[None], frame['gt'][None] if 'gt' in frame else None

    def _report(self, name, means, metrics, current_iter, tb_logger):
        self._initialize_best_metric_results(name)
        self.metric_results = dict(zip(metrics, means))
        for metric, value in self.metric_results.items():
            self._update_best_metric_result(name, metric, value, current_iter)
        self._log_validation_metric_values(current_iter, name, tb_logger)


def as_float(clip: Tensor) -> Tensor:
    """uint8 in [0, 255] as float in [0, 1]; float as it is."""
    return clip.float() / 255 if clip.dtype == torch.uint8 else clip


class MeanMeter:
    """A metric of frames over a clip: the mean of those that have a value."""

    def __init__(self, options: dict) -> None:
        self.options = options
        self.values = []

    def update(self, **images: Any) -> None:
        self.values.append(float(calculate_metric(images, self.options)))

    def value(self) -> float:
        return torch.tensor(self.values, dtype=torch.float64).nanmean().item()


class WholeClipMeter:
    """A metric that someone registered for whole clips (`*_clip`), for which the frames are kept."""

    def __init__(self, options: dict) -> None:
        self.options = options
        self.frames = []

    def update(self, **images: Any) -> None:
        self.frames.append(images)

    def value(self) -> float:
        return calculate_metric(
            {name: torch.cat([frame[name] for frame in self.frames]) for name in self.frames[0]}, self.options
        )


def make_meter(options: dict) -> Any:
    """What measures a clip, given its frames one after another by `update(img, img2)`; `value()` is its
    metric.
    """
    kind = options['type']
    if kind in METERS:
        return METERS[kind](**{key: value for key, value in options.items() if key != 'type'})
    return WholeClipMeter(options) if kind.endswith('_clip') else MeanMeter(options)


class Sharpened(nn.Module):
    """A loss against the sharpened ground truth."""

    def __init__(self, loss: nn.Module, usm: nn.Module, weight: float) -> None:
        super().__init__()
        self.loss = loss
        self.usm = usm
        self.weight = weight

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        return self.loss(pred, sharpened(gt, self.usm, self.weight))


def sharpened(clip: Tensor, usm: nn.Module, weight: float) -> Tensor:
    """A clip (b, t, 3, h, w) through an unsharp mask."""
    return usm(clip.flatten(0, 1), weight=weight).view_as(clip)


def needs_gt(metric: str) -> bool:
    """Whether a registered metric must be given a ground truth."""
    parameter = inspect.signature(METRIC_REGISTRY.get(metric)).parameters.get('img2')
    return parameter is not None and parameter.default is parameter.empty
