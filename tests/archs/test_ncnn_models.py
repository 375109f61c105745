"""ncnn models of others: scale, lost borders and residuals are found by trying; frames come back whole."""

import pytest
import torch
from torch.nn import functional as F

import animevsr
from animevsr.archs.single_image import NcnnNetwork
from animevsr.engine.upscaler import Upscaler
from animevsr.errors import CheckpointError

pytest.importorskip('ncnn')
HEAD = '7767517\n'
# loses 3 pixels at each side, as convolutions that do not pad; then enlarges by 2
CROPPED = [
    'Input in0 0 1 in0',
    'Crop cut 1 1 in0 1 -23309=2,3,3 -23310=2,-3,-3 -23311=2,-2,-1',
    'Interp up 1 1 1 out0 0=1 1=2.0 2=2.0',
]
# gives nothing, of four times the size: what is to be added
ZERO = ['Input in0 0 1 in0', 'Interp up 1 1 in0 1 0=1 1=4.0 2=4.0', 'BinaryOp zero 1 1 1 out0 0=2 1=1 2=0.0']


def write(folder, layers, blobs=None):
    folder.mkdir(exist_ok=True)
    lines = [f'{len(layers)} {blobs or len(layers)}', *layers]
    (folder / 'model.param').write_text(HEAD + '\n'.join(lines) + '\n')
    (folder / 'model.bin').write_bytes(b'')
    return folder / 'model.param'


@pytest.mark.parametrize('size', [(16, 24), (9, 13)])
def test_a_network_that_loses_its_borders(size, tmp_path):
    net, frame = NcnnNetwork(write(tmp_path, CROPPED)), torch.rand(2, 3, *size)
    assert (net.scale, net.lost, net.is_residual) == (2, 3, False)
    assert torch.allclose(net.image(frame), F.interpolate(frame, scale_factor=2, mode='nearest'), atol=1e-6)


def test_a_network_whose_result_is_added(tmp_path):
    net, frame = NcnnNetwork(write(tmp_path, ZERO)), torch.rand(1, 3, 12, 20)
    assert (net.scale, net.lost, net.is_residual) == (4, 0, True)
    assert torch.allclose(net.image(frame), F.interpolate(frame, scale_factor=4, mode='nearest'), atol=1e-6)


def test_what_pools_over_the_whole_picture_is_not_computed_in_tiles(tmp_path):
    layers = [*CROPPED[:2], 'Split two 1 2 1 2 3', 'Pooling all 1 1 3 4 0=1 4=1', 'BinaryOp by 2 1 2 4 5 0=2']
    net = NcnnNetwork(write(tmp_path, [*layers, 'Interp up 1 1 5 out0 0=1 1=2.0 2=2.0'], 7))
    assert net.reach is None
    with pytest.raises(ValueError, match='tile: this network looks at the whole picture'):
        Upscaler(net, torch.device('cpu'), tile=64)
    assert NcnnNetwork(write(tmp_path, CROPPED)).reach == 16


def test_what_does_not_enlarge_is_refused(tmp_path):
    layers = ['Input in0 0 1 in0', 'Interp same 1 1 in0 out0 0=1 3=32 4=32']
    with pytest.raises(CheckpointError, match='does not map images to larger ones'):
        NcnnNetwork(write(tmp_path, layers))


def test_it_upscales_by_its_file(tmp_path):
    net = animevsr.load_network(str(write(tmp_path, CROPPED)))
    clip = torch.rand(1, 2, 3, 12, 16)
    assert net(clip).shape == (1, 2, 3, 24, 32)
