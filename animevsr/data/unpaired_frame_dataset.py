"""Clean frames and low-quality frames that do not belong together, for learning a distribution of
degradations (PDM, CVPR 2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.utils import data

from animevsr.data.augment import draw_generator
from animevsr.data.low_quality_frame_dataset import LowQualityFrameDataset
from animevsr.utils.options import check_dataset
from animevsr.utils.registry import DATASET_REGISTRY

if TYPE_CHECKING:
    from animevsr.data.sampling import Draw


LOW = 1_000_003  # added to the seed of the low-quality frames
KEYS = ('dataroot_gt', 'dataroot_lq', 'gt_size', 'max_frames', 'seed')


@DATASET_REGISTRY.register()
class UnpairedFrameDataset(data.Dataset):
    """Crops of clean frames, each with a crop of some low-quality frame.

    A sample is a dict: `gt` (3, gt_size, gt_size) and `lq` (3, gt_size/scale, gt_size/scale) in training, the
    whole frames in validation, RGB in [0, 1]; `lq_path` says which clean frame it is.

    Args:
        opt (dict):
            dataroot_gt, dataroot_lq (str): searched with all their folders for images and video files.
            gt_size (int): side of the crop of `gt` in training. Default: 256.
            scale (int): size of the clean crop over that of the low-quality one. Default: 4.
            max_frames (int): take no more than so many clean frames, evenly spread over those found. Default:
                all.
            seed (int): Default: 0.

    Raises:
        MediaError: nothing found, or a frame smaller than the crop; names it. ValueError: an option is
            unknown or does not fit.
    """

    def __init__(self, opt: dict) -> None:
        super().__init__()
        check_dataset(opt, KEYS)
        self.opt = opt
        self.seed = opt.get('seed', 0)
        size, scale = opt.get('gt_size', 256), opt.get('scale', 4)
        if size % scale or size < 1:
            raise ValueError(f'gt_size must be a multiple of scale {scale}, got {size}')
        # neither side is changed but by flips: what the discriminator could tell them apart by must be their
        # quality alone
        plain = dict(
            phase=opt.get('phase', 'train'),
            rescale_prob=0,
            channel_shuffle=0,
            rgb_shift_prob=0,
            use_vflip=False,
            seed=self.seed,
        )
        limit = {'max_frames': opt['max_frames']} if opt.get('max_frames') else {}
        self.clean = LowQualityFrameDataset(
            dict(plain, dataroot_lq=opt['dataroot_gt'], crop_size=size, **limit)
        )
        self.low = LowQualityFrameDataset(
            # of another seed: else places and flips of both crops would be the same draw
            dict(plain, dataroot_lq=opt['dataroot_lq'], crop_size=size // scale, seed=self.seed + LOW)
        )

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, index: Draw) -> dict:
        low = int(draw_generator(self, index).integers(len(self.low)))
        # the same number of the draw, on which crop and flips depend here too
        low = type(index)(low, index.number) if hasattr(index, 'number') else low
        clean = self.clean[index]
        return dict(gt=clean['lq'], lq=self.low[low]['lq'], lq_path=clean['lq_path'])
