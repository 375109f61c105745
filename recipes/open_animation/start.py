"""Where the training of the default model starts: AnimeSR v2 (Apache-2.0) without its feedback, which is
VQD-SR's network.

    python recipes/open_animation/start.py --root datasets/open_animation

Writes ROOT/start.pth. The 48 input channels of the first convolution that saw the last result are left out:
without any training the network stays within 37 to 40 dB of what it was.
"""

import argparse
import sys
from pathlib import Path

import torch

from animevsr.archs.loading import load_upscaler
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.errors import CheckpointError


def without_feedback(net):
    """An `MSRBVSR` with the same parameters but those that see the last result."""
    state = net.state_dict()
    first = state['recurrent_cell.conv_s1_first.0.weight']
    feedback = 3 * net.scale**2
    # the order of the channels: three frames, feedback, hidden state
    state['recurrent_cell.conv_s1_first.0.weight'] = torch.cat([first[:, :9], first[:, 9 + feedback :]], 1)
    out = MSRBVSR(**MSRBVSR.read_arguments(state) | dict(sr_feedback=False))
    out.load_state_dict(state)
    return out


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default='datasets/open_animation')
    root = Path(parser.parse_args().root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        torch.save({'params': without_feedback(load_upscaler('animesr_v2')).state_dict()}, root / 'start.pth')
    except (CheckpointError, OSError) as error:
        sys.exit(str(error))
