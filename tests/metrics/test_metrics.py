"""Metrics: against BasicSR's, and on cases whose order is known."""

import warnings

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_metric, calculate_niqe
from basicsr.utils.matlab_functions import imresize
from conftest import REPO, moving_frames
from torch.nn import functional as F

from animevsr.errors import CheckpointError
from animevsr.metrics import hyperiqa_metric
from animevsr.metrics.clip_metric import calculate_cut_bleed_clip, calculate_flicker_clip
from animevsr.metrics.hyperiqa_metric import calculate_hyperiqa_pt
from animevsr.metrics.line_width_metric import calculate_line_width_pt
from animevsr.metrics.niqe_metric import calculate_niqe_pt
from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.tensors import to_tensor
from animevsr.video.images import list_images, read_image
from animevsr.video.numbered import read_frames


@pytest.mark.parametrize('scale', [0.25, 0.5, 2, 3, 0.75])
def test_resize_is_matlabs(scale, device):
    image = torch.rand(3, 48, 60)
    expected = imresize(image, scale)
    out = matlab_resize(image.to(device), *expected.shape[-2:]).cpu()
    assert out.shape == expected.shape and (out - expected).abs().max() < 1e-5
    batch = matlab_resize(torch.stack([image, image.flip(0)])[None], 20, 31)
    assert batch.shape == (1, 2, 3, 20, 31) and torch.allclose(batch[0, 1].flip(0), batch[0, 0], atol=1e-6)


def test_resize_keeps_what_is_even():
    assert torch.allclose(matlab_resize(torch.full((1, 3, 7, 5), 0.4), 11, 3), torch.tensor(0.4), atol=1e-6)
    assert matlab_resize(torch.rand(3, 4, 4), 1, 1).shape == (3, 1, 1)


def ten_images():
    """Frames of clips, of low-quality frames, and smoothed and noisy ones."""
    images = [read_frames(path, [0])[0] for path in sorted((REPO / 'assets/heldout').glob('*.mkv'))[:4]]
    folders = [folder for folder in sorted((REPO / 'assets/heldout_lowquality').iterdir()) if folder.is_dir()]
    images += [read_image(list_images(folder)[0]) for folder in folders[:4]]
    noise = np.random.default_rng(0).normal(0, 8, images[0].shape)
    return [
        *images,
        cv2.GaussianBlur(images[1], (0, 0), 1.5),
        (images[0] + noise).clip(0, 255).astype(np.uint8),
    ]


def test_niqe_is_basicsrs(device):
    images = ten_images()
    assert len(images) == 10
    for image in images:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            expected = calculate_niqe(image[..., ::-1], 4)
        value = calculate_metric(
            dict(img=to_tensor(image[None]).to(device)), dict(type='calculate_niqe_pt', crop_border=4)
        )
        assert value.shape == (1,) and value.item() == pytest.approx(expected, abs=1e-2)
    pair = to_tensor(np.stack(images[:2])).to(device)
    assert torch.allclose(
        calculate_niqe_pt(pair),
        torch.cat([calculate_niqe_pt(pair[:1]), calculate_niqe_pt(pair[1:])]),
        atol=1e-4,
    )


def test_niqe_of_what_it_cannot_judge():
    with pytest.raises(ValueError, match='two blocks of 96x96 pixels; the images are 190x100'):
        calculate_niqe_pt(torch.rand(1, 3, 100, 190))
    assert calculate_niqe_pt(torch.full((1, 3, 192, 192), 0.5)).isnan().all()


# --- lines


def bars(sigma):
    image = np.full((64, 96, 3), 0.2, np.float32)
    image[20:50, 30:70] = 0.9
    return torch.from_numpy(cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image).permute(2, 0, 1)[None]


