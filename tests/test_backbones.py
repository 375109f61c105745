"""The other backbones on clips: their sizes, their frames, their training."""
import copy

import pytest
import torch
import yaml
from basicsr.archs.rrdbnet_arch import RRDBNet
from conftest import REPO
from torch.nn import functional as F

from animevsr.archs.backbones_arch import ClipRRDBNet, RealBasicVSR
from animevsr.models.recurrent_vsr_gan_model import RecurrentVSRGANModel
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel

NETWORKS = {'rrdbnet': dict(type='ClipRRDBNet', num_in_ch=3, num_out_ch=3, num_feat=8, num_block=1, num_grow_ch=4),
            'basicvsr': dict(type='BasicVSR', num_feat=8, num_block=1),
            'realbasicvsr': dict(type='RealBasicVSR', num_feat=8, num_block=1, num_cleaning_block=1)}


def test_sizes_are_those_of_table_1():
    """VQD-SR, table 1, in millions."""
    with torch.device('meta'):
        sizes = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (ClipRRDBNet(3, 3), RealBasicVSR())]
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
    for wrong in (clip[:, :1], clip[..., :40]):
        with pytest.raises(ValueError, match='needs two frames of 64x64 pixels at least'):
            net(wrong)


def model_of(kind, network, **train):
    opt = yaml.safe_load((REPO / f'options/tiny/{"gan" if kind is RecurrentVSRGANModel else "net"}.yml').read_text())
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1, network_g=dict(network))
    opt['path']['pretrain_network_g'] = None
    opt['train'].update(train)
    opt['datasets']['train']['degrade_on'] = 'loader'
    return kind(opt)


@pytest.mark.parametrize('kind', [RecurrentVSRModel, RecurrentVSRGANModel])
@pytest.mark.parametrize('name', list(NETWORKS))
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
    assert any('spynet' not in key for key in trained) and (name != 'realbasicvsr' or any('cleaning' in key for key in trained))
    val = dict(lq=sample['lq'], gt=sample['gt'], key='clip')
    model.net_g.eval()
    with torch.no_grad():
        value = model._validate_clip(model.net_g, val, {'psnr': dict(type='calculate_psnr_pt', crop_border=0)}, None, 1)
        expected = (model.net_g(sample['lq'][None])[0].clamp(0, 1) * 255).round() / 255
    mse = F.mse_loss(expected, sample['gt'], reduction='none').mean((1, 2, 3))
    assert value.item() == pytest.approx((-10 * mse.log10()).mean().item(), abs=1e-2)


def test_the_cleaning_loss_is_added():
    cleaning = dict(cleaning_opt=dict(type='L1Loss', loss_weight=2.0), ema_decay=0)
    model = model_of(RecurrentVSRModel, NETWORKS['realbasicvsr'], **cleaning)
    lq, gt = torch.rand(1, 2, 3, 64, 64), torch.rand(1, 2, 3, 256, 256)
    out = model.net_g(lq)
    small = F.avg_pool2d(gt[0], 4)[None]
    expected = F.l1_loss(out, gt) + 2 * F.l1_loss(model.net_g.cleaned, small)
    assert model.cri_pix(out, gt).item() == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(ValueError, match='cleaning_opt: needs pixel_opt and a network that cleans its frames, not a BasicVSR'):
        model_of(RecurrentVSRModel, NETWORKS['basicvsr'], **cleaning)
