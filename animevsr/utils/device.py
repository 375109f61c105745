"""The one place that names devices."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def select_device(device: str | torch.device = 'auto') -> torch.device:
    """torch.device for 'auto' (CUDA if present, then Apple's MPS, then CPU) or any name that torch knows.

    Raises:
        ValueError: the name is unknown, or this machine (or this build of torch) has no such device.
    """
    if device == 'auto':
        return torch.device(
            'cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu'
        )
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device '{device}' cannot be used here: {str(error).splitlines()[0]}") from None
    return chosen


def to_float64(tensor: Tensor) -> Tensor:
    """A tensor in float64, on the CPU where its own device does not have that."""
    return tensor.cpu().double() if tensor.device.type == 'mps' else tensor.double()


def count() -> int:
    """Number of CUDA devices of this machine."""
    return torch.cuda.device_count()


def share(device: torch.device, rank: int | None) -> torch.device:
    """The device of one of several processes: where no CUDA device is named, each takes one of its own."""
    return (
        torch.device(device.type, rank % count())
        if device.type == 'cuda' and device.index is None
        else device
    )


def sharing(device: torch.device, jobs: int) -> int:
    """How many of `jobs` processes are on one device, by `share`."""
    devices = count() if device.type == 'cuda' and device.index is None else 1
    return -(-jobs // max(1, devices))


def device_name(device: torch.device) -> str:
    """What a device is, as far as rounding depends on it: the name of a GPU, the vector instructions of a
    CPU.
    """
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability() if device.type == 'cpu' else device.type


def exact_float32() -> None:
    """Let CUDA devices compute float32 in float32: TF32, on by default in convolutions, rounds factors to 10
    bits of mantissa. It would move values by up to 1e-3, and the entries that a VQGAN picks where two are
    nearly as near.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


class SideStream:
    """Work that goes on beside what the caller computes, on a CUDA stream of its own; on other devices it is
    done at once.

    with side: result = ...; ready = side.mark()      (in a thread)
    side.hand_over(ready, result)                     (where the result is used)
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == 'cuda' else None
        self.entered = threading.local()

    def __enter__(self):
        if self.stream is not None:
            self.entered.context = torch.cuda.stream(self.stream)
            self.entered.context.__enter__()
        return self

    def __exit__(self, *exception):
        if self.stream is not None:
            self.entered.context.__exit__(*exception)

    def copy(self, tensor: Tensor) -> Any:
        """A tensor of the host on the device, through pinned memory and without waiting; one that is there
        already is waited for, as the caller's stream may wait for whoever fills it.
        """
        if self.stream is None:
            return tensor.to(self.device)
        if tensor.device.type != 'cpu':
            self.stream.wait_stream(torch.cuda.default_stream(self.device))
            return tensor.to(self.device)
        return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(self.device, non_blocking=True)

    def mark(self) -> Any:
        """The point up to which this stream has been given work, or None."""
        return self.stream.record_event() if self.stream is not None else None

    def hand_over(self, ready: Any, *tensors: Any) -> None:
        """Let the caller's stream (not the host) wait for the work before the mark, whose memory is kept as
        long as it is used there.
        """
        if ready is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(ready)
            for tensor in tensors:
                tensor.record_stream(current)


class Fetch:
    """A copy of a tensor to the host, which on a CUDA device goes on beside what is computed after it;
    calling it waits for the array.
    """

    def __init__(
        self,
        tensor: Tensor,
        kind: np.dtype | None = None,
        then: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """`kind`: the NumPy type of the array; that of the tensor if not given. `then`: what makes another
        array of it, on the host; each time that this is called.
        """
        self.then = then
        self.done = None
        self.tensor = tensor
        self.kind = kind
        if tensor.device.type != 'cuda':
            self.tensor = tensor.cpu()
            return
        stream = copies(tensor.device)
        stream.wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(stream):
            self.tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self.tensor.copy_(tensor, non_blocking=True)
            tensor.record_stream(stream)  # its memory is not given to others before the copy is done
            self.done = stream.record_event()

    def __call__(self) -> np.ndarray:
        if self.done is not None:
            self.done.synchronize()
        array = self.tensor.numpy()
        array = array if self.kind is None else array.astype(self.kind, copy=False)
        return array if self.then is None else self.then(array)


@functools.cache
def copies(device: torch.device) -> Any:
    """The stream on which results of a CUDA device are copied to the host."""
    return torch.cuda.Stream(device)


def one_behind(fetches: Iterator) -> Iterator[np.ndarray]:
    """The arrays of an iterable of `Fetch`; on a CUDA device the next result is under way before one is
    waited for.
    """
    waiting = None
    for fetch in fetches:
        if waiting is not None:
            yield waiting()
        waiting = fetch
        if fetch.done is None:
            yield fetch()
            waiting = None
    if waiting is not None:
        yield waiting()
