"""Whole clips with their ground truth, for validation and testing."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils import data

from animevsr.degradations import DegradationPipeline
from animevsr.errors import MediaError
from animevsr.utils.options import check_dataset
from animevsr.utils.registry import DATASET_REGISTRY
from animevsr.utils.tensors import to_tensor
from animevsr.video.clips import by_name, check_same_clips, clip_lengths, clip_name, list_clips, stream_clip

if TYPE_CHECKING:
    from torch import Tensor


KEYS = ('dataroot_gt', 'dataroot_lq', 'degradation', 'seed', 'num_frame')


@DATASET_REGISTRY.register()
class ClipPairDataset(data.Dataset):
    """Pairs of a low-quality clip and its ground truth.

    For validation they come frame by frame (`stream`). A sample as a whole is a dict: `lq` (t, 3, h, w) and,
    where there is ground truth, `gt` (t, 3, scale*h, scale*w), RGB in [0, 1]; `key` the clip's name.

    Args:
        opt (dict):
            dataroot_gt (str): a root of clips (see DegradedClipDataset).
            dataroot_lq (str): a root with a clip of the same name for each clip of `dataroot_gt`. Alone:
                testing without metrics.
            degradation (list), seed (int): without `dataroot_lq`, the low-quality clip is made from the
                ground truth, which is cropped to a multiple of `scale`. It depends on the seed and the clip's
                name alone: every validation sees the same.
            num_frame (int): only so many frames from the start of each clip. Default: all.
            scale (int): Default: 4.

    Raises:
        MediaError: an empty root, a clip without its partner or of another length or size; names it.
        ValueError: an option is unknown or missing.
    """

    def __init__(self, opt: dict) -> None:
        super().__init__()
        check_dataset(opt, KEYS)
        self.opt = opt
        self.scale = opt.get('scale', 4)
        gt_root, lq_root = opt.get('dataroot_gt'), opt.get('dataroot_lq')
        if not (lq_root or (gt_root and opt.get('degradation'))):
            raise ValueError(
                f'dataset {opt.get("name", "")} needs dataroot_lq, or dataroot_gt and degradation'
            )
        self.gt_clips = list_clips(gt_root) if gt_root else None
        self.lq_clips = list_clips(lq_root, 'dataroot_lq') if lq_root else None
        self.pipeline = None if lq_root else DegradationPipeline(opt['degradation'])
        if self.gt_clips and self.lq_clips:
            self._pair()
        self.clips = self.gt_clips or self.lq_clips
        self.has_gt = bool(self.gt_clips)
        least = opt.get('num_frame') or 1
        self.lengths = clip_lengths(self.clips, least, f'num_frame is {least}')
        if self.gt_clips and self.lq_clips:
            for clip, count, length in zip(
                self.lq_clips, clip_lengths(self.lq_clips, least, f'num_frame is {least}'), self.lengths
            ):
                if count != length:
                    raise MediaError(f'{clip}: has {count} frames, its partner in dataroot_gt {length}')
        if self.pipeline:  # a degradation that does not fit is told now, not at the first validation
            gt = next(stream_clip(self.gt_clips[0], 1))
            lq = self._degraded(0, min(4, opt.get('num_frame') or self.lengths[0]))
            self._check_sizes(dict(lq=lq[0], gt=to_tensor(self._cropped(gt)[None])[0]), 0)

    def _pair(self):
        """Order the low-quality clips as the ground truth; MediaError for one without a partner."""
        lq, gt = by_name(self.lq_clips), by_name(self.gt_clips)
        check_same_clips('dataroot_gt', gt, 'dataroot_lq', lq)
        self.lq_clips = [lq[clip_name(clip)] for clip in self.gt_clips]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict:
        frames = list(self.stream(index))
        return dict(
            key=self.key(index),
            **{name: torch.stack([frame[name] for frame in frames]) for name in frames[0]},
        )

    def key(self, index: int) -> str:
        """Name of a clip."""
        return clip_name(self.clips[index])

    def stream(self, index: int) -> Iterator[dict[str, Tensor]]:
        """The frames of a sample one at a time: dicts of `lq` (3, h, w) and, where there is ground truth,
        `gt` (3, scale*h, scale*w).

        A low-quality clip that has to be made from the ground truth is made as a whole, and then held: codecs
        look at many frames.
        """
        count = self.opt.get('num_frame') or self.lengths[index]
        lq = stream_clip(self.lq_clips[index], count) if self.lq_clips else self._degraded(index, count)
        gt = stream_clip(self.gt_clips[index], count) if self.gt_clips else itertools.repeat(None)
        for low, high in zip(lq, gt):
            sample = dict(lq=to_tensor(low[None])[0] if self.lq_clips else low)
            if high is not None:
                sample['gt'] = (
                    to_tensor(self._cropped(high)[None])[0] if self.pipeline else to_tensor(high[None])[0]
                )
                self._check_sizes(sample, index)
            yield sample

    def _degraded(self, index, count):
        gt = to_tensor([self._cropped(frame) for frame in stream_clip(self.gt_clips[index], count)])
        rng = np.random.default_rng([self.opt.get('seed', 0), zlib.crc32(self.key(index).encode())])
        return self.pipeline.apply(gt, self.pipeline.sample(rng, count))

    def _cropped(self, frame):
        """A frame of the ground truth (h, w, 3), as much of it as is a multiple of `scale`."""
        h, w = (size // self.scale * self.scale for size in frame.shape[:2])
        return frame[:h, :w]

    def _check_sizes(self, sample, index):
        (h, w), (gt_h, gt_w) = sample['lq'].shape[-2:], sample['gt'].shape[-2:]
        if (h * self.scale, w * self.scale) == (gt_h, gt_w):
            return
        if self.pipeline:
            raise ValueError(
                f'the degradation gives {w}x{h} for a GT of {gt_w}x{gt_h}, but scale is {self.scale}'
            )
        raise MediaError(
            f'{self.lq_clips[index]}: is {w}x{h}, but {self.gt_clips[index]} is {gt_w}x{gt_h}, '
            f'not {self.scale} times as large'
        )
