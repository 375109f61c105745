"""Pairs of single frames, for learnable basic operators (AnimeSR supplement Sec. 1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch.utils import data

from animevsr.data.augment import draw_generator, flip_and_turn
from animevsr.errors import MediaError
from animevsr.utils.files import no_folder
from animevsr.utils.options import check_dataset
from animevsr.utils.registry import DATASET_REGISTRY
from animevsr.utils.resources import find
from animevsr.utils.tensors import to_tensor
from animevsr.video.images import IMAGE_SUFFIXES, image_size, read_image

if TYPE_CHECKING:
    from animevsr.data.sampling import Draw


KEYS = ('dataroot_gt', 'dataroot_lq', 'max_frames', 'gt_size', 'use_hflip', 'use_vflip', 'use_rot', 'seed')


@DATASET_REGISTRY.register()
class PairedFrameDataset(data.Dataset):
    """Frames and the same frames in low quality, as `animevsr rescale` writes them.

    A sample is a dict: `gt` (3, gt_size, gt_size) and `lq` (3, gt_size/scale, gt_size/scale) in training, the
    whole frames in validation, RGB in [0, 1]; `lq_path` says which frame it is. Crops and flips are drawn as
    in `DegradedClipDataset`.

    Args:
        opt (dict):
            dataroot_gt, dataroot_lq (str): folders of images, searched with all their folders; a pair has the
                same path in both, but for the suffix.
            max_frames (int): take no more than so many pairs, evenly spread over those found. Default: all.
            scale (int): size of `gt` over that of `lq`. Default: 2.
            gt_size (int): side of the square crop of `gt` in training, a multiple of `scale`. Default: 256.
            use_hflip, use_vflip, use_rot (bool): see `augment.flip_and_turn`. They hide a damage that has a
                direction, such as shifted colours. Default: True, False, True.
            seed (int): Default: 0.

    Raises:
        MediaError: an empty root, a frame without its partner, a pair whose sizes do not fit, or a frame
            smaller than the crop; names it.
        ValueError: an option is unknown or does not fit.
    """

    def __init__(self, opt: dict) -> None:
        super().__init__()
        check_dataset(opt, KEYS)
        self.opt = opt
        self.train = opt.get('phase', 'train') == 'train'
        self.scale = opt.get('scale', 2)
        self.gt_size = opt.get('gt_size', 256)
        self.seed = opt.get('seed', 0)
        if self.gt_size % self.scale or self.gt_size < 1:
            raise ValueError(f'gt_size must be a multiple of scale {self.scale}, got {self.gt_size}')
        if opt.get('max_frames') is not None and opt['max_frames'] < 1:
            raise ValueError(f'max_frames must be at least 1, got {opt["max_frames"]}')
        self.lq_root = find(opt['dataroot_lq'])
        self.pairs = list_pairs(opt['dataroot_gt'], self.lq_root)
        for gt, lq in self.pairs:
            self._check_size(gt, lq)
        count = opt.get('max_frames') or len(self.pairs)
        if count < len(self.pairs):
            self.pairs = [self.pairs[i * len(self.pairs) // count] for i in range(count)]

    def _check_size(self, gt, lq):
        (w, h), (gt_w, gt_h) = image_size(lq), image_size(gt)
        if (w * self.scale, h * self.scale) != (gt_w, gt_h):
            raise MediaError(f'{lq}: is {w}x{h}, but {gt} is {gt_w}x{gt_h}, not {self.scale} times as large')
        if self.train and min(gt_w, gt_h) < self.gt_size:
            raise MediaError(f'{gt}: is {gt_w}x{gt_h}, smaller than the crop of {self.gt_size} (gt_size)')

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: Draw) -> dict:
        paths = self.pairs[index]
        gt, lq = (read_image(path) for path in paths)
        if self.train:
            gt, lq = self._augment(gt, lq, draw_generator(self, index))
        # BasicSR names what it saves by the last part alone
        name = '_'.join(paths[1].relative_to(self.lq_root).with_suffix('').parts)
        return dict(gt=to_tensor(gt[None])[0], lq=to_tensor(lq[None])[0], lq_path=f'{name}.png')

    def _augment(self, gt, lq, rng):
        """The same crop, flips and turn of both."""
        size = self.gt_size // self.scale
        top, left = (int(rng.integers(side - size + 1)) for side in lq.shape[:2])
        crops = [
            image[top * f : (top + size) * f, left * f : (left + size) * f]
            for image, f in ((gt, self.scale), (lq, 1))
        ]
        seed = int(rng.integers(2**31))
        return [flip_and_turn(crop[None], self.opt, np.random.default_rng(seed))[0] for crop in crops]


def list_pairs(gt_root: str, lq_root: Path) -> list[tuple[Path, Path]]:
    """[(image of `gt_root`, image of `lq_root`)], in the order of their names.

    Raises:
        MediaError: a root is missing or empty, or an image has no partner.
    """
    gt, lq = (_images(root, key) for root, key in ((gt_root, 'dataroot_gt'), (lq_root, 'dataroot_lq')))
    for mine, other, where in ((gt, lq, lq_root), (lq, gt, gt_root)):
        for name in mine:
            if name not in other:
                raise MediaError(
                    f'{mine[name]}: has no partner of the same name in {where} ({len(gt)} frames in'
                    f' dataroot_gt, {len(lq)} in dataroot_lq)'
                )
    return [(gt[name], lq[name]) for name in sorted(gt)]


def _images(root, key):
    """{path below the root without the suffix: image}."""
    root, found = find(root), {}
    if not root.is_dir():
        raise MediaError(f'{key}: {root}: {no_folder(root)}')
    for path in sorted(Path(root).rglob('*')):
        name = path.relative_to(root).with_suffix('')
        if path.suffix.lower() not in IMAGE_SUFFIXES or any(part.startswith('.') for part in name.parts):
            continue
        if name in found:
            raise MediaError(
                f'{path}: {found[name].name} beside it has the same name; a pair has one image on each side'
            )
        found[name] = path
    if not found:
        raise MediaError(f'{key}: {root}: holds no images')
    return found
