"""A part of a video, its picture without black bars, square pixels, grain, and the encoder's own options."""

import subprocess
from fractions import Fraction

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from conftest import decode, make_identity, moving_frames, three_shots, write_clip, write_video
from containers import Container, make

import animevsr
from animevsr.engine.grain import Grain
from animevsr.errors import MediaError
from animevsr.video.reader import VideoReader
from animevsr.video.selection import Crop, Moment, Part, find_crop

LOSSLESS = dict(codec='ffv1', backend='torch', device='cpu')


def cartoon(path, seconds=8, rate=25, size=(64, 48), extra=()):
    """A video with sound, a subtitle every second, and two chapters."""
    folder = path.parent
    lines = [f'{n + 1}\n00:00:{n:02d},200 --> 00:00:{n:02d},900\nLine {n}\n' for n in range(seconds)]
    (folder / 's.srt').write_text('\n'.join(lines))
    middle = 3000 if seconds > 3 else 300
    chapters = [(0, middle, 'One'), (middle, seconds * 1000, 'Two')]
    text = ''.join(f'[CHAPTER]\nTIMEBASE=1/1000\nSTART={a}\nEND={b}\ntitle={t}\n' for a, b, t in chapters)
    (folder / 'meta.txt').write_text(';FFMETADATA1\n' + text)
    picture = f'testsrc2=s={size[0]}x{size[1]}:r={rate}:d={seconds}'
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-y', '-f', 'lavfi', '-i', picture]
    command += ['-f', 'lavfi', '-i', f'sine=d={seconds}', '-i', folder / 's.srt', '-i', folder / 'meta.txt']
    command += ['-map', '0', '-map', '1', '-map', '2', '-map_metadata', '3', '-map_chapters', '3']
    command += ['-c:v', 'libx264', '-g', '25', '-bf', '2', '-c:a', 'aac', '-c:s', 'srt', *extra, path]
    subprocess.run(list(map(str, command)), check=True, stdin=subprocess.DEVNULL)
    return path


def packets(path, kind):
    """[(start, end)] of the packets of a track, in seconds."""
    with av.open(str(path)) as file:
        (stream,) = (s for s in file.streams if s.type == kind)
        return [
            (float(p.pts * p.time_base), float((p.pts + p.duration) * p.time_base))
            for p in file.demux(stream)
            if p.size
        ]


@pytest.mark.parametrize(
    'start, end, first, last',
    [
        ('6.2', '7', 155, 175),
        pytest.param('20f', '45f', 20, 45, marks=pytest.mark.slow),
        pytest.param('6', None, 150, 200, marks=pytest.mark.slow),
    ],
)
def test_a_part_has_the_frames_of_the_whole(start, end, first, last, tmp_path):
    """But for the averaging of held drawings, which remembers frames before the part."""
    source, options = cartoon(tmp_path / 'in.mkv'), dict(outscale=1, steady=False, **LOSSLESS)
    weights = make_identity(tmp_path)
    done = animevsr.upscale(source, tmp_path / 'out.mkv', weights, start=start, end=end, **options)
    assert done.frames == last - first
    frames, times = decode(tmp_path / 'out.mkv')
    animevsr.upscale(source, tmp_path / 'all.mkv', weights, **options)
    assert np.array_equal(frames, decode(tmp_path / 'all.mkv')[0][first:last])
    assert times[0] == 0 and float(times[-1]) == pytest.approx((last - first - 1) / 25, abs=0.001)


def test_other_tracks_are_cut_to_the_part(tmp_path):
    source = cartoon(tmp_path / 'in.mkv')
    animevsr.upscale(
        source, tmp_path / 'out.mkv', make_identity(tmp_path), start='2.52', end='0:00:04.52', **LOSSLESS
    )
    sound = packets(tmp_path / 'out.mkv', 'audio')
    assert sound[0][0] == pytest.approx(0, abs=0.05) and sound[-1][1] == pytest.approx(2, abs=0.05)
    # lines of 2.2 to 2.9, 3.2 to 3.9 and 4.2 to 4.9 s, cut at both ends
    expected = [(0, 0.38), (0.68, 1.38), (1.68, 2.0)]
    assert packets(tmp_path / 'out.mkv', 'subtitle') == [pytest.approx(pair, abs=0.002) for pair in expected]
    with av.open(str(tmp_path / 'out.mkv')) as file:
        chapters = [(c['metadata']['title'], float(c['start'] * c['time_base'])) for c in file.chapters()]
    assert chapters == [('One', 0), ('Two', pytest.approx(0.48, abs=0.002))]
    checks = animevsr.verify(source, tmp_path / 'out.mkv', start='2.52', end='0:00:04.52')
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    wrong = animevsr.verify(source, tmp_path / 'out.mkv', start='2.52', end='0:00:04')
    assert 'frames' in [check.name for check in wrong if not check.ok]


