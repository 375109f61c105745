"""The weights alone of a training checkpoint, for release.

    python benchmarks/export.py CHECKPOINT OUT [--half] [--digits N] [--average CHECKPOINT ...]

The averaged ones, where there are any. `--half` stores them as float16, half the size; they are loaded as
float32. `--digits` rounds them to so many binary digits, so that they compress (7 of 11: a quarter less in
git). `--average` takes the mean with other checkpoints of the same training.
"""

import argparse

import torch

from animevsr.archs.loading import load_network


def rounded(tensor, digits):
    """To so many binary digits."""
    mantissa, exponent = torch.frexp(tensor.double())
    return torch.ldexp((mantissa * 2**digits).round() / 2**digits, exponent).to(tensor.dtype)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint')
    parser.add_argument('out')
    parser.add_argument('--half', action='store_true')
    parser.add_argument('--digits', type=int)
    parser.add_argument('--average', nargs='*', default=[], metavar='CHECKPOINT')
    args = parser.parse_args()
    states = [load_network(path).state_dict() for path in (args.checkpoint, *args.average)]
    state = {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    if args.digits:
        state = {
            name: rounded(tensor, args.digits) if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }
    if args.half:
        state = {
            name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()
        }
    torch.save({'params_ema': state}, args.out)
    load_network(args.out)  # it can be read again
    print(args.out)
