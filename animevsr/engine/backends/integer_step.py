"""8-bit integers: a network's step as OpenVINO computes them fastest, quantised by NNCF.

What would lose by eight bits and costs little keeps its floats: the frame that the result is added to. What
is rounded to eight bits anyway goes in and out as that: the state, which the next step's first convolution
sees so, and the picture, where it is shown with eight bits.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import torch
from openvino import opset13 as op
from torch import nn
from torch.nn import functional as F

from animevsr.archs.vsr_arch import MSRBVSR, SLOPE
from animevsr.engine.backends.cache import StepGraph, make_example
from animevsr.utils.resources import find
from animevsr.utils.tensors import to_tensor
from animevsr.video.reader import open_reader

if TYPE_CHECKING:
    from torch import Tensor

    from animevsr.archs.interfaces import RecurrentNetwork


CALIBRATION = 'weights/calibration.mkv'  # degraded clips of `CLIP` frames each
CLIP = 6
LEVELS = 256


class IntegerStep(nn.Module):
    """`MSRBVSR.core` before its pixel shuffle, rearranged: (prev, cur, next, *state) -> (the unshuffled
    result, *state).

    The convolution that makes result and state is two, since OpenVINO has no fast split of integers; and the
    bilinear interpolation is a convolution with fixed weights, of which the sum with the result is a part of
    the last convolution.
    """

    def __init__(self, net: MSRBVSR) -> None:
        super().__init__()
        self.cell = copy.deepcopy(net.recurrent_cell)
        first, activation, last = self.cell.fusion
        self.cell.fusion = nn.Sequential(first, activation)
        self.residual, self.hidden = parts_of(last, [3 * net.scale**2, net.num_feat])
        self.base = interpolation(net.scale)
        self.sr_feedback = net.sr_feedback

    def forward(self, prev: Tensor, cur: Tensor, nxt: Tensor, *state: Any) -> tuple[Tensor, ...]:
        """See `MSRBVSR.core`."""
        features = self.cell(torch.cat([prev, cur, nxt, *reversed(state)], 1))
        base = self.base(F.pad(cur, (1, 1, 1, 1), mode='replicate'))
        sr, hidden = self.residual(features) + base, F.leaky_relu(self.hidden(features), SLOPE)
        return (sr, hidden, sr) if self.sr_feedback else (sr, hidden)


def parts_of(convolution: nn.Conv2d, channels: list[int]) -> list[nn.Conv2d]:
    """A convolution of 3x3 as several, each with some of its outputs."""
    parts = []
    for weight, bias in zip(convolution.weight.split(channels), convolution.bias.split(channels)):
        parts.append(nn.Conv2d(convolution.in_channels, len(bias), 3, 1, 1))
        parts[-1].weight.data, parts[-1].bias.data = weight.detach().clone(), bias.detach().clone()
    return parts


def interpolation(scale: int) -> nn.Conv2d:
    """Bilinear interpolation of three channels, unshuffled, as a convolution of 3x3 over the frame with one
    repeated pixel around it.
    """
    taps = F.pad(torch.eye(9).view(9, 1, 3, 3), (1, 1, 1, 1))
    middle = slice(2 * scale, 3 * scale)
    seen = F.interpolate(taps, scale_factor=scale, mode='bilinear', align_corners=False)[..., middle, middle]
    weight = torch.zeros(3, scale**2, 3, 3, 3)
    for channel in range(3):
        weight[channel, :, channel] = seen.reshape(9, -1).T.view(-1, 3, 3)
    convolution = nn.Conv2d(3, 3 * scale**2, 3, bias=False)
    convolution.weight.data = weight.flatten(0, 1)
    return convolution


def quantize(net: RecurrentNetwork, folder: Path) -> None:
    """Write a network's step with 8-bit integers into a folder, calibrated on the bundled clips as the
    network itself goes through them: `step.xml`, with dynamic sizes.
    """
    import logging

    logging.getLogger('torch.utils.cpp_extension').setLevel(logging.ERROR)  # of a CUDA that nobody asked for
    import nncf  # takes seconds

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):  # standard output may be a video
        _quantize(nncf, net, folder)


def _quantize(nncf, net, folder):
    net, known = net.cpu().float(), type(net) is MSRBVSR  # a class of its own may compute something else
    example = make_example(net)
    with torch.no_grad():
        model = openvino.convert_model(
            (IntegerStep if known else StepGraph)(net).eval(),
            example_input=example,
            input=[[1, x.shape[1], -1, -1] for x in example],
        )
    exact = name_what_stays_exact(model) if known else []
    samples = [[x.numpy() for x in sample] for sample in calibration(net)]
    quantized = nncf.quantize(
        model,
        nncf.Dataset(samples),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        ignored_scope=nncf.IgnoredScope(names=exact),
    )
    give_state_as_bytes(quantized)
    openvino.save_model(quantized, folder / 'step.xml', compress_to_fp16=False)


def name_what_stays_exact(model: openvino.Model) -> list[str]:
    """Names that are given to the interpolation and to the sum with it."""
    total = model.get_results()[0].input_value(0).get_node()
    parts = [value.get_node() for value in total.input_values()]
    base = next(part for part in parts if part.get_type_name() == 'Convolution')  # the other has a bias
    total.set_friendly_name('sum')
    base.set_friendly_name('interpolation')
    return ['sum', 'interpolation']


def give_state_as_bytes(model: openvino.Model) -> None:
    """Let the state come and go as the bytes that the first convolution makes of it; what of it is read in
    another way stays in floats.
    """
    for parameter, result in zip(model.get_parameters()[3:], model.get_results()[1:]):
        readers = [reader.get_node() for reader in parameter.output(0).get_target_inputs()]
        if [reader.get_type_name() for reader in readers] != ['FakeQuantize']:
            parameter.set_friendly_name('state, in floats')
            continue
        (quantizer,) = readers
        low, high = (quantizer.input_value(i).get_node().get_data().item() for i in (1, 2))
        step = (high - low) / (LEVELS - 1)
        as_bytes = to_bytes(result.input_value(0), low, high)
        result.input(0).replace_source_output(as_bytes)
        parameter.set_element_type(openvino.Type.u8)
        zero = op.constant(np.float32(round(-low / step)))
        value = op.multiply(op.subtract(op.convert(parameter, 'f32'), zero), op.constant(np.float32(step)))
        quantizer.output(0).replace(value.output(0))
        parameter.set_friendly_name(f'state, {int(zero.get_data())} is zero')
    model.validate_nodes_and_infer_types()


def zeros_of(model: openvino.Model) -> list[int | None]:
    """The byte that stands for zero, of each tensor of the state; None of one in floats."""
    said = [p.get_friendly_name().split()[1] for p in model.get_parameters()[3:]]
    return [int(zero) if zero.isdigit() else None for zero in said]


def shuffled(model: openvino.Model, scale: int, as_bytes: bool) -> openvino.Model:
    """Let a quantised step give the picture (1, 3, scale*h, scale*w): in floats, or rounded to bytes."""
    result = model.get_results()[0]
    value = result.input_value(0)
    if as_bytes:
        value = to_bytes(value, 0, 1)
    if value.get_partial_shape()[1].get_length() != 3:
        value = op.depth_to_space(value, 'depth_first', scale).output(0)
    result.input(0).replace_source_output(value)
    model.validate_nodes_and_infer_types()
    return model


def to_bytes(value: openvino.Output, low: float, high: float) -> openvino.Output:
    """`low` to `high` as 0 to 255, what lies beyond cut off."""
    limits = [op.constant(np.float32(limit)) for limit in (low, high, 0, LEVELS - 1)]
    return op.convert(op.fake_quantize(value, *limits, levels=LEVELS), 'u8').output(0)


def hash_calibration() -> str:
    """Of the clips with which networks are quantised."""
    return hashlib.sha256(find(CALIBRATION).read_bytes()).hexdigest()[:8]


@torch.no_grad()
def calibration(net: nn.Module, every: int = 3) -> list[tuple[Tensor, ...]]:
    """Inputs of every n-th step over the bundled clips: [(prev, cur, next, *state)]."""
    with open_reader(find(CALIBRATION)) as reader:
        frames = to_tensor([image for image, _ in reader.frames()])
    samples = []
    for clip in frames.split(CLIP):
        state = tuple(torch.zeros(1, c, *clip.shape[-2:]) for c in net.state_channels)
        for i in range(len(clip)):
            inputs = (*(clip[j : j + 1] for j in (max(i - 1, 0), i, min(i + 1, len(clip) - 1))), *state)
            if i % every == 2:
                samples.append(inputs)
            state = tuple(net.core(*inputs)[1:])
    return samples
