"""Everything in the container: a zoo of odd files, made on the spot, each upscaled and audited by `animevsr
verify`.
"""

import subprocess
import warnings
from dataclasses import dataclass, replace
from fractions import Fraction
from types import SimpleNamespace

import av
import imageio_ffmpeg
import numpy as np
import pytest
from conftest import decode, make_identity, moving_frames, write_video

import animevsr
from animevsr.errors import MediaError
from animevsr.video.reader import VideoReader
from animevsr.video.tracks import Clock

PICTURE = 'testsrc2=s={size}:r={rate}:d={seconds},format={pix}'
HDR = (
    '-pix_fmt yuv420p10le -vf setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc'
    ' -x265-params '
    'log-level=error:hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400'
)
SUBTITLES = '1\n00:00:00,040 --> 00:00:00,300\nHello\n\n2\n00:00:00,320 --> 00:00:00,400\nWorld\n'
CHAPTERS = (
    ';FFMETADATA1\ntitle=My Cartoon\nartist=Me\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n'
    '[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=400\ntitle=Two\n'
)
SOUND = '-f lavfi -i sine=d={seconds}'
FULL = (
    '{sound} {sound} -i {tmp}/s.srt -i {tmp}/meta.txt -map 0 -map 1 -map 2 -map 3 -map_metadata 4'
    ' -map_chapters 4 -c:v libx264 -metadata:s:a:0 language=jpn -metadata:s:a:1 language=eng -metadata:s:s:0'
    ' language=ger -disposition:a:0 comment -disposition:a:1 default -disposition:s:0 forced'
)


@dataclass(frozen=True)
class Container:
    """A file that ffmpeg makes, and what it is upscaled to.

    Attributes:
        name: of the source.
        arguments: of ffmpeg, whose first input is the test picture; {sound}, {nosound}, {tmp} and {seconds}
            are put in by `make`.
        suffix: of the result.
        size: of the picture. warning: what `upscale` warns of, if anything.
    """

    name: str
    arguments: str
    suffix: str = '.mkv'
    size: str = '64x48'
    warning: str | None = None


