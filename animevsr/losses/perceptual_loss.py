"""Perceptual loss on VGG features (VQD-SR Sec. 3.4; the layers and weights are those of the released
code).
"""

from __future__ import annotations

import functools
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchvision.models import get_model_weights
from torchvision.models.vgg import cfgs, make_layers

from animevsr.errors import CheckpointError
from animevsr.utils.checkpoint import read_state_dict
from animevsr.utils.registry import LOSS_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


BLOCKS = {'vgg16': (2, 2, 3, 3, 3), 'vgg19': (2, 2, 4, 4, 4)}  # convolutions of each block
LAYER_WEIGHTS = {'conv1_2': 0.1, 'conv2_2': 0.1, 'conv3_4': 1, 'conv4_4': 1, 'conv5_4': 1}


@LOSS_REGISTRY.register()
class VGGPerceptualLoss(nn.Module):
    """Weighted L1 distance between the VGG features of two batches of images. Never with random weights.

    Args:
        layer_weights (dict[str, float]): layer -> weight; 'conv3_4' is the fourth convolution of the third
            block, before its ReLU.
        vgg_type (str): 'vgg19' or 'vgg16'.
        weights (str | None): a file of torchvision's ImageNet weights; without it torchvision downloads them,
            once.
        loss_weight (float): Default: 1.0.
        checkpointing (bool): in training keep only what stands between VGG's blocks, and compute each once
            more on the way back: less memory, more time, the same gradients. Default: False.

    Raises:
        CheckpointError: there are no weights: the download failed, or the file is not what it should be.
        ValueError: an unknown layer or type.
    """

    def __init__(
        self,
        layer_weights: dict[str, float] | None = None,
        vgg_type: str = 'vgg19',
        weights: str | None = None,
        loss_weight: float = 1.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if vgg_type not in BLOCKS:
            raise ValueError(f'vgg_type must be one of {", ".join(BLOCKS)}, got {vgg_type}')
        self.layer_weights = dict(layer_weights or LAYER_WEIGHTS)
        self.loss_weight = loss_weight
        self.checkpointing = checkpointing
        places = layer_places(vgg_type)
        for layer in self.layer_weights:
            if layer not in places:
                raise ValueError(
                    f'layer_weights: {vgg_type} has no layer {layer}; its layers: {", ".join(places)}'
                )
        self.names = dict(sorted((places[layer], layer) for layer in self.layer_weights))
        features = vgg_features(vgg_type)
        features.load_state_dict(feature_weights(vgg_type, weights, features))
        self.features = features[: max(self.names) + 1].eval().requires_grad_(False)
        for layer in self.features:  # a layer's output must stay as it is while it is compared
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x: Tensor, gt: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Two batches of images (b, 3, h, w) or of clips (b, t, 3, h, w), RGB in [0, 1] -> (loss, None).

        That is what BasicSR's models expect; None is the style loss, which is not there.
        """
        x, gt = x.flatten(0, -4), gt.detach().flatten(0, -4)
        loss = 0
        for layer, of_x, of_gt in zip(self.layer_weights, self._features(x), self._features(gt)):
            loss = loss + self.layer_weights[layer] * F.l1_loss(of_x, of_gt)
        return loss * self.loss_weight, None

    def _features(self, x):
        """Features of the layers in the order of `layer_weights`."""
        x, found = (x - self.mean) / self.std, {}
        ends = [i for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        for start, stop in zip([0, *ends], [*ends, len(self.features)]):
            block = functools.partial(self._block, start, stop)
            x, *features = (
                checkpoint(block, x, use_reentrant=False)
                if self.checkpointing and x.requires_grad
                else block(x)
            )
            found.update(zip((name for i, name in self.names.items() if start <= i < stop), features))
        return [found[name] for name in self.layer_weights]

    def _block(self, start, stop, x):
        """(what layer `stop` is given, features of those of the layers before it that are compared)."""
        features = []
        for i in range(start, stop):
            x = self.features[i](x)
            if i in self.names:
                features.append(x)
        return (x, *features)


@LOSS_REGISTRY.register()
class LPIPSLoss(nn.Module):
    """LPIPS (Zhang et al., CVPR 2018), version 0.1 on VGG16: the perceptual loss of taming-transformers, and
    of VQD-SR's VQGAN [48].

    The package `lpips` brings its linear heads; the backbone's ImageNet weights are torchvision's.

    Args:
        weights (str | None): a file of torchvision's VGG16 weights; without it torchvision downloads them,
            once.
        loss_weight (float): Default: 1.0.

    Raises:
        CheckpointError: there are no weights: the download failed, or the file is not what it should be.
    """

    def __init__(self, weights: str | None = None, loss_weight: float = 1.0) -> None:
        super().__init__()
        import lpips

        self.loss_weight = loss_weight
        state = feature_weights('vgg16', weights, vgg_features('vgg16'))
        net = lpips.LPIPS(net='vgg', pnet_rand=True, verbose=False)
        for part in net.net.children():  # slices of the backbone, whose layers keep torchvision's numbers
            part.load_state_dict({name: state[name] for name in part.state_dict()})
        self.net = net.eval().requires_grad_(False)

    def forward(self, x: Tensor, gt: Tensor) -> tuple[Tensor, None]:
        """Two batches of images (b, 3, h, w) or of clips (b, t, 3, h, w), RGB in [0, 1] -> (mean, None); h
        and w at least 16.
        """
        return (
            self.net(x.flatten(0, -4), gt.detach().flatten(0, -4), normalize=True).mean() * self.loss_weight,
            None,
        )


def vgg_features(vgg_type: str) -> nn.Module:
    """torchvision's `features` of a VGG, without its classifier, which is four fifths of it."""
    return make_layers(cfgs[dict(vgg16='D', vgg19='E')[vgg_type]], batch_norm=False)


def layer_places(vgg_type: str) -> dict[str, int]:
    """{'conv1_1': 0, 'conv1_2': 2, ...}: place of each convolution in torchvision's `features`."""
    places, at = {}, 0
    for block, count in enumerate(BLOCKS[vgg_type], 1):
        for i in range(1, count + 1):
            places[f'conv{block}_{i}'] = at
            at += 2  # its ReLU
        at += 1  # the pooling
    return places


def feature_weights(vgg_type: str, path: Path, features: nn.Module) -> dict[str, Tensor]:
    """The state dict of `features` from a file, or from torchvision's download."""
    if path:
        state = read_state_dict(path)
    else:
        weights = get_model_weights(vgg_type).DEFAULT
        try:
            state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:  # the last: what is there is damaged
            cache, file = os.path.join(torch.hub.get_dir(), 'checkpoints'), weights.url.split('/')[-1]
            reason = ' '.join(str(error).split())[:120]
            raise CheckpointError(
                f'perceptual_opt: the {vgg_type} weights cannot be downloaded or read ({reason}). Put {file} '
                f'(from {weights.url}) into {cache}, or name the file: perceptual_opt: {{weights: FILE}}; '
                'perceptual_opt: ~ trains without'
            ) from None
    state = {
        name.removeprefix('features.'): tensor
        for name, tensor in state.items()
        if name.startswith('features.')
    }
    expected = {name: tensor.shape for name, tensor in features.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        raise CheckpointError(
            f"{path}: not torchvision's weights of {vgg_type} (its `features` are missing or have other"
            ' shapes)'
        )
    return state
