"""A wider network that computes what a narrower one does, to train it on from there.

    python recipes/open_animation/widen.py weights/animevsr_x4_lite.pth OUTPUT.pth --num-feat 32

New channels have weights as at the start of a training, but for those that lead from them to the old ones,
which are zero. So the result is the same at first, and the new channels can learn.
"""

import argparse
import sys

import torch

from animevsr.archs.loading import load_network
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.errors import CheckpointError


def widen(net: MSRBVSR, num_feat: int) -> MSRBVSR:
    """`net` with `num_feat` instead of its fewer channels, without feedback; the same results."""
    arguments = MSRBVSR.read_arguments(net.state_dict())
    if arguments['sr_feedback'] or num_feat < net.num_feat:
        raise ValueError(f'takes networks without feedback and of at most {num_feat} channels')
    wide = MSRBVSR(**{**arguments, 'num_feat': num_feat})
    frames, picture = 9, 3 * net.scale**2
    hidden = list(range(net.num_feat))
    # where the channels of a layer, by its name, stand in the wide one; of others they are the first ones
    inputs = {
        'conv_s1_first.0': [*range(frames), *(frames + i for i in hidden)],
        'fusion.0': [branch * num_feat + i for branch in range(3) for i in hidden],
        'fusion.2': list(range(net.recurrent_cell.fusion[0].out_channels)),
    }
    outputs = {'fusion.0': inputs['fusion.2'], 'fusion.2': [*range(picture), *(picture + i for i in hidden)]}
    layers = dict(wide.recurrent_cell.named_modules())
    with torch.no_grad():
        for name, old in net.recurrent_cell.named_modules():
            if isinstance(old, torch.nn.Conv2d):
                rows, columns = (torch.tensor(places.get(name, hidden)) for places in (outputs, inputs))
                layers[name].weight[rows] = 0
                layers[name].weight[rows[:, None], columns] = old.weight
                layers[name].bias[rows] = old.bias
    return wide


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('weights')
    parser.add_argument('output')
    parser.add_argument('--num-feat', type=int, default=32)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    try:
        net = load_network(args.weights)
        if not isinstance(net, MSRBVSR):
            sys.exit(f'{args.weights}: not an MSRBVSR')
        torch.save({'params': widen(net, args.num_feat).state_dict()}, args.output)
    except (CheckpointError, ValueError, OSError, RuntimeError) as error:
        sys.exit(str(error))
