"""The backend that `auto` takes is the one that was measured to be the fastest; it is measured once."""

import json
from types import SimpleNamespace

import pytest
import torch
from small_networks import CPU, network

from animevsr.engine.backends import fastest, open_backend
from animevsr.engine.backends.fastest import FILE, sort_by_speed
from animevsr.engine.backends.torch_backend import TorchBackend
from animevsr.utils.resources import cache_folder


class Slowed(TorchBackend):
    """Its steps take a given time by a clock of their own: how busy the machine is plays no part."""

    clock = 0.0
    opened = 0

    def __init__(self, net, seconds):
        super().__init__(net, CPU)
        self.seconds = seconds
        Slowed.opened += 1

    def step(self, *arguments):
        Slowed.clock += self.seconds
        return super().step(*arguments)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('ANIMEVSR_CACHE', str(tmp_path))
    monkeypatch.setattr(fastest, 'SIZE', (48, 64))
    monkeypatch.setattr(fastest, 'time', SimpleNamespace(perf_counter=lambda: Slowed.clock))
    assert cache_folder() == tmp_path
    return tmp_path


def refuses():
    raise RuntimeError('no')


def test_measured_once_for_a_shape(cache):
    net, said = network(), []
    openers = {'a': lambda: Slowed(net, 0.2), 'b': lambda: Slowed(net, 0.0)}
    Slowed.opened = 0
    assert sort_by_speed(openers, ['torch'], net, 1, said.append) == ['b', 'a']
    assert Slowed.opened == 2 and 'measuring which backend is the fastest' in said[0]
    torch.manual_seed(5)
    other_weights = network()
    assert sort_by_speed(openers, ['torch'], other_weights, 1, said.append) == ['b', 'a']
    assert Slowed.opened == 2
    sort_by_speed(openers, ['torch'], net, 2)  # other threads
    sort_by_speed(openers, ['torch'], network(num_block=(3, 1, 1)), 1)  # another shape
    assert Slowed.opened == 6 and len(json.loads((cache / FILE).read_text())) == 3


def test_a_failure_is_not_remembered(cache):
    net = network()
    openers, said = {'a': lambda: Slowed(net, 0.1), 'c': refuses}, []
    assert sort_by_speed(openers, ['torch'], net, 1) == ['a']
    Slowed.opened = 0
    openers['c'] = lambda: Slowed(net, 0.0)
    assert sort_by_speed(openers, ['torch'], net, 1, said.append) == ['c', 'a']
    assert Slowed.opened == 1 and '(c)' in said[0]  # the other one is not measured again


def test_where_nothing_can_be_kept_it_is_measured_again(cache, monkeypatch):
    net = network()
    (cache / 'folder').write_text('no folder')
    monkeypatch.setenv('ANIMEVSR_CACHE', str(cache / 'folder'))
    assert sort_by_speed({'a': lambda: Slowed(net, 0.0)}, ['no such package'], net, 1) == ['a']


def test_a_damaged_note_is_made_anew(cache):
    (cache / FILE).write_text('{"x')
    net = network()
    assert sort_by_speed({'a': lambda: Slowed(net, 0.0)}, ['torch'], net, 1) == ['a']
    assert json.loads((cache / FILE).read_text())


def test_auto_takes_the_faster_one(cache, monkeypatch):
    pytest.importorskip('ncnn')
    pytest.importorskip('openvino')
    net = network()
    for best in ('openvino', 'ncnn'):
        order = [best, *({'openvino', 'ncnn'} - {best})]
        monkeypatch.setattr('animevsr.engine.backends.sort_by_speed', lambda *_, order=order: order)
        assert open_backend(net, CPU).kind == best


def test_why_a_backend_is_left_out_is_said(cache):
    """Also where its package is broken in a way of its own."""
    net, said = network(), []

    def breaks():
        raise TypeError('Descriptors cannot be created directly')

    openers = {'a': lambda: Slowed(net, 0.0), 'b': breaks, 'c': refuses}
    assert sort_by_speed(openers, ['torch'], net, 1, said.append) == ['a']
    assert said[1:] == [
        'backend b cannot run this network (Descriptors cannot be created directly)',
        'backend c cannot run this network (no)',
    ]
