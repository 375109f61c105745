"""Released weights of compared methods, under their own names and shapes, load and compute."""

import pytest
import torch
from torch.nn import functional as F

import animevsr
from animevsr.archs.backbones_arch import ClipBasicVSR, ClipRRDBNet, RealBasicVSR
from animevsr.utils.checkpoint import load_weights


def convolution(name, in_ch, out_ch, size=3):
    return {
        f'{name}.weight': torch.randn(out_ch, in_ch, size, size) * 0.05,
        f'{name}.bias': torch.randn(out_ch) * 0.05,
    }


def trunk(name, in_ch, width, blocks):
    """MMEditing's `ResidualBlocksWithInputConv`."""
    state = convolution(f'{name}.main.0', in_ch, width)
    for i in range(blocks):
        for conv in ('conv1', 'conv2'):
            state |= convolution(f'{name}.main.2.{i}.{conv}', width, width)
    return state


def basicvsr(prefix='', width=64, blocks=20):
    """MMEditing's `BasicVSRNet`: names and shapes as its code builds them."""
    state = {f'{prefix}spynet.{name}': torch.full((1, 3, 1, 1), 0.5) for name in ('mean', 'std')}
    for level in range(6):
        for i, (a, b) in enumerate(((8, 32), (32, 64), (64, 32), (32, 16), (16, 2))):
            state |= convolution(f'{prefix}spynet.basic_module.{level}.basic_module.{i}.conv', a, b, 7)
    state |= trunk(f'{prefix}backward_resblocks', width + 3, width, blocks) | trunk(
        f'{prefix}forward_resblocks', width + 3, width, blocks
    )
    state |= convolution(f'{prefix}fusion', 2 * width, width, 1)
    state |= convolution(f'{prefix}upsample1.upsample_conv', width, 4 * width) | convolution(
        f'{prefix}upsample2.upsample_conv', width, 256
    )
    return state | convolution(f'{prefix}conv_hr', 64, 64) | convolution(f'{prefix}conv_last', 64, 3)


def realbasicvsr(width=64, blocks=20, cleanings=20):
    """RealBasicVSR_x4.pth: two generators and a counter."""
    state = {}
    for generator in ('generator', 'generator_ema'):
        net = trunk('image_cleaning.0', 3, width, cleanings) | convolution('image_cleaning.1', width, 3)
        net |= basicvsr('basicvsr.', width, blocks)
        state |= {f'{generator}.{name}': tensor for name, tensor in net.items()}
    return {**state, 'step_counter': torch.zeros(1)}


def esrgan(width=64, grow=32, blocks=23):
    """BSRGAN.pth, and PDM's super-resolution network: ESRGAN's second naming."""
    state = convolution('conv_first', 3, width)
    for i in range(blocks):
        for j in (1, 2, 3):
            for k in range(5):
                state |= convolution(
                    f'RRDB_trunk.{i}.RDB{j}.conv{k + 1}', width + k * grow, grow if k < 4 else width
                )
    for name in ('trunk_conv', 'upconv1', 'upconv2', 'HRconv'):
        state |= convolution(name, width, width)
    return state | convolution('conv_last', width, 3)


def test_sizes_are_those_of_the_released_files():
    one = {
        name: tensor
        for name, tensor in realbasicvsr().items()
        if name.startswith('generator.') and not name.endswith(('mean', 'std'))
    }
    count = {
        name: sum(tensor.numel() for tensor in state.values())
        for name, state in (('realbasicvsr', one), ('esrgan', esrgan()))
    }
    # VQD-SR, table 1
    assert count == dict(realbasicvsr=pytest.approx(6.29e6, abs=5e3), esrgan=pytest.approx(16.70e6, abs=5e3))


