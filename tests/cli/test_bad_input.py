"""Bad input: one clear line, a non-zero exit, no traceback, no partial output, no hang. Every case runs the
command as a user does, in forks of one process (starting Python and torch sixty times would take minutes)."""

import os
import shutil
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch
from conftest import moving_frames, run_warm, write_clip, write_video

from animevsr.archs.vsr_arch import MSRBVSR


def truncated(good, share, start=0):
    data = good.read_bytes()
    return data[start : int(len(data) * share)]


def scrambled(good, at, count, seed=0):
    data = bytearray(good.read_bytes())
    place = int(len(data) * at)
    data[place : place + count] = np.random.default_rng(seed).bytes(count)
    return bytes(data)


def files(folder):
    """The bad inputs: {name: bytes}."""
    frames = moving_frames(6, 32, 48)
    good = {
        suffix: write_video(folder / f'good{suffix}', frames, sound=suffix != '.avi')
        for suffix in ('.mp4', '.mkv', '.avi', '.ts')
    }
    bad = {}
    for suffix, path in good.items():
        for share in (0.005, 0.02, 0.05, 0.1):
            bad[f'cut_{share}{suffix}'] = truncated(path, share)
    for share in (0.3, 0.6, 0.95):
        bad[f'cut_{share}.mp4'] = truncated(good['.mp4'], share)  # its index is at the end
    bad['headless.mp4'], bad['headless.mkv'] = (
        truncated(good['.mp4'], 1, 400),
        truncated(good['.mkv'], 1, 400),
    )
    for seed in range(4):
        bad[f'random_{seed}{(".mp4", ".mkv", ".avi", ".webm")[seed]}'] = np.random.default_rng(seed).bytes(
            20000
        )
    bad.update(
        {
            'zeros.mkv': bytes(10000),
            'empty.mp4': b'',
            'text.avi': b'hello ' * 500,
            'page.mp4': b'<html><body>404</body></html>',
            'scrambled.mp4': scrambled(good['.mp4'], 0.0, 300),
            'scrambled.mkv': scrambled(good['.mkv'], 0.0, 200),
            'pdf.mkv': b'%PDF-1.4' + bytes(2000),
            'zip.mp4': b'PK\x03\x04' + bytes(2000),
            'script.mp4': b'#!/bin/sh\nexit 1\n',
        }
    )
    png = cv2.imencode('.png', frames[0])[1].tobytes()
    bad.update({'cut.png': png[:60], 'empty.jpg': b'', 'random.png': np.random.default_rng(9).bytes(500)})
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    return list(bad)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bad')
    torch.manual_seed(0)
    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1))
    torch.save(dict(params=net.state_dict()), folder / 'tiny.pth')
    torch.save(dict(params=MSRBVSR(num_feat=8, num_block=(1, 1, 1), scale=2).state_dict()), folder / 'x2.pth')
    state = net.state_dict()
    torch.save(dict(params=dict(list(state.items())[:-2])), folder / 'incomplete.pth')
    torch.save(dict(params={k: v.flatten() for k, v in state.items()}), folder / 'shapes.pth')
    (folder / 'cut.pth').write_bytes((folder / 'tiny.pth').read_bytes()[:3000])
    (folder / 'text.pth').write_text('no weights')
    return folder


@dataclass(frozen=True)
class Case:
    """A command that must fail: its arguments, what its last line says, and the largest file that it may
    write (as on a disk that is full).
    """

    arguments: list
    says: str = ''
    max_file: int | None = None


def run(place, cases):
    """[(exit code, what was said)] of commands."""
    done = [
        run_warm(['-m', 'animevsr_cli', *case.arguments], place, {**os.environ}, 60, max_file=case.max_file)
        for case in cases
    ]
    return [(process.returncode, process.stdout + process.stderr) for process in done]


def command(source, output='out.mkv', *more, weights='tiny.pth'):
    return [
        'upscale',
        str(source),
        '-o',
        str(output),
        '-n',
        str(weights),
        '--backend',
        'torch',
        *map(str, more),
    ]


def judge(place, cases):
    """Each case fails in one line, and leaves nothing."""
    before = {p.name for p in place.iterdir()}
    wrong = []
    for case, (code, said) in zip(cases, run(place, cases)):
        lines = [line for line in said.splitlines() if line.startswith('animevsr: ')]
        name = ' '.join(case.arguments[:4])
        expected = case.says
        if code <= 0 or 'Traceback' in said or not lines or expected not in lines[-1] or len(lines[-1]) > 500:
            wrong.append(f'{name}: exit {code}: {said[-400:]}')
    left = {p.name for p in place.iterdir()} - before
    assert not wrong, '\n'.join(wrong)
    assert not left, left


@pytest.mark.slow
def test_files_that_are_no_videos(place):
    cases = [Case(command(name), says=name) for name in files(place)]
    assert len(cases) >= 35
    judge(place, cases)


