"""A step by ncnn in tiles is the network's."""

import time

import pytest
import torch
from small_networks import CPU, network

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.backends import ncnn_backend, ncnn_tiles, open_backend
from animevsr.engine.backends.cache import make_example


def strengthened(net):
    """With blocks that count: what is missing at a seam would else be lost in what they leave as it is."""
    for name, module in net.named_modules():
        if name.endswith(('conv1', 'conv2')):
            module.weight.data *= 5
    return net


@pytest.mark.parametrize('feedback', [False, True])
@pytest.mark.parametrize('size', [(44, 60), (64, 36), (8, 72)])
def test_tiles_are_the_same(size, feedback, monkeypatch):
    """Tiles of 8 or 12 pixels against the network: equal also at their seams, whatever the threads."""
    net = strengthened(network(feedback))
    inputs = make_example(net, *size)
    monkeypatch.setattr(ncnn_backend, 'SMALL', 0)
    monkeypatch.setattr(ncnn_tiles, 'TILE', 12)
    backend = open_backend(strengthened(network(feedback)), CPU, 'ncnn', threads=3)
    windows, extract = [], backend.tiles._extract

    def note(given, *others):
        windows.append(next(iter(given.values())).shape[1:])
        extract(given, *others)

    monkeypatch.setattr(backend.tiles, '_extract', note)
    sr, state = backend.step(*inputs[:3], inputs[3:])
    in_tiles = [part for part in backend.tiles.passes if part.in_tiles]
    assert len(windows) == len(in_tiles) * round(size[0] / 12) * round(size[1] / 12) and len(in_tiles) > 1
    assert max(max(window) for window in windows) <= 16 + 2 * ncnn_tiles.AROUND
    with torch.no_grad():
        expected = net.core(*inputs)
    for ours, theirs in zip((sr, *state), expected):
        assert (ours - theirs).abs().max() < 2e-5
    alone = open_backend(strengthened(network(feedback)), CPU, 'ncnn', threads=1)
    as_bytes, again = alone.step(*inputs[:3], inputs[3:], as_bytes=True)
    assert all(torch.equal(a, b) for a, b in zip(again, state))
    assert torch.equal(as_bytes, (sr.clamp(0, 1) * 255).round().to(torch.uint8))


@pytest.mark.parametrize(
    'blocks',
    [
        (5, 3, 2),
        (1, 1, 1),
        *(pytest.param(b, marks=pytest.mark.slow) for b in ((3, 2, 2), (2, 2, 2), (4, 1, 1))),
    ],
)
def test_passes_for_any_number_of_blocks(blocks, monkeypatch):
    """Everything is computed by some pass from what is there, and no pass needs more around its tiles than it
    is given.
    """
    torch.manual_seed(0)
    net = strengthened(MSRBVSR(num_feat=8, num_block=blocks, fusion_factor=1)).eval()
    net.recurrent_cell.fusion[-1].weight.data *= 10
    inputs = make_example(net, 60, 44)
    monkeypatch.setattr(ncnn_backend, 'SMALL', 0)
    monkeypatch.setattr(ncnn_tiles, 'TILE', 16)
    backend = open_backend(net, CPU, 'ncnn', threads=2)
    there = {'in0', 'in1', 'in2', 'in3'}
    for part in backend.tiles.passes:
        assert there >= set(part.inputs)
        there |= set(part.outputs)
    with torch.no_grad():
        expected = net.core(*inputs)
    sr, state = backend.step(*inputs[:3], inputs[3:])
    for ours, theirs in zip((sr, *state), expected):
        assert (ours - theirs).abs().max() < 2e-5


def test_an_error_in_a_tile(monkeypatch):
    """It is raised when nothing goes on any more, and the next step is as good as any."""
    monkeypatch.setattr(ncnn_backend, 'SMALL', 0)
    monkeypatch.setattr(ncnn_tiles, 'TILE', 12)
    backend, inputs, calls = (
        open_backend(network(), CPU, 'ncnn', threads=2),
        make_example(network(), 44, 60),
        [],
    )
    expected = backend.step(*inputs[:3], inputs[3:])[0]
    extract = backend.tiles._extract

    def fails(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError('no more')
        extract(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(backend.tiles, '_extract', fails)
        with pytest.raises(MemoryError, match='no more'):
            backend.step(*inputs[:3], inputs[3:])
        count = len(calls)
        time.sleep(0.1)
        assert 3 <= len(calls) == count <= 20
    assert torch.equal(backend.step(*inputs[:3], inputs[3:])[0], expected)


def test_tiles_where_threads_help(monkeypatch):
    """Not of small frames, on any machine; a release in which threads wait is refused."""
    backend, inputs = open_backend(network(), CPU, 'ncnn', threads=2), make_example(network(), 44, 60)
    made = [x.numpy()[0] for x in inputs[:2]]
    for small, tiled in ((44 * 60 - 1, True), (44 * 60, False)):
        ran = []
        with monkeypatch.context() as patch:
            patch.setattr(ncnn_backend, 'SMALL', small)
            patch.setattr(ncnn_backend.os, 'cpu_count', lambda: 1000)
            patch.setattr(backend.tiles, 'run', lambda *a, ran=ran, **k: ran.append(1) or made)
            backend.step(*inputs[:3], inputs[3:])
        assert bool(ran) == tiled
    monkeypatch.setattr(ncnn_backend, 'OLDEST', (1, 1, 0))
    with pytest.raises(ValueError, match='ncnn .* is too old; run: pip install -U ncnn'):
        open_backend(network(), CPU, 'ncnn', threads=2)


def test_what_is_not_known_is_run_as_a_whole(monkeypatch):
    with pytest.raises(ValueError, match='layers of the kind Unheard are not known here'):
        ncnn_tiles.Description('7767517\n2 2\nInput in0 0 1 in0\nUnheard one 1 1 in0 out0')
    shrinking = 'Input in0 0 1 in0\nInterp up 1 1 in0 out0 0=2 3=64 4=80'
    with pytest.raises(KeyError):
        ncnn_tiles.Description(f'7767517\n2 2\n{shrinking}')
    monkeypatch.setattr(ncnn_tiles, 'SAME_SIZE', ())
    backend = open_backend(network(), CPU, 'ncnn', threads=1)
    assert backend.tiles is None
    inputs = make_example(network(), 44, 60)
    monkeypatch.setattr(ncnn_backend, 'SMALL', 0)
    with torch.no_grad():
        assert (backend.step(*inputs[:3], inputs[3:])[0] - network().core(*inputs)[0]).abs().max() < 2e-5
