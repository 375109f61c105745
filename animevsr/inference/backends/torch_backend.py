"""PyTorch itself, on any device."""
import torch


class TorchBackend:
    """A step in PyTorch, channels last, which is faster on CPUs and on tensor cores.

    Args:
        net: with `step` and `scale`; a recurrent one of this package (with `core`) or any other.
        device (torch.device), half (bool), threads (int | None): see `open_backend`.
    """

    def __init__(self, net, device, half=False, threads=None):
        self.device, self.dtype = device, torch.float16 if half else torch.float32
        if threads and device.type == 'cpu':
            torch.set_num_threads(threads)
        self.net = net.to(device, self.dtype, memory_format=torch.channels_last)
        self.core = getattr(net, 'core', None)
        self.name, self.scale = f'torch ({"float16" if half else "float32"} on {device})', net.scale
        self.multiple, self.reach = (4, net.reach) if self.core else (1, None)

    def first_state(self, height, width):
        """The state at the start of a shot."""
        if self.core is None:
            return ()
        return tuple(torch.zeros(1, c, height, width, device=self.device, dtype=self.dtype) for c in self.net.state_channels)

    @torch.inference_mode()
    def step(self, prev, cur, nxt, state):
        """See the package."""
        if self.core is None:
            sr, state = self.net.step(prev, cur, nxt, state or None)
            return sr, state if state is not None else ()
        sr, *state = self.core(*(x.contiguous(memory_format=torch.channels_last) for x in (prev, cur, nxt, *state)))
        return sr, tuple(state)