def test_width_of_edges(device):
    assert calculate_line_width_pt(bars(0).to(device)).item() == pytest.approx(1, abs=1e-2)
    for sigma in (1, 1.5, 2, 3):
        assert calculate_line_width_pt(bars(sigma).to(device)).item() == pytest.approx(2.51 * sigma, rel=0.04)
    assert calculate_line_width_pt(torch.full((1, 3, 20, 20), 0.3)).isnan().all()
    both = calculate_line_width_pt(torch.cat([bars(1), bars(2)]).to(device))
    assert both.shape == (2,) and both[0] < both[1]
    # nor does the direction of the edge
    y, x = np.mgrid[0:96, 0:96]
    for angle in (0, 10, 30, 45):
        distance = (x - 48) * np.cos(np.radians(angle)) + (y - 48) * np.sin(np.radians(angle))
        ramp = np.clip(0.5 + distance, 0, 1)[..., None].repeat(3, 2).astype(np.float32)
        for sigma in (1.5, 3):
            slanted = torch.from_numpy(cv2.GaussianBlur(ramp, (0, 0), sigma)).permute(2, 0, 1)[
                None, :, 16:-16, 16:-16
            ]
            assert calculate_line_width_pt(slanted).item() == pytest.approx(2.51 * sigma, rel=0.12), (
                angle,
                sigma,
            )
    # contrast does not matter, nor which side is dark
    assert calculate_line_width_pt(1 - bars(2)).item() == pytest.approx(
        calculate_line_width_pt(bars(2)).item(), rel=1e-3
    )


def test_width_does_not_count_noise():
    torch.manual_seed(0)
    noisy = (bars(2) + torch.randn(1, 3, 64, 96) * 3 / 255).clamp(0, 1)
    assert calculate_line_width_pt(noisy).item() == pytest.approx(
        calculate_line_width_pt(bars(2)).item(), rel=0.2
    )
    assert calculate_line_width_pt((0.5 + torch.randn(1, 3, 64, 96) * 4 / 255).clamp(0, 1)).isnan().all()


