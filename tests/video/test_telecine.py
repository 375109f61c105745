"""Telecined film is found, and brought back to its frames."""

import subprocess
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from conftest import decode, make_identity, moving_frames, write_video

import animevsr
from animevsr.video.reader import VideoReader
from animevsr.video.telecine import find_place, is_telecined

FILM, VIDEO = Fraction(24000, 1001), Fraction(30000, 1001)
KINDS = {
    'top.mkv': ('top', ['-c:v', 'ffv1']),
    'bottom.mkv': ('bottom', ['-c:v', 'ffv1']),
    'top.mpg': ('top', ['-c:v', 'mpeg2video', '-q:v', '3', '-flags', '+ilme+ildct']),
    'top.avi': ('top', ['-c:v', 'mpeg4', '-q:v', '2', '-flags', '+ilme+ildct', '-bf', '1']),
}


def cartoon(count, seed=0):
    """Drawings that are held for one to three frames."""
    holds = np.random.default_rng(seed).integers(1, 4, count)
    return np.repeat(moving_frames(count, 96, 128, seed), holds, 0)[:count]


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-y', *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def telecine(film, path, kind):
    field, codec = KINDS[kind]
    source = write_video(path.with_name('film.mkv'), film, rate=FILM, codec='ffv1', pix_fmt='bgr0')
    filters = f'format=yuv420p,telecine=first_field={field}:pattern=23,setfield={field[0]}ff'
    ffmpeg('-i', source, '-vf', filters, *codec, path)
    return path


def distances(frames, film):
    return np.abs(frames.astype(int) - film).mean((1, 2, 3))


@pytest.mark.parametrize('kind', KINDS)
def test_film_frames_come_back(kind, tmp_path):
    film = cartoon(96)
    path = telecine(film, tmp_path / kind, kind)
    assert len(decode(path)[0]) == 120
    with VideoReader(path) as reader:
        assert is_telecined(reader)
    with VideoReader(path, deinterlace='ivtc') as reader:
        assert reader.info.fps == FILM
        frames, times = zip(*reader.frames())
    assert len(frames) == 96
    plain = write_video(
        tmp_path / 'plain.mkv', film, rate=FILM, codec='ffv1'
    )  # with colours of half the size
    worst = distances(decode(plain)[0], film).max()
    assert distances(np.stack(frames), film).max() < worst + (0.5 if kind.endswith('.mkv') else 3)
    steps = np.diff([float(time) for time in times])
    assert np.abs(steps - 1001 / 24000).max() < 1e-4


@pytest.mark.parametrize('count', [49, 50, 51])
def test_the_last_pictures_are_no_whole_cycle(count, tmp_path):
    """Their frames have the times of film, too, and none is left out that is there once."""
    film = cartoon(count)
    path = telecine(film, tmp_path / 'top.mkv', 'top.mkv')
    with VideoReader(path, deinterlace='ivtc') as reader:
        frames, times = zip(*reader.frames())
    assert len(decode(path)[0]) % 5 and len(frames) in (count, count - 1)  # as telecine left it
    assert distances(np.stack(frames), film[: len(frames)]).max() < 3
    assert np.abs(np.diff([float(time) for time in times]) - 1001 / 24000).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['top.mkv', 'top.avi'])
def test_a_part_has_the_film_frames_of_its_time(kind, tmp_path):
    film = cartoon(120)
    path = telecine(film, tmp_path / kind, kind)
    weights, output = make_identity(tmp_path), tmp_path / 'out.mkv'
    options = dict(outscale=1, backend='torch', device='cpu', codec='ffv1', deinterlace='ivtc')
    animevsr.upscale(path, output, weights, start='3', **options)
    part = decode(output)[0]
    assert abs(len(part) - (120 - 3 * 23.976)) <= 2
    firsts = range(120 - len(part) - 1, 120 - len(part) + 2)  # a film frame begins up to a picture later
    assert min(distances(part[:-1], film[n : n + len(part) - 1]).max() for n in firsts) < 6


