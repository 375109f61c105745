"""ONNX Runtime on the CPU."""

import numpy as np
import onnxruntime
import torch

from animevsr.engine.backends.cache import cached, names_of
from animevsr.engine.exporting import to_onnx


class OnnxBackend:
    """A step by ONNX Runtime, in float32.

    Args:
        net (MSRBVSR), device (torch.device), threads (int): see `open_backend`.
    """

    kind, multiple, threads = 'onnxruntime', 4, None

    def __init__(self, net, device, threads):
        self.device, self.scale, self.reach, self.channels = device, net.scale, net.reach, net.state_channels
        folder = cached(
            net, f'onnx-torch{torch.__version__}', lambda folder: to_onnx(net, folder / 'step.onnx')
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self.session = onnxruntime.InferenceSession(
            str(folder / 'step.onnx'), options, ['CPUExecutionProvider']
        )
        self.inputs, _ = names_of(net)
        self.name = f'onnxruntime {onnxruntime.__version__}'

    def initial_state(self, height, width):
        """The state at the start of a shot."""
        return tuple(torch.zeros(1, c, height, width) for c in self.channels)

    def step(self, prev, cur, nxt, state):
        """See the package."""
        arrays = (np.ascontiguousarray(x.float().cpu().numpy()) for x in (prev, cur, nxt, *state))
        sr, *state = (
            torch.from_numpy(x).to(self.device)
            for x in self.session.run(None, dict(zip(self.inputs, arrays)))
        )
        return sr, tuple(state)