def test_realbasicvsr(tmp_path):
    state = realbasicvsr(8, 2, 3)
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'w.pth')
    net = animevsr.load_network(tmp_path / 'w.pth')
    assert isinstance(net, RealBasicVSR)
    ours = net.state_dict()
    for theirs, mine in (
        ('image_cleaning.0.main.0.weight', 'cleaning.0.weight'),
        ('image_cleaning.0.main.2.2.conv2.bias', 'cleaning.2.2.conv2.bias'),
        ('image_cleaning.1.weight', 'cleaning.3.weight'),
        ('basicvsr.upsample2.upsample_conv.bias', 'basicvsr.upconv2.bias'),
        ('basicvsr.forward_resblocks.main.2.1.conv1.weight', 'basicvsr.forward_trunk.main.2.1.conv1.weight'),
        (
            'basicvsr.spynet.basic_module.5.basic_module.4.conv.weight',
            'basicvsr.spynet.basic_module.5.basic_module.8.weight',
        ),
    ):
        assert torch.equal(state[f'generator_ema.{theirs}'], ours[mine]), theirs
    # the part that needs no optical flow, by hand
    x = torch.rand(1, 1, 3, 64, 64)
    prefix = 'generator_ema.image_cleaning.'
    p = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    features = F.leaky_relu(F.conv2d(x[0], p['0.main.0.weight'], p['0.main.0.bias'], padding=1), 0.1)
    for i in range(3):
        inner = F.relu(
            F.conv2d(features, p[f'0.main.2.{i}.conv1.weight'], p[f'0.main.2.{i}.conv1.bias'], padding=1)
        )
        features = features + F.conv2d(
            inner, p[f'0.main.2.{i}.conv2.weight'], p[f'0.main.2.{i}.conv2.bias'], padding=1
        )
    expected = x[0] + F.conv2d(features, p['1.weight'], p['1.bias'], padding=1)
    with torch.no_grad():
        assert net(x).shape == (1, 1, 3, 256, 256)
    assert torch.allclose(net.cleaned[0], expected, atol=1e-5)
    # the training's last parameters where those are asked for
    fresh = RealBasicVSR(8, 2, 3)
    load_weights(fresh, tmp_path / 'w.pth', prefer='params')
    assert torch.equal(fresh.cleaning[3].weight, state['generator.image_cleaning.1.weight'])


def test_basicvsr(tmp_path):
    torch.save(
        dict(state_dict={f'generator.{n}': t for n, t in basicvsr('', 8, 2).items()}), tmp_path / 'w.pth'
    )
    net = animevsr.load_network(tmp_path / 'w.pth')
    assert isinstance(net, ClipBasicVSR) and net(torch.rand(1, 2, 3, 64, 64)).shape == (1, 2, 3, 256, 256)


def test_bsrgan_and_pdm(tmp_path):
    state = esrgan(64, 32, 1)
    torch.save(state, tmp_path / 'BSRGAN.pth')
    net = ClipRRDBNet(3, 3, 4, 64, 1, 32)
    assert load_weights(net, tmp_path / 'BSRGAN.pth') == {}
    assert torch.equal(net.body[0].rdb3.conv5.weight, state['RRDB_trunk.0.RDB3.conv5.weight'])
    assert torch.equal(net.conv_up2.bias, state['upconv2.bias']) and torch.equal(
        net.conv_hr.weight, state['HRconv.weight']
    )
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(
            animevsr.archs.loading.load_upscaler(tmp_path / 'BSRGAN.pth').image(x),
            net.eval()(x).clamp(0, 1),
            atol=1e-4,
        )


def test_what_fits_is_loaded_where_that_is_asked_for(tmp_path):
    """BasicSR's strict_load_g: false: other shapes start fresh."""
    torch.save(dict(params=ClipRRDBNet(3, 3, 4, 16, 1, 8).state_dict()), tmp_path / 'w.pth')
    wider = ClipRRDBNet(3, 3, 4, 16, 2, 8)
    fresh = load_weights(wider, tmp_path / 'w.pth', strict=False)
    assert fresh == {'body': 30}
    assert torch.equal(
        wider.conv_hr.weight, torch.load(tmp_path / 'w.pth', weights_only=True)['params']['conv_hr.weight']
    )
