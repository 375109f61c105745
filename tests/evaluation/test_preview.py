"""A few frames before the whole: what is picked, and that it looks as it will."""

import sys

import cv2
import numpy as np
import pytest
import torch
from conftest import decode, run_python, three_shots, write_video
from containers import Container, make

import animevsr
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.backends.torch_backend import TorchBackend
from animevsr.errors import MediaError
from animevsr.evaluation.preview import deinterlacing, preview, shot_before, telling_moments
from animevsr.video.images import read_image
from animevsr.video.reader import open_reader


@pytest.fixture
def video(tmp_path):
    """Three shots of 8 frames, 25 a second, then a dark one."""
    frames, _ = three_shots((8, 8, 8), (96, 128))
    dark = np.full((8, 96, 128, 3), 4, np.uint8)
    return write_video(tmp_path / 'v.mkv', np.concatenate([frames, dark]), codec='ffv1', pix_fmt='bgr0')


def test_moments_are_of_different_shots_and_not_dark(video):
    moments = telling_moments(video, 32 / 25, 2)
    assert len({int(moment * 25) // 8 for moment in moments}) == 2 and moments == sorted(moments)
    assert max(moments) < 24 / 25


def test_it_shows_what_the_whole_will_look_like(video, tiny_weights, tmp_path):
    done = preview(video, tmp_path / 'p', [str(tiny_weights)], at=[3 / 25, 10 / 25], device='cpu')
    animevsr.upscale(video, tmp_path / 'whole.mkv', tiny_weights, codec='ffv1', backend='torch')
    whole, sheet = decode(tmp_path / 'whole.mkv')[0], read_image(done.sheet)
    assert done.page.is_file() and sheet.shape == (2 * 4 * 96, 2 * 4 * 128, 3)
    for i, number in enumerate((3, 10)):
        ours = sheet[i * 384 : (i + 1) * 384, 512:]
        below = slice(40, None)  # the name of the model stands above
        assert np.abs(ours[below].astype(int) - whole[number][below]).max() <= 1
        bicubic = cv2.resize(decode(video)[0][number], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(sheet[i * 384 : (i + 1) * 384, :512][below], bicubic[below])
    assert set(done.hours) == {'tiny'} and 0 < done.hours['tiny'] < 1


def on_torch(net, device, name):
    return TorchBackend(net, device)


def test_models_whose_files_have_one_name(video, tmp_path, monkeypatch):
    """BasicSR calls all its results net_g_latest.pth."""
    monkeypatch.setattr(sys.modules['animevsr.evaluation.preview'], 'open_backend', on_torch)
    files = []
    for name, feat in (('a', 4), ('b', 6)):
        files.append(tmp_path / name / 'net_g_latest.pth')
        files[-1].parent.mkdir()
        torch.save({'params': MSRBVSR(num_feat=feat, num_block=(1, 1, 1)).state_dict()}, files[-1])
    done = preview(video, tmp_path / 'p', [str(f) for f in files], at=[0.12, 0.1201, 0.4], device='cpu')
    assert len(done.hours) == 2 and next(iter(done.hours)) == 'net_g_latest'
    assert done.moments == [0.12, 0.4]
    with pytest.raises(ValueError, match='is named twice'):
        preview(video, tmp_path / 'q', [str(files[1])] * 3, device='cpu')


def test_command(video, tiny_weights, tmp_path):
    done = run_python(
        '-m',
        'animevsr_cli',
        'preview',
        video,
        '-n',
        tiny_weights,
        '--at',
        '0:00.4',
        '--device',
        'cpu',
        cwd=tmp_path,
    )
    assert done.returncode == 0 and 'tiny: about 0 min for the whole video' in done.stdout
    assert (tmp_path / 'preview/compare.html').is_file() and (tmp_path / 'preview/sheet.png').is_file()
    wrong = run_python('-m', 'animevsr_cli', 'preview', video, '--at', 'noon', cwd=tmp_path, check=False)
    assert wrong.returncode == 2 and "'noon' is not a time" in wrong.stderr


def test_problems_are_one_line(video, tiny_weights, tmp_path):
    with pytest.raises(MediaError, match='no such video file'):
        preview(tmp_path / 'missing.mkv', tmp_path / 'p')
    with pytest.raises(ValueError, match='count must be at least 1'):
        preview(video, tmp_path / 'p', count=0)


def test_it_reads_as_upscale_does(tiny_weights, tmp_path):
    """Deinterlaced; and where nobody says how long the video is."""
    interlaced = '-c:v mpeg2video -vf tinterlace=interleave_top -flags +ildct+ilme'
    source = make(tmp_path, Container('interlaced.mpg', interlaced, size='64x48'))
    assert deinterlacing(source) == 'marked'
    with open_reader(source, deinterlace='marked') as reader:
        rate, images = reader.info.fps, [image for image, _ in reader.frames()]
    with open_reader(source) as reader:
        combed = [image for image, _ in reader.frames()]
    shot = shot_before(source, 3 / rate, 'marked')
    assert len(shot) == 3 and all(np.array_equal(a, b) for a, b in zip(shot, images[1:4]))
    assert not np.array_equal(shot[-1], combed[3])
    raw = make(tmp_path, Container('raw.h264', '-c:v libx264 -f h264'))
    done = preview(raw, tmp_path / 'p', [str(tiny_weights)], count=2, device='cpu')
    assert max(done.moments) > 0.1 and done.hours['tiny'] > 0


def test_the_end_and_moments_that_are_none(video, tmp_path):
    assert np.array_equal(shot_before(video, 99)[-1], decode(video)[0][-1])
    assert len(shot_before(video, 0)) == 1
    for moment in (float('inf'), float('nan'), -1):
        with pytest.raises(ValueError, match='is not a moment of a video'):
            preview(video, tmp_path / 'p', at=[moment])
