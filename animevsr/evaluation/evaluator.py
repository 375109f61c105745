"""A table of methods: their results on clips, measured (VQD-SR Sec. 4)."""

from __future__ import annotations

import itertools
import math
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from animevsr.archs.interfaces import FrameNetwork
from animevsr.archs.loading import load_upscaler
from animevsr.archs.single_image import SingleImageNetwork
from animevsr.engine.sizes import choose_tile
from animevsr.engine.upscaler import Upscaler
from animevsr.errors import MediaError, TooSmall
from animevsr.evaluation.frame_metrics import FRAME_METRICS, HYPERIQA, PYIQA, frame_metric
from animevsr.metrics.clip_metric import CutBleedMeter, FlickerMeter
from animevsr.utils.device import select_device
from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.options import check_keys
from animevsr.utils.progress import progress_bar
from animevsr.utils.resources import find
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.clips import check_same_clips, clips_by_name
from animevsr.video.reader import open_reader
from animevsr.video.scan import scan
from animevsr.zoo import find_weights, keeps_grain

if TYPE_CHECKING:
    from torch import nn


RUNTIME_SIZE = 180, 320  # of the papers' tables
CLIP_METRICS = ('flicker', 'cut_bleed')  # measured from frame to frame
DEFAULT = {
    True: ('psnr_y', 'ssim_y', 'line_width', 'flicker', 'cut_bleed'),
    False: ('niqe', 'line_width', 'flicker', 'cut_bleed'),
}


@dataclass
class Method:
    """What is evaluated.

    Attributes:
        name (str)
        frames (callable): (name of a clip) -> iterator of (h, w, 3) uint8 RGB.
        params (float | None): millions of parameters.
        runtime (float | None): milliseconds for one frame of 180x320.
        values (dict): {clip: {metric: value}}.
        lacking (dict): {metric: clips that have no value for some method}, which are in no method's mean.
    """

    name: str
    frames: object
    params: float | None = None
    runtime: float | None = None
    values: dict = field(default_factory=dict)
    lacking: dict = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """{metric: mean over the clips that have a value for all methods}."""
        metrics = next(iter(self.values.values()), {})
        return {
            m: nanmean([v[m] for clip, v in self.values.items() if clip not in self.lacking.get(m, ())])
            for m in metrics
        }


def evaluate(
    methods: dict[str, str | Path],
    lq: str | Path | None = None,
    gt: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    every: int = 10,
    device: str | torch.device = 'auto',
    progress: bool = False,
    steady: bool = True,
) -> list[Method]:
    """Measure methods on clips.

    Args:
        methods (dict[str, str | Path]): name -> 'bicubic', a root of clips with results, or a network:
            anything that `load_network` takes. Networks and bicubic need `lq`.
        lq (str | Path | None): a root of low-quality clips.
        gt (str | Path | None): a root of clips with the ground truth.
        metrics (list[str] | None): of psnr, psnr_y, ssim, ssim_y, niqe, hyperiqa (or `hyperiqa:FILE` of its
            weights), line_width, flicker, cut_bleed, and `pyiqa:NAME`, where pyiqa is installed. Default:
            what needs no download, with or without a ground truth.
        every (int): frames are measured every so many, from the first on, as in the papers; flicker and cut
            bleed see all.
        device (str): 'auto', 'cpu', ...
        progress (bool): show progress on standard error.
        steady (bool): average what networks make of held drawings, as `upscale` does; without it the networks
            alone are measured, as in the papers.

    Returns:
        list[Method]: with their values; frames are compared in 8 bits, a clip's value is the mean over its
        frames. Frames that have a value for some methods alone (where lines are lost there are no edges to
        measure) count for none of them, if the clip has others.

    Raises:
        MediaError, CheckpointError, ValueError: one line.
    """
    metrics = list(metrics or DEFAULT[gt is not None])
    check_keys(
        [m for m in metrics if not m.startswith((PYIQA, HYPERIQA))],
        [*FRAME_METRICS, *CLIP_METRICS],
        'metrics',
    )
    if every < 1:
        raise ValueError(f'every must be at least 1, got {every}')
    device = select_device(device)
    functions = {m: frame_metric(m, device) for m in metrics if m not in CLIP_METRICS}
    for m, (_, needs_gt) in functions.items():
        if needs_gt and gt is None:
            raise ValueError(f'{m} compares with a ground truth; name it (gt), or leave {m} out')
    roots = {name: clips_by_name(root, name) for name, root in (('lq', lq), ('gt', gt)) if root is not None}
    results = {name: clips_by_name(what, name) for name, what in methods.items() if find(what).is_dir()}
    for name, what in methods.items():
        if (
            name not in results
            and str(what) != 'bicubic'
            and not str(what).startswith('ncnn:')
            and not find_weights(what).is_file()
        ):
            raise MediaError(f'{what}: no such folder of results, and no such weights')
    folders = [  # a method may have the name of a root
        *((lq if name == 'lq' else gt, found) for name, found in roots.items()),
        *((methods[name], found) for name, found in results.items()),
    ]
    if not folders:
        raise ValueError(f'{next(iter(methods))}: needs low-quality clips to work on; name them (lq)')
    (first, clips), *rest = folders
    for root, found in rest:
        check_same_clips(first, clips, root, found)
    _check(results, roots)
    built = [_method(name, what, roots, results.get(name), device, steady) for name, what in methods.items()]
    counts, measured = {}, {clip: [] for clip in clips}
    with progress_bar(len(built) * len(clips), 'clips', progress) as bar, torch.inference_mode():
        for method in built:
            for clip in clips:
                values, count = _measure(method, clip, roots, functions, metrics, every, device)
                measured[clip].append(values)
                if counts.setdefault(clip, count) != count:
                    raise MediaError(
                        f'{method.name}, {clip}: has {count} frames, {built[0].name} {counts[clip]}'
                    )
                bar.update()
    _average(built, measured, metrics)
    return built


