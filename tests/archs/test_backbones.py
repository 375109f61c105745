"""The other backbones on clips: their sizes, their frames, their training."""

import copy

import numpy as np
import pytest
import torch
import yaml
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.data import build_dataset
from basicsr.models import build_model
from conftest import REPO, moving_frames, write_clip
from torch.nn import functional as F

import animevsr
from animevsr.archs.backbones_arch import ClipBasicVSR, ClipRRDBNet, RealBasicVSR
from animevsr.archs.pdm_arch import ProbabilisticDegradation
from animevsr.engine.upscaler import OVERLAP, WINDOW, Upscaler
from animevsr.models.recurrent_vsr_gan_model import RecurrentVSRGANModel
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.utils.overlays import read_options

NETWORKS = {
    'rrdbnet': dict(type='ClipRRDBNet', num_in_ch=3, num_out_ch=3, num_feat=8, num_block=1, num_grow_ch=4),
    'basicvsr': dict(type='ClipBasicVSR', num_feat=8, num_block=1),
    'realbasicvsr': dict(type='RealBasicVSR', num_feat=8, num_block=1, num_cleaning_block=1),
}


def test_sizes_are_those_of_table_1():
    """VQD-SR, table 1, in millions."""
    with torch.device('meta'):
        sizes = [
            sum(p.numel() for p in net.parameters()) / 1e6 for net in (ClipRRDBNet(3, 3), RealBasicVSR())
        ]
    assert sizes == [pytest.approx(16.70, abs=0.005), pytest.approx(6.29, abs=0.005)]


def test_rrdbnet_takes_clips_frame_by_frame(device):
    torch.manual_seed(0)
    plain = RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4).to(device).eval()
    net = ClipRRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4).to(device).eval()
    net.load_state_dict(plain.state_dict())  # the layers have the same names
    clip = torch.rand(2, 3, 3, 9, 12, device=device)
    with torch.no_grad():
        out = net(clip)
        assert out.shape == (2, 3, 3, 36, 48) and torch.allclose(out[1, 2], plain(clip[1, 2:])[0], atol=1e-5)
        assert torch.allclose(net.step(clip[:, 0], clip[:, 1], clip[:, 2])[0], out[:, 1], atol=1e-5)


def test_cleaning_goes_on_while_it_changes_much(device):
    torch.manual_seed(0)
    net, passes = RealBasicVSR(num_feat=8, num_block=1, num_cleaning_block=1).to(device).eval(), []
    net.cleaning.register_forward_hook(lambda *_: passes.append(1))
    clip = torch.rand(1, 2, 3, 64, 64, device=device)
    with torch.no_grad():
        change = net.cleaning(clip.flatten(0, 1)).abs().mean().item() * 255
        for threshold, expected in ((255, 1), (change * 1.01, 1), (0, 3)):
            passes.clear()
            net.refine_threshold = threshold
            assert net(clip).shape == (1, 2, 3, 256, 256) and len(passes) == expected
        net.refine_threshold = 255
        assert torch.allclose(net(clip), net.basicvsr(net.cleaned)) and net.cleaned.shape == clip.shape
        # smaller than the optical flow can see
        assert net(clip[:, :1, :, :40, :50]).shape == (1, 1, 3, 160, 200)


@pytest.mark.parametrize('net', [ClipBasicVSR(8, 2), RealBasicVSR(8, 3, 2)], ids=['basicvsr', 'realbasicvsr'])
def test_a_file_is_recognised_and_upscales_a_video(net, tmp_path):
    path, frames = tmp_path / 'net.pth', moving_frames(2, 24, 32)
    torch.save(dict(params=net.state_dict()), path)
    loaded = animevsr.load_network(path)
    clip = torch.rand(1, 3, 3, 64, 64)
    with torch.no_grad():
        assert type(loaded) is type(net) and torch.equal(loaded(clip), net.eval()(clip))
    done = animevsr.upscale(write_clip(tmp_path / 'in', frames), tmp_path / 'out', path)
    assert done.frames == len(frames) and (done.height, done.width) == (96, 128)


