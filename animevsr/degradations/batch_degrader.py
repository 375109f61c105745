"""Degradation of whole batches on the device of the model, ahead of its training."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from animevsr.degradations.pipeline import DegradationPipeline
from animevsr.utils.device import SideStream
from animevsr.utils.threads import usable_cores

if TYPE_CHECKING:
    from torch import Tensor


class BatchDegrader:
    """Degrades batches of clips on a device, several clips side by side, and the next batch while the current
    one is used.

    The parameters of each clip were sampled where it was loaded; here they are applied. On a CPU the pixels
    are those that the loader would have made; on a GPU noise is drawn there, from another generator, and
    rounding differs.

    Args:
        config (list): the degradation, see `DegradationPipeline`.
        device (torch.device): where blur, resizes and networks run. Codecs run on the threads.
        threads (int | None): clips that are degraded side by side. Default: the CPUs, 8 at most.
    """

    def __init__(self, config: list, device: torch.device, threads: int | None = None) -> None:
        self.pipeline = DegradationPipeline(config)
        # with its index: the current GPU of a new thread is the first one
        self.device = torch.empty(0, device=device).device
        self.pool = ThreadPoolExecutor(threads or min(8, usable_cores()), thread_name_prefix='degrade')
        self.side = SideStream(self.device)
        # `params` of a batch, by which it is known again, and the futures of its clips
        self._ahead = (None, None)

    def __call__(self, batch: dict) -> tuple[Tensor, Tensor]:
        """`batch`: `gt` (b, t, 3, H, W), `params` (b JSON texts), and perhaps `next`, the batch after it,
        which is begun.

        Returns:
            lq (b, t, 3, h, w), gt (b, t, 3, H, W): on the device.
        """
        begun, futures = self._ahead
        futures = futures if begun is batch['params'] else self._begin(batch)
        following = batch.get('next')
        self._ahead = (following['params'], self._begin(following)) if following else (None, None)
        lq, gt, ready = zip(*(future.result() for future in futures))
        for mark, *tensors in zip(ready, lq, gt):
            self.side.hand_over(mark, *tensors)
        return torch.stack(lq), torch.stack(gt)

    def _begin(self, batch):
        return [
            self.pool.submit(self._degrade, gt, params) for gt, params in zip(batch['gt'], batch['params'])
        ]

    @torch.no_grad()
    def _degrade(self, gt, params):
        with self.side:  # blur, resizes and networks do not wait for the training step, nor it for them
            gt = self.side.copy(gt)
            lq = self.pipeline.apply(gt, json.loads(params))
            return lq, gt, self.side.mark()
