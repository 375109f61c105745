"""The degradations of the other backbones: Real-ESRGAN's second-order one, BSRGAN's shuffled one, PDM's
learned one.
"""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from basicsr.utils.matlab_functions import imresize
from conftest import REPO, moving_frames
from torch.nn import functional as F

import animevsr
from animevsr.archs.pdm_arch import ProbabilisticDegradation
from animevsr.data.sampling import Draw
from animevsr.data.unpaired_frame_dataset import UnpairedFrameDataset
from animevsr.degradations import DegradationPipeline
from animevsr.degradations import functional as D
from animevsr.models.pdm_model import NoiseLoss
from animevsr.utils.overlays import read_options
from animevsr.utils.tensors import to_tensor

DRAWS = 4000


def degradation_of(name):
    return read_options(REPO / f'options/backbones/{name}.yml')['datasets']['train']['degradation']


def covers(values, low, high):
    """Values from a range, as uniform draws fill it: both ends are reached, and passed by none."""
    reach = 20 * (high - low) / len(values)
    assert low <= min(values) < low + reach and high - reach < max(values) <= high
    assert np.mean(values) == pytest.approx(
        (low + high) / 2, abs=4 * (high - low) / math.sqrt(12 * len(values))
    )


def share(count, draws=DRAWS):
    return pytest.approx(count, abs=4 * math.sqrt(count * (1 - count) / draws))


@pytest.fixture(scope='module')
def draws():
    pipeline, rng = DegradationPipeline(degradation_of('realesrgan')), np.random.default_rng(0)
    return [pipeline.sample(rng, 1) for _ in range(DRAWS)]


def test_second_order_statistics(draws):
    """Wang et al., ICCVW 2021, the values of the published training options."""
    for place, prob, high in ((0, 1.0, 3.0), (4, 0.8, 1.5)):
        kinds = Counter(d[place]['kind'] for d in draws)
        assert kinds['none'] / DRAWS == share(1 - prob) and kinds['sinc'] / DRAWS == share(0.1 * prob)
        assert kinds['gaussian'] / DRAWS == share(0.7 * 0.9 * prob)
        assert all(kinds[kind] / DRAWS == share(0.15 * 0.9 * prob) for kind in ('generalized', 'plateau'))
        blurs = [d[place] for d in draws if 'sigma_x' in d[place]]
        assert {b['kernel_size'] for b in blurs} == set(range(7, 22, 2))
        covers([b['sigma_x'] for b in blurs], 0.2, high)
        covers([b['theta'] for b in blurs if b['sigma_x'] != b['sigma_y']], -math.pi, math.pi)
        cutoffs = {
            size: [
                d[place]['cutoff']
                for d in draws
                if d[place]['kind'] == 'sinc' and (d[place]['kernel_size'] < 13) == small
            ]
            for size, small in ((3, True), (5, False))
        }
        for size, found in cutoffs.items():
            covers(found, math.pi / size, math.pi)
        isotropic = sum(b['sigma_x'] == b['sigma_y'] for b in blurs) / len(blurs)
        assert isotropic == share(0.69, len(blurs))
        assert all(b['theta'] == 0 for b in blurs if b['sigma_x'] == b['sigma_y'])
        betas = [b['beta'] for b in blurs if b['kind'] == 'plateau']
        # half of them are 1: the lower part of the range, 1 to 1, is a point
        covers([b for b in betas if b > 1], 1, 2)
        assert np.mean([b == 1 for b in betas]) == share(0.5, len(betas))
        betas = [b['beta'] for b in blurs if b['kind'] == 'generalized']
        covers([b for b in betas if b < 1], 0.5, 1)
        covers([b for b in betas if b > 1], 1, 4)
    for place, probs, low, high in ((1, (0.2, 0.7, 0.1), 0.15, 1.5), (5, (0.3, 0.4, 0.3), 0.3, 1.2)):
        factors = np.array([d[place]['factor'] for d in draws])
        for condition, prob in zip((factors > 1, factors < 1, factors == 1), probs):
            assert condition.mean() == share(prob)
        assert low <= factors.min() < low + 0.01 and high - 0.01 < factors.max() <= high
    for place, high, scale in ((2, 30, 3.0), (6, 25, 2.5)):
        noises = [d[place] for d in draws]
        assert sum(n['kind'] == 'gaussian' for n in noises) / DRAWS == share(0.5) and sum(
            n['gray'] for n in noises
        ) / DRAWS == share(0.4)
        covers([n['sigma'] for n in noises if 'sigma' in n], 1, high)
        covers([n['scale'] for n in noises if 'scale' in n], 0.05, scale)
    assert sum(d[7]['order'] == [0, 1] for d in draws) / DRAWS == share(0.5)
    last = [d[7]['params'][0][1] for d in draws]
    assert sum(blur['kind'] == 'sinc' for blur in last) / DRAWS == share(0.8)
    covers([blur['cutoff'] for blur in last if blur['kind'] == 'sinc'], math.pi / 3, math.pi)


