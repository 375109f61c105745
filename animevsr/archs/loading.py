"""Builds the network that a weights file holds, with its arguments read off the tensor shapes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from animevsr.archs.interfaces import ClipNetwork, FrameNetwork
from animevsr.archs.lbo_arch import LearnableBasicOperator
from animevsr.archs.pdm_arch import ProbabilisticDegradation
from animevsr.archs.single_image import NCNN, load_ncnn, load_spandrel
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.errors import CheckpointError
from animevsr.utils.checkpoint import LIGHTNING, read_named_tensors, strip
from animevsr.zoo import check_name, faithful_twin, find_weights

if TYPE_CHECKING:
    from torch import nn


def networks() -> Iterator[Any]:
    """The classes that a weights file may be of; last those that need BasicSR, whose import takes seconds."""
    yield from (MSRBVSR, MultiScaleVQGAN, LearnableBasicOperator, ProbabilisticDegradation)
    import basicsr  # noqa: F401  (first, see `utils.registry`)

    from animevsr.archs.backbones_arch import ClipBasicVSR, RealBasicVSR

    yield from (RealBasicVSR, ClipBasicVSR)


def load_upscaler(weights: str | Path, device: str | torch.device = 'cpu', clips: bool = False) -> nn.Module:
    """A network that upscales frame by frame (with `step`), from a file or the name of bundled weights; see
    `load_network`.

    `clips`: also one that upscales whole clips (`whole_clips`, without `step`).

    Raises:
        CheckpointError: as `load_network`, or it holds another kind of network.
    """
    net = load_network(weights, device)
    if not isinstance(net, FrameNetwork | ClipNetwork):
        raise CheckpointError(f'{weights}: holds a {type(net).__name__}, which does not upscale')
    if isinstance(net, ClipNetwork) and not clips:
        raise CheckpointError(
            f'{weights}: holds a {type(net).__name__}, which looks both ways in time; this needs a network'
            ' that goes frame by frame'
        )
    return net


def load_mixed(
    weights: str | Path, strength: float | None, device: str | torch.device = 'cpu', clips: bool = False
) -> nn.Module:
    """The network between a model and its faithful twin, by interpolation of their parameters: both were
    trained from one start.

    Args:
        weights: of a model by name, that has a twin `NAME_faithful`.
        strength (float | None): 0 is the twin, which keeps grain and texture; 1 the model; None the model,
            which then needs no twin.

    Raises:
        CheckpointError: as `load_network`; or there is no twin, or it is of another shape.
    """
    if strength is None:
        return load_upscaler(weights, device, clips)
    twin = faithful_twin(weights)
    net = load_upscaler(weights, device, clips)
    mine, others = (dict(n.named_parameters()) for n in (net, load_upscaler(twin, device, clips)))
    if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in others.items()}:
        raise CheckpointError(f'{twin}: is of another shape than {weights}; strength needs two of one shape')
    with torch.no_grad():
        for name, parameter in mine.items():
            parameter.lerp_(others[name], 1 - strength)
    return net


def load_network(path: str | Path, device: str | torch.device = 'cpu', **overrides: Any) -> nn.Module:
    """The network stored in a weights file, in eval mode.

    Args:
        path (str | Path): the name of a model (`animevsr models`) or a file: ours, BasicSR's (`params_ema` is
            preferred to `params`) or a bare state dict; the published AnimeSR and VQD-SR networks have the
            same layer names. Variant, width, block counts and scale are recognised. Also BasicVSR and
            RealBasicVSR, any single-image network that spandrel recognises (RRDBNet, SRVGG and others), the
            .param file of an ncnn model, or 'ncnn:NAME'.
        device (str | torch.device): where to put it.
        overrides: arguments of the network that tensor shapes do not tell, e.g. `legacy_no_output_act=True`
            for published multi-scale VQGAN weights that were saved anew (VQD-SR's own checkpoint is
            recognised by its names).

    Raises:
        CheckpointError: the file is missing, damaged, holds code, or is no network that this package knows;
            one line.
    """
    if not str(path).startswith(NCNN):
        check_name(str(path))
        path = find_weights(path)
    if str(path).startswith(NCNN) or str(path).endswith('.param'):
        return load_ncnn(path)
    named = read_named_tensors(path)
    state = {strip(name): tensor for name, tensor in named.items()}
    released = any(name.startswith(LIGHTNING) for name in named)
    for network in networks():
        try:
            arguments = network.read_arguments(state)
            if arguments is not None:
                if released and len(arguments.get('branches', ())) > 1:
                    arguments['legacy_no_output_act'] = True
                net = network(**{**arguments, **overrides})
                net.load_state_dict(state)
                return net.eval().to(device)
        except (
            RuntimeError,
            ValueError,
            TypeError,
            IndexError,
            ZeroDivisionError,
            StopIteration,
            KeyError,
        ) as error:
            reason = ' '.join(str(error).split())[:300]
            raise CheckpointError(
                f'{path}: incomplete or altered {network.__name__} weights: {reason}'
            ) from None
    foreign = load_spandrel(path, named)
    if foreign is not None:
        return foreign.eval().to(device)
    known = ', '.join(network.__name__ for network in networks())
    raise CheckpointError(
        f'{path}: weights of a network that is not known here (known: {known}, and what spandrel knows); '
        f'first entry: {next(iter(state))}'
    )
