"""Builds the network that a weights file holds, with its arguments read off the tensor shapes."""
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.utils.checkpoint import CheckpointError, read_state_dict

NETWORKS = (MSRBVSR, )


def load_network(path, device='cpu'):
    """The network stored in a weights file, in eval mode.

    Args:
        path (str | Path): ours, BasicSR's (`params_ema` is preferred to `params`) or a bare state dict; the published AnimeSR and
            VQD-SR networks have the same layer names. Variant, width, block counts and scale are recognised.
        device (str | torch.device): where to put it.

    Raises:
        CheckpointError: the file is missing, damaged, holds code, or is no network that this package knows; one line.
    """
    state = read_state_dict(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for network in NETWORKS:
        try:
            arguments = network.arguments_of(shapes)
            if arguments is not None:
                net = network(**arguments)
                net.load_state_dict(state)
                return net.eval().to(device)
        except (RuntimeError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
            reason = ' '.join(str(error).split())[:300]
            raise CheckpointError(f'{path}: incomplete or altered {network.__name__} weights: {reason}') from None
    known = ', '.join(network.__name__ for network in NETWORKS)
    raise CheckpointError(f'{path}: weights of a network that is not known here (known: {known}); first entry: {next(iter(shapes))}')
