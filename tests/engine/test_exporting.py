"""The network as a file for others."""

import json

import pytest
import torch
from small_networks import network

import animevsr


@pytest.mark.parametrize('feedback', [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize('suffix', ['.onnx', '.param', '.pt', '.safetensors'])
def test_export(suffix, feedback, tmp_path):
    weights = tmp_path / 'net.pth'
    torch.save(dict(params=network(feedback).state_dict()), weights)
    done = animevsr.export(weights, tmp_path / f'step{suffix}')
    assert done.path.is_file() and done.difference < 2e-5
    channels = '8,48' if feedback else '8'
    if suffix == '.onnx':
        import onnx

        model = onnx.load(done.path)
        meta = {p.key: p.value for p in model.metadata_props}
        assert [i.name for i in model.graph.input][:3] == ['prev', 'cur', 'next']
    elif suffix == '.param':
        meta = json.loads((tmp_path / 'step.json').read_text())
        assert (tmp_path / 'step.bin').is_file()
    elif suffix == '.pt':
        extra = {'metadata.json': ''}
        torch.jit.load(str(done.path), _extra_files=extra)
        meta = json.loads(extra['metadata.json'])
    else:
        from safetensors import safe_open

        with safe_open(done.path, 'pt') as file:
            meta = file.metadata()
    assert (
        meta['scale'] == '4' and meta['state_channels'] == channels and 'multiple' in meta and 'range' in meta
    )
    assert not list(tmp_path.glob('.export*'))


def test_files_of_others_beside_it_stay(tmp_path):
    weights = tmp_path / 'net.pth'
    torch.save(dict(params=network().state_dict()), weights)
    (tmp_path / 'step.json').write_text('mine')
    with pytest.raises(animevsr.errors.MediaError, match='step.json: is there, and step.param'):
        animevsr.export(weights, tmp_path / 'step.param')
    assert (tmp_path / 'step.json').read_text() == 'mine' and len(list(tmp_path.iterdir())) == 2