def test_inputs_outputs_and_options_that_cannot_be(place):
    good = write_video(place / 'fine.mp4', moving_frames(3, 32, 48), sound=True)
    write_clip(place / 'frames', moving_frames(2, 16, 16))
    cv2.imwrite(str(place / 'frames/00000001.png'), np.zeros((8, 8, 3), np.uint8))  # of another size
    (place / 'nothing').mkdir(exist_ok=True)
    (place / 'full').mkdir(exist_ok=True)
    (place / 'full/x').write_text('x')
    write_video(place / 'small.mkv', moving_frames(2, 8, 8))
    shutil.copy(good, place / 'fine.webm')
    cases = [
        Case(command('gone.mp4'), says='gone.mp4: no such file'),
        Case(command('nothing'), says='holds no images'),
        Case(command('frames'), says='00000001.png: is 8x8'),
        Case(command(good, good), says='is the input'),
        Case(command(good, 'no/where/out.mkv'), says='its folder does not exist'),
        Case(command(good, 'out.webm'), says='h264 is not written into'),
        Case(command(good, 'out.xyz'), says='unknown kind'),
        Case(command(good, 'out.png'), says='one image cannot hold'),
        Case(command(good, 'full'), says='not empty'),
        Case(command(good, 'out.mp4', '--codec', 'ffv1'), says='ffv1 is not written into'),
        Case(command(good, 'out.mkv', '--crf', 99), says='crf must be between 0 and 51'),
        Case(command(good, 'out.mkv', '-s', 9), says='the output must be'),
        Case(command(good, 'o.mkv', '-s', 0), says='outscale'),
        Case(command(good, 'out.mkv', '--fps', 'x'), says='is not a frame rate'),
        Case(command(good, 'out.mkv', '--device', 'warp'), says="device 'warp'"),
        Case(command(good, 'out.mkv', '--jobs', 0), says='jobs must be at least 1'),
        Case(command(good, 'out.mkv', '--tile', 'big'), says="tile must be 'auto' or at least 64"),
        Case(command(good, 'out.mkv', '--codec', 'ffv1', '--depth', 10, '-s', 8), says='the output must be'),
        Case(command('small.mkv', 'out.mkv', '--codec', 'h265'), says='h265 takes pictures of 64x64 or more'),
        Case(command(good, weights='gone.pth'), says='no such weights file'),
        Case(command(good, weights='cut.pth'), says='cut.pth'),
        Case(command(good, weights='text.pth'), says='text.pth'),
        Case(command(good, weights='incomplete.pth'), says='incomplete'),
        Case(command(good, weights='shapes.pth'), says='shapes'),
        Case(
            command(good, 'out.mkv', '-s', 4, weights='x2.pth'),
            says='at most 2 times as large as the input, the scale',
        ),
        Case(command(good, weights='vqgan_animation'), says='does not upscale'),
        Case(command(good, weights='fine.mp4')),
        Case(command(good, 'full.mkv', '--reuse', weights='ncnn:nothing'), says='ncnn:nothing'),
        Case(['verify', 'fine.mp4', 'gone.mkv'], says='gone.mkv: no such file'),
        Case(['verify', 'text.pth', 'fine.mp4'], says='text.pth'),
        Case(['export', '-n', 'tiny.pth', '-o', 'x.xyz'], says='say what to export to'),
        Case(['export', '-n', 'vqgan_animation', '-o', 'x.onnx'], says='MSRBVSR'),
        Case(['export', '-n', 'tiny.pth', '-o', 'x.pt', '--to', 'onnx'], says='named *.onnx'),
        Case(['bench', '--size', 'big'], says='size must be WIDTHxHEIGHT'),
    ]
    assert len(cases) >= 30
    judge(place, cases)


@pytest.mark.parametrize(
    'height, width', [(1, 1), (2, 3), (1, 400), pytest.param(30, 16384, marks=pytest.mark.slow)]
)
def test_sizes_that_are_odd_but_no_mistakes(height, width, place, tmp_path):
    """One pixel, one row, and a picture wider than most."""
    cv2.imwrite(str(tmp_path / 'in.png'), np.full((height, width, 3), 90, np.uint8))
    ((code, said),) = run(place, [Case(command(tmp_path / 'in.png', tmp_path / 'out.png'))])
    assert code == 0, said
    assert cv2.imread(str(tmp_path / 'out.png')).shape == (4 * height, 4 * width, 3)


@pytest.mark.slow
def test_a_disk_that_is_full(place, tmp_path):
    """Every write fails from some size on: of a segment, and of the output that is joined."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), np.uint8)
    source = write_video(tmp_path / 'in.mkv', noise, codec='ffv1', pix_fmt='bgr0')
    for size in (5_000, 20_000, 400_000):
        ((code, said),) = run(
            place, [Case(command(source, tmp_path / 'out.mkv', '--codec', 'ffv1'), max_file=size)]
        )
        assert code == 1 and 'Traceback' not in said and 'animevsr: ' in said, (size, code, said)
        assert not (tmp_path / 'out.mkv').exists() and not list(tmp_path.glob('.out.mkv.work/*partial*'))
    ((code, said),) = run(place, [Case(command(source, tmp_path / 'out.mkv', '--codec', 'ffv1'))])
    assert code == 0 and '12 frames' in said  # where there is space again, a rerun resumes


@pytest.mark.skipif(
    os.getuid() == 0 and not os.path.exists('/proc/self/ns'), reason='needs a folder that cannot be written'
)
def test_a_folder_that_cannot_be_written(place, tmp_path):
    source = write_video(tmp_path / 'in.mkv', moving_frames(2, 32, 48))
    ((code, said),) = run(place, [Case(command(source, '/proc/out.mkv'))])
    assert code == 1 and 'Traceback' not in said and '/proc/out.mkv' in said
