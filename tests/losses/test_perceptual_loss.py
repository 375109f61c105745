"""The perceptual loss: its layers, its value, and that it never runs on random weights."""

import types
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torchvision.models import get_model

from animevsr.errors import CheckpointError
from animevsr.losses.perceptual_loss import LPIPSLoss, VGGPerceptualLoss, layer_places, vgg_features


@pytest.fixture(scope='module')
def vgg(tmp_path_factory):
    torch.manual_seed(0)
    net = torch.nn.ModuleDict(dict(features=vgg_features('vgg16')))
    path = tmp_path_factory.mktemp('vgg') / 'vgg16.pth'
    torch.save(net.state_dict(), path)
    return net, path


def test_places_are_convolutions():
    for kind in ('vgg16', 'vgg19'):
        with torch.device('meta'):
            features = get_model(kind, weights=None).features
        convolutions = [i for i, layer in enumerate(features) if isinstance(layer, torch.nn.Conv2d)]
        assert list(layer_places(kind).values()) == convolutions


def test_value_and_gradient(vgg, device):
    net, path = vgg
    loss = VGGPerceptualLoss({'conv1_2': 0.1, 'conv3_3': 1}, 'vgg16', path, loss_weight=2).to(device)
    x, gt = (torch.rand(1, 3, 24, 24, device=device) for _ in range(2))
    x.requires_grad_()
    value, style = loss(x, gt)
    value.backward()
    assert style is None and x.grad.abs().sum() > 0 and not any(p.requires_grad for p in loss.parameters())
    mean, std = (
        torch.tensor(v, device=device).view(1, 3, 1, 1)
        for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    net = net.to(device)
    with torch.no_grad():
        a, b = ([net['features'][:n]((y - mean) / std) for n in (3, 15)] for y in (x, gt))
        expected = 2 * (0.1 * F.l1_loss(a[0], b[0]) + F.l1_loss(a[1], b[1]))
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss(gt, gt)[0].item() == 0


def test_lpips_by_its_definition(vgg, device):
    """Mean over places of the heads' weights times the squared differences of unit-length features, summed
    over five layers.
    """
    import lpips

    net, path = vgg
    loss = LPIPSLoss(path, loss_weight=2).to(device)
    x, gt = (torch.rand(2, 3, 32, 40, device=device) for _ in range(2))
    x.requires_grad_()
    value, style = loss(x, gt)
    value.backward()
    assert style is None and x.grad.abs().sum() > 0 and not any(p.requires_grad for p in loss.parameters())
    heads = torch.load(
        Path(lpips.__file__).parent / 'weights/v0.1/vgg.pth', map_location=device, weights_only=True
    )
    mean, std = (
        torch.tensor(v, device=device).view(1, 3, 1, 1)
        for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    features, expected = net.to(device)['features'], 0
    with torch.no_grad():
        for i, at in enumerate((4, 9, 16, 23, 30)):
            # the package's scaling is that of ImageNet for images in [-1, 1], to three digits
            a, b = (F.normalize(features[:at]((y - mean) / std), dim=1) for y in (x, gt))
            expected += ((a - b).square() * heads[f'lin{i}.model.1.weight']).sum(1).mean()
    assert value.item() == pytest.approx(2 * expected.item(), rel=0.01)
    assert loss(gt, gt)[0].item() == 0
    with pytest.raises(CheckpointError, match='no such weights file'):
        LPIPSLoss('gone.pth')


def test_features_are_basicsrs(tmp_path, monkeypatch):
    """The papers' layers of VGG19, and what BasicSR's extractor gives under their names: before their
    ReLU.
    """
    from basicsr.archs import vgg_arch

    torch.manual_seed(0)
    net = torch.nn.ModuleDict(dict(features=vgg_features('vgg19')))
    torch.save(net.state_dict(), tmp_path / 'vgg19.pth')
    layers = dict(conv1_2=0.1, conv2_2=0.1, conv3_4=1, conv4_4=1, conv5_4=1)
    x = torch.rand(1, 3, 48, 48)
    ours = VGGPerceptualLoss(layers, weights=tmp_path / 'vgg19.pth')._features(x)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        vgg_arch.vgg, 'vgg19', lambda pretrained: types.SimpleNamespace(features=net['features'])
    )
    theirs = vgg_arch.VGGFeatureExtractor(list(layers))(x)
    for name, mine in zip(layers, ours):
        assert torch.allclose(mine, theirs[name], atol=1e-6), name


def test_never_random(vgg, tmp_path, monkeypatch):
    monkeypatch.setattr(
        torch.hub, 'load_state_dict_from_url', lambda *a, **k: (_ for _ in ()).throw(OSError('no route'))
    )
    monkeypatch.setattr(
        'torchvision.models._api.load_state_dict_from_url',
        lambda *a, **k: (_ for _ in ()).throw(OSError('no route')),
    )
    with pytest.raises(CheckpointError) as caught:
        VGGPerceptualLoss()
    message = str(caught.value)
    for part in ('no route', 'vgg19-', 'checkpoints', 'weights: FILE', 'perceptual_opt: ~'):
        assert part in message
    assert len(message.splitlines()) == 1
    with pytest.raises(CheckpointError, match='not torchvision.s weights of vgg19'):
        VGGPerceptualLoss(weights=vgg[1])
    with pytest.raises(CheckpointError, match='no such weights file'):
        VGGPerceptualLoss(weights=tmp_path / 'gone.pth')


def test_wrong_options_are_named(vgg):
    with pytest.raises(ValueError, match='no layer conv3_4; its layers: conv1_1'):
        VGGPerceptualLoss({'conv3_4': 1}, 'vgg16', vgg[1])
    with pytest.raises(ValueError, match='vgg_type must be one of'):
        VGGPerceptualLoss(vgg_type='vgg11')


def test_checkpointing_gives_the_same_loss_and_gradients(vgg, device):
    x, gt = torch.rand(2, 3, 64, 64, device=device), torch.rand(2, 3, 64, 64, device=device)
    found = []
    for checkpointing in (False, True):
        criterion = VGGPerceptualLoss(
            dict(conv5_3=1, conv1_2=0.1, conv3_3=0.5), 'vgg16', vgg[1], checkpointing=checkpointing
        ).to(device)
        own = x.clone().requires_grad_()
        loss = criterion(own, gt)[0]
        loss.backward()
        found.append((loss.detach(), own.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.allclose(found[0][1], found[1][1], atol=1e-8)