ZOO = (
    Container('h264.mkv', '-c:v libx264'),
    Container('h264.mp4', '-c:v libx264', '.mp4'),
    Container('to.mkv', '-c:v libx264 {nosound}', '.mp4'),
    Container('mp4.mp4', '-c:v libx264 {nosound}'),
    Container('xvid.avi', '-c:v mpeg4 -vtag xvid'),
    Container('bframes.avi', '-c:v mpeg4 -bf 2', '.mp4'),
    Container('mpeg1.mpg', '-c:v mpeg1video'),
    Container('mpeg2.mpg', '-c:v mpeg2video -bf 2', '.mp4'),
    Container('vcd.mpg', '-c:v mpeg1video -f vcd', size='352x240'),
    Container('sorenson.flv', '-c:v flv'),
    Container('h264.flv', '-c:v libx264', '.mp4'),
    Container('wmv2.wmv', '-c:v wmv2'),
    Container('ms.avi', '-c:v msmpeg4'),
    Container('theora.ogv', '-c:v libtheora'),
    Container('vp8.webm', '-c:v libvpx -b:v 500k'),
    Container('vp9.webm', '-c:v libvpx-vp9 -b:v 500k -cpu-used 8', '.mp4'),
    Container('real.rm', '-c:v rv20'),
    Container('transport.ts', '-c:v libx264'),
    Container('blu.m2ts', '-c:v libx264', '.mp4'),
    Container('mjpeg.avi', '-c:v mjpeg -pix_fmt yuvj420p'),
    Container('huff.avi', '-c:v huffyuv -pix_fmt yuv422p'),
    Container('lossless.mkv', '-c:v ffv1'),
    Container('rgb.mkv', '-c:v libx264rgb -crf 0'),
    Container('gray.mkv', '-c:v ffv1 -pix_fmt gray'),
    Container('prores.mov', '-c:v prores_ks -pix_fmt yuv422p10le', '.mov'),
    Container('raw.y4m', ''),
    Container('av1.mkv', '-c:v libsvtav1 -preset 12', size='64x64'),
    Container('old.3gp', '-c:v h263 -s 128x96', size='128x96'),
    Container('odd.mkv', '-c:v ffv1 -pix_fmt yuv444p', size='63x47'),
    Container('odd.mp4', '-c:v libx264 -pix_fmt yuv444p -vf crop=63:47', '.mp4'),
    Container('hevc10.mkv', '-c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le'),
    Container('422.mkv', '-c:v libx264 -pix_fmt yuv422p'),
    Container('444.mp4', '-c:v libx264 -pix_fmt yuv444p', '.mp4'),
    Container('422p10.mkv', '-c:v libx264 -pix_fmt yuv422p10le'),
    Container('hdr.mkv', f'-c:v libx265 {HDR}'),
    Container('full_range.mp4', '-c:v libx264 -pix_fmt yuvj420p', '.mp4'),
    Container(
        'bt709.mkv', '-c:v libx264 -vf setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709'
    ),
    Container('anamorphic.mkv', '-c:v libx264 -vf setsar=16/15'),
    Container('wide.mp4', '-c:v libx264 -vf setsar=4/3', '.mp4'),
    Container(
        'interlaced.mpg',
        '-c:v mpeg2video -vf tinterlace=interleave_top -flags +ildct+ilme',
        size='64x48',
        warning='is interlaced',
    ),
    Container('offset.mkv', '-c:v libx264 -output_ts_offset 1.5'),
    Container('offset.mp4', '-c:v libx264 -output_ts_offset 1.5', '.mp4'),
    Container('offset.ts', '-c:v libx264 -output_ts_offset 10', '.mp4'),
    Container(
        'negative.ts',
        '{sound} -map 0 -map 1 -c:v libx264 -c:a mp2 -output_ts_offset -1 -avoid_negative_ts disabled'
        ' -muxdelay 0',
        warning='before zero',
    ),
    Container('late_sound.mkv', '-itsoffset 0.2 {sound} -map 0 -map 1 -c:v libx264'),
    Container('variable.mkv', "-vf setpts='N*N/25/TB/4' -fps_mode passthrough -c:v libx264 {nosound}"),
    Container(
        'variable.mp4', "-vf setpts='N*N/25/TB/4' -fps_mode passthrough -c:v libx264 {nosound}", '.mp4'
    ),
    Container('fragments.mp4', '-c:v libx264 -movflags frag_keyframe+empty_moov', '.mp4'),
    Container('opengop.mkv', '-c:v libx264 -g 5 -bf 3 -flags -cgop'),
    Container('film.mp4', '-r 24000/1001 -c:v libx264', '.mp4'),
    Container('fast.mkv', '-r 60 -c:v libx264'),
    Container('slow.mp4', '-r 2 -c:v libx264'),
    Container(
        'full.mkv',
        FULL + ' -c:a:0 aac -c:a:1 libvorbis -c:s ass -attach {tmp}/font.ttf -metadata:s:t mimetype=font/ttf',
    ),
    Container('full.mp4', FULL + ' -c:a aac -c:s mov_text', '.mp4'),
    Container('full2.mp4', FULL + ' -c:a aac -c:s mov_text'),
    Container('subtitles.mkv', FULL + ' -c:a aac -c:s srt', '.mp4'),
    Container('pcm.mov', '{sound} -map 0 -map 1 -c:v libx264 -c:a pcm_s16le'),
    Container('flac.mkv', '{sound} -map 0 -map 1 -c:v libx264 -c:a flac'),
    Container('ac3.mkv', '{sound} -map 0 -map 1 -c:v libx264 -c:a ac3', '.mp4'),
    Container('timecode.mov', '-c:v libx264 -timecode 01:00:00:00', '.mov', warning='is left out'),
    Container('two_videos.mkv', '-map 0 -map 0 -c:v:0 libx264 -c:v:1 mpeg4'),
)
BY_NAME = {container.name: container for container in ZOO}


@pytest.fixture(scope='module')
def identity(tmp_path_factory):
    return make_identity(tmp_path_factory.mktemp('identity'))


def make(folder, container, seconds=0.4):
    """The file of a container; the path."""
    (folder / 's.srt').write_text(SUBTITLES)
    (folder / 'meta.txt').write_text(CHAPTERS)
    (folder / 'font.ttf').write_bytes(b'a font' * 50)
    picture = PICTURE.format(size=container.size, rate=25, seconds=seconds, pix='yuv420p')
    arguments = (
        container.arguments.replace('{sound}', SOUND)
        .replace('{nosound}', '-an')
        .replace('{tmp}', str(folder))
        .replace('{seconds}', str(seconds))
    )
    path = folder / container.name
    ffmpeg('-f', 'lavfi', '-i', picture, *arguments.replace("'", '').split(), path)
    assert path.stat().st_size
    return path


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-y', *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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


