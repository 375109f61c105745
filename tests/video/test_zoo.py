"""Everything in the container: odd files, each upscaled and audited by `animevsr verify`."""

import contextlib
import struct
import warnings
from dataclasses import replace

import av
import numpy as np
import pytest
from conftest import decode, moving_frames, write_video
from containers import BY_NAME, ZOO, Container, ffmpeg, make, names, run_and_audit

import animevsr
from animevsr.errors import MediaError
from animevsr.video import remux
from animevsr.video.reader import VideoReader

MASTERING = 'MASTERING_DISPLAY_METADATA'


@pytest.mark.parametrize('container', ZOO, ids=lambda c: f'{c.name}-{c.suffix}')
def test_of_the_zoo(container, identity, tmp_path):
    suffix = container.suffix
    source, output = make(tmp_path, container), tmp_path / f'result{suffix}'
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        done = animevsr.upscale(
            source, output, identity, backend='torch', crf=8 if suffix != '.mov' else None, device='cpu'
        )
    said = [str(warning.message) for warning in said if issubclass(warning.category, UserWarning)]
    checks = animevsr.verify(source, output, every=3)
    failed = [f'{check.name}: {check.what}' for check in checks if not check.ok]
    if container.warning:
        assert any(container.warning in text for text in said), said
    else:
        assert not said
    assert not failed, failed
    assert done.frames >= 1 and not list(tmp_path.glob('.*'))


def test_verify_finds_what_is_wrong(identity, tmp_path):
    """Each damage to a good result is told, and only that."""
    source = make(tmp_path, BY_NAME['full.mkv'])
    animevsr.upscale(source, tmp_path / 'good.mkv', identity, backend='torch', crf=8)
    assert not names(animevsr.verify(source, tmp_path / 'good.mkv'))
    damages = {
        'audio track 2': '-map 0:v -map 0:a:0 -map 0:s -map 0:t',
        'subtitle track 3': '-map 0:v -map 0:a -map 0:t',
        'attachments': '-map 0 -map -0:t',
        'chapters': '-map 0 -map_chapters -1',
        'metadata': '-map 0 -metadata title=Other',
    }
    for expected, told in damages.items():
        ffmpeg('-i', tmp_path / 'good.mkv', '-c', 'copy', *told.split(), tmp_path / 'bad.mkv')
        assert names(animevsr.verify(source, tmp_path / 'bad.mkv')) == {expected}
    pictures = {
        'frames': '-vf select=gt(n\\,1) -fps_mode passthrough',
        'picture': '-vf negate',
        'times': '-vf setpts=1.5*PTS',
    }
    for expected, told in pictures.items():
        ffmpeg(
            '-i',
            tmp_path / 'good.mkv',
            '-map',
            '0',
            '-c',
            'copy',
            '-c:v',
            'libx264',
            *told.split(),
            tmp_path / 'bad.mkv',
        )
        assert expected in names(animevsr.verify(source, tmp_path / 'bad.mkv'))


def test_rotated_video_is_turned_upright(identity, tmp_path):
    frames = moving_frames(6, 48, 64)
    plain = write_video(tmp_path / 'plain.mp4', frames, crf=1, pix_fmt='yuv444p')
    for angle, turns in ((90, 1), (180, 2), (-90, 3)):
        source, output = tmp_path / f'r{angle}.mp4', tmp_path / f'o{angle}.mkv'
        ffmpeg('-display_rotation', angle, '-i', plain, '-c', 'copy', source)
        done = animevsr.upscale(source, output, identity, backend='torch', crf=1)
        assert (done.width, done.height) == ((256, 192) if angle == 180 else (192, 256))
        out, _ = decode(output)
        assert np.abs(out[3][2::4, 2::4].astype(int) - np.rot90(frames[3], turns)).mean() < 8
        assert not names(animevsr.verify(source, output))
        with VideoReader(output) as reader:
            assert reader.rotation == 0


