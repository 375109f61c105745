"""hyperIQA (Su et al., 2020), a learned image quality without reference, through facexlib."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from animevsr.errors import CheckpointError
from animevsr.utils.checkpoint import load_weights
from animevsr.utils.registry import METRIC_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


CROP = 224
URL = 'https://github.com/xinntao/facexlib/releases/download/v0.2.0/assessment_hyperIQA.pth'


@METRIC_REGISTRY.register()
def calculate_hyperiqa_pt(
    img: Tensor, crops: int = 25, seed: int = 0, weights: str | None = None, **kwargs: Any
) -> Tensor:
    """hyperIQA of images; from 0 to 100, higher is better. Learned on photographs.

    The mean over random crops of 224x224, the same for every image of a size. Smaller images are enlarged to
    224 first.

    Args:
        img (Tensor): (n, 3, h, w), RGB in [0, 1].
        crops (int): crops of each image.
        seed (int): of their places.
        weights (str | None): file of the weights; without it facexlib downloads them, once.

    Returns:
        Tensor: (n, ).

    Raises:
        CheckpointError: there are no weights: the download failed, or the file is another.
    """
    net, least = network(weights, str(img.device)), min(img.shape[-2:])
    if least < CROP:
        size = [max(CROP, round(side * CROP / least)) for side in img.shape[-2:]]
        img = torch.nn.functional.interpolate(img, size, mode='bicubic', antialias=True).clamp(0, 1)
    mean, std = (img.new_tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    rng, total = np.random.default_rng(seed), 0
    with torch.no_grad():
        for _ in range(crops):
            top, left = (int(rng.integers(side - CROP + 1)) for side in img.shape[-2:])
            crop = img[..., top : top + CROP, left : left + CROP]
            total = total + net((crop - mean) / std).reshape(-1)
    return total / crops


@functools.lru_cache(maxsize=2)
def network(weights: str | None, device: str) -> Any:
    """facexlib's network with its weights, in eval mode."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # facexlib uses what torchvision deprecates
        from facexlib.assessment.hyperiqa_net import HyperIQA
        from facexlib.utils import load_file_from_url
    if weights is None:
        try:
            weights = load_file_from_url(URL, model_dir='facexlib/weights')
        except OSError as error:
            raise CheckpointError(
                f'hyperIQA: its weights cannot be downloaded ({str(error)[:120]}). Download'
                ' assessment_hyperIQA.pth from the release v0.2.0 of facexlib elsewhere, and name the file:'
                ' weights (evaluate: --metrics hyperiqa:FILE; curate: --hyperiqa FILE)'
            ) from None
    net = HyperIQA(16, 112, 224, 112, 56, 28, 14, 7)
    load_weights(net.hypernet, weights)
    return net.eval().to(device)