def names(checks):
    return {check.name for check in checks if not check.ok}


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
            for kind in ('MASTERING_DISPLAY_METADATA', 'CONTENT_LIGHT_LEVEL'):
                assert kind in after.info.side_data, (codec, kind)
            assert (
                after.info.side_data['CONTENT_LIGHT_LEVEL'][:8]
                == before.info.side_data['CONTENT_LIGHT_LEVEL'][:8]
            )
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


def test_damage_is_concealed_and_told(identity, tmp_path):
    source = make(tmp_path, Container('in.mkv', '-c:v libx264 -crf 10 -g 10 -bf 0'), 2.0)
    data, rng = bytearray(source.read_bytes()), np.random.default_rng(0)
    with av.open(str(source)) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    for at, size in places[24:27]:
        data[at + 12 : at + size] = rng.bytes(size - 12)
    source.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match=r'in.mkv: a (damaged|lost) frame.* at \d\.\d+ s'):
        done = animevsr.upscale(source, tmp_path / 'out.mkv', identity, backend='torch')
    assert done.damage and all(0.9 < seconds < 1.3 for seconds, _ in done.damage)
    times = [float(time) for time in decode(tmp_path / 'out.mkv')[1]]
    assert done.frames == len(times) == 50 and np.diff(times) == pytest.approx([0.04] * 49, abs=1e-3)


def test_a_truncated_video_is_told(identity, tmp_path):
    source = make(tmp_path, Container('in.mkv', '-c:v libx264 -crf 10 -g 10'), 4.0)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.warns(
        UserWarning, match='in.mkv: the last frame that can be decoded; the file should go on at [12]'
    ):
        done = animevsr.upscale(source, tmp_path / 'out.mkv', identity, backend='torch')
    assert 30 < done.frames < 70 and len(decode(tmp_path / 'out.mkv')[0]) == done.frames


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


