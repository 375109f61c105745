"""The checkpoint loader: what it recognises, and what it refuses."""

import io
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from conftest import golden

import animevsr
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.errors import CheckpointError
from animevsr.utils import safe_unpickler
from animevsr.utils.checkpoint import load_weights, read_state_dict


@pytest.mark.parametrize(
    'arguments',
    [
        dict(num_feat=64, num_block=(5, 3, 2), scale=4, sr_feedback=True),
        dict(num_feat=8, num_block=(3, 2, 1), scale=2, sr_feedback=False),
        dict(num_feat=16, num_block=(2, 2, 2), scale=3, sr_feedback=True),
        dict(num_feat=8, num_block=(3, 2, 2), scale=4, sr_feedback=False, fusion_factor=1.0),
    ],
)
@pytest.mark.parametrize(
    'wrap',
    [
        lambda s: s,
        lambda s: {'params': s},
        lambda s: {'params': {}, 'params_ema': s},
        lambda s: {'state_dict': {f'module.{k}': v for k, v in s.items()}, 'epoch': 3},
    ],
)
def test_recognises_the_network(arguments, wrap, tmp_path, device):
    net = MSRBVSR(**arguments)
    torch.save(wrap(net.state_dict()), tmp_path / 'w.pth')
    loaded = animevsr.load_network(tmp_path / 'w.pth', device)
    assert not loaded.training
    assert next(loaded.parameters()).device.type == device
    assert (loaded.num_feat, loaded.scale, loaded.sr_feedback) == tuple(
        arguments[k] for k in ('num_feat', 'scale', 'sr_feedback')
    )
    for name, value in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[name].cpu(), value)


@pytest.mark.parametrize('name', ['animesr_vsr', 'vqdsr_vsr'])
def test_published_layer_names(name, tmp_path):
    _, state, clip, expected = golden(name)
    torch.save(state, tmp_path / 'published.pth')
    with torch.no_grad():
        assert (animevsr.load_network(tmp_path / 'published.pth')(clip) - expected).abs().max() < 1e-5


def test_prefers_averaged_weights(tmp_path):
    last, averaged = MSRBVSR(num_feat=8).state_dict(), MSRBVSR(num_feat=8).state_dict()
    torch.save({'params': last, 'params_ema': averaged}, tmp_path / 'w.pth')
    name = 'recurrent_cell.fusion.0.weight'
    assert torch.equal(animevsr.load_network(tmp_path / 'w.pth').state_dict()[name], averaged[name])


class Malicious:
    def __reduce__(self):
        return exec, ("open('executed', 'w')",)