def test_a_part_that_starts_at_a_cut_is_the_whole_run_s(tiny_weights, tmp_path):
    """The frames after a cut do not depend on those before; within a shot the network is warmed up."""
    source = write_video(tmp_path / 'in.mkv', three_shots((12, 9, 12))[0], codec='ffv1', pix_fmt='bgr0')
    whole = animevsr.upscale(source, tmp_path / 'all.mkv', tiny_weights, **LOSSLESS)
    assert whole.shots == 3
    frames, _ = decode(tmp_path / 'all.mkv')
    animevsr.upscale(source, tmp_path / 'cut.mkv', tiny_weights, start='12f', end='25f', **LOSSLESS)
    assert np.array_equal(decode(tmp_path / 'cut.mkv')[0], frames[12:25])
    # the third shot begins at 21; 28 is preceded by seven frames of it, the whole of its past
    animevsr.upscale(source, tmp_path / 'mid.mkv', tiny_weights, start='28f', **LOSSLESS)
    assert np.array_equal(decode(tmp_path / 'mid.mkv')[0], frames[28:])
    animevsr.upscale(source, tmp_path / 'late.mkv', tiny_weights, start='10f', end='11f', **LOSSLESS)
    difference = np.abs(decode(tmp_path / 'late.mkv')[0].astype(int) - frames[10:11])
    assert difference.max() <= 2


def test_a_part_of_a_folder_of_frames(tmp_path):
    write_clip(tmp_path / 'in', moving_frames(9, 16, 24))
    done = animevsr.upscale(
        tmp_path / 'in', tmp_path / 'out', make_identity(tmp_path), start='3f', end='5f', backend='torch'
    )
    assert done.frames == 2 and len(list((tmp_path / 'out').glob('*.png'))) == 2


def test_a_part_resumes(tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', three_shots((12, 9, 12))[0], codec='ffv1', pix_fmt='bgr0')
    options = dict(start='5f', end='30f', **LOSSLESS)
    animevsr.upscale(source, tmp_path / 'good.mkv', tiny_weights, **options)
    with monkeypatch.context() as patch:
        patch.setattr(animevsr.upscaling.run, 'join_segments', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **options)
    done = animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **options)
    assert (done.resumed, done.frames) == (3, 25)
    assert np.array_equal(decode(tmp_path / 'out.mkv')[0], decode(tmp_path / 'good.mkv')[0])


@pytest.mark.parametrize(
    'options, said',
    [
        (dict(start='soon'), "start 'soon' is not a time"),
        (dict(start='5', end='5'), 'end 5 must be after start 5'),
        (dict(start='60'), 'no frame lies in this part'),
        (dict(crop='1:2'), "crop '1:2' must be auto, or TOP:BOTTOM:LEFT:RIGHT"),
        (dict(crop='40:40:0:0'), 'leaves nothing'),
        (dict(grain=99), 'grain must be between 0 and 50'),
        (dict(encoder_options=['fast']), "'fast' must be KEY=VALUE"),
        (dict(audio='loud'), 'audio must be one of copy, none'),
        (dict(preset='hasty'), 'libx264 does not take these options: preset=hasty'),
        (dict(encoder_options=['no_such_option=1']), 'libx264 does not take these options: no_such_option=1'),
    ],
)
def test_what_cannot_be_is_one_line(options, said, tmp_path):
    source = write_video(tmp_path / 'in.mkv', moving_frames(3, 32, 48))
    with pytest.raises((ValueError, MediaError), match=said) as error:
        animevsr.upscale(source, tmp_path / 'out.mkv', make_identity(tmp_path), backend='torch', **options)
    assert '\n' not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['identity.pth', 'in.mkv']


