"""Single low-quality frames for learning how animation was degraded (VQD-SR Sec. 3.1, 3.4 and supplement)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from torch.utils import data

from animevsr.data.augment import draw_generator, flip_and_turn
from animevsr.errors import MediaError
from animevsr.utils.files import no_folder
from animevsr.utils.options import check_dataset
from animevsr.utils.registry import DATASET_REGISTRY
from animevsr.utils.resources import find
from animevsr.utils.tensors import to_tensor
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.images import IMAGE_SUFFIXES, image_size, list_images, read_image
from animevsr.video.numbered import count_frames, seek_frame
from animevsr.video.reader import VideoReader

if TYPE_CHECKING:
    from animevsr.data.sampling import Draw


KEYS = (
    'dataroot_lq',
    'max_frames',
    'crop_size',
    'rescale',
    'rescale_prob',
    'use_hflip',
    'use_vflip',
    'use_rot',
    'channel_shuffle',
    'rgb_shift',
    'rgb_shift_prob',
    'seed',
)
INTERPOLATIONS = dict(
    area=cv2.INTER_AREA, bilinear=cv2.INTER_LINEAR, bicubic=cv2.INTER_CUBIC, lanczos=cv2.INTER_LANCZOS4
)


@DATASET_REGISTRY.register()
class LowQualityFrameDataset(data.Dataset):
    """Frames of low-quality animation, from folders of images and from video files.

    A sample is a dict: `lq` (3, crop_size, crop_size) in training, the whole frame (3, h, w) in validation,
    RGB in [0, 1]; `lq_path` says which frame it is. Augmentation is drawn as in `DegradedClipDataset`: it
    depends on `seed`, the epoch and the position alone.

    Args:
        opt (dict):
            dataroot_lq (str): searched with all its folders for images and video files.
            max_frames (int): take no more than so many frames, evenly spread over those found. Default: all.
            crop_size (int): side of the random crop in training. Default: 256.
            rescale (pair of float): range of a random factor by which frames are resized, in a random one of
                area, bilinear, bicubic and Lanczos, before the crop; never below the crop. Default: [0.8,
                2.0], the published code's -20 % to +100 %.
            rescale_prob (float): its probability. Default: 0.3.
            use_hflip, use_vflip, use_rot (bool): see `augment.flip_and_turn`. Default: True, True, False.
            channel_shuffle (float): probability of a random order of the colour channels. Default: 0.3.
            rgb_shift (float): each channel is shifted by up to this, in levels of 255. Default: 20.
            rgb_shift_prob (float): its probability. Default: 0.3.
            seed (int): Default: 0.

    Raises:
        MediaError: nothing found, frames of several sizes in one folder, or a frame smaller than the crop;
            names it.
    """

    def __init__(self, opt: dict) -> None:
        super().__init__()
        check_dataset(opt, KEYS)
        self.opt = opt
        self.train = opt.get('phase', 'train') == 'train'
        self.crop_size = opt.get('crop_size', 256)
        self.seed = opt.get('seed', 0)
        self.root = find(opt['dataroot_lq'])
        self.frames = list_frames(self.root, self.crop_size if self.train else 1)
        most = opt.get('max_frames') or len(self.frames)
        if most < len(self.frames):
            self.frames = [self.frames[i * len(self.frames) // most] for i in range(most)]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int | Draw) -> dict:
        path, number = self.frames[index]
        frame = read_image(path) if number is None else seek_frame(path, number)
        if self.train:
            frame = self._augment(frame, draw_generator(self, index))
        # BasicSR names what it saves by the last part alone
        name = '_'.join(path.relative_to(self.root).parts)
        name = name.removesuffix(path.suffix) if number is None else f'{name}_{number:08d}'
        return dict(lq=to_tensor(frame[None])[0], lq_path=f'{name}.png')

    def _augment(self, frame, rng):
        """uint8 (h, w, 3) -> uint8 (crop_size, crop_size, 3)."""
        size, opt = self.crop_size, self.opt
        h, w = frame.shape[:2]
        factor = max(rng.uniform(*opt.get('rescale', (0.8, 2.0))), size / min(h, w))
        mode = list(INTERPOLATIONS.values())[rng.integers(len(INTERPOLATIONS))]
        if rng.random() < opt.get('rescale_prob', 0.3):
            frame = cv2.resize(
                frame, (max(size, round(w * factor)), max(size, round(h * factor))), interpolation=mode
            )
            h, w = frame.shape[:2]
        top, left = int(rng.integers(h - size + 1)), int(rng.integers(w - size + 1))
        crop = frame[None, top : top + size, left : left + size]
        frame = flip_and_turn(crop, dict(use_hflip=True, use_vflip=True, use_rot=False) | dict(opt), rng)[0]
        if rng.random() < opt.get('channel_shuffle', 0.3):
            frame = frame[..., rng.permutation(3)]
        shift = rng.uniform(-1, 1, 3) * opt.get('rgb_shift', 20)
        if rng.random() < opt.get('rgb_shift_prob', 0.3):
            frame = (frame + shift).round().clip(0, 255).astype(np.uint8)
        return frame


def list_frames(root: Path, at_least: int) -> list:
    """[(image, None) or (video file, number of the frame)] of everything below `root`; frames must measure
    `at_least` both ways.
    """
    if not root.is_dir():
        raise MediaError(f'dataroot_lq: {root}: {no_folder(root)}')
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith('.') and not f.endswith('.partial'))
        names = [Path(f) for f in sorted(files) if not f.startswith('.')]
        if any(n.suffix.lower() in IMAGE_SUFFIXES for n in names):
            images = list_images(folder)
            _check_sizes(images, at_least)
            found += [(image, None) for image in images]
        for name in names:
            if name.suffix.lower() in VIDEO_SUFFIXES:
                video = Path(folder) / name
                with VideoReader(video) as reader:
                    _check_size(video, (reader.info.width, reader.info.height), at_least)
                    count = said_count(reader)
                found += [(video, i) for i in range(count or count_frames(video))]
    if not found:
        raise MediaError(f'dataroot_lq: {root}: holds no images and no videos')
    return found


def said_count(reader: VideoReader) -> int | None:
    """The number of frames that a video's header says, where its last one is near where it should be; None
    where they must be counted.
    """
    count = reader.info.frame_count or reader.info.expected_frames
    if not count:
        return None
    try:
        last = reader.seek((count - 1) / reader.info.fps)
    except MediaError:
        return None
    if last.pts is None or reader.zero is None:
        return count
    return count if last.pts * last.time_base - reader.zero > (count - 1) / reader.info.fps - 1 else None


def _check_sizes(images, at_least):
    first = None
    for path in images:
        size = image_size(path)
        first = first or size
        if size != first:
            raise MediaError(
                f'{path}: is {size[0]}x{size[1]}, but {images[0].name} beside it {first[0]}x{first[1]}; '
                'a folder holds the frames of one video, put others into folders of their own'
            )
    _check_size(images[0], first, at_least)


def _check_size(path, size, at_least):
    if min(size) < at_least:
        raise MediaError(f'{path}: is {size[0]}x{size[1]}, smaller than the crop of {at_least} (crop_size)')
