"""MNN: exact convolutions by Winograd, in larger units than ncnn's. Networks are converted by way of ONNX."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from animevsr.engine.backends.base import ConvertedBackend
from animevsr.engine.backends.cache import cached, list_names, run_converter
from animevsr.engine.exporting import to_onnx
from animevsr.utils.images import to_bytes
from animevsr.utils.native_output import without_native_output

with without_native_output():  # it greets
    import MNN

if TYPE_CHECKING:
    from torch import Tensor, nn

    from animevsr.archs.interfaces import RecurrentNetwork


FILE = 'step.mnn'
FIRST = 288, 384  # height and width: by the first size MNN chooses how it computes all others
# what MNN's program for this would do, without the report that it sends home
CONVERT = 'import sys, _tools; _tools.mnnconvert(sys.argv)'


class MNNBackend(ConvertedBackend):
    """A step by MNN, on the CPU, in float32; within 0.001 of the network's own.

    Args:
        net (MSRBVSR), device (torch.device), threads (int): see `open_backend`.
    """

    kind, gives_bytes = 'mnn', True

    def __init__(self, net: RecurrentNetwork, device: torch.device, threads: int) -> None:
        super().__init__(net, device)
        self.threads = threads  # rounding depends on whether it is one
        self.name = f'mnn {MNN.version()}'
        folder = cached(
            net, f'mnn{MNN.version()}-torch{torch.__version__}', lambda folder: convert(net, folder)
        )
        self.input_names, self.output_names = list_names(net)
        with without_native_output():
            self.interpreter = MNN.Interpreter(str(folder / FILE))
            wanted = dict(backend='CPU', precision='high', numThread=threads)
            self.session = self.interpreter.createSession(wanted)
        self.inputs = self.interpreter.getSessionInputAll(self.session)
        self._resize(*FIRST)
        self.outputs = self.interpreter.getSessionOutputAll(self.session)

    def step(
        self, prev: Tensor, cur: Tensor, nxt: Tensor, state: tuple[Tensor, ...], as_bytes: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        tensors = prev, cur, nxt, *state
        if self.size != cur.shape[-2:]:
            self._resize(*cur.shape[-2:])
        for name, tensor in zip(self.input_names, tensors):
            self.inputs[name].getNumpyData()[...] = tensor.float().cpu().numpy()
        if self.interpreter.runSession(self.session):
            raise RuntimeError('MNN could not run a step (out of memory?)')
        # its own memory, which the next step writes to
        sr, *state = (self.outputs[name].getNumpyData() for name in self.output_names)
        results = [to_bytes(sr[0])[None] if as_bytes else sr.copy(), *(array.copy() for array in state)]
        sr, *state = (torch.from_numpy(array).to(self.device) for array in results)
        return sr, tuple(state)

    def _resize(self, height, width):
        self.size = None  # an error in between leaves none behind
        for name, channels in zip(self.input_names, (3, 3, 3, *self.channels)):
            self.interpreter.resizeTensor(self.inputs[name], (1, channels, height, width))
        self.interpreter.resizeSession(self.session)
        self.size = height, width


def convert(net: nn.Module, folder: Path) -> None:
    """Write a network's step as an MNN model with dynamic sizes into a folder."""
    to_onnx(net, folder / 'step.onnx')
    command = [sys.executable, '-c', CONVERT, '-f', 'ONNX', '--modelFile', 'step.onnx', '--MNNModel', FILE]
    ended_well, reason = run_converter(command, folder)
    (folder / 'step.onnx').unlink()
    if not ended_well or not (folder / FILE).is_file():
        raise RuntimeError(f'MNN could not convert the network: {reason}')
