"""Shared fixtures: the devices present, tiny networks, clips and videos made on the spot."""

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # the tests run side by side
if 'PYTEST_XDIST_WORKER' in os.environ and hasattr(os, 'sched_setaffinity'):
    # each of them on cores of its own: where two share them, threads wait for one another
    ALL_CORES, workers = sorted(os.sched_getaffinity(0)), int(os.environ['PYTEST_XDIST_WORKER_COUNT'])
    number = int(os.environ['PYTEST_XDIST_WORKER'].removeprefix('gw'))
    OWN_CORES = ALL_CORES[number::workers] or ALL_CORES[number % len(ALL_CORES) :][:1]
    os.sched_setaffinity(0, OWN_CORES)
else:
    ALL_CORES = OWN_CORES = None
if 'PYTEST_XDIST_WORKER' not in os.environ:
    # converted networks, for all that run side by side; removed at the end
    os.environ['ANIMEVSR_CACHE'] = tempfile.mkdtemp(prefix='animevsr-tests-')
    atexit.register(shutil.rmtree, os.environ['ANIMEVSR_CACHE'], True)

import av  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from golden import weights as golden_weights  # noqa: E402

import animevsr  # noqa: E402

REPO = Path(__file__).resolve().parents[1]
TINY_CLIPS = REPO / 'assets/tiny'
CODEC = dict(codec='ffv1', backend='torch')  # options of `upscale`: lossless, exact
ONE_THREAD = dict(CODEC, threads=1)
DEVICES = [
    'cpu',
    *(['cuda'] if torch.cuda.is_available() else []),
    *(['mps'] if torch.backends.mps.is_available() else []),
]


def pytest_addoption(parser):
    parser.addoption('--slow', action='store_true', help='only the tests that are marked as slow')


def pytest_collection_modifyitems(config, items):
    chosen = [item for item in items if bool(item.get_closest_marker('slow')) == config.getoption('--slow')]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def take_cores(cores):
    """Let this thread, and what it starts, run on these cores alone; None: as it is."""
    if cores:
        os.sched_setaffinity(0, cores)


@pytest.fixture(autouse=True)
def own_cores():
    take_cores(OWN_CORES)


@pytest.fixture(autouse=True)
def exact_float32():
    """TF32 is off: goldens and equalities are those of float32."""
    from animevsr.utils import device

    device.exact_float32()


@pytest.fixture(autouse=True)
def ncnn_is_the_fastest(monkeypatch):
    """Which backend is the fastest is a matter of the machine and the moment; tests are not."""
    order = ['int8', 'ncnn', 'mnn', 'openvino']
    monkeypatch.setattr(
        'animevsr.engine.backends.sort_by_speed', lambda openers, *_: sorted(openers, key=order.index)
    )


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def golden(name):
    """(constructor arguments, state dict, input, expected output) of a published network under seeded
    weights; several outputs are a dict."""
    meta = json.loads((REPO / f'tests/golden/{name}.json').read_text())
    state = {k: torch.from_numpy(v) for k, v in golden_weights.state_dict(meta['keys']).items()}
    i = meta['input']
    x = torch.from_numpy(golden_weights.uniform(i['seed'], i['shape'], i['low'], i['high']))
    outputs = {
        key: torch.from_numpy(value) for key, value in np.load(REPO / f'tests/golden/{name}.npz').items()
    }
    return meta['kwargs'], state, x, outputs['output'] if list(outputs) == ['output'] else outputs


@pytest.fixture
def tiny_weights(tmp_path):
    """A small untrained network's file."""
    from animevsr.archs.vsr_arch import MSRBVSR

    torch.manual_seed(0)
    path = tmp_path / 'tiny.pth'
    torch.save({'params': MSRBVSR(num_feat=8, num_block=(1, 1, 1)).state_dict()}, path)
    return path