@pytest.mark.parametrize('name', ['realesrgan', 'bsrgan', 'realbasicvsr', 'basicvsr'])
def test_any_draw_gives_a_quarter_of_the_size_and_replays(name, device):
    pipeline = DegradationPipeline(degradation_of(name))
    clip = to_tensor(moving_frames(3, 50, 62)).to(device)
    for seed in range(12):
        params = pipeline.sample(np.random.default_rng(seed), 3)
        out = pipeline.apply(clip, params)
        assert out.shape == (3, 3, 13, 16) and out.device == clip.device and out.min() >= 0 and out.max() <= 1
        assert torch.equal(out, pipeline.apply(clip, json.loads(json.dumps(params))))
    assert torch.equal(clip, to_tensor(moving_frames(3, 50, 62)).to(device))


def test_shuffle_applies_in_the_order_that_it_drew():
    pipeline = DegradationPipeline(
        [{'shuffle': [{'blur': {'sigma': [2, 2], 'isotropic_prob': 1}}, [{'jpeg': [10, 10]}, {'down': 2}]]}]
    )
    clip, seen = to_tensor(moving_frames(1, 32, 48)), set()
    for seed in range(8):
        params = pipeline.sample(np.random.default_rng(seed), 1)
        blurred = D.gaussian_blur(clip, 21, 2, 2, 0)
        expected = []
        for image in (blurred, clip):
            small = D.resize(D.compress_jpeg(image, 10), 16, 24, params[0]['params'][1][1]['mode'])
            expected.append(small if image is blurred else D.gaussian_blur(small, 21, 2, 2, 0))
        order = tuple(params[0]['order'])
        seen.add(order)
        assert torch.equal(pipeline.apply(clip, params), expected[0 if order == (0, 1) else 1])
    assert len(seen) == 2


def test_poisson_noise_grows_with_the_light(device):
    clip = torch.cat([torch.full((1, 3, 64, 64), light) for light in (0.1, 0.4)], -1).to(device)
    noise = D.add_poisson_noise(clip, 1.0, False, 3) - clip
    deviations = [part.std().item() for part in noise.split(64, -1)]
    assert deviations == [pytest.approx(math.sqrt(light / 255), rel=0.05) for light in (0.1, 0.4)]
    assert noise.mean().abs() < 1e-3
    gray = D.add_poisson_noise(clip, 1.0, True, 3) - clip
    assert (gray[:, :1] - gray).abs().max() < 1e-6


def test_jpeg_and_matlab_resize():
    clip = to_tensor(moving_frames(2, 32, 40))
    errors = [F.mse_loss(D.compress_jpeg(clip, quality), clip).item() for quality in (20, 60, 95)]
    assert errors[0] > errors[1] > errors[2] > 0
    ours = D.resize(clip, 8, 10, 'matlab')
    assert all((imresize(frame, 0.25).clamp(0, 1) - out).abs().max() < 1e-5 for frame, out in zip(clip, ours))


def test_kernels_are_those_of_their_names():
    impulse = torch.zeros(1, 3, 41, 41)
    impulse[..., 20, 20] = 1
    common = dict(kernel_size=21, sigma_x=2.0, sigma_y=2.0, theta=0.0)
    gaussian = D.blur_by_kind(impulse, 'gaussian', **common)
    assert torch.allclose(D.blur_by_kind(impulse, 'generalized', beta=1.0, **common), gaussian, atol=1e-6)
    flat = D.blur_by_kind(impulse, 'plateau', beta=2.0, **common)
    near = [k[0, 0, 20, 21] / k[0, 0, 20, 20] for k in (flat, gaussian)]
    assert near[0] > near[1] and flat.sum().item() == pytest.approx(3, abs=1e-3)
    edge = (torch.arange(41) >= 20).float().expand(1, 3, 41, 41) * 0.5 + 0.25
    ringing = D.blur_by_kind(edge, 'sinc', 21, cutoff=math.pi / 3)
    assert ringing.max() > 0.78 and ringing.min() < 0.22  # overshoot on both sides of the edge


