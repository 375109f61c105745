"""Training clips, degraded as they are loaded (VQD-SR Sec. 3.4 and 4.1; AnimeSR supplement Sec. 3)."""

from __future__ import annotations

import json
import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from torch.utils import data

from animevsr.data.augment import draw_generator, flip_and_turn, orientation
from animevsr.data.echo import EchoPool
from animevsr.degradations import DegradationPipeline
from animevsr.errors import MediaError
from animevsr.utils.options import check_dataset
from animevsr.utils.registry import DATASET_REGISTRY
from animevsr.utils.tensors import to_bytes, to_images, to_tensor
from animevsr.video.clips import clip_lengths, list_clips, load_clip, open_clip

if TYPE_CHECKING:
    from animevsr.data.sampling import Draw


KEYS = (
    'dataroot_gt',
    'num_frame',
    'gt_size',
    'interval',
    'random_reverse',
    'use_hflip',
    'use_vflip',
    'use_rot',
    'degradation',
    'seed',
    'edge_bias',
    'hold',
    'degrade_on',
    'degrade_threads',
    'echo',
)

# what of these makes a window what it is
OF_A_WINDOW = [key for key in KEYS if key not in ('seed', 'degrade_on', 'degrade_threads', 'echo')]


def is_whole(value: int) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 1


def whole_numbers(name: str, values: list[int]) -> tuple[int, ...]:
    """ValueError unless they are a list of whole numbers >= 1, one at least."""
    given = tuple(values) if isinstance(values, Iterable) else ()
    if not given or not all(map(is_whole, given)):
        raise ValueError(f'{name} must be a list of whole numbers >= 1, got {values}')
    return given