def run_and_audit(source, output, identity, **options):
    """(what was said, names of the checks that failed)."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        animevsr.upscale(source, output, identity, backend='torch', device='cpu', **options)
    return [str(w.message) for w in said if issubclass(w.category, UserWarning)], names(
        animevsr.verify(source, output, every=3)
    )


@pytest.mark.parametrize('suffix', ['.mkv', '.mp4'])
def test_a_second_picture_with_unknown_times_of_decoding(suffix, identity, tmp_path):
    """Matroska does not say them; the first ones are guessed from what follows."""
    source = make(tmp_path, Container('two.mkv', '-map 0 -map 0 -c:v libx264 -bf 3'))
    assert run_and_audit(source, tmp_path / f'out{suffix}', identity) == ([], set())
    with av.open(str(tmp_path / f'out{suffix}')) as out:
        assert [
            len([p for p in packets if p.size])
            for packets in (list(out.demux(s)) for s in [out.streams.video[1]])
        ] == [10]
    ffmpeg('-i', tmp_path / f'out{suffix}', '-map', '0:0', '-c', 'copy', tmp_path / f'lost{suffix}')
    assert names(animevsr.verify(source, tmp_path / f'lost{suffix}')) == {'video track 1'}


@pytest.mark.parametrize('suffix', ['.mkv', '.mp4'])
def test_joined_recordings_go_on_where_times_run_backwards(suffix, identity, tmp_path):
    part = make(tmp_path, Container('part.ts', '{sound} -map 0 -map 1 -c:v libx264 -c:a aac'), seconds=0.6)
    (tmp_path / 'joined.ts').write_bytes(part.read_bytes() * 2)
    said, failed = run_and_audit(tmp_path / 'joined.ts', tmp_path / f'out{suffix}', identity)
    assert (
        not failed
        and len(said) == 1
        and 'the times of audio track 1' in said[0]
        and 'run backwards at' in said[0]
    )
    with av.open(str(tmp_path / f'out{suffix}')) as out:
        times = [
            float(packet.pts * packet.time_base) for packet in out.demux(out.streams.audio[0]) if packet.size
        ]
    steps = np.diff(times)
    assert len(times) > 45 and steps.min() > 0.01 and steps.max() < 0.06  # without a hole, and none twice


def test_sound_that_was_moved_is_found(identity, tmp_path):
    source = make(tmp_path, Container('full.mkv', '{sound} -map 0 -map 1 -c:v libx264 -c:a flac'))
    animevsr.upscale(source, tmp_path / 'good.mkv', identity, backend='torch', crf=8)
    good = tmp_path / 'good.mkv'
    ffmpeg(
        '-i',
        good,
        '-itsoffset',
        0.3,
        '-i',
        good,
        '-map',
        '0:v',
        '-map',
        '1:a',
        '-c',
        'copy',
        tmp_path / 'bad.mkv',
    )
    assert 'audio track 1, times' in names(animevsr.verify(source, tmp_path / 'bad.mkv'))


def test_tags_that_are_not_utf8(identity, tmp_path):
    source = make(tmp_path, Container('tags.avi', '-c:v mpeg4 -metadata title=CafX'))
    source.write_bytes(source.read_bytes().replace(b'CafX', b'Caf\xe9'))
    assert run_and_audit(source, tmp_path / 'out.mkv', identity) == ([], set())
    with av.open(str(tmp_path / 'out.mkv')) as out:
        assert out.metadata['title'] == 'Caf\xe9'


def test_what_outlasts_the_picture_is_no_damage(identity, tmp_path):
    (tmp_path / 'late.srt').write_text('1\n00:00:06,000 --> 00:00:06,300\nthe end\n')
    source = make(
        tmp_path, Container('late.mkv', f'-i {tmp_path}/late.srt -map 0 -map 1 -c:v libx264 -c:s srt')
    )
    assert run_and_audit(source, tmp_path / 'out.mkv', identity) == ([], set())


def test_interlacing_that_begins_later_is_found(identity, tmp_path):
    parts = [
        make(tmp_path, Container(f'{name}.ts', f'-c:v mpeg2video -f mpegts {told}'))
        for name, told in (('progressive', ''), ('interlaced', '-vf setfield=tff -flags +ildct+ilme'))
    ]
    (tmp_path / 'both.ts').write_bytes(b''.join(part.read_bytes() for part in parts))
    said, failed = run_and_audit(tmp_path / 'both.ts', tmp_path / 'out.mkv', identity, codec='ffv1')
    assert not failed and any('is interlaced; it is deinterlaced' in text for text in said)
    said, _ = run_and_audit(
        tmp_path / 'both.ts', tmp_path / 'off.mkv', identity, deinterlace='off', codec='ffv1'
    )
    assert not any('interlaced' in text for text in said)
    before, after = (decode(tmp_path / name)[0].astype(int) for name in ('off.mkv', 'out.mkv'))
    assert np.abs(before[:8] - after[:8]).max() == 0 and np.abs(before[12:] - after[12:]).mean() > 1


def test_frames_that_a_damaged_file_lost_are_told(identity, tmp_path):
    source = make(tmp_path, Container('whole.mkv', '-c:v ffv1'), seconds=1.2)
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    (tmp_path / 'hurt.mkv').write_bytes(data)
    with VideoReader(tmp_path / 'hurt.mkv', conceal=True) as reader:
        found = len(list(reader.timed()))
    said, _ = run_and_audit(tmp_path / 'hurt.mkv', tmp_path / 'out.mkv', identity)
    assert any('missing' in text or 'lost' in text or 'damaged' in text for text in said), (found, said)


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


def test_a_format_that_was_asked_for_is_not_replaced(identity, tmp_path):
    source = write_video(tmp_path / 'in.mkv', moving_frames(2, 64, 64))
    for options in (dict(codec='av1', chroma='444'), dict(codec='prores', chroma='420')):
        suffix = '.mov' if options['codec'] == 'prores' else '.mkv'
        with pytest.raises(
            MediaError, match=f'{options["codec"]} has no format of chroma {options["chroma"]} here'
        ):
            animevsr.upscale(source, tmp_path / f'out{suffix}', identity, backend='torch', **options)


def packets(times, kind='audio'):
    """Packets in milliseconds, with (pts, dts) or one number for both."""
    both = [time if isinstance(time, tuple) else (time, time) for time in times]
    stream = SimpleNamespace(type=kind)
    return [
        SimpleNamespace(pts=pts, dts=dts, duration=20, time_base=Fraction(1, 1000), stream=stream)
        for pts, dts in both
    ]


@pytest.mark.parametrize(
    'kind, times, expected, said',
    [
        ('audio', [0, 20, 40], [0, 20, 40], None),
        ('audio', [0, 20, 20, 15, 40], [0, 20, 21, 22, 40], None),
        ('audio', [5000, 5020, 0, 20], [5000, 5020, 5041, 5061], 'run backwards at 5.020 s'),
        ('audio', [(0, None), (20, None)], [0, 20], None),
        ('video', [(0, None), (60, None), (20, 0), (40, 20)], [(0, -40), (60, -20), (20, 0), (40, 20)], None),
        ('video', [(0, None), (60, None)], [(0, -39), (60, -19)], None),
        (
            'subtitle',
            [1000, 1000, 3000, 2000, 4000],
            [1000, 1000, 3000, 3000, 4000],
            'what was due at 2.000 s comes 1.0 s late',
        ),
        ('subtitle', [50000, 1000, 2000], [50000, 50020, 51020], 'run backwards at 50.000 s'),
    ],
)
def test_times_of_copied_packets(kind, times, expected, said):
    clock, out = Clock('a track', Fraction(0)), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for packet in packets(times, kind):
            out += clock.push(packet)
        out += clock.flush()
    assert [(packet.pts, packet.dts) for packet in out] == [
        time if isinstance(time, tuple) else (time, time) for time in expected
    ]
    assert [said in str(warning.message) for warning in caught] == ([True] if said else [])


def reported(path):
    """(length in seconds, average rate, first dts in frames) of the video track, as a demuxer reports
    them.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        length = (
            stream.duration * stream.time_base
            if stream.duration
            else Fraction(container.duration, av.time_base)
        )
        dts = [packet.dts for packet in container.demux(stream) if packet.size and packet.dts is not None]
        return (
            float(length),
            float(stream.average_rate),
            round(float(dts[0] * stream.time_base * stream.average_rate)),
        )


