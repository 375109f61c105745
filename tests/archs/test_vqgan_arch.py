"""The VQGAN and the discriminator against the published networks, and their contracts."""

import pytest
import torch
from conftest import TINY_VQGAN, golden
from torch.nn import functional as F

import animevsr
from animevsr.archs.discriminator_arch import MultiScalePatchDiscriminator
from animevsr.archs.vq_lookup import VectorQuantizer
from animevsr.archs.vqgan_arch import MultiScaleVQGAN

KS = {'nearest': (1, 1, 1), 'k1_1_k2_1_k3_9': (1, 1, 9), 'k1_1_k2_5_k3_40': (1, 5, 40)}


def published(name, **arguments):
    config, state, x, expected = golden(name)
    config = config['ddconfig']
    net = MultiScaleVQGAN(
        ch=config['ch'],
        ch_mult=config['ch_mult'],
        num_res_blocks=config['num_res_blocks'],
        embed_dim=config['embed_dim'],
        n_embed=config['n_embed'],
        beta=config['beta'],
        **arguments,
    )
    net.load_state_dict({key.removeprefix('endecoder.'): value for key, value in state.items()})
    return net.eval(), x, expected


def test_matches_the_published_multi_scale_network(device):
    net, x, expected = published('multiscale_vqgan', legacy_no_output_act=True)
    with torch.no_grad():
        for name, k in KS.items():
            assert (net.to(device)(x.to(device), k)[0].cpu() - expected[name]).abs().max() < (
                1e-4 if device == 'cpu' else 1e-2
            ), name
    # without the published quirk it is another function
    net.legacy_no_output_act = False
    with torch.no_grad():
        assert (net(x.to(device))[0].cpu() - expected['nearest']).abs().max() > 0.1


def test_matches_the_published_top_only_network(device):
    net, x, expected = published('top_vqgan', branches=('top',))
    with torch.no_grad():
        out, loss = net.to(device)(x.to(device))
    assert (out.cpu() - expected['output']).abs().max() < (1e-4 if device == 'cpu' else 1e-2)
    assert loss.item() == pytest.approx(expected['codebook_loss'].item(), rel=1e-4)
    # by term: with beta on the codebook the gradient of the entries is a quarter of that of VQ-VAE, that of
    # the vectors four times
    gradients = {}
    for beta_on in ('codebook', 'commitment'):
        other = published('top_vqgan', branches=('top',), beta_on=beta_on)[0].to(device)
        other(x.to(device))[1].backward()
        gradients[beta_on] = other.codebook.grad, other.conv_in.weight.grad
    (entries, encoder), (vqvae_entries, vqvae_encoder) = gradients['codebook'], gradients['commitment']
    assert torch.allclose(entries, 0.25 * vqvae_entries, rtol=1e-4, atol=1e-8)
    assert torch.allclose(encoder, 4 * vqvae_encoder, rtol=1e-3, atol=1e-6)
    net.legacy_no_output_act = True
    with torch.no_grad():
        assert (net(x.to(device))[0].cpu() - expected['output']).abs().max() > 0.1


def test_loss_is_the_mean_over_branches():
    net = MultiScaleVQGAN(**TINY_VQGAN)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    losses = net.quantize(net.encode(x))[1]
    assert len(losses) == 3 and net(x)[1].item() == pytest.approx(sum(losses).item() / 3, rel=1e-5)


def test_published_size():
    with torch.device('meta'):
        assert sum(p.numel() for p in MultiScaleVQGAN().parameters()) == 121_208_451


def test_k_per_sample_is_k_for_each():
    net, x, expected = published('multiscale_vqgan', legacy_no_output_act=True)
    x = torch.cat([x, x])
    with torch.no_grad():
        mixed = net(x, (1, [1, 1, 5, 5], torch.tensor([9, 9, 40, 40])))[0]
    assert (mixed[:2] - expected['k1_1_k2_1_k3_9']).abs().max() < 1e-4
    assert (mixed[2:] - expected['k1_1_k2_5_k3_40']).abs().max() < 1e-4