@DATASET_REGISTRY.register()
class DegradedClipDataset(data.Dataset):
    """Windows of high-quality clips and their degraded versions.

    A sample is a dict: `gt` (t, 3, gt_size, gt_size) and `lq` (t, 3, gt_size/scale, gt_size/scale), RGB in
    [0, 1]; `key` the clip's name; `params` the degradation, as JSON text. All frames of a window share crop,
    flips and degradation.

    Every draw is another window under another degradation. Under BasicSR's sampler it depends on `seed`, the
    epoch and the position in the epoch alone: not on the number of workers, and not on whether the run was
    resumed.

    Args:
        opt (dict):
            dataroot_gt (str): a root of clips: folders of frames (any image format, numbered from anywhere)
                or video files; read fastest where `animevsr pack` has packed them.
            num_frame (int): frames of a window. Default: 15.
            gt_size (int): side of the square GT crop in pixels, a multiple of `scale`. Default: 256.
            scale (int): Default: 4.
            interval (list[int]): the step between the frames of a window is drawn from it. Steps for which a
                clip is too short are left out for that clip. Default: [1, 2, 3].
            hold (list[int]): for how many frames a drawing is held is drawn from it, for each window: its
                frames are shown so often, as animation on twos and threes is. Default: [1], the papers'
                windows.
            random_reverse (bool): play half of the windows backwards. Default: True.
            use_hflip, use_vflip, use_rot (bool): see `augment.flip_and_turn`. Default: True, False, True.
            degradation (list): see `DegradationPipeline`; its operators together divide the size by `scale`.
            degrade_on (str): 'loader': degraded as they are loaded, on the CPU. 'device': samples have no
                `lq`; `RecurrentVSRModel` makes it on its own device, codecs on `degrade_threads` threads,
                while the batch before is trained on. For degradations with a network on a GPU. The same
                parameters, but on a GPU other noise (it is drawn there) and other rounding. Default:
                'loader'.
            echo (dict): {folder: /dev/shm/echo, size: 8000, fresh: 0.3}: train on windows that were degraded
                before as well, where the processor degrades fewer than a GPU could train on (`EchoPool`).
                What is drawn then depends on the time, too, and samples are uint8, in [0, 255], which
                `RecurrentVSRModel` makes float on its device. Not with `degrade_on: device`. Default: none.
            seed (int): Default: 0.
            edge_bias (int): how many random crops are looked at; the one with the most edges is taken,
                because crops of flat areas teach nothing. 1 is the papers' plain random crop. Default: 1.

    Raises:
        MediaError: an empty root, a clip shorter than the window, a frame smaller than the crop or
            unreadable; names it.
        ValueError: an option is unknown or does not fit.
    """

    def __init__(self, opt: dict) -> None:
        super().__init__()
        check_dataset(opt, KEYS)
        self.opt = opt
        self.scale = opt.get('scale', 4)
        self.gt_size = opt.get('gt_size', 256)
        self.num_frame = opt.get('num_frame', 15)
        self.edge_bias = opt.get('edge_bias', 1)
        self.seed = opt.get('seed', 0)
        self.intervals = whole_numbers('interval', opt.get('interval', (1, 2, 3)))
        self.holds = whole_numbers('hold', opt.get('hold', (1,)))
        if opt.get('degrade_on', 'loader') not in ('loader', 'device'):
            raise ValueError(f"degrade_on must be 'loader' or 'device', got {opt['degrade_on']!r}")
        for name in ('num_frame', 'gt_size', 'scale', 'edge_bias'):
            if not is_whole(getattr(self, name)):
                raise ValueError(f'{name} must be a whole number >= 1, got {getattr(self, name)!r}')
        if self.gt_size % self.scale:
            raise ValueError(f'gt_size must be a multiple of scale {self.scale}, got {self.gt_size}')
        if opt.get('echo') and opt.get('degrade_on') == 'device':
            raise ValueError(
                "echo: needs windows that are degraded as they are loaded (degrade_on: 'loader')"
            )
        self.pipeline = DegradationPipeline(opt['degradation'])
        self.clips = list_clips(opt['dataroot_gt'])
        need = (self.num_frame - 1) * min(self.intervals) + 1
        self.lengths = clip_lengths(
            self.clips, need, f'a window of {self.num_frame} frames (num_frame) needs {need}'
        )
        settings = {key: opt.get(key) for key in OF_A_WINDOW}
        self.echo = EchoPool(opt['echo'], settings, self.clips) if opt.get('echo') else None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int | Draw) -> dict:
        rng = draw_generator(self, index)
        kept = self.echo and self.echo.take(rng)
        if kept:
            return self._kept(kept, rng)
        path, length = self.clips[index], self.lengths[index]
        numbers = self._window(length, rng)
        if rng.random() < 0.5 and self.opt.get('random_reverse', True):
            numbers = numbers[::-1]
        gt = to_tensor(flip_and_turn(self._read(path, numbers, rng), self.opt, rng))
        params = self.pipeline.sample(rng, len(gt))
        sample = dict(gt=gt, key=path.name, params=json.dumps(params))
        if self.opt.get('degrade_on') == 'device':
            return sample
        lq = self.pipeline.apply(gt, params)
        if lq.shape[-1] * self.scale != self.gt_size:
            raise ValueError(
                f'the degradation gives {lq.shape[-1]} pixels for a GT of {self.gt_size}, but scale is'
                f' {self.scale}'
            )
        if self.echo:
            texts = {name: np.array(sample[name]) for name in ('key', 'params')}
            window = dict(gt=to_images(gt), lq=to_images(lq), **texts)
            self.echo.keep(rng, **window)
            return self._kept(window, rng)
        return dict(lq=lq, **sample)

    def _kept(self, window, rng):
        """A sample of a window of the pool, in an orientation of its own."""
        turn = orientation(self.opt, rng)
        images = {name: to_bytes(turn(window[name])) for name in ('gt', 'lq')}
        return dict(images, **{name: str(window[name]) for name in ('key', 'params')})

    def _window(self, length, rng):
        """Frame numbers of a random window; those of held drawings are repeated."""
        hold = int(rng.choice(self.holds)) if self.holds != (1,) else 1
        if hold > 1:
            phase = int(rng.integers(hold))
            step = (phase + np.arange(self.num_frame)) // hold
            start = int(rng.integers(length - step[-1]))
            return (start + step).tolist()
        fitting = [i for i in self.intervals if (self.num_frame - 1) * i < length]
        interval = fitting[rng.integers(len(fitting))]
        span = (self.num_frame - 1) * interval
        start = int(rng.integers(length - span))
        return list(range(start, start + span + 1, interval))

    def _read(self, path, numbers, rng):
        """A random crop of frames (t, gt_size, gt_size, 3); of each no more is read than that takes."""
        clip = open_clip(path)
        if clip is None:  # a video whose frames need those before them
            order = sorted(set(numbers))
            frames = dict(zip(order, load_clip(path, order)))
            middle = frames[numbers[len(numbers) // 2]]
            crop = self._place(path, middle.shape[:2], lambda: middle, rng)
            return np.stack([frames[i][crop] for i in numbers])
        crop = self._place(path, clip.size, lambda: clip.read([numbers[len(numbers) // 2]])[0], rng)
        return clip.read(numbers, crop)

    def _place(self, path, frame_size, middle, rng):
        """The place of a crop, a pair of slices; `middle()` gives the frame in the middle of the window."""
        h, w = frame_size
        size = self.gt_size
        if h < size or w < size:
            raise MediaError(f'{path}: frames are {w}x{h}, smaller than the crop of {size} (gt_size)')
        places = [
            (int(rng.integers(h - size + 1)), int(rng.integers(w - size + 1))) for _ in range(self.edge_bias)
        ]
        if len(places) > 1:
            gray = middle().astype(np.float32).mean(-1)
            edges = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
            places.sort(key=lambda p: float(edges[p[0] : p[0] + size, p[1] : p[1] + size].mean()))
        top, left = places[-1]
        return slice(top, top + size), slice(left, left + size)