def test_ten_bits_stay_ten_bits(identity, tmp_path):
    """A ramp of 10 bits through the whole way has more than 256 levels afterwards; --depth 8 makes it 8."""
    path = tmp_path / 'ramp.mkv'
    with av.open(str(path), 'w') as out:
        stream = out.add_stream('ffv1', rate=25)
        stream.width, stream.height, stream.pix_fmt = 512, 32, 'yuv444p10le'
        ramp = np.broadcast_to(np.linspace(8000, 56000, 512).astype(np.uint16)[None, :, None], (32, 512, 3))
        for i in range(2):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(ramp), format='rgb48le').reformat(
                format='yuv444p10le'
            )
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    for options, bits, pix_fmt in (
        ({}, 10, 'yuv444p10le'),
        (dict(depth=8), 8, 'yuv444p'),
        (dict(chroma='420'), 10, 'yuv420p10le'),
    ):
        animevsr.upscale(path, tmp_path / 'out.mkv', identity, backend='torch', crf=1, **options)
        with VideoReader(tmp_path / 'out.mkv', deep=True) as reader:
            assert (reader.info.depth, reader.info.pixel_format) == (bits, pix_fmt)
            image, _ = next(reader.frames())
        assert (len(np.unique(image[16, :, 1])) > 400) == (bits == 10)
        (tmp_path / 'out.mkv').unlink()


def test_hdr_metadata_is_carried_by_every_codec(identity, tmp_path):
    source = make(tmp_path, BY_NAME['hdr.mkv'])
    for codec in ('h264', 'h265', 'av1'):
        output = tmp_path / f'{codec}.mkv'
        animevsr.upscale(source, output, identity, backend='torch', codec=codec)
        with VideoReader(source) as before, VideoReader(output) as after:
            assert (
                after.info.side_data['CONTENT_LIGHT_LEVEL'][:8]
                == before.info.side_data['CONTENT_LIGHT_LEVEL'][:8]
            )
            was, is_now = (
                [a / b for a, b in struct.iter_unpack('<ii', reader.info.side_data[MASTERING][:80])]
                for reader in (before, after)
            )
            assert is_now == pytest.approx(was, rel=1e-3), codec
            assert (after.info.color.transfer, after.info.color.primaries, after.info.depth) == (16, 9, 10)


def test_interlaced_video_can_be_left_as_it_is(identity, tmp_path):
    frames = np.zeros((24, 64, 96, 3), np.uint8)
    for i in range(24):
        frames[i, :, 3 * i : 3 * i + 20] = 255  # moves: the two fields of a frame show it at two places
    write_video(tmp_path / 'plain.mkv', frames, codec='ffv1', pix_fmt='bgr0')
    source = tmp_path / 'in.mpg'
    ffmpeg(
        '-i',
        tmp_path / 'plain.mkv',
        '-vf',
        'tinterlace=interleave_top',
        '-c:v',
        'mpeg2video',
        '-q:v',
        2,
        '-flags',
        '+ildct+ilme',
        source,
    )
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        animevsr.upscale(
            source, tmp_path / 'off.mkv', identity, backend='torch', deinterlace='off', codec='ffv1'
        )
    with pytest.warns(UserWarning, match='is interlaced; it is deinterlaced'):
        animevsr.upscale(source, tmp_path / 'auto.mkv', identity, backend='torch', codec='ffv1')
    off, auto = (decode(tmp_path / f'{name}.mkv')[0] for name in ('off', 'auto'))

    def combing(frames):  # lines that differ from both neighbours alike
        rows = frames[:, 2::4].mean(-1).astype(float)
        return np.abs(rows[:, 1:-1] - (rows[:, :-2] + rows[:, 2:]) / 2).mean()

    assert off.shape == auto.shape and combing(auto[1:]) < 0.3 * combing(off[1:])


def test_what_mp4_cannot_carry_is_said(identity, tmp_path):
    full = BY_NAME['full.mkv']
    arguments = full.arguments.replace('libvorbis', 'aac') + ' -metadata studio=Ours'
    source = make(tmp_path, replace(full, arguments=arguments))
    with pytest.warns(UserWarning) as said:
        animevsr.upscale(source, tmp_path / 'out.mp4', identity, backend='torch')
    text = ' '.join(str(warning.message) for warning in said)
    assert 'font.ttf attached to' in text and 'becomes plain text' in text and 'does not have STUDIO' in text
    with av.open(str(tmp_path / 'out.mp4')) as file:
        assert [s.codec_context.name for s in file.streams.subtitles] == ['mov_text'] and len(
            file.streams.audio
        ) == 2
        assert [s.metadata.get('language') for s in file.streams.audio] == ['jpn', 'eng']
        assert [c['metadata']['title'] for c in file.chapters()] == ['One', 'Two']
    pcm = make(tmp_path, Container('wma.mkv', '{sound} -map 0 -map 1 -c:v libx264 -c:a wmav2'))
    with pytest.raises(MediaError, match=r'\.mp4 cannot carry audio track 1 \(wmav2\) of .*; use .mkv'):
        animevsr.upscale(pcm, tmp_path / 'no.mp4', identity, backend='torch')
    assert not (tmp_path / 'no.mp4').exists()


