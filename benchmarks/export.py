"""The averaged weights alone of a training checkpoint, for release: `python benchmarks/export.py CHECKPOINT OUT`."""
import sys

import torch

from animevsr.archs.loading import load_network

if __name__ == '__main__':
    checkpoint, out = sys.argv[1:]
    torch.save({'params_ema': load_network(checkpoint).state_dict()}, out)
    load_network(out)  # it can be read again
    print(out)
