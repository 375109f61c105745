"""What a run will take, before it begins."""

import shutil
from types import SimpleNamespace

import pytest
from conftest import make_identity, moving_frames, run_warm, write_video

import animevsr
from animevsr.errors import MediaError
from animevsr.upscaling.estimate import duration


@pytest.fixture
def clip(tmp_path):
    make_identity(tmp_path)
    return write_video(tmp_path / 'in.mkv', moving_frames(50, 32, 48))


def test_nothing_is_written(clip, tmp_path):
    before = sorted(tmp_path.iterdir())
    found = animevsr.estimate(clip, tmp_path / 'out.mkv', weights=tmp_path / 'identity.pth', backend='torch')
    assert (found.frames, found.source, found.size) == (50, (48, 32), (192, 128))
    assert found.seconds > 0 and 0 < found.needed < 50 * 192 * 128 and found.free > 0
    assert sorted(tmp_path.iterdir()) == before
    part = animevsr.estimate(
        clip, tmp_path / 'out', weights=tmp_path / 'identity.pth', backend='torch', start='1', end='30f'
    )
    assert part.frames == pytest.approx(5, abs=1) and part.needed == pytest.approx(
        part.frames * 192 * 128 * 9 / 8, abs=1
    )


def test_commands(clip, tmp_path):
    command = ['-m', 'animevsr_cli', 'upscale', 'in.mkv', '-n', 'identity.pth', '--backend', 'torch']
    done = run_warm([*command, '-o', 'out.mkv', '--dry-run'], tmp_path, {}, 60)
    assert done.returncode == 0 and not (tmp_path / 'out.mkv').exists()
    assert done.stdout.startswith('about 50 frames, 48x32 -> 192x128, about ') and 'are free' in done.stdout
    done = run_warm([*command, '-o', 'out.mkv'], tmp_path, {}, 60)
    assert done.returncode == 0 and 'animevsr: 50 frames, 48x32 -> 192x128, about ' in done.stderr
    (tmp_path / 'videos').mkdir()
    for name in ('a.mkv', 'b.mkv'):
        shutil.copy(clip, tmp_path / 'videos' / name)
    (tmp_path / 'videos/bad.mkv').write_bytes(b'no video')
    command[3] = 'videos'
    done = run_warm([*command, '-o', 'results', '--dry-run'], tmp_path, {}, 60)
    assert done.returncode == 0 and not (tmp_path / 'results').exists(), done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and 'a.mkv: about 50 frames' in lines[0] and 'not readable' in lines[2]
    assert lines[3].startswith('in all about ')


def test_a_disk_that_is_too_small(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=10))
    options = dict(weights=tmp_path / 'identity.pth', backend='torch')
    for call in (animevsr.estimate, animevsr.upscale):
        with pytest.raises(MediaError, match='needs about 1 MB on the disk, and only 1 MB are free'):
            call(clip, tmp_path / 'out.mkv', **options)
    assert not (tmp_path / 'out.mkv').exists()


def test_durations():
    assert [duration(s) for s in (7, 700, 90 * 60, 3 * 3600 + 301)] == [
        '7 s',
        '12 min',
        '1 h 30 min',
        '3 h 05 min',
    ]
