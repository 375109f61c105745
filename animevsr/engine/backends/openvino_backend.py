"""OpenVINO: float32, or 8-bit integers, which NNCF makes of a network and CPUs with VNNI compute several
times as fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import torch
from openvino import opset13 as op
from openvino.preprocess import PrePostProcessor

from animevsr.engine.backends.base import ConvertedBackend
from animevsr.engine.backends.cache import StepGraph, cached, make_example
from animevsr.utils.resources import find
from animevsr.utils.tensors import to_tensor
from animevsr.video.reader import open_reader

if TYPE_CHECKING:
    from torch import Tensor, nn

    from animevsr.archs.interfaces import RecurrentNetwork


CALIBRATION = 'weights/calibration.mkv'  # degraded clips of `CLIP` frames each
CLIP = 6
GRAPH = 2  # changes with what `convert` and `quantize` write
INTEGER_PATIENCE = 2.0  # 8-bit integers change six times as much where nothing moves


class OpenVINOBackend(ConvertedBackend):
    """A step by OpenVINO.

    Args:
        net (MSRBVSR), device (torch.device), threads (int): see `open_backend`.
        fast (bool): with 8-bit integers. unit (str): one of OpenVINO's devices.

    Raises:
        ValueError: that is not here.
    """

    kind = 'openvino'

    def __init__(
        self,
        net: RecurrentNetwork,
        device: torch.device,
        threads: int | None,
        fast: bool = False,
        unit: str = 'CPU',
    ) -> None:
        core = openvino.Core()
        if unit != 'CPU':
            there = sorted({name.split('.')[0] for name in core.available_devices})
            if unit not in there:
                raise ValueError(f'openvino finds no {unit} here, but {", ".join(there)}')
        super().__init__(net, device)
        version = openvino.__version__.split('-')[0]
        folder = cached(net, f'openvino{version}-{GRAPH}', lambda folder: convert(net, folder))
        if fast:
            float_model, nncf = folder / 'step.xml', metadata.version('nncf')  # which takes seconds to import
            folder = cached(
                net,
                f'openvino{version}-{GRAPH}-int8-nncf{nncf}',
                lambda folder: quantize(net, float_model, folder),
            )
        wanted = dict(PERFORMANCE_HINT='LATENCY', INFERENCE_PRECISION_HINT='f32')
        if unit == 'CPU':
            wanted['INFERENCE_NUM_THREADS'] = threads
        model = channels_last_states(core.read_model(folder / 'step.xml'))
        with same_signal_stack():
            self.request = core.compile_model(model, unit, wanted).create_infer_request()
        self.name = f'openvino {version} ({f"int8 by nncf {nncf}" if fast else "float32"})'
        if fast:
            self.patience = INTEGER_PATIENCE
        if unit != 'CPU':
            self.kind, self.name = f'{self.kind}:{unit}', f'{self.name} on {unit}'

    def initial_state(self, height: int, width: int) -> tuple[Tensor, ...]:
        return tuple(
            state.contiguous(memory_format=torch.channels_last)
            for state in super().initial_state(height, width)
        )

    def step(self, prev: Tensor, cur: Tensor, nxt: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        arrays = [x.float().cpu() for x in (prev, cur, nxt)] + [
            x.float().cpu().permute(0, 2, 3, 1) for x in state
        ]
        results = self.request.infer([np.ascontiguousarray(x.numpy()) for x in arrays], share_inputs=True)
        sr, *state = (torch.from_numpy(np.array(result)).to(self.device) for result in results.values())
        return sr, tuple(x.permute(0, 3, 1, 2) for x in state)


def channels_last_states(model: openvino.Model) -> openvino.Model:
    """Let the state come and go as (1, h, w, c), in the order that convolutions have: turning it around
    takes 7 % of an integer step.
    """
    prepared = PrePostProcessor(model)
    ends = [prepared.input(i) for i in range(3, len(model.inputs))]
    ends += [prepared.output(i) for i in range(1, len(model.outputs))]
    for end in ends:
        end.tensor().set_layout(openvino.Layout('NHWC'))
        end.model().set_layout(openvino.Layout('NCHW'))
    return prepared.build()


@contextlib.contextmanager
def same_signal_stack() -> Iterator[Any]:
    """Keep the stack on which this thread handles signals.

    OpenVINO gives the thread that compiles a model another one, and takes it back with the model. Where two
    models do not end in the order in which they were made, the thread is left with a stack that is gone, and
    the next signal (Ctrl-C, a child that ends) is a crash.
    """
    sigaltstack = getattr(ctypes.CDLL(None), 'sigaltstack', None) if os.name == 'posix' else None
    if sigaltstack is None:
        yield
        return
    before = ctypes.create_string_buffer(64)  # a stack_t is 24 bytes
    sigaltstack(None, before)
    try:
        yield
    finally:
        sigaltstack(before, None)


def convert(net: nn.Module, folder: Any) -> None:
    """Write a network's step as an OpenVINO model with dynamic sizes into a folder."""
    example = make_example(net.cpu().float())
    shapes = [[1, x.shape[1], -1, -1] for x in example]
    with torch.no_grad():
        model = openvino.convert_model(StepGraph(net), example_input=example, input=shapes)
    divide_convolutions(model)
    openvino.save_model(model, folder / 'step.xml', compress_to_fp16=False)


def divide_convolutions(model: Path) -> None:
    """Make one convolution for each part of those whose channels are split: OpenVINO has no fast split where
    it computes in integers.
    """
    for split in model.get_ops():
        bias = split.get_type_name() == 'VariadicSplit' and split.input_value(0).get_node()
        convolution = bias and bias.get_type_name() == 'Add' and bias.input_value(0).get_node()
        if not convolution or convolution.get_type_name() != 'Convolution':
            continue
        weight, shift = (node.input_value(1).get_node().get_data() for node in (convolution, bias))
        ends = np.cumsum([output.get_partial_shape()[1].get_length() for output in split.outputs()])
        for output, start, end in zip(split.outputs(), (0, *ends), ends):
            part = op.convolution(
                convolution.input_value(0), op.constant(weight[start:end]), **convolution.get_attributes()
            )
            output.replace(op.add(part, op.constant(shift[:, start:end])).output(0))


def quantize(net: nn.Module, float_model: Any, folder: Any) -> None:
    """The same with 8-bit integers, calibrated on the bundled clips as the network itself goes through
    them.
    """
    import logging

    import nncf

    nncf.set_log_level(logging.ERROR)
    samples = [[x.numpy() for x in sample] for sample in calibration(net)]
    model = nncf.quantize(
        openvino.Core().read_model(float_model),
        nncf.Dataset(samples),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
    )
    openvino.save_model(model, folder / 'step.xml', compress_to_fp16=False)


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
