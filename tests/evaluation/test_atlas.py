"""The atlas: its pictures, its numbers, and its command."""

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY_VQGAN, moving_frames, run_python, write_video

import animevsr
import animevsr_cli
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.errors import CheckpointError, MediaError
from animevsr.evaluation.codebook_atlas import structure_change


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / 'frame.png'
    cv2.imwrite(str(path), moving_frames(1, 50, 70)[0][..., ::-1])
    return path


def test_views_are_what_the_network_makes(tiny_vqgan, frame, tmp_path):
    views = {v.title: v for v in animevsr.atlas(tiny_vqgan, frame, tmp_path / 'a.png', device='cpu')}
    assert list(views) == [
        'frame',
        'reconstruction, k = 1',
        'top only',
        'top + middle only',
        'k = 5',
        'k = 10',
        'k = 20',
        'k = 50',
    ]
    net = animevsr.load_network(tiny_vqgan)
    image = moving_frames(1, 50, 70)[0]
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        for title, k in (('reconstruction, k = 1', 1), ('k = 20', 20)):
            expected = ((net(x, (1, 1, k))[0][0] + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()
            assert np.abs(views[title].image - expected).max() <= 0.51
        quantized, _, _ = net.quantize(net.encode(x))
        expected = (
            ((net.decode({'top': quantized['top']}, (50, 70))[0] + 1) * 127.5)
            .clamp(0, 255)
            .permute(1, 2, 0)
            .numpy()
        )
        assert np.abs(views['top only'].image - expected).max() <= 0.51
    assert np.array_equal(views['frame'].image, image)
    assert views['k = 20'].psnr == pytest.approx(cv2.PSNR(views['k = 20'].image, image), abs=1e-3)
    assert views['reconstruction, k = 1'].structure == 0 < views['k = 50'].structure
    picture = cv2.imread(str(tmp_path / 'a.png'))[..., ::-1]
    assert (picture[18:68, :70] == image).all()  # the first picture, below its caption


def test_sheet_has_every_entry_by_its_use(tmp_path, frame):
    net = MultiScaleVQGAN(**TINY_VQGAN, branches=('bottom',)).eval()
    torch.nn.init.normal_(net.codebook)
    torch.save(net.state_dict(), tmp_path / 'w.pth')
    views = animevsr.atlas(tmp_path / 'w.pth', frame, tmp_path / 'a.png', device='cpu')
    assert [v.title for v in views] == [
        'frame',
        'reconstruction, k = 1',
        'k = 5',
        'k = 10',
        'k = 20',
        'k = 50',
    ]
    picture = cv2.imread(str(tmp_path / 'a.png'))[..., ::-1]
    tiles = (
        picture[2 * (50 + 18) + 18 :, : 32 * 34]
        .reshape(2, 34, 32, 34, 3)
        .swapaxes(1, 2)
        .reshape(64, 34, 34, 3)
    )

    with torch.no_grad():
        x = torch.from_numpy(views[0].image).permute(2, 0, 1)[None].float() / 127.5 - 1
        counts = torch.bincount(net.quantize(net.encode(x))[2]['bottom'].flatten(), minlength=64)
        order = counts.argsort(descending=True, stable=True)
        for place in (0, 1, 40, 63):
            constant = net.codebook[order[place]][None, :, None, None].expand(-1, -1, 16, 16)
            patch = (net.decode({'bottom': constant}, (32, 32))[0, :, 8:24, 8:24] + 1) * 127.5
            shown = tiles[place, 1:-1:2, 1:-1:2]
            assert np.abs(shown - patch.clamp(0, 255).permute(1, 2, 0).numpy()).max() <= 1
    borders = tiles[:, 0, 0].tolist()
    used = int((counts > 0).sum())
    assert 1 <= used < 64 and borders == [[90, 130, 240]] * used + [[60, 60, 60]] * (64 - used)


def test_structure_change_is_blind_to_detail():
    image = np.full((64, 64, 3), 100, np.uint8)
    checkered, brighter = image.copy(), image + 10
    checkered[::2, ::2] += 40
    checkered[1::2, 1::2] -= 40
    assert structure_change(image, checkered) < 0.01 and structure_change(image, brighter) == pytest.approx(
        10
    )


@pytest.mark.slow
def test_command(tiny_vqgan, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_python('-m', 'animevsr_cli', 'atlas', tiny_vqgan, frame, cwd=tmp_path)
    assert (tmp_path / 'frame_atlas.png').exists() and 'k = 50' in done.stdout and 'structure' in done.stdout
    video = write_video(tmp_path / 'v.mkv', moving_frames(3, 48, 48))
    for arguments, message in (
        ([tiny_vqgan, frame, '-o', 'a.mp4'], 'a.mp4: the atlas is an image'),
        ([tiny_vqgan, video, '--number', '3'], 'has 3 frames, frame 3 was asked for'),
        ([tmp_path / 'gone.pth', frame], 'gone.pth: no such weights file'),
        ([tiny_vqgan, frame, '-o', frame], 'frame.png: is an input; name another output'),
        ([tiny_vqgan, frame, '-o', 'nowhere/a.png'], 'its folder does not exist'),
    ):
        with pytest.raises(SystemExit) as stopped:
            animevsr_cli.main(['atlas', *map(str, arguments)])
        assert message in str(stopped.value) and len(str(stopped.value).splitlines()) == 1, arguments
    assert not (tmp_path / 'v_atlas.png').exists()


def test_other_networks_are_refused(tiny_weights, tiny_vqgan, frame, tmp_path):
    with pytest.raises(CheckpointError, match='holds a MSRBVSR'):
        animevsr.atlas(tiny_weights, frame, tmp_path / 'a.png')
    with pytest.raises(CheckpointError, match='holds a MultiScaleVQGAN, which does not upscale'):
        animevsr.upscale(frame, tmp_path / 'b.png', weights=tiny_vqgan)
    with pytest.raises(MediaError):
        animevsr.atlas(tiny_vqgan, tmp_path / 'gone.png', tmp_path / 'a.png')
    assert not list(tmp_path.glob('[ab].png'))