@pytest.mark.parametrize(
    'entry, message',
    [
        ({'mixed_blur': {'kernels': {'iso': 0.5}}}, 'add up to 1'),
        ({'mixed_blur': {'kernel_size': [8, 20]}}, 'must be odd'),
        ({'random_resize': [1.2, 1.5]}, 'hold 1'),
        ({'random_resize': {'probs': [0.5, 0.6, 0]}}, 'add up to 1'),
        ({'resize_to': {'factor': 4, 'modes': ['lanczos']}}, "unknown mode 'lanczos'"),
        ({'jpeg': [30, 101]}, 'up to 100'),
        ({'mixed_noise': {'gray_prob': 2}}, 'gray_prob must be in'),
        ({'shuffle': ['blurr']}, "did you mean 'blur'"),
    ],
)
def test_wrong_options(entry, message):
    with pytest.raises(ValueError, match=message):
        DegradationPipeline([entry])


# --- PDM


def test_pdm_blurs_shrinks_and_adds_noise(device):
    torch.manual_seed(0)
    net = ProbabilisticDegradation(num_feat=8).to(device)
    kernel = net.kernels(torch.randn(5, 64, device=device))
    assert torch.allclose(kernel.sum((1, 2)), torch.ones(5, device=device), atol=1e-5) and (kernel >= 0).all()
    assert torch.allclose(kernel, kernel.flip(1, 2)) and not torch.allclose(kernel[0], kernel[1])
    with torch.no_grad():
        assert net(torch.rand(2, 3, 33, 46, device=device)).shape == (2, 3, 9, 12)
        # where there is neither blur nor noise, an image is shrunk in place: a ramp stays a ramp
        ramp = torch.linspace(0, 1, 64, device=device).expand(1, 3, 64, 64)
        net.noise[-1].weight.zero_()
        assert torch.allclose(net(ramp)[..., 4:-4], F.avg_pool2d(ramp, 4)[..., 4:-4], atol=1e-3)


def test_pdm_as_an_operator(tmp_path, device):
    net = ProbabilisticDegradation(num_feat=8, kernel_dim=16, noise_dim=2, kernel_size=12, scale=2)
    torch.save(dict(params=net.state_dict()), tmp_path / 'pdm.pth')
    assert isinstance(animevsr.load_network(tmp_path / 'pdm.pth'), ProbabilisticDegradation)
    pipeline = DegradationPipeline([{'pdm': str(tmp_path / 'pdm.pth')}])
    clip = torch.rand(1, 3, 24, 32, device=device).expand(4, -1, -1, -1) * 0.5 + 0.25
    first, again, other = (
        pipeline.apply(clip, pipeline.sample(np.random.default_rng(seed), 4)) for seed in (0, 0, 1)
    )
    assert first.shape == (4, 3, 12, 16) and torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])  # the noise differs from frame to frame
    with pytest.raises(ValueError, match='needs a ProbabilisticDegradation'):
        DegradationPipeline([{'pdm': 'lbo_tape'}])


def test_pdm_learns_noise_only_as_far_as_it_must():
    net = ProbabilisticDegradation(num_feat=8)
    net(torch.rand(1, 3, 32, 32))
    assert NoiseLoss(net, 100)(None, None).item() == pytest.approx(
        100 * net.last_noise.square().mean().item()
    )


def test_unpaired_frames():
    opt = dict(
        name='x',
        phase='train',
        scale=4,
        gt_size=64,
        dataroot_gt='assets/tiny',
        dataroot_lq='assets/heldout_lowquality',
        seed=3,
    )
    data = UnpairedFrameDataset(opt)
    a, b, c = data[Draw(1, 1)], data[Draw(1, 1)], data[Draw(1, 99)]
    assert a['gt'].shape == (3, 64, 64) and a['lq'].shape == (3, 16, 16)
    assert all(torch.equal(a[key], b[key]) for key in ('gt', 'lq')) and not torch.equal(a['lq'], c['lq'])
    assert data.low.seed != data.clean.seed  # else both crops would be at the same place, and flipped alike
    whole = UnpairedFrameDataset(dict(opt, phase='val'))[0]
    assert whole['gt'].shape == (3, 160, 192)
    with pytest.raises(ValueError, match='multiple of scale'):
        UnpairedFrameDataset(dict(opt, gt_size=66))