def test_tags_that_are_not_utf8(identity, tmp_path):
    source = make(tmp_path, Container('tags.avi', '-c:v mpeg4 -metadata title=CafX'))
    source.write_bytes(source.read_bytes().replace(b'CafX', b'Caf\xe9'))
    assert run_and_audit(source, tmp_path / 'out.mkv', identity) == ([], set())
    with av.open(str(tmp_path / 'out.mkv')) as out:
        assert out.metadata['title'] == 'Caf\xe9'


def test_attachments_keep_their_tags(identity, tmp_path):
    attached = '-attach {tmp}/font.ttf -metadata:s:t mimetype=font/ttf -metadata:s:t title=Letters'
    source = make(tmp_path, Container('font.mkv', f'-c:v libx264 {attached}'))
    animevsr.upscale(source, tmp_path / 'out.mkv', identity, backend='torch')
    with av.open(str(source)) as before, av.open(str(tmp_path / 'out.mkv')) as after:
        tags = [
            next(dict(s.metadata) for s in file.streams if s.type == 'attachment') for file in (before, after)
        ]
    assert tags[0] == tags[1] and 'Letters' in tags[0].values()


def test_sound_that_cannot_be_carried_is_told_before_the_work(identity, tmp_path, monkeypatch):
    source = make(tmp_path, Container('wma.wmv', '{sound} -map 0 -map 1 -c:v wmv2 -c:a wmav2'))
    monkeypatch.setattr(animevsr.upscaling.api.Upscaling, 'run', None)
    with pytest.raises(MediaError, match=r'\.mp4 cannot carry audio track 1 \(wmav2\) of .*; use .mkv'):
        animevsr.upscale(source, tmp_path / 'out.mp4', identity, backend='torch')
    assert not list(tmp_path.glob('.*'))


@pytest.mark.parametrize(
    'name, codecs',
    [
        ('ms.avi', '-c:v mpeg4 -c:a adpcm_ms'),
        ('wma.wmv', '-c:v wmv2 -c:a wmav2'),
        ('qt.mov', '-c:v mpeg4 -c:a adpcm_ima_qt'),
        ('disc.m2ts', '-c:v libx264 -c:a pcm_bluray -ar 48000'),
        ('studio.ts', '-c:v libx264 -c:a s302m -sample_fmt s32 -ar 48000 -ac 2 -strict -2'),
    ],
)
def test_sound_that_matroska_does_not_know_becomes_flac(name, codecs, identity, tmp_path):
    source = make(tmp_path, Container(name, '{sound} -map 0 -map 1 ' + codecs), 1)
    said, failed = run_and_audit(source, tmp_path / 'out.mkv', identity)
    assert len(said) == 1 and 'becomes FLAC, without loss: .mkv cannot carry it' in said[0] and not failed
    ours, theirs = (sound_of(path) for path in (source, tmp_path / 'out.mkv'))
    depth = 24 if name == 'studio.ts' else 15
    assert len(ours) == len(theirs) and np.abs(ours - theirs).max() < 2**-depth
    assert not [path for path in tmp_path.iterdir() if path.name.startswith('.')]


