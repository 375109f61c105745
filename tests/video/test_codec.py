"""The in-memory codec round trip."""

import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from conftest import REPO, moving_frames, run_python

from animevsr.video import codec, ffmpeg


@pytest.mark.parametrize('t', [1, 2, 15, 100])
@pytest.mark.parametrize('profile', ['baseline', 'main', 'high'])
def test_gives_back_its_frames(t, profile):
    frames = moving_frames(t, 32, 48)
    out = codec.roundtrip(frames, crf=18, profile=profile)
    assert out.shape == frames.shape and out.dtype == np.uint8
    # each frame is closest to itself: none lost, doubled or exchanged
    error = [
        [np.abs(o.astype(int) - f).mean() for f in frames[max(0, i - 2) : i + 3]] for i, o in enumerate(out)
    ]
    assert all(np.argmin(row) == min(i, 2) for i, row in enumerate(error))
    assert 0 < max(np.abs(o.astype(int) - f).mean() for o, f in zip(out, frames)) < 8


@pytest.mark.parametrize('h, w', [(17, 33), (1, 1), (16, 15), (3, 64)])
def test_odd_sizes(h, w):
    frames = np.full((3, h, w, 3), (200, 90, 30), np.uint8)
    out = codec.roundtrip(frames, crf=20)
    assert out.shape == frames.shape
    # a flat colour keeps its value to the last row and column
    assert np.abs(out.astype(int) - frames).max() <= 6


def test_higher_crf_is_worse():
    frames = moving_frames(5, 64, 64)
    errors = [np.abs(codec.roundtrip(frames, crf=crf).astype(int) - frames).mean() for crf in (18, 27, 35)]
    assert errors == sorted(errors) and errors[0] < errors[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='glibc fills fresh memory on demand')
def test_does_not_read_memory_that_was_never_written(tmp_path):
    """Whatever fresh memory holds, small pictures, for which x264's AVX-512 code reads beyond its rows, come
    out alike.
    """
    code = (
        'import hashlib\nfrom conftest import moving_frames\nfrom animevsr.video import'
        ' codec\nprint([hashlib.md5(codec.roundtrip(moving_frames(6, s, s), crf=30.5,'
        " profile='high')).hexdigest() for s in (48, 64, 96)])"
    )
    found = {
        run_python('-c', code, cwd=REPO / 'tests', MALLOC_PERTURB_=fill).stdout
        for fill in ('85', '170', '255')
    }
    assert len(found) == 1


@pytest.mark.parametrize('profile', ['baseline', 'main', 'high'])
@pytest.mark.parametrize('crf', [18, 23.4, 28, 35])
def test_is_the_ffmpeg_command(crf, profile, tmp_path):
    """`ffmpeg -c:v libx264 -crf N -profile:v P -pix_fmt yuv420p`: on average bits within 2 % and PSNR within
    0.1 dB. (On as many threads as the machine has, its rate control is a little other: single clips are off
    by up to 2 %. Many pictures are equal.)
    """
    sizes, values = [], []
    for seed in range(3):
        frames = moving_frames(15, 112, 160, seed)
        ours = codec.roundtrip(frames, crf=crf, profile=profile)
        size = sum(packet.size for packet in codec._encode(frames, 'h264', dict(crf=crf, profile=profile)))
        theirs, their_size = by_command(frames, crf, profile, tmp_path)
        sizes.append((size, their_size))
        values.append((psnr(ours, frames), psnr(theirs, frames)))
    ours, theirs = np.sum(sizes, 0)
    assert ours == pytest.approx(theirs, rel=0.02)
    assert abs(np.subtract(*np.mean(values, 0))) < 0.1


def by_command(frames, crf, profile, folder):
    """(frames, size in bytes) after the plain command."""
    binary, file = imageio_ffmpeg.get_ffmpeg_exe(), folder / 'clip.h264'
    raw = ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', f'{frames.shape[2]}x{frames.shape[1]}', '-r', '25']
    subprocess.run(
        [
            binary,
            '-y',
            '-v',
            'error',
            *raw,
            '-i',
            '-',
            '-c:v',
            'libx264',
            '-crf',
            str(crf),
            '-profile:v',
            profile,
            '-pix_fmt',
            'yuv420p',
            file,
        ],
        input=frames.tobytes(),
        check=True,
    )
    out = subprocess.run(
        [binary, '-v', 'error', '-i', file, *raw[:4], '-'], capture_output=True, check=True
    ).stdout
    return np.frombuffer(out, np.uint8).reshape(frames.shape), file.stat().st_size