def make_identity(tmp_path):
    """Weights under which the network is its bilinear skip connection."""
    from animevsr.archs.vsr_arch import MSRBVSR

    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1))
    for parameter in net.recurrent_cell.fusion[-1].parameters():
        torch.nn.init.zeros_(parameter)
    torch.save(net.state_dict(), tmp_path / 'identity.pth')
    return tmp_path / 'identity.pth'


TINY_VQGAN = dict(ch=8, ch_mult=(1, 1, 2, 2, 2), num_res_blocks=1, embed_dim=8, n_embed=64, norm_groups=2)


@pytest.fixture
def tiny_vqgan(tmp_path):
    """A small untrained VQGAN's file, with a codebook about as wide as its encoder's output."""
    from animevsr.archs.vqgan_arch import MultiScaleVQGAN

    torch.manual_seed(0)
    net = MultiScaleVQGAN(**TINY_VQGAN)
    torch.nn.init.normal_(net.codebook)
    path = tmp_path / 'tiny_vqgan.pth'
    torch.save({'params': net.state_dict()}, path)
    return path


def moving_frames(t, h, w, seed=0):
    """(t, h, w, 3) uint8: coloured shapes that move over a gradient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    base = np.stack([x * 255 / w, y * 255 / h, (x + y) * 255 / (h + w)], -1)
    colours, out = rng.integers(0, 255, (4, 3)), []
    for i in range(t):
        frame = base.astype(np.uint8).copy()
        for j, colour in enumerate(colours):
            centre = (int(w * (j + 1) / 5 + 2 * i) % w, int(h / 2 + h / 4 * np.sin(i / 3 + j)))
            cv2.circle(frame, centre, max(2, h // 8), tuple(int(c) for c in colour), -1, cv2.LINE_AA)
        out.append(frame)
    return np.stack(out)


def three_shots(lengths=(4, 3, 5), size=(32, 48)):
    """Frames of shots that differ much, and where each begins."""
    shots = [moving_frames(n, *size, seed=i) for i, n in enumerate(lengths)]
    shots[1] = 255 - shots[1][:, ::-1]
    shots[2] = shots[2][..., ::-1] // 3
    return np.concatenate(shots), [sum(lengths[:i]) for i in range(len(lengths))]


def write_clip(folder, frames, start=0, suffix='.png'):
    """Frames as numbered images."""
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f'{start + i:08d}{suffix}'), frame[..., ::-1])
    return folder


def write_video(
    path, frames, rate=Fraction(25), sound=False, codec='libx264', pix_fmt='yuv420p', times=None, **options
):
    """A video file of RGB frames, with a sine tone where `sound`; `times`: presentation times in
    milliseconds.
    """
    with av.open(str(path), 'w') as out:
        stream = out.add_stream(codec, rate=rate, options={k: str(v) for k, v in options.items()})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        track = out.add_stream('aac', rate=44100, layout='mono') if sound else None
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')
            picture.time_base = Fraction(1, 1000) if times is not None else 1 / Fraction(rate)
            picture.pts = i if times is None else times[i]
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        if track:
            count = int(44100 * len(frames) / rate)
            wave = (np.sin(np.arange(count) * 2 * np.pi * 440 / 44100) * 8000).astype(np.float32) / 32768
            for at in range(0, count, 1024):
                piece = av.AudioFrame.from_ndarray(wave[None, at : at + 1024], format='fltp', layout='mono')
                piece.sample_rate, piece.pts, piece.time_base = 44100, at, Fraction(1, 44100)
                out.mux(track.encode(piece))
            out.mux(track.encode(None))
    return path


def decode(path):
    """All frames of a video as (t, h, w, 3) uint8 RGB, and their times."""
    from animevsr.video.reader import VideoReader

    with VideoReader(path) as reader:
        images, times = zip(*reader.frames())
    return np.stack(images), times


@functools.cache
def zygote():
    """The process in which this package is imported already (zygote.py); it ends with the tests."""
    process = subprocess.Popen(
        [sys.executable, REPO / 'tests/zygote.py'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(REPO)},
        cwd=tempfile.gettempdir(),
    )
    atexit.register(lambda: (process.stdin.close(), process.wait(), process.stdout.close()))
    return process


def run_warm(arguments, cwd, environment, timeout, meanwhile=None, max_file=None, data=None):
    """Run `python ARGUMENTS` in a fork of `zygote`; the finished process, as `subprocess.run` gives it.

    `meanwhile(pid)` is called while it runs; `max_file`: bytes of the largest file that it may write; `data`:
    bytes of its standard input, with which what it says comes back as bytes, too.
    """
    server, mode = zygote(), 'r' if data is None else 'rb'
    with (
        tempfile.NamedTemporaryFile() as given,
        tempfile.NamedTemporaryFile(mode) as out,
        tempfile.NamedTemporaryFile(mode) as error,
    ):
        given.write(data or b'')
        given.flush()
        request = dict(
            arguments=arguments,
            cwd=str(cwd),
            environment=environment,
            stdin=given.name,
            stdout=out.name,
            stderr=error.name,
            timeout=timeout,
            max_file=max_file,
        )
        server.stdin.write(json.dumps(request) + '\n')
        server.stdin.flush()
        pid = int(server.stdout.readline())
        try:
            if meanwhile:
                meanwhile(pid)
        finally:
            code = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read(), error.read())


def run_python(*arguments, cwd, check=True, timeout=300, **environment):
    """Run this Python in a folder; returns the finished process."""
    arguments, whole = (
        [str(argument) for argument in arguments],
        {**os.environ, 'PYTHONPATH': str(REPO), **environment},
    )
    if arguments[0] == '-m' and arguments[1].startswith('animevsr') and 'PYTHONPATH' not in environment:
        done = run_warm(arguments, cwd, whole, timeout)
    else:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout, env=whole
        )
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def interrupt_when(made, command, cwd, number=signal.SIGINT, code=130):
    """Run a command of the console script, send it a signal as soon as the file `made` is there; what it said
    on standard error.
    """

    def interrupt(pid):
        deadline = time.monotonic() + 120
        while not made.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):  # it has ended before
            os.kill(pid, number)

    done = run_warm(
        ['-m', 'animevsr_cli', *map(str, command)],
        cwd,
        {**os.environ, 'PYTHONPATH': str(REPO)},
        180,
        interrupt,
    )
    assert done.returncode == code and 'Traceback' not in done.stderr
    return done.stderr


def browser():
    """Path of a Chromium; without one the test is skipped, but not where ANIMEVSR_BROWSER says that there
    must be one. To be called before Playwright starts: from here on the test may use all cores, for Chromium
    has threads of real time, which leave a single core to nobody else, for ever.
    """
    take_cores(ALL_CORES)
    found = next(
        filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome'))), None
    )
    if not found and os.environ.get('ANIMEVSR_BROWSER') != 'required':
        pytest.skip('no Chromium on this machine (Debian: apt-get install chromium)')
    assert found, 'ANIMEVSR_BROWSER=required, but there is no Chromium'
    return found


@pytest.fixture(scope='session')
def identity(tmp_path_factory):
    """Weights that give the picture back as it is."""
    return make_identity(tmp_path_factory.mktemp('identity'))


@pytest.fixture
def six_shots(tmp_path):
    """A video of six shots of four frames."""
    return write_video(
        tmp_path / 'in.mkv', np.concatenate([three_shots()[0]] * 2), codec='ffv1', pix_fmt='bgr0'
    )


@pytest.fixture
def six_shots_upscaled(six_shots, tiny_weights, tmp_path):
    """The frames that one process makes of `six_shots`, and their times."""
    assert animevsr.upscale(six_shots, tmp_path / 'one.mkv', tiny_weights, **ONE_THREAD).shots == 6
    return decode(tmp_path / 'one.mkv')


def same_video(path, expected):
    """Whether a video has these (frames, times), and no work folder is left."""
    images, times = decode(path)
    return (
        np.array_equal(images, expected[0]) and times == expected[1] and not list(path.parent.glob('.*.work'))
    )