def test_sound_that_cannot_be_converted(identity, tmp_path, monkeypatch):
    """Many channels are told before the work; what fails at the end costs nothing of what is done."""
    command = '{sound} -map 0 -map 1 -c:v mpeg4 -c:a pcm_f32be -ac 16'
    with monkeypatch.context() as patch:
        patch.setattr(animevsr.upscaling.api.Upscaling, 'run', None)
        with pytest.raises(MediaError, match=r'nor can it be converted; leave sound out \(audio none\)'):
            animevsr.upscale(make(tmp_path, Container('many.mov', command)), tmp_path / 'o.mkv', identity)
    source = make(tmp_path, Container('ms.avi', '{sound} -map 0 -map 1 -c:v mpeg4 -c:a adpcm_ms'))
    with monkeypatch.context() as patch:
        patch.setattr('animevsr.video.conversions.binary', lambda: 'false')
        with pytest.raises(MediaError, match='track 1 cannot be converted .* what is done is kept'):
            animevsr.upscale(source, tmp_path / 'out.mkv', identity, backend='torch')
    assert not (tmp_path / 'out.mkv').exists()
    assert animevsr.upscale(source, tmp_path / 'out.mkv', identity, backend='torch').resumed == 1


def test_a_late_file_that_is_no_recording_stays_late(identity, tmp_path):
    """Its chapters may begin before its picture."""
    source = make(
        tmp_path, Container('late.mkv', '-i {tmp}/meta.txt -map_metadata 1 -c:v libx264 -output_ts_offset 2')
    )
    assert run_and_audit(source, tmp_path / 'out.mkv', identity) == ([], set())
    with av.open(str(tmp_path / 'out.mkv')) as out:
        assert out.start_time >= 1.9e6 and out.chapters()


def sound_of(path):
    with av.open(str(path)) as file:
        frames, resampler = [], av.AudioResampler('fltp')
        for packet in file.demux(audio=0):
            with contextlib.suppress(av.error.InvalidDataError):  # the last one of s302m is cut off
                for frame in packet.decode():
                    frames += [f.to_ndarray() for f in resampler.resample(frame)]
    return np.concatenate(frames, 1)


def test_subtitles_that_matroska_does_not_know_become_text_or_are_left_out(identity, tmp_path, monkeypatch):
    source = make(tmp_path, BY_NAME['full.mkv'])
    real = remux.can_carry
    monkeypatch.setattr(remux, 'can_carry', lambda out, s: s.type != 'subtitle' and real(out, s))
    animevsr.upscale(source, tmp_path / 'text.mkv', identity, backend='torch')
    with av.open(str(source)) as before, av.open(str(tmp_path / 'text.mkv')) as after:
        assert len(after.streams.subtitles) == len(before.streams.subtitles) > 0
        assert {s.codec_context.name for s in after.streams.subtitles} <= {'subrip', 'srt', 'text'}
    monkeypatch.setattr(remux, 'convert_subtitles', lambda *_: None)
    with pytest.warns(UserWarning, match='subtitle track .* is left out: .mkv cannot carry it'):
        animevsr.upscale(source, tmp_path / 'none.mkv', identity, backend='torch')


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv'])
def test_a_recording_begins_at_zero(suffix, identity, tmp_path):
    """Its clock was on for ten minutes; a result with those would show as much of nothing first."""
    arguments = '{sound} -map 0 -map 1 -c:v libx264 -c:a aac -output_ts_offset 600'
    source = make(tmp_path, Container('recorded.ts', arguments), 1)
    assert run_and_audit(source, tmp_path / f'out{suffix}', identity) == ([], set())
    with av.open(str(source)) as before, av.open(str(tmp_path / f'out{suffix}')) as after:
        assert before.start_time > 600e6 and after.duration < 1.5e6
        gaps = [
            float(
                file.streams.audio[0].start_time * file.streams.audio[0].time_base
                - file.streams.video[0].start_time * file.streams.video[0].time_base
            )
            for file in (before, after)
        ]
    assert gaps[0] == pytest.approx(gaps[1], abs=0.002)


def test_a_format_that_was_asked_for_is_not_replaced(identity, tmp_path, monkeypatch):
    """It is told before the video is read."""
    monkeypatch.setattr(animevsr.upscaling.api.Upscaling, 'run', None)
    source = write_video(tmp_path / 'in.mkv', moving_frames(2, 64, 64))
    for options in (dict(codec='av1', chroma='444'), dict(codec='prores', chroma='420')):
        suffix = '.mov' if options['codec'] == 'prores' else '.mkv'
        with pytest.raises(
            MediaError, match=f'{options["codec"]} has no format of chroma {options["chroma"]} here'
        ):
            animevsr.upscale(source, tmp_path / f'out{suffix}', identity, backend='torch', **options)
