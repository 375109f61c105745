"""The one place that names devices."""
import torch


def choose(device='auto'):
    """torch.device for 'auto' (CUDA if present, then Apple's MPS, then CPU) or any name that torch knows.

    Raises:
        ValueError: the name is unknown, or this machine (or this build of torch) has no such device.
    """
    if device == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu')
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device '{device}' cannot be used here: {str(error).splitlines()[0]}") from None
    return chosen


def to_float64(tensor):
    """A tensor in float64, on the CPU where its own device does not have that."""
    return tensor.cpu().double() if tensor.device.type == 'mps' else tensor.double()


def count():
    """Number of CUDA devices of this machine."""
    return torch.cuda.device_count()


def share(device, rank):
    """The device of one of several processes: where no CUDA device is named, each takes one of its own."""
    return torch.device(device.type, rank % count()) if device.type == 'cuda' and device.index is None else device
