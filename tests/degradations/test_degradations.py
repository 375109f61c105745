"""Operators and pipeline: their statistics against the paper's table, their effect on pixels, replay."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import moving_frames

from animevsr.degradations import DegradationPipeline, Operator, operator
from animevsr.degradations import functional as D

PAPER = ['blur', 'noise', {'down': 2}, {'down': 2}, {'codec': 'h264'}]  # AnimeSR supplement, Sec. 3
DRAWS = 6000


@pytest.fixture(scope='module')
def draws():
    pipeline, rng = DegradationPipeline(PAPER), np.random.default_rng(0)
    return [pipeline.sample(rng, 15) for _ in range(DRAWS)]


def share(count):
    """A frequency over DRAWS, and how far it may be from its probability: four standard deviations."""
    return pytest.approx(count, abs=4 * math.sqrt(count * (1 - count) / DRAWS))


def covers(values, low, high):
    """The values are uniform in [low, high]: range, mean and quartiles."""
    values = np.array(values)
    tolerance = 4 * (high - low) / math.sqrt(12 * len(values))
    assert values.min() >= low and values.max() <= high
    assert values.min() < low + 0.01 * (high - low) and values.max() > high - 0.01 * (high - low)
    for q in (0.25, 0.5, 0.75):
        assert np.quantile(values, q) == pytest.approx(low + q * (high - low), abs=2 * tolerance)


def test_blur_parameters(draws):
    blurs = [d[0] for d in draws]
    isotropic = [b for b in blurs if b['sigma_x'] == b['sigma_y'] and b['theta'] == 0]
    others = [b for b in blurs if b['sigma_x'] != b['sigma_y']]
    assert len(isotropic) + len(others) == DRAWS and len(isotropic) / DRAWS == share(0.7)
    assert {b['kernel_size'] for b in blurs} == {21}
    covers([b['sigma_x'] for b in isotropic], 0.2, 4.0)
    covers([b[s] for b in others for s in ('sigma_x', 'sigma_y')], 0.8, 3.0)
    covers([b['theta'] for b in others], -math.pi, math.pi)


def test_noise_parameters(draws):
    noises = [d[1] for d in draws]
    assert sum(n['gray'] for n in noises) / DRAWS == share(0.5)
    covers([n['sigma'] for n in noises], 0, 10)
    assert len({n['seed'] for n in noises}) > 0.99 * DRAWS


def test_noise_drawn_anew_for_every_frame(device):
    pipeline = DegradationPipeline([{'noise': {'sigma': [0, 40], 'per_frame': True}}])
    params = pipeline.sample(np.random.default_rng(3), 6)
    assert len(set(params[0]['sigma'])) == 6 and set(params[0]['gray']) == {True, False}
    clip = torch.full((6, 3, 64, 64), 0.5, device=device)
    noise = (pipeline.apply(clip, json.loads(json.dumps(params))) - clip) * 255
    for frame, sigma, gray in zip(noise, params[0]['sigma'], params[0]['gray']):
        assert frame.std().item() == pytest.approx(sigma, rel=0.08, abs=0.1)
        assert torch.allclose(frame[0], frame[1], atol=1e-3) == gray


def test_choice():
    parts = [
        {'prob': 0.25, 'degradation': [{'resize_to': 4}]},
        {'prob': 0.75, 'degradation': [{'down': 2}, {'down': 2}]},
    ]
    pipeline = DegradationPipeline(['noise', {'choice': parts}])
    params = [pipeline.sample(np.random.default_rng(i), 2) for i in range(400)]
    assert np.mean([p[1]['part'] for p in params]) == pytest.approx(0.75, abs=0.08)
    clip = torch.rand(2, 3, 32, 48)
    for p in params[:8]:
        out = pipeline.apply(clip, json.loads(json.dumps(p)))
        assert out.shape == (2, 3, 8, 12) and torch.equal(out, pipeline.apply(clip, p))
    untouched = DegradationPipeline([{'choice': [{'prob': 1, 'degradation': []}]}])
    assert torch.equal(untouched.apply(clip, untouched.sample(np.random.default_rng(0), 2)), clip)
    with pytest.raises(ValueError, match='must add up to 1'):
        DegradationPipeline([{'choice': [{'prob': 0.5, 'degradation': ['blur']}]}])
    with pytest.raises(ValueError, match="unknown key 'p' in a part of choice"):
        DegradationPipeline([{'choice': [{'p': 0.5, 'degradation': ['blur']}]}])


def test_down_parameters(draws):
    for place in (2, 3):
        counts = Counter(d[place]['mode'] for d in draws)
        assert set(counts) == {'area', 'bilinear', 'bicubic'}
        assert all(n / DRAWS == share(1 / 3) for n in counts.values())
    pairs = Counter((d[2]['mode'], d[3]['mode']) for d in draws)
    # the two are drawn apart
    assert len(pairs) == 9 and all(n / DRAWS == share(1 / 9) for n in pairs.values())


def test_codec_parameters(draws):
    codecs = [d[4] for d in draws]
    profiles = Counter(c['profile'] for c in codecs)
    for profile, probability in (('baseline', 0.1), ('main', 0.2), ('high', 0.7)):
        assert profiles[profile] / DRAWS == share(probability)
    covers([c['crf'] for c in codecs], 18, 35)  # real numbers


def test_replay_gives_the_same_pixels_and_params_are_plain(device):
    pipeline = DegradationPipeline(PAPER)
    clip = torch.from_numpy(moving_frames(5, 48, 64)).permute(0, 3, 1, 2).float().to(device) / 255
    params = pipeline.sample(np.random.default_rng(1), 5)
    first = pipeline.apply(clip, params)
    assert first.shape == (5, 3, 12, 16) and first.device == clip.device
    assert torch.equal(first, pipeline.apply(clip, json.loads(json.dumps(params))))
    other = pipeline.apply(clip, pipeline.sample(np.random.default_rng(2), 5))
    assert not torch.equal(first, other)


@pytest.mark.parametrize('gray', [False, True])
def test_noise_on_pixels(gray, device):
    clip = torch.full((3, 3, 128, 128), 0.5, device=device)
    noise = (D.add_gaussian_noise(clip, 6.0, gray, seed=5) - clip) * 255
    assert noise.std().item() == pytest.approx(6.0, rel=0.03) and abs(noise.mean().item()) < 0.15
    assert not torch.allclose(noise[0], noise[1])  # differs from frame to frame
    assert (torch.allclose(noise[:, 0], noise[:, 1], atol=1e-3)) == gray


@pytest.mark.parametrize(
    'sigmas, theta', [((1.5, 1.5), 0.0), ((3.0, 3.0), 0.0), ((0.9, 2.5), 0.0), ((0.9, 2.5), math.pi / 2)]
)
def test_blur_width_on_pixels(sigmas, theta, device):
    """The second moments of a blurred point are the squared sigmas."""
    clip = torch.zeros(1, 3, 65, 65, device=device)
    clip[..., 32, 32] = 1
    spread = D.gaussian_blur(clip, 21, *sigmas, theta)[0, 0].double().cpu()
    assert spread.sum().item() == pytest.approx(1, abs=1e-4)
    at = torch.arange(65, dtype=torch.float64) - 32
    along_x, along_y = (spread.sum(dim) @ at**2 for dim in (0, 1))
    # a turn by 90 degrees exchanges the axes; the window of 21 cuts the widest kernels a little
    expected = sigmas if theta == 0 else sigmas[::-1]
    assert (along_x.sqrt().item(), along_y.sqrt().item()) == pytest.approx(expected, rel=0.03)


def test_blur_of_a_picture_smaller_than_its_kernel(device):
    clip = torch.full((1, 3, 5, 7), 0.25, device=device)
    assert torch.allclose(D.gaussian_blur(clip, 21, 2.0, 2.0, 0.0), clip, atol=1e-5)


@pytest.mark.parametrize('size', [(64, 48), (7, 64), (9, 5)])
def test_filters_in_parts_are_the_filters(size):
    """On a CPU a filter is a sum of a few products of two vectors: to far within a level of 255."""
    kernels, rng = D.kernels(), np.random.default_rng(0)
    clip = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    made = [kernels.circular_lowpass_kernel(2.0, 21, pad_to=False)]
    for _ in range(12):
        a, b, theta = rng.uniform(0.3, 4), rng.uniform(0.3, 4), rng.uniform(-3, 3)
        made.append(kernels.bivariate_Gaussian(21, a, b, theta, isotropic=False))
        made.append(kernels.bivariate_generalized_Gaussian(15, a, b, theta, 1.5, isotropic=False))
        made.append(kernels.bivariate_plateau(15, a, b, theta, 1.5, isotropic=False))
    for kernel in made:
        half, weight = len(kernel) // 2, torch.from_numpy(kernel)[None, None]
        mode = 'reflect' if min(size) > half else 'replicate'
        padded = F.pad(clip.double().view(6, 1, *size), (half,) * 4, mode=mode)
        expected = F.conv2d(padded, weight).view_as(clip)
        assert (D.filter_clip(clip, kernel) - expected).abs().max() < 0.26 / 255


def test_resize_modes_against_opencv(device):
    import cv2

    image = moving_frames(1, 40, 56)[0].astype(np.float32) / 255
    clip = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
    for mode, flag in (('area', cv2.INTER_AREA), ('bilinear', cv2.INTER_LINEAR)):
        ours = D.resize(clip, 20, 28, mode)[0].permute(1, 2, 0).cpu().numpy()
        assert np.abs(ours - cv2.resize(image, (28, 20), interpolation=flag)).max() < 1e-5
    ours = D.resize(clip, 20, 28, 'bicubic')[0].permute(1, 2, 0).cpu().numpy()
    assert np.abs(ours - cv2.resize(image, (28, 20), interpolation=cv2.INTER_CUBIC).clip(0, 1)).max() < 1e-4


@pytest.mark.parametrize(
    'config, message',
    [
        ([], 'must be a list'),
        (['blurr'], "unknown key 'blurr' in degradation; did you mean 'blur'"),
        (
            [{'noise': {'sigmas': [0, 5]}}],
            "unknown key 'sigmas' in degradation operator noise; did you mean 'sigma'",
        ),
        ([{'codec': 'h266'}], "unknown codec 'h266'"),
        ([{'codec': {'profiles': {'high': 0.5}}}], 'add up to 1'),
        ([{'down': {'factor': 2, 'modes': ['cubic']}}], "unknown mode 'cubic'"),
        ([{'blur': {'kernel_size': 20}}], 'odd'),
        ([{'blur': {'kernel_size': 21.0}}], 'must be an odd whole number, got 21.0'),
        ([{'codec': {'profiles': {'hgih': 1}}}], "unknown key 'hgih' in the profiles of codec"),
        ([{'ffmpeg': {'options': {'q:v': [4.5, 12]}}}], r'ffmpeg: q:v must be a pair of whole numbers'),
        ([{'choice': [{'degradation': ['blur']}]}], 'choice: each part needs prob and degradation'),
        ([{'vq': {'bands': [1, 50, 1.0]}}], r'vq: a band is \[lowest k, highest k, probability\]'),
        ([{'noise': {'sigma': [5, 1]}}], 'above the upper end'),
        ([{'blur': 21, 'noise': 1}], 'cannot read the entry'),
    ],
)
def test_wrong_configurations_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        DegradationPipeline(config)


def test_ffmpeg_operator_draws_from_its_ranges():
    config = [{'down': 4}, {'ffmpeg': {'options': {'vcodec': 'mpeg2video', 'q:v': [4, 6]}, 'suffix': 'mpg'}}]
    pipeline, rng = DegradationPipeline(config), np.random.default_rng(0)
    drawn = [pipeline.sample(rng, 3)[1]['options'] for _ in range(200)]
    assert {d['q:v'] for d in drawn} == {4, 5, 6} and {d['vcodec'] for d in drawn} == {'mpeg2video'}
    clip = torch.from_numpy(moving_frames(3, 64, 96)).permute(0, 3, 1, 2).float() / 255
    assert pipeline.apply(clip, pipeline.sample(rng, 3)).shape == (3, 3, 16, 24)


def test_params_of_another_pipeline_are_refused():
    params = DegradationPipeline(['blur']).sample(np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match='do not fit'):
        DegradationPipeline(['noise']).apply(torch.zeros(1, 3, 8, 8), params)


def test_configuration_is_not_changed():
    config = [{'noise': {'sigma': [0, 5]}}, {'codec': {'profiles': {'high': 1.0}}}]
    before = json.dumps(config)
    DegradationPipeline(config).sample(np.random.default_rng(0), 3)
    assert json.dumps(config) == before


# --- the learned degradation


def vq_pipeline(weights, **options):
    return DegradationPipeline(
        [{'down': 2}, {'vq': {'weights': str(weights), 'k': [1, 50], **options}}, {'codec': 'h264'}]
    )


def drawn(weights, count=3000, **options):
    pipeline, rng = vq_pipeline(weights, **options), np.random.default_rng(0)
    return [pipeline.sample(rng, 4)[1] for _ in range(count)]


def test_vq_draws_the_papers_k_by_default(tiny_vqgan):
    draws = drawn(tiny_vqgan)
    ks = Counter(d['k'] for d in draws)
    assert set(ks) == set(range(1, 51)) and {d['k_middle'] for d in draws} == {1}
    assert all(abs(n / 3000 - 0.02) < 5 * math.sqrt(0.02 * 0.98 / 3000) for n in ks.values())
    assert {d['k'] for d in drawn(tiny_vqgan, 50, k=1)} == {1}  # the nearest-only ablation


def test_vq_draws_the_released_bands(tiny_vqgan):
    draws = drawn(tiny_vqgan, bands=[[1, 15, 0.3], [16, 30, 0.4], [31, 50, 0.3]], k_middle=[1, 10])
    for low, high, probability in ((1, 15, 0.3), (16, 30, 0.4), (31, 50, 0.3)):
        inside = [d['k'] for d in draws if low <= d['k'] <= high]
        assert abs(len(inside) / 3000 - probability) < 4 * math.sqrt(0.24 / 3000)
        assert set(inside) == set(range(low, high + 1))
    assert {d['k_middle'] for d in draws} == set(range(1, 11))


def test_vq_is_the_networks_lookup(tiny_vqgan, device):
    import animevsr

    clip = torch.from_numpy(moving_frames(3, 36, 44)).permute(0, 3, 1, 2).float().to(device) / 255
    net = animevsr.load_network(tiny_vqgan, device)
    operator = DegradationPipeline([{'vq': {'weights': str(tiny_vqgan)}}]).operators[0]
    with torch.no_grad():
        expected = ((net(clip * 2 - 1, (1, 4, 17))[0] + 1) / 2).clamp(0, 1)
    out = operator.apply(clip, dict(k=17, k_middle=4))
    assert out.shape == clip.shape and out.device == clip.device and not out.requires_grad
    assert (out - expected).abs().max() < 1e-4
    assert not torch.allclose(out, operator.apply(clip, dict(k=1, k_middle=4)), atol=1e-3)
    assert torch.equal(out, operator.apply(clip, dict(k=17, k_middle=4)))


@pytest.mark.parametrize('branch', ['top', 'bottom'])
def test_vq_of_a_single_scale_network_perturbs_its_only_branch(branch, tmp_path):
    from conftest import TINY_VQGAN

    from animevsr.archs.vqgan_arch import MultiScaleVQGAN

    net = MultiScaleVQGAN(**TINY_VQGAN, branches=(branch,))
    torch.nn.init.normal_(net.codebook)
    torch.save(net.state_dict(), tmp_path / 'w.pth')
    operator = DegradationPipeline([{'vq': {'weights': str(tmp_path / 'w.pth')}}]).operators[0]
    with pytest.raises(ValueError, match='k_middle is given, but .* has no middle branch beside a finer one'):
        vq_pipeline(tmp_path / 'w.pth', k_middle=[1, 10])
    clip = torch.rand(1, 3, 16, 16)
    assert not torch.allclose(
        operator.apply(clip, dict(k=1, k_middle=1)), operator.apply(clip, dict(k=30, k_middle=1))
    )


def test_vq_refuses_what_does_not_fit(tiny_vqgan, tiny_weights, tmp_path):
    from animevsr.utils.checkpoint import CheckpointError

    with pytest.raises(ValueError, match='k goes up to 65, but the codebook .* has 64 entries'):
        vq_pipeline(tiny_vqgan, k=[1, 65])
    with pytest.raises(ValueError, match='k goes up to 70'):
        vq_pipeline(tiny_vqgan, k_middle=[1, 70])
    with pytest.raises(ValueError, match='whole numbers >= 1'):
        vq_pipeline(tiny_vqgan, k=[0, 5])
    with pytest.raises(ValueError, match='a band is .lowest k, highest k, probability.'):
        vq_pipeline(tiny_vqgan, bands=[[1, 5]])
    with pytest.raises(ValueError, match='must add up to 1'):
        vq_pipeline(tiny_vqgan, bands=[[1, 5, 0.5]])
    with pytest.raises(CheckpointError, match='holds a MSRBVSR, but degradation needs a MultiScaleVQGAN'):
        vq_pipeline(tiny_weights)
    with pytest.raises(CheckpointError, match='no such weights file'):
        vq_pipeline(tmp_path / 'gone.pth')


def batch_of(pipeline, seed, size=3):
    rng = np.random.default_rng(seed)
    frames = np.stack([moving_frames(2, 48, 48, seed=10 * seed + i) for i in range(size)])
    params = [json.dumps(pipeline.sample(rng, 2)) for _ in range(size)]
    return dict(gt=torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float() / 255, params=params)


def test_batches_on_the_device_are_those_of_the_loader(tiny_vqgan, device):
    from animevsr.data.sampling import LookAhead
    from animevsr.degradations import BatchDegrader

    noise = ['noise'] if device == 'cpu' else []  # a GPU draws its own
    config = [
        'blur',
        *noise,
        {'down': 2},
        {'down': 2},
        {'vq': {'weights': str(tiny_vqgan)}},
        {'codec': 'h264'},
    ]
    pipeline, degrader = DegradationPipeline(config), BatchDegrader(config, torch.device(device), threads=3)
    degrade, calls = degrader._degrade, []
    degrader._degrade = lambda *arguments: calls.append(1) or degrade(*arguments)
    batches = [batch_of(pipeline, seed) for seed in range(3)]
    expected = [
        torch.stack([pipeline.apply(g, json.loads(p)) for g, p in zip(b['gt'], b['params'])]) for b in batches
    ]
    for i, batch in enumerate(LookAhead(batches)):
        lq, gt = degrader(batch)
        assert lq.device.type == device and torch.equal(gt.cpu(), batches[i]['gt'])
        # rounding on a GPU may choose another entry here and there
        assert (
            torch.equal(lq, expected[i]) if device == 'cpu' else (lq.cpu() - expected[i]).abs().mean() < 0.01
        )
        begun = degrader._ahead[1]
        assert (begun is None) == (i == 2)  # the next batch is on its way
    assert len(calls) == 9  # nothing is done twice
    assert torch.equal(degrader(batches[0])[0].cpu(), expected[0]) or device != 'cpu'  # without a look ahead


def test_failure_in_a_thread_is_raised():
    from animevsr.degradations import BatchDegrader

    degrader = BatchDegrader(['noise'], torch.device('cpu'), threads=1)
    with pytest.raises(ValueError, match='do not fit'):
        degrader(dict(gt=torch.zeros(1, 1, 3, 8, 8), params=['[{"op": "blur"}]']))


def test_vq_goes_to_workers(tiny_vqgan):
    import pickle

    pipeline = DegradationPipeline([{'vq': {'weights': str(tiny_vqgan)}}])
    clip, params = torch.rand(1, 3, 16, 16), [dict(op='vq', k=9, k_middle=1)]
    assert torch.equal(pickle.loads(pickle.dumps(pipeline)).apply(clip, params), pipeline.apply(clip, params))


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="a degradation operator is named 'blur' already: Blur"):

        @operator('blur')
        class Other(Operator):
            pass

    with pytest.raises(TypeError, match='abstract'):
        Other = type('Other', (Operator,), dict(sample=lambda *_: {}))
        Other()
