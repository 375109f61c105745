"""Y4M on standard input and output, as vspipe, ffmpeg and mpv give and take it."""

import io
import os
import subprocess
import sys
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from conftest import REPO, decode, moving_frames, run_warm, three_shots, write_video

import animevsr
from animevsr.upscaling.pipe import settled
from animevsr.video.color import Color
from animevsr.video.reader import VideoReader
from animevsr.video.shots import CutDetector
from animevsr.video.y4m import NAMES, Y4MWriter

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def to_y4m(source, pix_fmt='yuv420p', *more):
    command = [FFMPEG, '-v', 'error', '-i', source, '-pix_fmt', pix_fmt, '-strict', '-1', *more]
    return subprocess.run([*command, '-f', 'yuv4mpegpipe', '-'], check=True, capture_output=True).stdout


def run(arguments, data, cwd):
    """The command, from a file on standard input; `run_in_pipes` has real pipes."""
    command = ['-m', 'animevsr_cli', 'upscale', *map(str, arguments)]
    return run_warm(command, cwd, {**os.environ, 'PYTHONPATH': str(REPO)}, 120, data=data)


def run_in_pipes(arguments, data, cwd):
    command = [sys.executable, '-m', 'animevsr_cli', 'upscale', *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, cwd=cwd, timeout=120)


@pytest.mark.parametrize('pix_fmt', ['yuv420p', pytest.param('yuv444p10le', marks=pytest.mark.slow)])
def test_through_two_pipes_as_through_files(pix_fmt, tiny_weights, tmp_path):
    frames, starts = three_shots((9, 8, 9))
    source = write_video(
        tmp_path / 'in.mkv', frames, rate=Fraction(24000, 1001), codec='ffv1', pix_fmt=pix_fmt
    )
    options = ['-n', tiny_weights, '--backend', 'torch', '--device', 'cpu']
    done = run_in_pipes(['-', '-o', '-', *options], to_y4m(source, pix_fmt), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b'YUV4MPEG2 W192 H128 F24000:1001 ') and b'26 frames' in done.stderr
    (tmp_path / 'out.y4m').write_bytes(done.stdout)
    animevsr.upscale(source, tmp_path / 'file.mkv', tiny_weights, backend='torch', device='cpu', codec='ffv1')
    piped, times = decode(tmp_path / 'out.y4m')
    whole, _ = decode(tmp_path / 'file.mkv')
    assert piped.shape == whole.shape == (26, 128, 192, 3)
    # by colours of half the size they differ a little; the network saw the same, cut at the same places
    limit = 1.2 if '444' in pix_fmt else 4
    assert np.abs(piped.astype(int) - whole).mean() < limit
    with VideoReader(tmp_path / 'out.y4m') as reader:
        assert reader.info.pixel_format == pix_fmt and reader.info.fps == Fraction(24000, 1001)
    assert (
        subprocess.run([FFMPEG, '-v', 'error', '-i', tmp_path / 'out.y4m', '-f', 'null', '-']).returncode == 0
    )


def test_from_a_file_and_into_one(tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mkv', moving_frames(4, 32, 48))
    options = ['-n', tiny_weights, '--backend', 'torch', '-s', '2', '--chroma', '444']
    done = run([source, '-o', '-', *options], b'', tmp_path)
    assert done.returncode == 0 and b' C444 ' in done.stdout.splitlines()[0]
    done = run(['-', '-o', 'out.mp4', *options], to_y4m(source), tmp_path)
    assert done.returncode == 0 and b'out.mp4: 4 frames, 96x64' in done.stdout
    assert decode(tmp_path / 'out.mp4')[0].shape == (4, 64, 96, 3)


@pytest.mark.parametrize(
    'arguments, data, said',
    [
        (['-', '-o', '-'], b'', b'-: not readable as a video'),
        (['-', '-o', '-'], b'YUV4MPEG2 W48 H32 F25:1 C420\n', b'no frame of its video can be decoded'),
        (['-', '-o', '-', '--jobs', '2'], b'', b'jobs: cannot be had in a pipe'),
        pytest.param(
            ['-', '-o', '-', '--crop', 'auto'],
            b'',
            b'crop: auto cannot be had of a pipe',
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ['-', '-o', '-', '--crf', '20'], b'', b'crf: cannot be had in a pipe', marks=pytest.mark.slow
        ),
        (['-', '-o', 'folder'], None, b'can be written to a video, or to -'),
    ],
)
def test_what_cannot_be(arguments, data, said, tiny_weights, tmp_path):
    if data is None:
        data = to_y4m(write_video(tmp_path / 'in.mkv', moving_frames(2, 32, 48)))
    done = run([*arguments, '-n', tiny_weights, '--backend', 'torch'], data, tmp_path)
    assert done.returncode == 1 and said in done.stderr and b'Traceback' not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize('form', NAMES)
@pytest.mark.parametrize('full', [False, True])
def test_what_is_written_is_read_back(form, full, tmp_path):
    chroma, bits = form
    image = np.full((50, 66, 3), 200, np.uint8)
    image[:, :33] = (30, 60, 90)
    image = image if bits == 8 else image.astype(np.uint16) * 257
    stream = io.BytesIO()
    writer = Y4MWriter((50, 66), Fraction(25), Fraction(16, 15), form, Color(1, full), stream)
    writer.write(image)
    writer.write(image)
    (tmp_path / 'x.y4m').write_bytes(stream.getvalue())
    with VideoReader(tmp_path / 'x.y4m', deep=True) as reader:
        assert reader.info.sample_aspect_ratio == Fraction(16, 15) and reader.info.color.full_range == full
        frames = [frame for frame, _ in reader.frames()]
    assert len(frames) == 2 and frames[0].dtype == image.dtype
    difference = np.abs(frames[1].astype(int) - image)[:, [0, 5, 60, 65]] / (1 if bits == 8 else 257)
    assert difference.max() < 3


def test_who_reads_may_go_away(tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mkv', moving_frames(300, 64, 96))
    command = [sys.executable, '-m', 'animevsr_cli', 'upscale', source, '-o', '-', '-n', tiny_weights]
    with subprocess.Popen([*command, '--backend', 'torch'], stdout=-1, stderr=-1) as process:
        process.stdout.read(1000)
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1 and said.count(b'\nanimevsr: ') <= 1 and b'Traceback' not in said, said


def test_uneven_times_are_told(tiny_weights, tmp_path):
    even = write_video(tmp_path / 'even.mkv', moving_frames(8, 32, 48))
    uneven = tmp_path / 'uneven.mkv'
    late = "setpts='PTS+gte(N,4)*0.5/TB'"
    subprocess.run([FFMPEG, '-v', 'error', '-i', even, '-vf', late, '-fps_mode', 'vfr', uneven], check=True)
    options = ['-o', '-', '-n', tiny_weights, '--backend', 'torch']
    assert b'uneven times' not in run([even, *options], b'', tmp_path).stderr
    assert b'uneven.mkv: its frames come at uneven times' in run([uneven, *options], b'', tmp_path).stderr


def test_shots_are_those_of_the_detector():
    frames, starts = three_shots((9, 8, 9))
    numbers = [shot for shot, _ in settled(iter(frames), True)]
    assert [numbers.index(i) for i in range(3)] == starts == [0, *CutDetector()(frames)]
    given = settled(iter(frames), True)
    assert all(np.array_equal(frame, frames[i]) for i, (_, frame) in enumerate(given))
    assert [shot for shot, _ in settled(iter(frames), False)] == [0] * 26
