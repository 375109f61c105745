"""NIQE, the natural image quality evaluator (Mittal et al., 2013), on tensors.

Its model of pristine images is the one that BasicSR carries. It was made of photographs: on cartoons NIQE
compares methods on the same clips, and its absolute value means little.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import basicsr.metrics
import numpy as np
import torch
from basicsr.utils.color_util import rgb2ycbcr_pt
from torch.nn import functional as F

from animevsr.errors import TooSmall
from animevsr.utils.device import to_float64
from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.registry import METRIC_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


BLOCK = 96
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


@METRIC_REGISTRY.register()
def calculate_niqe_pt(img: Tensor, crop_border: int = 0, **kwargs: Any) -> Tensor:
    """NIQE of the luma of images; lower is better, about 3 to 8 for photographs.

    The distance between two Gaussians over 36 features of blocks of 96x96 pixels at two scales, that of the
    image and that of pristine
    images: sqrt(d^T ((C1 + C2) / 2)^+ d).

    Args:
        img (Tensor): (n, 3, h, w), RGB in [0, 1], at least 96x192 or 192x96 after the crop: two blocks.
        crop_border (int): pixels left out at each edge.

    Returns:
        Tensor: (n, ). NaN where fewer than two blocks have values on both sides of their mean: flat images.

    Raises:
        TooSmall: an image is.
    """
    img = img[..., crop_border : img.shape[-2] - crop_border, crop_border : img.shape[-1] - crop_border]
    rows, columns = (side // BLOCK for side in img.shape[-2:])
    if rows * columns < 2:
        raise TooSmall(
            f'NIQE needs two blocks of {BLOCK}x{BLOCK} pixels; the images are {img.shape[-1]}x{img.shape[-2]}'
        )
    # in 8 bits, as MATLAB's
    luma = (rgb2ycbcr_pt(img, y_only=True) * 255).round()[..., : rows * BLOCK, : columns * BLOCK]
    luma = to_float64(luma)
    model = np.load(Path(basicsr.metrics.__file__).parent / 'niqe_pris_params.npz')
    mean, covariance, window = (
        torch.from_numpy(model[key]).to(luma)
        for key in ('mu_pris_param', 'cov_pris_param', 'gaussian_window')
    )
    features = []
    for scale in (1, 2):
        blocks = split(normalise(luma, window), BLOCK // scale)
        features.append(block_features(blocks))
        luma = (matlab_resize(luma.float() / 255, luma.shape[-2] // 2, luma.shape[-1] // 2) * 255).double()
    return torch.stack([distance(f, mean.flatten(), covariance) for f in torch.cat(features, -1)]).to(img)


def normalise(luma: Tensor, window: Tensor) -> Tensor:
    """Mean subtracted, contrast normalised: (n, 1, h, w) -> the same.

    The differences are taken in float32, as in the implementation with which the values are compared: in flat
    areas, of which cartoons have many, its rounding is all the contrast that there is.
    """
    padded = [F.pad(x, (3, 3, 3, 3), mode='replicate') for x in (luma, luma.float().square().double())]
    mean, square = (F.conv2d(x, window[None, None]).float() for x in padded)
    return ((luma.float() - mean) / ((square - mean.square()).abs().sqrt() + 1)).double()


def split(images: Any, size: Any) -> Any:
    """(n, 1, h, w) -> (n, blocks, size, size)."""
    return images[:, 0].unfold(1, size, size).unfold(2, size, size).flatten(1, 2)


def block_features(blocks: Tensor) -> Tensor:
    """(n, blocks, size, size) -> (n, blocks, 18): the shape of the distribution of the values, and of the
    products of neighbours.
    """
    alpha, left, right = asymmetric_gaussian(blocks)
    features = [alpha, (left + right) / 2]
    for shift in SHIFTS:
        alpha, left, right = asymmetric_gaussian(blocks * blocks.roll(shift, (-2, -1)))
        mean = (right - left) * torch.exp(torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha))
        features += [alpha, mean, left, right]
    return torch.stack(features, -1)


def asymmetric_gaussian(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right scale of an asymmetric generalised Gaussian fitted to (..., h, w) by its moments;
    three of (...).
    """
    values = values.flatten(-2)
    left, right = (
        ((values * side).square().sum(-1) / side.sum(-1)).sqrt() for side in (values < 0, values > 0)
    )
    ratio = left / right
    r = values.abs().mean(-1).square() / values.square().mean(-1)
    r = r * (ratio**3 + 1) * (ratio + 1) / (ratio.square() + 1).square()
    shapes = torch.arange(0.2, 10.001, 0.001, dtype=torch.float64, device=values.device)
    table = torch.exp(2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes))
    place = torch.searchsorted(table, r.nan_to_num(0)).clamp(1, len(table) - 1)
    place = place - ((r - table[place - 1]) < (table[place] - r)).long()
    alpha = shapes[torch.where(r.isnan(), 0, place)]
    scale = torch.exp((torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha)) / 2)
    return alpha, left * scale, right * scale


def distance(features: Tensor, mean: Any, covariance: Any) -> Tensor:
    """Of the blocks of one image (blocks, 36) from the pristine model; blocks with NaN do not count in the
    covariance.
    """
    whole = features[~features.isnan().any(-1)]
    if len(whole) < 2:
        return features.new_full((), torch.nan)
    d = mean - features.nanmean(0)
    return (d @ torch.linalg.pinv((covariance + torch.cov(whole.T)) / 2) @ d).sqrt()