def test_real_frames_in_their_order():
    frame = to_tensor(np.stack(ten_images()[:1]))
    small = matlab_resize(frame, frame.shape[-2] // 4, frame.shape[-1] // 4)
    bicubic = F.interpolate(small, scale_factor=4, mode='bicubic').clamp(0, 1)
    assert 1 <= calculate_line_width_pt(frame) < 0.6 * calculate_line_width_pt(bicubic)


# --- time


def clip_with_a_held_half(t=6):
    """(t, 3, 32, 64): the left half stands, the right one moves."""
    picture = to_tensor(moving_frames(1, 32, 64))[0]
    clip = picture.repeat(t, 1, 1, 1)
    texture = F.interpolate(torch.rand(1, 3, 8, 8), (32, 32), mode='bilinear')[0].clamp(0, 1)
    for i in range(t):
        clip[i, :, :, 32:] = texture.roll(3 * i, -1)
    return clip


def test_flicker_counts_what_is_held(device):
    torch.manual_seed(0)
    gt = clip_with_a_held_half().to(device)
    assert calculate_flicker_clip(gt, gt) == 0
    noise = torch.randn(gt.shape).to(device) * 2 / 255
    # the mean difference of two Gaussian values is 2 sigma / sqrt(pi)
    assert calculate_flicker_clip(gt + noise, gt) == pytest.approx(2 * 2 / np.pi**0.5, rel=0.05)
    assert calculate_flicker_clip(gt + 2 * noise, gt) == pytest.approx(
        2 * calculate_flicker_clip(gt + noise, gt), rel=1e-3
    )
    moving = noise.clone()
    moving[..., :32] = 0  # noise where there is motion anyway
    assert calculate_flicker_clip(gt + moving, gt) < 0.1 * calculate_flicker_clip(gt + noise, gt)
    assert np.isnan(calculate_flicker_clip(gt[:1], gt[:1]))


def test_flicker_without_ground_truth():
    torch.manual_seed(0)
    gt = clip_with_a_held_half()
    assert calculate_flicker_clip(gt) == pytest.approx(0, abs=1e-3)
    noise = torch.randn(gt.shape) / 255
    assert calculate_flicker_clip(gt + noise) == pytest.approx(2 / np.pi**0.5, rel=0.15)
    assert np.isnan(calculate_flicker_clip(torch.rand(4, 3, 16, 16)))  # nothing is held
    still = gt[:1].repeat(4, 1, 1, 1)
    for levels in (0.5, 3, 10):  # a picture that pulses
        pulsing = still * 0.9 + torch.tensor([0, levels / 255]).repeat(2).view(4, 1, 1, 1)
        assert calculate_flicker_clip(pulsing) == pytest.approx(levels, rel=1e-3)


def test_bleed_is_the_share_of_the_other_shot(device):
    a, b = to_tensor(moving_frames(3, 48, 64)), 1 - to_tensor(moving_frames(3, 48, 64, seed=4))
    gt = torch.cat([a, b]).to(device)
    assert calculate_cut_bleed_clip(gt, gt) == pytest.approx(0, abs=1e-6)
    for share in (0.1, 0.4):
        after = gt.clone()
        after[3] = (1 - share) * gt[3] + share * gt[2]
        # on one of the two sides
        assert calculate_cut_bleed_clip(after, gt) == pytest.approx(share / 2, abs=1e-4)
        before = gt.clone()
        before[2] = (1 - share) * gt[2] + share * gt[3]
        assert calculate_cut_bleed_clip(before, gt) == pytest.approx(share / 2, abs=1e-4)
    # blur is no bleeding
    blurred = F.avg_pool2d(gt, 3, 1, 1, count_include_pad=False)
    assert abs(calculate_cut_bleed_clip(blurred, gt)) < 0.03
    assert np.isnan(calculate_cut_bleed_clip(a, a)) and calculate_cut_bleed_clip(
        a, a, cuts=[1]
    ) == pytest.approx(0, abs=1e-6)


# --- hyperIQA


def test_hyperiqa_needs_its_weights(monkeypatch, tmp_path):
    import facexlib.utils

    def offline(*_, **__):
        raise OSError('no route to host')

    hyperiqa_metric.network.cache_clear()
    monkeypatch.setattr(facexlib.utils, 'load_file_from_url', offline)
    message = 'hyperIQA: its weights cannot be downloaded .no route to host.*name the file: weights'
    with pytest.raises(CheckpointError, match=message) as caught:
        calculate_hyperiqa_pt(torch.rand(1, 3, 224, 224))
    assert len(str(caught.value).splitlines()) == 1
    torch.save({'a': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='not the weights of this HyperNet'):
        calculate_hyperiqa_pt(torch.rand(1, 3, 224, 224), weights=str(tmp_path / 'other.pth'))


def test_hyperiqa_is_the_mean_over_fixed_crops(tmp_path):
    """facexlib's network on the crops, one by one."""
    from facexlib.assessment.hyperiqa_net import HyperIQA

    torch.manual_seed(0)
    net = HyperIQA(16, 112, 224, 112, 56, 28, 14, 7).eval()
    torch.save(net.hypernet.state_dict(), tmp_path / 'w.pth')
    images = torch.rand(2, 3, 230, 240)
    value = calculate_hyperiqa_pt(images, crops=2, seed=3, weights=str(tmp_path / 'w.pth'))
    rng, mean, std = (
        np.random.default_rng(3),
        *(torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    )
    expected = torch.zeros(2)
    with torch.no_grad():
        for _ in range(2):
            top, left = int(rng.integers(7)), int(rng.integers(17))
            for i in range(2):
                expected[i] += (
                    net((images[i : i + 1, :, top : top + 224, left : left + 224] - mean) / std).item() / 2
                )
    assert torch.allclose(value, expected, atol=1e-4)
    assert torch.equal(value, calculate_hyperiqa_pt(images, crops=2, seed=3, weights=str(tmp_path / 'w.pth')))
    assert calculate_hyperiqa_pt(
        torch.rand(1, 3, 220, 330), crops=1, weights=str(tmp_path / 'w.pth')
    ).shape == (1,)
    assert calculate_hyperiqa_pt(
        torch.rand(1, 3, 100, 130), crops=1, weights=str(tmp_path / 'w.pth')
    ).shape == (1,)