def bad_files(tmp_path):
    good = tmp_path / 'good.pth'
    state = MSRBVSR(num_feat=8).state_dict()
    torch.save(state, good)
    whole = good.read_bytes()
    files = {
        'truncated': whole[: len(whole) // 2],
        'header only': whole[:200],
        'empty': b'',
        'text': b'not a checkpoint at all\n' * 50,
        'picture': b'\x89PNG\r\n\x1a\n' + bytes(200),
        'plain pickle of code': pickle.dumps(Malicious(), 2),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    objects = {
        'zip with code': {'params': state, 'extra': Malicious()},
        'foreign network': {'conv.weight': torch.zeros(3)},
        'a list': [1, 2],
        'no tensors': {'params': {'a': 1}},
        'names that are numbers': {1: torch.zeros(2)},
        'a last layer too small': {**state, 'recurrent_cell.fusion.2.weight': torch.zeros(2, 8, 3, 3)},
        'a layer without size': {**state, 'recurrent_cell.fusion.2.weight': torch.tensor(1.0)},
        'a layer missing': {k: v for k, v in state.items() if 'fusion.0.bias' not in k},
        'a block missing': {k: v for k, v in state.items() if 'body_s4_first' not in k},
        'another shape': {**state, 'recurrent_cell.fusion.0.bias': torch.zeros(3)},
    }
    for name, content in objects.items():
        torch.save(content, tmp_path / name)
    return [*files, *objects]


def test_refuses_bad_files_with_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [*bad_files(tmp_path), 'missing']:
        with pytest.raises(CheckpointError) as caught:
            animevsr.load_network(tmp_path / name)
        assert name in str(caught.value), name
        assert len(str(caught.value).splitlines()) == 1, name
        assert ('could run code' in str(caught.value)) == ('code' in name), (name, caught.value)
    assert not (tmp_path / 'executed').exists()


def lightning_file(path, extra=None):
    """VQD-SR's checkpoint layout: the network under a prefix, losses and the trainer's objects beside it, a
    callback's class as a key.
    """
    module, callbacks = (
        types.ModuleType(name) for name in ('pytorch_lightning', 'pytorch_lightning.callbacks')
    )
    callbacks.ModelCheckpoint = type('ModelCheckpoint', (), {'__module__': callbacks.__name__})
    _, state, _, _ = golden('multiscale_vqgan')
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    sys.modules.update({m.__name__: m for m in (module, callbacks)})
    try:
        torch.save(
            {
                'epoch': 3,
                'global_step': 7,
                'callbacks': {callbacks.ModelCheckpoint: {'best': torch.tensor(1.0)}},
                'hyper_parameters': callbacks.ModelCheckpoint(),
                'optimizer_states': [optimizer.state_dict()],
                'extra': extra,
                'state_dict': {
                    **state,
                    'loss.logvar': torch.ones(()),
                    'loss.discriminator.main.0.weight': torch.ones(2),
                },
            },
            path,
        )
    finally:
        for m in (module, callbacks):
            del sys.modules[m.__name__]


def test_published_vqgan_checkpoint(tmp_path):
    lightning_file(tmp_path / 'pretrain_mul_vqgan.ckpt')
    net = animevsr.load_network(tmp_path / 'pretrain_mul_vqgan.ckpt')
    _, _, x, expected = golden('multiscale_vqgan')
    with torch.no_grad():
        assert (net(x)[0] - expected['nearest']).abs().max() < 1e-4
    # saved anew, the names no longer say that the output has no activation
    torch.save(net.state_dict(), tmp_path / 'anew.pth')
    with torch.no_grad():
        again = animevsr.load_network(tmp_path / 'anew.pth', legacy_no_output_act=True)(x)[0]
        assert torch.equal(again, net(x)[0])


@pytest.mark.parametrize('zipped', [True, False])
def test_code_beside_a_trainers_objects_is_refused(zipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save = torch.save
    monkeypatch.setattr(torch, 'save', lambda *a: save(*a, _use_new_zipfile_serialization=zipped))
    lightning_file(tmp_path / 'bad.ckpt', extra=Malicious())
    with pytest.raises(CheckpointError, match='could run code'):
        animevsr.load_network(tmp_path / 'bad.ckpt')
    lightning_file(tmp_path / 'good.ckpt')
    assert animevsr.load_network(tmp_path / 'good.ckpt').legacy_no_output_act
    assert not (tmp_path / 'executed').exists()


def test_weights_for_another_network_say_what_differs(tmp_path):
    torch.save(MSRBVSR(num_feat=16).state_dict(), tmp_path / 'w.pth')
    with pytest.raises(
        CheckpointError,
        match=r'w.pth: not the weights of this MSRBVSR: it has \S+ \(.*tensors do not fit, 0 are missing',
    ):
        load_weights(MSRBVSR(num_feat=8), tmp_path / 'w.pth')
    state = MSRBVSR(num_feat=8).state_dict()
    state.pop('recurrent_cell.fusion.2.bias')
    torch.save(state, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match='lacks recurrent_cell.fusion.2.bias'):
        load_weights(MSRBVSR(num_feat=8), tmp_path / 'part.pth')
    assert load_weights(MSRBVSR(num_feat=8), tmp_path / 'part.pth', strict=False) == {'recurrent_cell': 1}


def test_a_checkpoint_cannot_change_torch(tmp_path):
    from io import BytesIO

    # GLOBAL torch._utils _rebuild_tensor_v2, a dict {'__name__': 'changed'}, BUILD, STOP
    data = b"ctorch._utils\n_rebuild_tensor_v2\n(dS'__name__'\nS'changed'\nsb."
    found = safe_unpickler.load(BytesIO(data))
    assert torch._utils._rebuild_tensor_v2.__name__ == '_rebuild_tensor_v2' and not hasattr(found, '__name__')
    assert safe_unpickler.Rebuild(len)('abc') == 3


def test_settings_are_compared_on_any_device(tmp_path, device):
    """A GPU's network and a file that is read to main memory: what is no weight must still be the same."""
    sizes = dict(ch=8, ch_mult=[1, 1, 2, 2, 2], num_res_blocks=1, embed_dim=8, n_embed=16, norm_groups=4)
    torch.save(dict(params=MultiScaleVQGAN(**sizes, branches=['top']).state_dict()), tmp_path / 'w.pth')
    net = MultiScaleVQGAN(**sizes).to(device)
    assert load_weights(net, tmp_path / 'w.pth', prefer='params', strict=False)
    with pytest.raises(CheckpointError, match='norm_groups'):
        load_weights(
            MultiScaleVQGAN(**dict(sizes, norm_groups=2)).to(device), tmp_path / 'w.pth', strict=False
        )


def test_bytes_of_any_kind_are_one_line(tmp_path):
    rng, file = np.random.default_rng(0), tmp_path / 'x.pth'
    real = io.BytesIO()
    torch.save(dict(params={'a': torch.ones(3)}), real, _use_new_zipfile_serialization=False)
    contents = [b'junk', b'', *(rng.bytes(int(rng.integers(1, 99))) for _ in range(100))]
    contents += [real.getvalue()[:size] for size in range(0, len(real.getvalue()), 7)]
    for content in contents:
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match='x.pth: '):
            read_state_dict(file)