def _average(built, measured, metrics):
    """Fill `Method.values` and `lacking`; `measured`: {clip: [{metric: values of the frames} of each
    method]}.
    """
    for m in metrics:
        lacking = []
        for clip, found in measured.items():
            values = np.array([of_method[m] for of_method in found])  # (methods, frames)
            known = ~np.isnan(values)
            if known.all(0).any():
                values = values[:, known.all(0)]
            elif known.any():
                lacking.append(clip)
            for method, of_frames in zip(built, values):
                method.values.setdefault(clip, {})[m] = nanmean(of_frames)
        for method in built:
            method.lacking[m] = lacking


def _check(results, roots):
    """MediaError where results differ in number from each other, or in number or size from the ground truth:
    before all the work.
    """
    others = {**({'the ground truth': roots['gt']} if 'gt' in roots else {}), **results}
    if len(others) < 2:
        return
    (first, clips), *rest = others.items()
    for clip, path in clips.items():
        for name, found in rest:
            size, expected = (_size(p) for p in (found[clip], path))
            if 'gt' in roots and size[:2] != expected[:2]:
                raise MediaError(
                    f'{name}, {clip}: is {size[0]}x{size[1]}, {first} is {expected[0]}x{expected[1]}'
                )
            if None not in (size[2], expected[2]) and size[2] != expected[2]:
                raise MediaError(f'{name}, {clip}: has {size[2]} frames, {first} has {expected[2]}')


def _size(clip):
    """(width, height, number of frames; None where only decoding tells) of a clip."""
    with open_reader(clip) as reader:
        return reader.info.width, reader.info.height, reader.info.frame_count if clip.is_dir() else None


def _method(name, what, roots, results, device, steady):
    """A `Method`, ready to run; its runtime measured where it is a network. `results`: {clip: path} where
    they are there already.
    """
    if results is not None:
        return Method(name, lambda clip: _images(results[clip]))
    if 'lq' not in roots:
        raise ValueError(f'{name}: needs low-quality clips to work on; name them (lq)')
    if str(what) == 'bicubic':
        return Method(name, lambda clip: _bicubic(roots, clip))
    net = load_upscaler(what, device, clips=True)
    count = sum(p.numel() for p in net.parameters())
    if 'gt' in roots:
        clip, path = next(iter(roots['lq'].items()))
        low, high = _size(path), _size(roots['gt'][clip])
        if any(side * net.scale != expected for side, expected in zip(low[:2], high[:2])):
            raise MediaError(
                f'{name}, {clip}: {low[0]}x{low[1]} times {net.scale}, the scale of the network, is not'
                f' {high[0]}x{high[1]}, the size of the ground truth'
            )
    tile = None
    if 'lq' in roots and getattr(net, 'reach', None) is not None:
        sizes = [_size(path)[1::-1] for path in roots['lq'].values()]
        tile = choose_tile('auto', max(sizes, key=math.prod), device)
    upscaler = Upscaler(net, device, tile, steady=steady and not keeps_grain(what))
    return Method(
        name, lambda clip: _by_shots(upscaler, roots['lq'][clip]), count / 1e6 or None, runtime(net, device)
    )