@pytest.mark.parametrize('suffix', ['.mp4', '.mov', '.mkv'])
@pytest.mark.parametrize('rate', ['24000/1001', '25', '30'])
def test_tracks_are_as_long_as_ffmpeg_writes_them(suffix, rate, identity, tmp_path):
    """With frames in another order for decoding, which begins before zero: MP4 notes that in an edit list."""
    command = f'-f lavfi -i testsrc2=s=64x48:r={rate} -frames:v 24 -c:v libx264 -bf 3'
    ffmpeg(*command.split(), tmp_path / f'in{suffix}')
    animevsr.upscale(tmp_path / f'in{suffix}', tmp_path / f'out{suffix}', identity, backend='torch')
    theirs, ours = (reported(tmp_path / f'{name}{suffix}') for name in ('in', 'out'))
    assert ours[0] == pytest.approx(24 / Fraction(rate), abs=0.002) and ours[0] == pytest.approx(
        theirs[0], abs=0.002
    )
    assert ours[1:] == pytest.approx(theirs[1:], rel=1e-4)
    assert not names(animevsr.verify(tmp_path / f'in{suffix}', tmp_path / f'out{suffix}'))


def test_a_track_of_variable_rate_ends_with_its_last_frame(identity, tmp_path):
    source = make(tmp_path, Container('v.mkv', "-vf setpts='N*N/25/TB/4' -fps_mode passthrough -c:v libx264"))
    for suffix in ('.mp4', '.mkv'):
        animevsr.upscale(source, tmp_path / f'out{suffix}', identity, backend='torch')
        times = decode(tmp_path / f'out{suffix}')[1]
        assert reported(tmp_path / f'out{suffix}')[0] >= times[-1]


def test_a_track_that_ends_early_is_found(identity, tmp_path):
    """Decoding that begins a tick before zero instead of a frame: players that trust the length drop the
    end.
    """
    ffmpeg(
        *['-f', 'lavfi', '-i', 'testsrc2=s=64x48:r=24', '-frames:v', '24', '-c:v', 'libx264', '-bf', '3'],
        tmp_path / 'in.mp4',
    )
    with (
        av.open(str(tmp_path / 'in.mp4')) as source,
        av.open(str(tmp_path / 'bad.mp4'), 'w', options={'avoid_negative_ts': 'disabled'}) as out,
    ):
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream, opaque=True)
        for packet in source.demux(stream):
            if packet.size:
                if packet.dts < 0:
                    packet.dts = packet.dts * packet.time_base * 24 // 1
                packet.stream = copy
                out.mux(packet)
    found = names(animevsr.verify(tmp_path / 'in.mp4', tmp_path / 'bad.mp4'))
    assert {'track length', 'track rate'} <= set(found)