def test_windows_hand_out_each_frame_once_and_hold_context():
    """A network that marks each frame with the nearest border of its window: none is handed out with less
    context than `OVERLAP`.
    """

    class Borders(torch.nn.Module):
        scale, whole_clips = 1, True

        def forward(self, clip):
            t = clip.shape[1]
            distance = torch.tensor([min(i, t - 1 - i) for i in range(t)]).view(1, t, 1, 1, 1) / 255
            return torch.cat([clip[:, :, :1], distance.expand(1, t, 2, *clip.shape[-2:])], 2)

    with pytest.raises(ValueError, match='tile, reuse and shrink are for networks that go from'):
        Upscaler(Borders(), shrink=True)
    count = 2 * WINDOW + 5
    frames = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 3))
    out = np.stack(list(Upscaler(Borders())(frames)))
    assert out[:, 0, 0, 0].tolist() == list(range(count))
    assert out[OVERLAP:-OVERLAP, 0, 0, 1].min() >= OVERLAP and out[0, 0, 0, 1] == out[-1, 0, 0, 1] == 0


TWINS = sorted(path.stem for path in (REPO / 'options/tiny/backbones').glob('*.yml'))


def test_each_yaml_has_a_tiny_twin_of_the_same_recipe():
    assert (
        sorted(path.stem for path in (REPO / 'options/backbones').glob('*.yml')) == TWINS and len(TWINS) == 11
    )
    for name in TWINS:
        full, tiny = (
            read_options(REPO / f'options/{folder}/{name}.yml') for folder in ('backbones', 'tiny/backbones')
        )
        assert (
            full['model_type'] == tiny['model_type']
            and full['network_g']['type'] == tiny['network_g']['type']
        )
        ours, theirs = (opt['datasets']['train'].get('degradation', []) for opt in (full, tiny))
        assert [list(o) for o in ours] == [list(o) for o in theirs]
        if name != 'pdm_degradation':
            data = full['datasets']['train']
            assert (
                data['num_frame'] == (1 if full['network_g']['type'] == 'ClipRRDBNet' else 15)
                and data['gt_size'] == 256
            )


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(n, marks=pytest.mark.slow if n in ('basicvsr', 'basicvsr_vq', 'realbasicvsr') else ())
        for n in TWINS
    ],
)
def test_the_tiny_twin_trains_two_iterations(name, tmp_path, monkeypatch):
    monkeypatch.chdir(REPO)
    text = yaml.safe_dump(read_options(REPO / f'options/tiny/backbones/{name}.yml'))
    if 'experiments/tiny_pdm_degradation' in text:
        torch.save(dict(params=ProbabilisticDegradation(num_feat=8).state_dict()), tmp_path / 'pdm.pth')
        text = text.replace(
            'experiments/tiny_pdm_degradation/models/net_g_latest.pth', str(tmp_path / 'pdm.pth')
        )
    opt = yaml.safe_load(text)
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1)
    if opt['datasets']['train'].get('num_frame', 1) > 2:
        opt['datasets']['train']['num_frame'] = 2
    data = build_dataset(dict(opt['datasets']['train'], scale=4, phase='train'))
    model = build_model(opt)
    before = copy.deepcopy(model.net_g.state_dict())
    for i in range(2):
        batch = torch.utils.data.default_collate([data[i]])
        model.feed_data(dict(batch, next=None))
        model.optimize_parameters(i + 1)
    losses = model.get_current_log()
    assert all(np.isfinite(value) for value in losses.values()) and ('l_g_gan' in losses) == (
        'gan_opt' in opt['train']
    )
    changed = [key for key, value in model.net_g.state_dict().items() if not torch.equal(value, before[key])]
    assert changed and model.output.shape[-1] == model.gt.shape[-1]


def model_of(kind, network, **train):
    opt = read_options(REPO / f'options/tiny/{"gan" if kind is RecurrentVSRGANModel else "net"}.yml')
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1, network_g=dict(network))
    opt['path']['pretrain_network_g'] = None
    opt['train'].update(train)
    opt['datasets']['train']['degrade_on'] = 'loader'
    return kind(opt)