def test_a_walk_from_frame_to_frame(device):
    """RealBasicVSR: neighbours differ by at most a step, the values stay in their range, and each frame is
    treated by its own.
    """
    config = [
        {'mixed_blur': dict(walk=True, sinc_prob=0.3)},
        {'random_resize': dict(walk=0.015, probs=[0, 1, 0])},
        {'mixed_noise': dict(walk=True)},
        {'jpeg': dict(quality=[30, 95], walk=3)},
        {'resize_to': 4},
    ]
    pipeline, clip = DegradationPipeline(config), torch.rand(6, 3, 32, 40, device=device)
    seen = set()
    for number in range(40):
        params = pipeline.sample(np.random.default_rng(number), 6)
        blur, resize, noise, jpeg, _ = params
        for values, step, (low, high) in (
            (blur.get('sigma_x'), 0.02, (0.2, 3)),
            (resize['factor'], 0.015, (0.15, 1.5)),
            (noise.get('sigma'), 0.1, (1, 30)),
            (noise.get('scale'), 0.005, (0.05, 3)),
            (jpeg['quality'], 4, (30, 95)),
        ):
            if values is not None:
                assert len(values) == 6 and low <= min(values) and max(values) <= high
                assert 0 < np.abs(np.diff(values)).max() <= step + 1e-9
        out = pipeline.apply(clip, json.loads(json.dumps(params)))
        assert out.shape == (6, 3, 8, 10) and torch.isfinite(out).all()
        seen.add(blur['kind'])
    assert {'gaussian', 'sinc', 'generalized'} <= seen
    still = DegradationPipeline([{'mixed_blur': dict(walk=True, sinc_prob=0, kernels={'iso': 1.0})}])
    one = [
        dict(
            op='mixed_blur',
            kind='gaussian',
            kernel_size=7,
            sigma_x=[0.5, 2.0],
            sigma_y=[0.5, 2.0],
            theta=[0.0, 0.0],
            beta=None,
        )
    ]
    frames = clip[:1].expand(2, -1, -1, -1)
    out = still.apply(frames, one)
    assert torch.allclose(out[1:], D.gaussian_blur(frames[:1], 7, 2.0, 2.0, 0.0)) and not torch.allclose(
        out[0], out[1]
    )


def test_codecs_by_bit_rate():
    """RealBasicVSR's range of rates."""
    pipeline = DegradationPipeline([{'codec': dict(bit_rate=[10000, 100000])}])
    clip = torch.from_numpy(moving_frames(6, 48, 64)).permute(0, 3, 1, 2) / 255
    params = [pipeline.sample(np.random.default_rng(number), 6) for number in range(50)]
    assert (
        10000 <= min(p[0]['b'] for p in params) < 20000 and 90000 < max(p[0]['b'] for p in params) <= 100000
    )
    low, high = ((D.compress(clip, 'h264', b=rate) - clip).abs().mean() for rate in (10000, 400000))
    assert high < low and pipeline.apply(clip, params[0]).shape == clip.shape


def test_the_second_resize_of_realesrgan_is_one_of_the_small_size():
    """`ori_h / scale * factor` in its published code, whatever the first one made of it."""
    sizes = []
    first, second = degradation_of('realesrgan')[1], degradation_of('realesrgan')[5]
    pipeline, clip = DegradationPipeline([first, second]), torch.rand(1, 3, 64, 96)
    for seed in range(60):
        params = pipeline.sample(np.random.default_rng(seed), 1)
        factor = params[1]['factor']
        out = pipeline.apply(clip, params)
        assert out.shape[-2:] == (round(16 * factor), round(24 * factor))
        sizes.append(out.shape[-2])
    assert 4 <= min(sizes) < 10 and 16 < max(sizes) <= 19
    with pytest.raises(ValueError, match='random_resize: of must be above 0, got 0'):
        DegradationPipeline([{'random_resize': {'of': 0}}])
