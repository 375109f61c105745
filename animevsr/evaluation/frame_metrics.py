"""Metrics of single frames, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from basicsr.metrics import psnr_ssim
from basicsr.utils.color_util import rgb2ycbcr_pt

from animevsr.errors import TooSmall
from animevsr.metrics.hyperiqa_metric import calculate_hyperiqa_pt
from animevsr.metrics.line_width_metric import calculate_line_width_pt
from animevsr.metrics.niqe_metric import calculate_niqe_pt
from animevsr.utils.device import to_float64

if TYPE_CHECKING:
    from torch import Tensor


EQUAL = 100.0  # dB of equal images, and at most: infinity would be the mean of a clip with one black frame
BORDER = 4  # pixels left out at each edge by what compares with a ground truth
PYIQA = 'pyiqa:'  # before the name of a metric
HYPERIQA = 'hyperiqa:'  # before the file of its weights

# name: (function of (result, ground truth), needs a ground truth); frames are (1, 3, h, w)
FRAME_METRICS = {
    'psnr': (lambda x, gt: psnr(*in_float64(x, gt)), True),
    'psnr_y': (lambda x, gt: psnr(*(rgb2ycbcr_pt(image, y_only=True) for image in in_float64(x, gt))), True),
    'ssim': (lambda x, gt: ssim(*in_float64(x, gt)), True),
    'ssim_y': (lambda x, gt: ssim(*in_float64(x, gt), test_y_channel=True), True),
    'niqe': (lambda x, gt: calculate_niqe_pt(x), False),
    'hyperiqa': (lambda x, gt: calculate_hyperiqa_pt(x), False),
    'line_width': (lambda x, gt: calculate_line_width_pt(x), False),
}


def frame_metric(name: str, device: torch.device) -> tuple[Callable, bool]:
    """(function, needs a ground truth) of a metric; those of pyiqa, which the user installs, by
    `pyiqa:NAME`.
    """
    if name.startswith(HYPERIQA):
        return lambda x, gt: calculate_hyperiqa_pt(x, weights=name[len(HYPERIQA) :]), False
    if not name.startswith(PYIQA):
        return FRAME_METRICS[name]
    name = name[len(PYIQA) :]
    try:
        import pyiqa
    except ModuleNotFoundError:
        raise ValueError(
            f'{PYIQA}{name}: pyiqa is not installed (its licence is non-commercial); run: pip install pyiqa'
        ) from None
    try:
        metric = pyiqa.create_metric(name, device=device)
    except Exception as error:  # it asserts, and fetches weights
        raise ValueError(
            f'{PYIQA}{name}: pyiqa cannot make it ({" ".join(str(error).split())[:200]})'
        ) from None
    return (metric, True) if metric.metric_mode == 'FR' else (lambda x, gt: metric(x), False)


def psnr(x: Tensor, gt: Tensor) -> float:
    """Of images in [0, 1], in dB, at most `EQUAL` (BasicSR's on tensors ends at 80)."""
    check_size(x, 'PSNR', 1)
    mse = float((x - gt)[..., BORDER:-BORDER, BORDER:-BORDER].square().mean())
    return min(EQUAL, -10 * math.log10(mse)) if mse else EQUAL


def ssim(x: Tensor, gt: Tensor, **options: bool) -> float:
    """BasicSR's, of images in [0, 1]."""
    check_size(x, 'SSIM', 11)  # its window
    return float(psnr_ssim.calculate_ssim_pt(x, gt, BORDER, **options))


def check_size(x: Tensor, name: str, side: int) -> None:
    """TooSmall unless `side` pixels are left without the border."""
    if min(x.shape[-2:]) < side + 2 * BORDER:
        raise TooSmall(
            f'{name} needs images of {side + 2 * BORDER} pixels each way, not {x.shape[-1]}x{x.shape[-2]}'
        )


def in_float64(*tensors: Tensor) -> list[Tensor]:
    """For functions that compute in float64: the tensors in it, on the CPU where their device does not have
    that.
    """
    return [to_float64(x) for x in tensors]