def test_paths_of_any_length_and_letters(tmp_path):
    folder = tmp_path
    while len(str(folder)) < 280:
        folder = folder / 'Folge 1 – Été, 日本のアニメ (1984)'
    folder.mkdir(parents=True)
    source = cartoon(tmp_path / 'in.mkv', seconds=1).rename(folder / "it's a film.mkv")
    done = animevsr.upscale(
        source, folder / 'größer & neu.mkv', make_identity(tmp_path), outscale=1, **LOSSLESS
    )
    assert done.frames == 25
    assert all(check.ok for check in animevsr.verify(source, folder / 'größer & neu.mkv'))


def test_moments():
    assert Moment.parse('1:02:03.5').seconds == Fraction(7447, 2) and Moment.parse('12f').frame == 12
    assert Part.parse(None, None) is None
    assert not Moment.parse('1').reached(30, Fraction(9, 10)) and Moment.parse('1').reached(0, Fraction(1))


# --- the picture


def letterboxed(t=12, bars=(14, 10, 0, 6)):
    """Frames with black bars, of which the first are dark, with a subtitle in the lower one."""
    frames = np.zeros((t, 96, 128, 3), np.uint8)
    top, bottom, left, right = bars
    inner = moving_frames(t, 96 - top - bottom, 128 - left - right)
    frames[:, top : 96 - bottom, left : 128 - right] = np.maximum(inner, 60)
    frames[:3] = 12
    noise = np.random.default_rng(0).integers(0, 12, frames.shape)
    frames = np.clip(frames.astype(int) + noise, 0, 255).astype(np.uint8)
    frames[:, 90, 60:62] = 255
    return frames


def test_black_bars(tmp_path):
    source = write_video(tmp_path / 'in.mkv', letterboxed(), crf=12)
    assert find_crop(source) == Crop(14, 10, 0, 6)
    done = animevsr.upscale(
        source, tmp_path / 'out.mkv', make_identity(tmp_path), outscale=1, crop='auto', **LOSSLESS
    )
    assert (done.width, done.height) == (122, 72)
    frames, _ = decode(tmp_path / 'out.mkv')
    assert np.abs(frames.astype(int) - decode(source)[0][:, 14:86, :122]).mean() < 6
    checks = animevsr.verify(source, tmp_path / 'out.mkv', every=1, crop='auto')
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    write_clip(tmp_path / 'frames', letterboxed(9))
    assert find_crop(tmp_path / 'frames') == Crop(14, 10, 0, 6)
    dark = write_video(tmp_path / 'dark.mkv', np.zeros((4, 32, 48, 3), np.uint8))
    assert find_crop(dark) == Crop()
    odd = write_video(tmp_path / 'odd.mkv', letterboxed(bars=(13, 11, 3, 0)), crf=6)
    found = find_crop(odd)
    assert (found.top, found.left) == (12, 2) and found.bottom <= 11
    assert all(side % 2 == 0 for side in found.size(128, 96))


@pytest.mark.parametrize('shape', ['16/15', '8/9'])
def test_square_pixels(shape, tmp_path):
    source = cartoon(tmp_path / 'in.mkv', 1, size=(90, 48), extra=['-vf', f'setsar={shape}'])
    weights, wide = make_identity(tmp_path), round(90 * Fraction(shape))
    done = animevsr.upscale(source, tmp_path / 'out.mkv', weights, square_pixels=True, backend='torch')
    assert (done.width, done.height) == (4 * wide, 192)
    with VideoReader(tmp_path / 'out.mkv') as reader:
        assert reader.info.sample_aspect_ratio in (None, 1)
    done = animevsr.upscale(
        source, tmp_path / 'fit.mkv', weights, square_pixels=True, fit=f'{2 * wide}x400', backend='torch'
    )
    assert (done.width, done.height) == (2 * wide, 96)
    plain = animevsr.upscale(source, tmp_path / 'plain.mkv', weights, backend='torch')
    assert plain.width == 360


def test_grain(tmp_path):
    gray = np.full((120, 160, 3), 128, np.uint8)
    grain = Grain(4)
    one, again, other = grain.add(gray, 0), grain.add(gray, 0), grain.add(gray, 1)
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert (one[..., 0] == one[..., 1]).all() and one.std() == pytest.approx(4, rel=0.1)
    assert abs(one.mean() - 128) < 0.2
    assert grain.add(np.full_like(gray, 8), 0).std() < 0.6 * one.std()
    deep = grain.add(np.full((120, 160, 3), 128 * 257, np.uint16), 0)
    assert deep.dtype == np.uint16 and deep.std() / 257 == pytest.approx(4, rel=0.1)