@pytest.mark.parametrize(
    'name, kind',
    [
        ('basicvsr', RecurrentVSRModel),
        ('realbasicvsr', RecurrentVSRGANModel),
        ('rrdbnet', RecurrentVSRModel),
        ('rrdbnet', RecurrentVSRGANModel),
        pytest.param('basicvsr', RecurrentVSRGANModel, marks=pytest.mark.slow),
        pytest.param('realbasicvsr', RecurrentVSRModel, marks=pytest.mark.slow),
    ],
)
def test_trains_and_validates(name, kind):
    """With both models; the single-image one on clips of one frame."""
    frames = 1 if name == 'rrdbnet' else 2
    cleaning = dict(cleaning_opt=dict(type='L1Loss')) if name == 'realbasicvsr' else {}
    model = model_of(kind, NETWORKS[name], **cleaning)
    model.usm = None
    before = copy.deepcopy(model.net_g.state_dict())
    for i in range(2):
        sample = dict(lq=torch.rand(frames, 3, 64, 64), gt=torch.rand(frames, 3, 256, 256))
        model.feed_data({key: sample[key][None] for key in ('lq', 'gt')})
        model.optimize_parameters(i + 1)
    trained = [key for key, value in model.net_g.state_dict().items() if not torch.equal(value, before[key])]
    assert any('spynet' not in key for key in trained) and (
        name != 'realbasicvsr' or any('cleaning' in key for key in trained)
    )
    val = [dict(lq=lq, gt=gt) for lq, gt in zip(sample['lq'], sample['gt'])]
    model.net_g.eval()
    with torch.no_grad():
        value = model._validate_clip(
            model.net_g, val, {'psnr': dict(type='calculate_psnr_pt', crop_border=0)}, None, 1
        )
        expected = (model.net_g(sample['lq'][None])[0].clamp(0, 1) * 255).round() / 255
    mse = F.mse_loss(expected, sample['gt'], reduction='none').mean((1, 2, 3))
    assert value.item() == pytest.approx((-10 * mse.log10()).mean().item(), abs=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize('name', list(NETWORKS))
def test_learns_one_clip(name):
    """Overfitted on one clip of a drawing, the pixel loss falls by more than a third: gradients reach what
    they should.
    """
    torch.manual_seed(0)
    frames = 1 if name == 'rrdbnet' else 2
    model = model_of(
        RecurrentVSRModel, NETWORKS[name], optim_g=dict(type='Adam', lr=2e-3), warmup_iter=-1, gt_usm=None
    )
    gt = torch.from_numpy(moving_frames(frames, 256, 256)).permute(0, 3, 1, 2)[None] / 255
    lq = F.interpolate(gt[0], scale_factor=0.25, mode='area')[None]
    losses = []
    for i in range(12):
        model.feed_data(dict(lq=lq, gt=gt))
        model.optimize_parameters(i + 1)
        losses.append(model.get_current_log()['l_pix'])
    assert np.mean(losses[-2:]) < 0.66 * losses[0], losses


def test_realbasicvsr_is_basicvsr_of_the_cleaned_frames(device):
    """Its forward pass, put together from BasicSR's own network and the cleaning module by hand."""
    from basicsr.archs.basicvsr_arch import BasicVSR

    torch.manual_seed(0)
    net = RealBasicVSR(num_feat=8, num_block=2, num_cleaning_block=2).to(device).eval()
    plain = BasicVSR(8, 2).to(device).eval()
    plain.load_state_dict(net.basicvsr.state_dict())
    clip = torch.rand(1, 3, 3, 64, 72, device=device)
    with torch.no_grad():
        cleaned = clip + net.cleaning(clip[0])[None]
        assert torch.allclose(net(clip), plain(cleaned), atol=1e-4)


def test_pdm_is_a_convolution_and_noise(device):
    """Its forward pass by loops: each output pixel is the kernel over its window, the edges repeated, plus
    the noise; kernel and noise from the parameters, by hand."""
    torch.manual_seed(0)
    net = ProbabilisticDegradation(scale=4, kernel_size=6, num_feat=8).to(device).eval()
    x = torch.rand(1, 3, 8, 12, device=device)
    z_kernel, z_noise = (z.to(device) for z in net.draw(1, 8, 12))
    with torch.no_grad():
        out, state, logits, noise = net(x, z_kernel, z_noise), net.state_dict(), z_kernel, z_noise
        for i in (0, 2, 4):
            logits = F.linear(logits, state[f'kernel.{i}.weight'], state[f'kernel.{i}.bias'])
            noise = F.conv2d(noise, state[f'noise.{i}.weight'], state[f'noise.{i}.bias'], padding=1)
            logits, noise = (logits, noise) if i == 4 else (logits.clamp_min(0), noise.clamp_min(0))
        kernel = (logits.exp() / logits.exp().sum()).view(6, 6)
        kernel = (kernel + kernel.flip(0, 1)) / 2
        padded = F.pad(x, (1, 1, 1, 1), mode='replicate')[0]
        for i in range(2):
            for j in range(3):
                window = padded[:, 4 * i : 4 * i + 6, 4 * j : 4 * j + 6]
                expected = (window * kernel).sum((1, 2)) + noise[0, :, i, j]
                assert torch.allclose(out[0, :, i, j], expected, atol=1e-5)


def test_the_optical_flow_has_its_own_learning_rate_and_begins_later():
    model = model_of(RecurrentVSRModel, NETWORKS['basicvsr'], flow_lr_mul=0.125, fix_flow=1, gt_usm=None)
    flow = {id(p) for name, p in model.net_g.named_parameters() if 'spynet' in name}
    rates = {
        group['initial_lr']: {id(p) for p in group['params']} for group in model.optimizer_g.param_groups
    }
    base = model.opt['train']['optim_g']['lr']
    assert rates[0.125 * base] == flow and not rates[base] & flow
    before = copy.deepcopy(model.net_g.state_dict())
    for i in range(2):
        model.feed_data(dict(lq=torch.rand(1, 2, 3, 64, 64), gt=torch.rand(1, 2, 3, 256, 256)))
        model.optimize_parameters(i + 1)
        changed = any(
            'spynet.basic' in k and not torch.equal(v, before[k]) for k, v in model.net_g.state_dict().items()
        )
        assert changed == (i == 1)
    with pytest.raises(ValueError, match='a ClipRRDBNet has no optical flow network'):
        model_of(RecurrentVSRModel, NETWORKS['rrdbnet'], fix_flow=1)


def test_a_perceptual_loss_of_random_weights_in_a_file_trains(tmp_path):
    """The whole way of the perceptual loss through a training, without a download: weights in torchvision's
    layout.
    """
    from animevsr.losses.perceptual_loss import vgg_features

    torch.manual_seed(0)
    torch.save(
        {f'features.{name}': tensor for name, tensor in vgg_features('vgg16').state_dict().items()},
        tmp_path / 'vgg16.pth',
    )
    perceptual = dict(
        type='VGGPerceptualLoss',
        vgg_type='vgg16',
        weights=str(tmp_path / 'vgg16.pth'),
        layer_weights={'conv2_2': 1.0},
    )
    model = model_of(
        RecurrentVSRModel,
        dict(type='MSRBVSR', num_feat=8, num_block=[1, 1, 1]),
        perceptual_opt=perceptual,
        pixel_opt=None,
        optim_g=dict(type='Adam', lr=2e-3),
        warmup_iter=-1,
        gt_usm=None,
    )
    gt = torch.from_numpy(moving_frames(2, 96, 96)).permute(0, 3, 1, 2)[None] / 255
    losses = []
    for i in range(10):
        model.feed_data(dict(lq=F.interpolate(gt[0], scale_factor=0.25, mode='area')[None], gt=gt))
        model.optimize_parameters(i + 1)
        losses.append(model.get_current_log()['l_percep'])
    assert losses[-1] < 0.9 * losses[0]


def test_sharpened_targets_need_not_be_what_the_discriminator_sees():
    """Real-ESRGAN: pixel and perceptual loss see sharpened frames, the discriminator the frames as they
    are.
    """
    model = model_of(RecurrentVSRGANModel, NETWORKS['rrdbnet'], gt_usm=dict(weight=0.5, radius=50, gan=False))
    gt = torch.zeros(1, 1, 3, 96, 96)
    gt[..., 48:] = 0.8
    model.feed_data(dict(lq=gt[..., ::4, ::4], gt=gt))
    assert torch.equal(model.gt, gt)
    assert model.cri_pix(gt, gt).item() > 1e-3  # the frame is not its own target


def test_the_cleaning_loss_is_added():
    cleaning = dict(cleaning_opt=dict(type='L1Loss', loss_weight=2.0), ema_decay=0)
    model = model_of(RecurrentVSRModel, NETWORKS['realbasicvsr'], **cleaning)
    lq, gt = torch.rand(1, 2, 3, 64, 64), torch.rand(1, 2, 3, 256, 256)
    out = model.net_g(lq)
    small = F.avg_pool2d(gt[0], 4)[None]
    expected = F.l1_loss(out, gt) + 2 * F.l1_loss(model.net_g.cleaned, small)
    assert model.cri_pix(out, gt).item() == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(
        ValueError,
        match='cleaning_opt: needs pixel_opt and a network that cleans its frames, not a ClipBasicVSR',
    ):
        model_of(RecurrentVSRModel, NETWORKS['basicvsr'], **cleaning)
