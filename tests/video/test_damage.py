"""What is wrong with a video is concealed and told."""

import av
import numpy as np
import pytest
from conftest import decode
from containers import Container, make, run_and_audit

import animevsr
from animevsr.video.container import open_container
from animevsr.video.reader import VideoReader


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


def test_damage_near_the_end_costs_no_frames_after_it(tmp_path, monkeypatch):
    """However many threads the decoder may have: with a frame for each, it stops at what it cannot decode."""
    source = make(tmp_path, Container('in.mkv', '-c:v libx264 -crf 10 -g 10 -bf 0'), 2.0)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    at, size = places[47]
    data[at + 10 : at + size] = bytes([255]) * (size - 10)
    source.write_bytes(bytes(data))

    def opened(path):
        container = open_container(path)
        container.streams.video[0].codec_context.thread_count = 8
        return container

    monkeypatch.setattr('animevsr.video.reader.open_container', opened)
    with VideoReader(source, conceal=True) as reader:
        times = [time for _, time in reader.timed()]
    assert len(times) == 50 and reader.damage


def test_what_is_lost_at_the_beginning_does_not_move_the_rest(tmp_path):
    """AVI with B-frames says no times: frames that never came must not leave theirs to the others."""
    source = make(tmp_path, Container('in.avi', '-c:v libx264 -crf 10 -g 30 -bf 3'), 4.0)

    def read():
        with VideoReader(source, conceal=True) as reader:
            return [(time, reader.image(frame)) for frame, time in reader.timed()]

    whole, data = read(), bytearray(source.read_bytes())
    with av.open(str(source)) as file:
        packet = next(packet for packet in file.demux(video=0) if packet.size)
    start = data.index(bytes(packet)) + 100  # behind what describes the stream
    data[start : start + packet.size - 100] = b'U' * (packet.size - 100)
    source.write_bytes(bytes(data))
    left = read()
    assert len(left) < len(whole) == 100 and left[-1][0] == whole[-1][0]
    for (time, image), (expected, before) in zip(left[-40:], whole[-40:]):
        assert time == expected and np.abs(image.astype(int) - before).max() <= 2


@pytest.mark.parametrize('share, least, most', [(0.5, 30, 70), (0.94, 85, 97)])
def test_a_truncated_video_is_told(share, least, most, identity, tmp_path):
    source = make(tmp_path, Container('in.mkv', '-c:v libx264 -crf 10 -g 10'), 4.0)
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * share)])
    with pytest.warns(
        UserWarning, match='in.mkv: the picture ends before the 4.00 s that the file says, at [123]'
    ):
        done = animevsr.upscale(source, tmp_path / 'out.mkv', identity, backend='torch')
    assert least < done.frames < most and len(decode(tmp_path / 'out.mkv')[0]) == done.frames


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