@pytest.mark.slow
def test_grain_does_not_depend_on_the_processes(tmp_path):
    source = write_video(tmp_path / 'in.mkv', three_shots((6, 5, 6))[0], codec='ffv1', pix_fmt='bgr0')
    results = []
    for jobs in (1, 2):
        path = tmp_path / f'{jobs}.mkv'
        animevsr.upscale(source, path, make_identity(tmp_path), grain=3, jobs=jobs, threads=1, **LOSSLESS)
        results.append(decode(path)[0])
    assert np.array_equal(*results)
    animevsr.upscale(source, tmp_path / 'plain.mkv', make_identity(tmp_path), **LOSSLESS)
    difference = results[0].astype(int) - decode(tmp_path / 'plain.mkv')[0]
    assert 0.5 < difference.std() < 3.5


def test_options_of_the_encoder(tmp_path):
    source = cartoon(tmp_path / 'in.mkv', 1)
    animevsr.upscale(
        source,
        tmp_path / 'out.mkv',
        make_identity(tmp_path),
        backend='torch',
        preset='veryfast',
        tune='animation',
        encoder_options=['g=3', 'x264-params=aq-mode=0'],
        audio='none',
    )
    with av.open(str(tmp_path / 'out.mkv')) as file:
        assert not file.streams.audio and file.streams.subtitles
        said = b''.join(bytes(p) for p in file.demux(file.streams.video[0]))
    settings = said[said.index(b'x264 - core') :][:1500]
    assert b'keyint=3 ' in settings and b'aq=1:0.00' in settings and b'subme=2' in settings
    assert b'deblock=1:1:1' in settings  # of tune animation
    failed = {check.name for check in animevsr.verify(source, tmp_path / 'out.mkv') if not check.ok}
    assert failed == {'audio track 1'}
    assert all(check.ok for check in animevsr.verify(source, tmp_path / 'out.mkv', audio='none'))


def test_stretching_is_smooth():
    from animevsr.engine.sizes import fit

    ramp = np.repeat(np.linspace(0, 255, 30).astype(np.uint8)[None, :, None], 8, 0).repeat(3, 2)
    wide = fit(ramp, (8, 45))
    expected = cv2.resize(ramp, (45, 8), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(wide, expected) and np.diff(wide[0, :, 0].astype(int)).max() < 9


def test_verify_knows_what_was_asked_for(identity, tmp_path):
    """A part of a file with titles of chapters; square pixels; files without times."""
    source = make(tmp_path, Container('chapters.mp4', '-c:v libx264', '.mp4'))
    animevsr.upscale(source, tmp_path / 'part.mkv', identity, backend='torch', start='0.1', end='0.3')
    checks = animevsr.verify(source, tmp_path / 'part.mkv', start='0.1', end='0.3')
    assert all(check.ok for check in checks), checks
    source = make(tmp_path, Container('anamorphic.mkv', '-c:v libx264 -vf setsar=16/15'))
    animevsr.upscale(source, tmp_path / 'wide.mkv', identity, backend='torch', square_pixels=True)
    checks = animevsr.verify(source, tmp_path / 'wide.mkv')
    assert all(check.ok for check in checks), checks
    narrow = make(tmp_path, Container('square.mkv', '-c:v libx264'))
    assert not all(check.ok for check in animevsr.verify(narrow, tmp_path / 'wide.mkv'))
    # another rate: the picture alone, of one frame in each 1/12 s
    with pytest.warns(UserWarning, match='only the picture of .* is kept, no sound and no other track'):
        animevsr.upscale(source, tmp_path / 'slow.mkv', identity, backend='torch', fps='12')
    checks = animevsr.verify(source, tmp_path / 'slow.mkv', fps='12')
    assert all(check.ok for check in checks), checks
    for wrong in ('13', None):
        checks = animevsr.verify(source, tmp_path / 'slow.mkv', fps=wrong)
        assert {'duration', 'times'} <= {check.name for check in checks if not check.ok}
    raw = make(tmp_path, Container('raw.h264', '-c:v libx264 -f h264'))
    assert animevsr.verify(raw, raw)[0].ok