@pytest.mark.parametrize(
    'branches', [('top',), ('middle',), ('bottom',), ('top', 'bottom'), ('top', 'middle', 'bottom')]
)
@pytest.mark.parametrize('h, w', [(1, 1), (17, 30), (24, 8)])
def test_any_size_and_any_branches(branches, h, w, device):
    net = MultiScaleVQGAN(**TINY_VQGAN, branches=branches).to(device)
    x = torch.rand(2, 3, h, w, device=device) * 2 - 1
    out, loss = net(x)
    assert out.shape == x.shape and loss.shape == ()
    (out.sum() + loss).backward()
    assert all(p.grad is not None for p in net.parameters())
    factors = {'top': 8, 'middle': 4, 'bottom': 2}
    z = net.encode(x)
    assert tuple(z) == branches
    for name, vectors in z.items():
        assert vectors.shape[-2:] == ((-(-h // 8) * 8) // factors[name], (-(-w // 8) * 8) // factors[name])


def test_padding_does_not_change_whole_sizes():
    net = MultiScaleVQGAN(**TINY_VQGAN).eval()
    x = torch.rand(1, 3, 20, 12) * 2 - 1
    padded = torch.nn.functional.pad(x, (0, 4, 0, 4), mode='replicate')
    with torch.no_grad():
        assert torch.equal(net(x)[0], net(padded)[0][..., :20, :12])


def test_branches_share_one_codebook_and_shallow_features():
    names = [n for n, _ in MultiScaleVQGAN(**TINY_VQGAN).named_parameters()]
    assert [n for n in names if 'embedding' in n] == ['top.quantize.embedding.weight']
    assert not any(
        n.startswith(('mid.encode_0', 'mid.encode_1', 'mid.encode_2', 'bot.encode_0', 'bot.encode_1'))
        for n in names
    )


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(branches=('botom',)), 'branches'),
        (dict(branches=()), 'branches'),
        (dict(ch=9), 'norm_groups'),
        (dict(ch_mult=(1, 2)), 'ch_mult'),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiScaleVQGAN(**{**TINY_VQGAN, **arguments})


def test_k_beyond_the_codebook():
    with pytest.raises(ValueError, match=r'k must be in \[1, 64\].*got 65'):
        MultiScaleVQGAN(**TINY_VQGAN)(torch.zeros(1, 3, 8, 8), (1, 1, 65))


@pytest.mark.parametrize(
    'beta_on, of_codebook, of_commitment', [('codebook', 0.25, 1.0), ('commitment', 1.0, 0.25)]
)
def test_codebook_loss_by_term(beta_on, of_codebook, of_commitment):
    """Entries follow the vectors with one weight, vectors the entries with the other: eq. 4 as printed, or
    VQ-VAE. Gradients tell them apart, the value does not."""
    quantizer = VectorQuantizer(16, 4, beta=0.25, beta_on=beta_on)
    torch.nn.init.normal_(quantizer.embedding.weight)
    z = torch.randn(2, 4, 3, 5, requires_grad=True)
    quantized, loss, indices = quantizer(z)
    entries = quantizer.embedding.weight.detach()[indices].permute(0, 3, 1, 2)
    assert torch.allclose(quantized, entries, atol=1e-6)
    error = (z - entries).detach()
    assert loss.item() == pytest.approx(1.25 * error.square().mean().item(), rel=1e-5)
    of_z, of_entries = torch.autograd.grad(loss, [z, quantizer.embedding.weight])
    assert torch.allclose(of_z, of_commitment * 2 * error / error.numel(), atol=1e-7)
    expected = torch.zeros_like(entries.permute(0, 2, 3, 1).reshape(-1, 4)[:1].repeat(16, 1))
    expected.index_add_(
        0, indices.flatten(), -2 * of_codebook * error.permute(0, 2, 3, 1).reshape(-1, 4) / error.numel()
    )
    assert torch.allclose(of_entries, expected, atol=1e-7)
    upstream = torch.randn_like(quantized)
    z.grad = None
    quantizer(z)[0].backward(upstream)
    assert torch.equal(z.grad, upstream)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(),
        dict(branches=('top',)),
        dict(branches=('bottom',)),
        dict(branches=('middle',)),
        dict(norm_groups=4),
        dict(ch=64, norm_groups=32, ch_mult=(1, 1, 1, 1, 2), num_res_blocks=2),
    ],
)
def test_arguments_are_read_off_a_file(arguments, tmp_path):
    arguments = {**TINY_VQGAN, **arguments}
    net = MultiScaleVQGAN(**arguments)
    torch.save({'params': net.state_dict()}, tmp_path / 'w.pth')
    loaded = animevsr.load_network(tmp_path / 'w.pth')
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(x)[0], net.eval()(x)[0])


def test_discriminator_matches_the_published_one(device):
    config, state, x, expected = golden('multiscale_discriminator')
    net = (
        MultiScalePatchDiscriminator(num_feat=config['num_feat'], num_layers=config['num_layers'])
        .to(device)
        .eval()
    )
    net.load_state_dict(state)
    with torch.no_grad():
        scores = net(x.to(device))
    for i, score in enumerate(scores):
        right = expected[f'scale{i}']
        assert (score.cpu() - right).abs().max() / right.abs().max() < 1e-5


@pytest.mark.parametrize('num_layers, least', [((3, 3, 3), 96), ((3,), 24), ((2, 1), 12)])
def test_discriminator_takes_clips_and_names_its_least_size(num_layers, least):
    net = MultiScalePatchDiscriminator(num_feat=4, num_layers=num_layers).eval()
    clip = torch.rand(2, 3, 3, least, least + 2)
    with torch.no_grad():
        scores = net(clip)
        assert (
            all(torch.equal(a, b) for a, b in zip(scores, net(clip.flatten(0, 1))))
            and scores[-1].shape[0] == 6
        )
    assert scores.detach().shape == (sum(s.numel() for s in scores),) and not scores.detach().requires_grad
    with pytest.raises(ValueError, match=f'too small for this discriminator, which needs {least} pixels'):
        net(clip[..., :-1, :])


def test_discriminator_of_taming(device):
    """PatchGAN with batch normalisation: names and shapes of pix2pix's, weights from N(0, 0.02), and it
    learns.
    """
    torch.manual_seed(0)
    net = MultiScalePatchDiscriminator(num_feat=64, num_layers=[3], use_sn=False, use_bn=True).to(device)
    # CycleGAN's, with batch norm instead of biases
    assert sum(p.numel() for p in net.parameters()) == 2_764_737 + 896
    assert net.dis_list[0].model[5].weight.std().item() == pytest.approx(0.02, rel=0.02)
    x = torch.rand(4, 3, 48, 48, device=device)
    real, fake = x * 2 - 1, x.flip(1) * 2 - 1.2
    optimizer = torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.9))
    for _ in range(12):
        loss = (F.relu(1 - net(real)[0]).mean() + F.relu(1 + net(fake)[0]).mean()) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5  # 1 is undecided
    with pytest.raises(ValueError, match='exclude each other'):
        MultiScalePatchDiscriminator(use_sn=True, use_bn=True)