@torch.inference_mode()
def runtime(net: nn.Module, device: torch.device, repeat: int = 3) -> float:
    """Median milliseconds of one frame of 180x320; of one in a clip of five for a network over clips."""
    frame, times = torch.rand(1, 3, *RUNTIME_SIZE, device=device), []
    if not isinstance(net, SingleImageNetwork):
        frame = frame.contiguous(memory_format=torch.channels_last)
    for _ in range(repeat + 1):
        start = time.perf_counter()
        if isinstance(net, FrameNetwork):
            net.step(frame, frame, frame, None)[0].sum().item()  # waits for the device
            times.append((time.perf_counter() - start) * 1000)
        else:
            net(frame[:, None].expand(-1, 5, -1, -1, -1)).sum().item()
            times.append((time.perf_counter() - start) * 1000 / 5)
    return statistics.median(times[1:])


def _by_shots(upscaler, path):
    """Results of a network for a clip, each shot of its own, as `upscale` makes them."""
    with open_reader(path, deinterlace='marked') as reader:
        starts = scan(reader, None, True).shots
    frames = _images(path, 'marked')
    for start, end in zip(starts, [*starts[1:], None]):
        yield from upscaler(itertools.islice(frames, None if end is None else end - start))


def _images(path, deinterlace='off'):
    """Frames of a clip; of low-quality ones as `upscale` reads them, 'marked'."""
    with open_reader(path, deinterlace=deinterlace) as reader:
        for image, _ in reader.frames():
            yield image


def _bicubic(roots, clip, scale=4):
    """MATLAB's, by the factor between ground truth and input."""
    if 'gt' in roots:
        high, low = (next(_images(roots[root][clip])).shape[1] for root in ('gt', 'lq'))
        scale = high / low
    for image in _images(roots['lq'][clip], 'marked'):
        h, w = (round(side * scale) for side in image.shape[:2])
        yield to_images(matlab_resize(to_tensor(image[None]), h, w).clamp(0, 1))[0]


def _measure(method, clip, roots, functions, metrics, every, device):
    """({metric: values of its frames, or the one of the clip}, number of frames) of a clip."""
    values, flicker, bleed, count = {m: [] for m in functions}, FlickerMeter(), CutBleedMeter(), 0
    truths = _images(roots['gt'][clip]) if 'gt' in roots else None
    inputs = _images(roots['lq'][clip], 'marked') if 'lq' in roots and truths is None else None
    for count, image in enumerate(method.frames(clip), 1):
        x = to_tensor(image[None]).to(device)
        gt = (
            _truth(truths, image, f'{method.name}, {clip}: frame {count - 1}').to(device)
            if truths is not None
            else None
        )
        original = gt
        if inputs is not None:
            low = next(inputs, None)
            if low is None:
                raise MediaError(
                    f'{method.name}, {clip}: has more frames than the low-quality clip, {count - 1}'
                )
            if 'cut_bleed' in metrics:
                original = matlab_resize(to_tensor(low[None]).to(device), *image.shape[:2])
        if (count - 1) % every == 0:
            for m, (function, _) in functions.items():
                try:
                    values[m].append(float(function(x, gt)))
                except TooSmall as error:
                    warnings.warn(f'{method.name}, {clip}: {error}', stacklevel=2)
                    values[m].append(math.nan)
        if 'flicker' in metrics:
            flicker.update(x, gt)
        if 'cut_bleed' in metrics and original is not None:
            bleed.update(x, original)
    for name, others in (('ground truth', truths), ('low-quality clip', inputs)):
        if others is not None and next(others, None) is not None:
            raise MediaError(f'{method.name}, {clip}: ends after {count} frames, the {name} has more')
    return {**values, 'flicker': [flicker.value()], 'cut_bleed': [bleed.value()]}, count


def _truth(truths, image, where):
    """The next frame of the ground truth, (1, 3, h, w)."""
    truth = next(truths, None)
    if truth is None or truth.shape != image.shape:
        size = 'has no such frame' if truth is None else f'is {truth.shape[1]}x{truth.shape[0]}'
        raise MediaError(f'{where} is {image.shape[1]}x{image.shape[0]}, the ground truth {size}')
    return to_tensor(truth[None])


def nanmean(values: list[float]) -> float:
    """Mean of those that are not NaN; NaN where there is none."""
    values = [v for v in values if not math.isnan(v)]
    return float(np.mean(values)) if values else math.nan