def test_what_is_not_telecined(tmp_path):
    frames = cartoon(96)
    path = write_video(tmp_path / 'video.mkv', frames, rate=VIDEO, codec='ffv1')
    film = write_video(tmp_path / 'film.mkv', frames, rate=FILM, codec='ffv1')
    still = write_video(tmp_path / 'still.mkv', frames[:1].repeat(60, 0), rate=VIDEO, codec='ffv1')
    fields = tmp_path / 'fields.mkv'  # real interlaced video: each field of another time
    fast = write_video(tmp_path / 'fast.mkv', moving_frames(120, 96, 128), rate=2 * VIDEO, codec='ffv1')
    ffmpeg('-i', fast, '-vf', 'tinterlace=interleave_top,setfield=tff', '-c:v', 'ffv1', fields)
    for source in (path, film, still, fields):
        with VideoReader(source) as reader:
            assert not is_telecined(reader), source


def test_sections_of_video_keep_all_pictures(tmp_path):
    """Film, then video of 30 pictures a second, then film: each as it is."""
    film, video = cartoon(40), moving_frames(50, 96, 128, seed=5)
    for name in ('a', 'b'):
        telecine(film, tmp_path / f'{name}.mkv', 'top.mkv')
    write_video(tmp_path / 'v.mkv', video, rate=VIDEO, codec='ffv1')
    (tmp_path / 'list.txt').write_text("file 'a.mkv'\nfile 'v.mkv'\nfile 'b.mkv'\n")
    mixed = tmp_path / 'mixed.mkv'
    inputs = [part for name in 'avb' for part in ('-i', tmp_path / f'{name}.mkv')]
    joined = '[0:v][1:v][2:v]concat=n=3:v=1,fps=30000/1001,setfield=tff'
    ffmpeg(*inputs, '-filter_complex', joined, '-c:v', 'ffv1', mixed)
    with VideoReader(mixed, deinterlace='ivtc') as reader:
        frames = np.stack([image for image, _ in reader.frames()])
    assert abs(len(frames) - (40 + 50 + 40)) <= 1
    assert distances(frames[:38], film[:38]).max() < 4 and distances(frames[-38:], film[-38:]).max() < 4


def test_the_place_of_a_held_drawing_is_kept():
    held, moving, repeated = 0.5, 40.0, 1.0
    cycle = [moving, moving, repeated, moving, moving]
    assert find_place(cycle * 3, None) == 2
    assert find_place([held] * 5 + cycle * 3, None) == 2  # what comes after tells
    assert find_place([held] * 5 + cycle * 3, 4) == 4  # and what was before tells more
    assert find_place([moving] * 15, 2) is None
    assert find_place([moving, moving, moving, repeated, moving] * 3, 2) == 3


@pytest.mark.slow
def test_upscaled_and_verified(tmp_path):
    film = cartoon(48)
    source = telecine(film, tmp_path / 'in.mpg', 'top.mpg')
    weights, output = make_identity(tmp_path), tmp_path / 'out.mkv'
    with pytest.warns(UserWarning, match='telecined film; it is brought back to its frames'):
        done = animevsr.upscale(source, output, weights, outscale=1, backend='torch', crf=4)
    assert (done.frames, done.frame_rate) == (48, FILM)
    checks = animevsr.verify(source, output)
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    animevsr.upscale(source, tmp_path / 'f.mkv', weights, outscale=1, backend='torch', crf=4, fps=20)
    checks = animevsr.verify(source, tmp_path / 'f.mkv', fps=20)
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    done = animevsr.upscale(source, tmp_path / 'b.mkv', weights, backend='torch', deinterlace='bwdif')
    assert (done.frames, done.frame_rate) == (60, VIDEO)
    done = animevsr.upscale(source, tmp_path / 'o.mkv', weights, backend='torch', deinterlace='off')
    assert done.frames == 60