def psnr(a, b):
    return 10 * np.log10(255**2 / np.square(a.astype(float) - b).mean())


@pytest.mark.parametrize('damage', [lambda p: p[:-1], lambda p: p[1:], lambda p: p + p[-1:], lambda p: []])
def test_raises_unless_exactly_its_frames_come_back(damage, monkeypatch):
    encode = codec._encode
    monkeypatch.setattr(codec, '_encode', lambda *a: damage(encode(*a)))
    with pytest.raises(codec.CodecError, match='round trip of 6 frames'):
        codec.roundtrip(moving_frames(6, 32, 32), crf=23)


def test_raises_where_the_encoder_refuses():
    with pytest.raises(codec.CodecError, match='failed'):
        codec.roundtrip(moving_frames(2, 32, 32), crf=23, profile='no-such-profile')
    with pytest.raises(ValueError, match="unknown codec 'vp12'"):
        codec.roundtrip(moving_frames(2, 32, 32), codec='vp12')


@pytest.mark.parametrize(
    'options, suffix, filters, decode_filters',
    [
        ({'vcodec': 'mpeg1video', 'q:v': 6}, 'mpg', '', ''),
        ({'vcodec': 'mpeg4', 'q:v': 8}, 'avi', 'gblur=0.5', ''),
        ({'vcodec': 'flv', 'q:v': 9}, 'flv', '', ''),
        ({'vcodec': 'wmv2', 'q:v': 9}, 'wmv', '', ''),
        (
            {'vcodec': 'mpeg2video', 'q:v': 6, 'flags': '+ildct+ilme'},
            'mpg',
            'tinterlace=interleave_top',
            'yadif=1',
        ),
    ],
)
def test_external_ffmpeg(options, suffix, filters, decode_filters):
    frames = moving_frames(8, 48, 63)
    out = ffmpeg.roundtrip(frames, options, suffix, filters, decode_filters)
    assert out.shape == frames.shape
    assert 0.5 < np.abs(out.astype(int) - frames).mean() < 12
    assert np.array_equal(out, ffmpeg.roundtrip(frames, options, suffix, filters, decode_filters))


def test_external_ffmpeg_raises_unless_its_frames_come_back():
    frames = moving_frames(6, 32, 32)
    with pytest.raises(codec.CodecError, match='gave back 3 frames'):
        ffmpeg.roundtrip(frames, {'vcodec': 'mpeg4'}, 'avi', decode_filters="select='not(mod(n\\,2))'")
    with pytest.raises(codec.CodecError, match='ffmpeg failed'):
        ffmpeg.roundtrip(frames, {'vcodec': 'no-such-encoder'}, 'avi')


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='MALLOC_PERTURB_ is of glibc')
@pytest.mark.parametrize('width', [192])
def test_segments_do_not_depend_on_what_was_in_memory(width, tmp_path):
    """The encoder of outputs gives the same bits whatever its memory held (x264's AVX-512 code does not)."""
    code = (
        'import sys, hashlib; from pathlib import Path; from fractions import Fraction; import cv2\n'
        f'sys.path.insert(0, {str(REPO / "tests")!r}); from conftest import three_shots\n'
        'from animevsr.video.color import Color; from animevsr.video.encoders import choose_encoding\n'
        'from animevsr.video.frame_reader import MediaInfo\n'
        'from animevsr.video.segments import SegmentWriter\n'
        f'w, h = {width}, {width} * 2 // 3 // 2 * 2\n'
        'info = MediaInfo(w, h, Fraction(25), Color(), Fraction(1, 25))\n'
        'frames = three_shots((30, 30, 30))[0][30:60]\n'
        'path = Path(sys.argv[1])\n'
        'with SegmentWriter(path, choose_encoding("h264", info, (h, w)), Fraction(25)) as out:\n'
        '    for frame in frames: out.write(cv2.resize(frame, (w, h), interpolation=cv2.INTER_CUBIC))\n'
        'import av; file = av.open(str(path))\n'
        'print(hashlib.sha256(b"".join(bytes(p) for p in file.demux(video=0))).hexdigest())\n'
    )
    found = {
        run_python('-c', code, tmp_path / f'{value}.mkv', cwd=tmp_path, MALLOC_PERTURB_=value).stdout
        for value in ('1', '85', '170')
    }
    assert len(found) == 1
