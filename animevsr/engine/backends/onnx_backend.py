"""ONNX Runtime, on the CPU or on what its providers can use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch

from animevsr.engine.backends.base import ConvertedBackend
from animevsr.engine.backends.cache import cached, list_names
from animevsr.engine.exporting import to_onnx

if TYPE_CHECKING:
    from torch import Tensor

    from animevsr.archs.interfaces import RecurrentNetwork


CPU = 'CPUExecutionProvider'


class OnnxBackend(ConvertedBackend):
    """A step by ONNX Runtime, in float32 (TensorRT and Core ML may round factors to fewer bits).

    Args:
        net (MSRBVSR), device (torch.device), threads (int): see `open_backend`.
        unit (str): one of its execution providers.

    Raises:
        ValueError: that is not in what is installed.
    """

    kind = 'onnxruntime'

    def __init__(
        self, net: RecurrentNetwork, device: torch.device, threads: int | None, unit: str = CPU
    ) -> None:
        there = onnxruntime.get_available_providers()
        if unit not in there:
            raise ValueError(
                f'onnxruntime as installed has no {unit}, but {", ".join(there)}; install its package for'
                ' that (onnxruntime-gpu, onnxruntime-directml)'
            )
        super().__init__(net, device)
        folder = cached(
            net, f'onnx-torch{torch.__version__}', lambda folder: to_onnx(net, folder / 'step.onnx')
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        exact = {'CUDAExecutionProvider': {'use_tf32': '0'}}
        providers = [(name, exact.get(name, {})) for name in dict.fromkeys([unit, CPU])]
        try:
            self.session = onnxruntime.InferenceSession(str(folder / 'step.onnx'), options, providers)
        except Exception as error:  # its own are of no other class
            raise ValueError(f'onnxruntime: {error}') from None
        if unit not in self.session.get_providers():  # it is installed, and found nothing to run on
            raise ValueError(f'onnxruntime: {unit} finds no device here')
        self.inputs, _ = list_names(net)
        self.name = f'onnxruntime {onnxruntime.__version__}'
        if unit != CPU:
            self.kind, self.name = f'{self.kind}:{unit}', f'{self.name} ({unit})'

    def step(self, prev: Tensor, cur: Tensor, nxt: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        arrays = (np.ascontiguousarray(x.float().cpu().numpy()) for x in (prev, cur, nxt, *state))
        sr, *state = (
            torch.from_numpy(x).to(self.device)
            for x in self.session.run(None, dict(zip(self.inputs, arrays)))
        )
        return sr, tuple(state)
