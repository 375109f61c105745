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
from animevsr.engine.backends.integer_step import hash_calibration, quantize, shuffled, zeros_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from animevsr.archs.interfaces import RecurrentNetwork


# these change with what `convert` and `quantize` write
GRAPH, INTEGER_GRAPH = 2, 1
INTEGER_PATIENCE = 2.0  # 8-bit integers change four times as much where nothing moves


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
        self.fast, self.unit, self.requests = fast, unit, {}
        self.wanted = dict(PERFORMANCE_HINT='LATENCY', INFERENCE_PRECISION_HINT='f32')
        if unit == 'CPU':
            self.wanted['INFERENCE_NUM_THREADS'] = threads
        if fast:
            nncf = metadata.version('nncf')  # which takes seconds to import
            kind = f'openvino{version}-int8-{INTEGER_GRAPH}-nncf{nncf}-{hash_calibration()}'
            folder = cached(net, kind, lambda folder: quantize(net, folder))
        else:
            folder = cached(net, f'openvino{version}-{GRAPH}', lambda folder: convert(net, folder))
        self.path = folder / 'step.xml'
        self._request(fast)
        self.name = f'openvino {version} ({f"int8 by nncf {nncf}" if fast else "float32"})'
        self.gives_bytes = fast
        if fast:
            self.patience = INTEGER_PATIENCE
        if unit != 'CPU':
            self.kind, self.name = f'{self.kind}:{unit}', f'{self.name} on {unit}'

    def _request(self, as_bytes):
        """What computes a step, with its result as bytes or in floats; each is compiled when it is wanted."""
        if as_bytes not in self.requests:
            core = openvino.Core()
            model = core.read_model(self.path)
            if self.fast:
                self.zeros = zeros_of(model)
                model = shuffled(model, self.scale, as_bytes)
            else:
                model = channels_last_states(model)
            with same_signal_stack():
                compiled = core.compile_model(model, self.unit, self.wanted)
                self.requests[as_bytes] = compiled.create_infer_request()
        return self.requests[as_bytes]

    def initial_state(self, height: int, width: int) -> tuple[Tensor, ...]:
        if self.fast:
            return tuple(
                torch.zeros(1, channels, height, width)
                if zero is None
                else torch.full((1, channels, height, width), zero, dtype=torch.uint8)
                for channels, zero in zip(self.channels, self.zeros)
            )
        return tuple(
            state.contiguous(memory_format=torch.channels_last)
            for state in super().initial_state(height, width)
        )

    def step(
        self, prev: Tensor, cur: Tensor, nxt: Tensor, state: Any, as_bytes: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        frames = [x.float().cpu() for x in (prev, cur, nxt)]
        # floats in the order that convolutions have
        states = [x.cpu() if self.fast else x.float().cpu().permute(0, 2, 3, 1) for x in state]
        arrays = [np.ascontiguousarray(x.numpy()) for x in (*frames, *states)]
        results = self._request(as_bytes).infer(arrays, share_inputs=True)
        sr, *state = (torch.from_numpy(np.array(result)).to(self.device) for result in results.values())
        return sr, tuple(state if self.fast else (x.permute(0, 3, 1, 2) for x in state))


def channels_last_states(model: openvino.Model) -> openvino.Model:
    """Let the state come and go as (1, h, w, c), in the order that convolutions have: turning it around
    takes time.
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
    """Make one convolution for each part of those whose channels are split: OpenVINO has no fast split."""
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
