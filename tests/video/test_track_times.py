"""Copied tracks keep their times, which never run backwards, and their lengths."""

import warnings
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from conftest import decode
from containers import Container, ffmpeg, make, names, run_and_audit

import animevsr
from animevsr.video.tracks import Clock


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
