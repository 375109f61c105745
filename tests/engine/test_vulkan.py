"""GPUs by Vulkan. Here a driver that computes on the CPU stands for them (Debian: mesa-vulkan-drivers)."""

import numpy as np
import pytest
import torch
from conftest import moving_frames
from small_networks import CPU, network, run

from animevsr.archs.single_image import NcnnNetwork
from animevsr.engine.backends import open_backend, place
from animevsr.engine.backends.cache import make_example
from animevsr.engine.sizes import choose_tile
from animevsr.upscaling.options import UpscaleOptions
from animevsr.utils import vulkan

pytest.importorskip('ncnn')
NAMES = 'Radeon', 'llvmpipe', 'Arc'


@pytest.fixture(scope='module')
def gpu():
    """The name of the first device."""
    if not vulkan.list_gpus():
        pytest.skip('no driver of Vulkan is here')
    return vulkan.list_gpus()[0][0]


@pytest.fixture
def listed(monkeypatch):
    """Three devices, of which the second is no GPU and the third the strongest."""
    import ncnn

    monkeypatch.setattr(vulkan, 'list_gpus', lambda: [(name, name != 'llvmpipe') for name in NAMES])
    monkeypatch.setattr(ncnn, 'get_default_gpu_index', lambda: 2)


@pytest.mark.parametrize(
    'feedback, half, bound',
    [
        (False, False, 2e-5),
        pytest.param(True, False, 2e-5, marks=pytest.mark.slow),
        pytest.param(False, True, 2e-2, marks=pytest.mark.slow),
    ],
)
def test_it_computes_what_the_network_does(gpu, feedback, half, bound):
    net, told = network(feedback), []
    inputs = make_example(net, 44, 60)
    with torch.no_grad():
        expected = net.core(*inputs)
    backend = open_backend(network(feedback), CPU, 'ncnn:vulkan:0', half=half, say=told.append)
    sr, state = backend.step(*inputs[:3], inputs[3:])
    off = max((a - b).abs().max().item() for a, b in zip((sr, *state), expected))
    assert off < bound and (off > 1e-5) == half
    assert told[-1] == f'backend: {backend.name}' and gpu in backend.name and backend.threads is None
    assert backend.kind == 'ncnn:vulkan:0' and ('float16' in backend.name) == half
    frames = moving_frames(3, 21, 30)
    assert np.abs(run(backend, frames).astype(int) - run(network(feedback), frames)).max() <= 3


def test_a_driver_that_computes_nonsense_is_told(gpu, monkeypatch):
    from animevsr.engine.backends.vulkan_backend import VulkanBackend

    real = VulkanBackend.step

    def torn(self, *inputs):
        sr, state = real(self, *inputs)
        return torch.where(torch.arange(sr.shape[-1]) < 20, float('nan'), sr), state

    monkeypatch.setattr(VulkanBackend, 'step', torn)
    with pytest.raises(ValueError, match='computes something else than the processor'):
        open_backend(network(), CPU, 'ncnn:vulkan:0')


def test_a_model_of_ncnn_for_single_images(gpu, enlarging):
    net, image = NcnnNetwork(enlarging), torch.rand(1, 3, 24, 40)
    expected = net.image(image)
    backend = open_backend(NcnnNetwork(enlarging), CPU, 'ncnn:vulkan:0')
    assert (backend.step(image, image, image, ())[0] - expected).abs().max() < 1e-4 and gpu in backend.name
    with pytest.raises(ValueError, match='runs recurrent networks of this package'):
        open_backend(torch.nn.Identity(), CPU, 'ncnn:vulkan:0')


@pytest.fixture
def enlarging(tmp_path):
    """A model that enlarges by 2, bilinearly."""
    layers = ['7767517', '2 2', 'Input in0 0 1 in0', 'Interp up 1 1 in0 out0 0=2 1=2.0 2=2.0']
    (tmp_path / 'model.param').write_text('\n'.join(layers) + '\n')
    (tmp_path / 'model.bin').write_bytes(b'')
    return tmp_path / 'model.param'


def test_which_device_is_taken(listed, monkeypatch):
    import ncnn

    assert [vulkan.find_gpu(unit) for unit in ('vulkan', 'vulkan:0', 'vulkan:1')] == [2, 0, 1]
    for unit in ('vulkan:3', 'vulkan:x'):
        with pytest.raises(
            ValueError, match='there is vulkan:0 Radeon, vulkan:1 llvmpipe .a processor: slow'
        ):
            vulkan.find_gpu(unit)
    monkeypatch.setattr(ncnn, 'get_default_gpu_index', lambda: 1)
    assert vulkan.find_gpu('vulkan') == 0  # not the processor
    monkeypatch.setattr(vulkan, 'list_gpus', lambda: [('llvmpipe', False)])
    with pytest.raises(ValueError, match=r'no GPU is found \(vulkan:0 llvmpipe .*is its driver installed'):
        open_backend(network(), CPU, 'ncnn:vulkan')
    monkeypatch.setattr(vulkan, 'list_gpus', list)
    with pytest.raises(ValueError, match='no device of Vulkan'):
        vulkan.find_gpu('vulkan:0')


def test_options():
    compute = UpscaleOptions.of(device='Vulkan:1', fast=True).compute
    assert (compute.device, compute.backend, compute.half, compute.fast) == (
        'cpu',
        'ncnn:vulkan:1',
        True,
        False,
    )
    assert UpscaleOptions.of(device='vulkan', backend='ncnn').compute.backend == 'ncnn:vulkan'
    with pytest.raises(ValueError, match='device vulkan belongs to the backend ncnn, not to mnn'):
        UpscaleOptions.of(device='vulkan', backend='mnn')
    assert place('vulkan:1') == (CPU, 'ncnn:vulkan:1') and place('cpu') == (CPU, 'auto')


def test_backends_of_the_cpu_are_on_the_cpu_where_there_is_a_gpu():
    assert UpscaleOptions.of(backend='openvino', fast=True).compute.device == 'cpu'
    assert UpscaleOptions.of(backend='torch').compute.device == 'auto'
    with pytest.raises(ValueError, match='backend mnn does not compute on meta; with it goes the device cpu'):
        open_backend(network(), torch.device('meta'), 'mnn')


def test_tiles_go_by_the_memory_of_the_gpu(monkeypatch):
    monkeypatch.setattr('animevsr.engine.sizes.free_memory', lambda unit: dict(vulkan=2e9)[unit])
    sizes = [choose_tile('auto', size, CPU, 1, 'ncnn:vulkan') for size in ((240, 320), (480, 640))]
    assert sizes[0] is None and 128 <= sizes[1] < 320
    assert choose_tile('auto', (480, 640), CPU, 1, 'ncnn') is None
