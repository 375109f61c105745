"""Frames of a video by their numbers: those of a whole decoding, of which little is decoded for them."""

import av
import numpy as np
import pytest
from conftest import moving_frames, write_video

from animevsr.errors import MediaError
from animevsr.video import numbered
from animevsr.video.numbered import count_frames, list_times, read_frames
from animevsr.video.reader import VideoReader

COUNT = 60
KINDS = {
    'h264.mkv': dict(codec='libx264', bf=3, g=10),
    'open.mkv': dict(codec='libx264', bf=3, g=10, **{'x264-params': 'open-gop=1:scenecut=0'}),
    'h264.mp4': dict(codec='libx264', bf=2, g=10),
    'hevc.mp4': dict(codec='libx265', **{'x265-params': 'keyint=10:bframes=3:log-level=none'}),
    'mpeg2.mkv': dict(codec='mpeg2video', bf=2, g=10),
    'mpeg2.ts': dict(codec='mpeg2video', bf=2, g=10),
    'mpeg4.mkv': dict(codec='mpeg4', bf=2, g=10),
    'vp9.webm': dict(codec='libvpx-vp9', g=10),
    'ffv1.mkv': dict(codec='ffv1'),
}


@pytest.fixture
def decoded(monkeypatch):
    """Counts the frames that are turned into images, and those that are decoded."""
    counts, real = [], VideoReader.decoded

    def count(self):
        for frame in real(self):
            counts.append(frame.pts)
            yield frame

    monkeypatch.setattr(VideoReader, 'decoded', count)
    return counts


@pytest.mark.parametrize('name', KINDS)
def test_windows_are_decoded_from_a_key_frame(name, tmp_path, decoded):
    path = write_video(tmp_path / name, moving_frames(COUNT, 64, 80), **KINDS[name])
    with VideoReader(path) as reader:
        whole = [reader.image(frame) for frame in reader.decoded()]
    assert len(whole) == COUNT == count_frames(path)
    for window in (range(4), [9, 10, 11], [31, 31, 33, 34], [COUNT - 1]):
        decoded.clear()
        found = read_frames(path, window)
        assert np.array_equal(np.stack(found), np.stack([whole[i] for i in window])), window
        # a transport stream has no index: its key frames are searched, and may not be found
        assert name.endswith('ts') or len(decoded) <= 16, window
    with pytest.raises(MediaError, match=f'ends after {COUNT} frames, frame 99 was asked for'):
        read_frames(path, [3, 99])


def test_without_times_all_is_decoded(tmp_path, decoded):
    path = write_video(tmp_path / 'v.avi', moving_frames(30, 64, 80), codec='mpeg4', g=10)
    assert list_times(path) is None
    whole = read_frames(path, range(30))
    decoded.clear()
    assert np.array_equal(read_frames(path, [25])[0], whole[25])
    assert len(decoded) == 26


def test_an_index_that_is_wrong_costs_time_alone(tmp_path, monkeypatch, decoded):
    path = write_video(tmp_path / 'v.mkv', moving_frames(30, 64, 80), codec='libx264', g=10)
    whole = read_frames(path, range(30))
    monkeypatch.setattr(
        VideoReader, 'decoded_from', lambda self, time: (f for f in self.decoded() if f.pts > time)
    )
    assert np.array_equal(np.stack(read_frames(path, [12, 14])), np.stack([whole[12], whole[14]]))


def test_what_begins_with_frames_that_cannot_be_decoded(tmp_path):
    """A part that was cut out at a key frame of an open group: its first frames need what is not there."""
    whole = write_video(tmp_path / 'v.mkv', moving_frames(90, 64, 80), **KINDS['open.mkv'])
    part = tmp_path / 'part.mkv'
    with av.open(str(whole)) as source, av.open(str(part), 'w') as out:
        stream, keys = out.add_stream_from_template(source.streams.video[0]), 0
        for packet in source.demux(video=0):
            keys += packet.is_keyframe
            if keys > 2 and packet.size:
                packet.stream = stream
                out.mux(packet)
    with VideoReader(part) as reader:
        shown = [reader.image(frame) for frame in reader.decoded()]
    assert len(shown) < len(list_times(part))
    assert count_frames(part) == len(shown)
    assert np.array_equal(read_frames(part, [40, 50]), [shown[40], shown[50]])


def test_a_missing_file_and_a_codec_of_hidden_frames(tmp_path):
    with pytest.raises(MediaError, match='gone.mkv'):
        read_frames(tmp_path / 'gone.mkv', [40])
    path = write_video(tmp_path / 'v.webm', moving_frames(40, 64, 80), codec='libvpx', g=10)
    assert list_times(path) is None and len(read_frames(path, [35])) == 1


def test_a_file_that_changes_is_looked_at_again(tmp_path):
    path = write_video(tmp_path / 'v.mkv', moving_frames(8, 32, 32), codec='ffv1')
    assert len(list_times(path)) == 8
    write_video(path, moving_frames(5, 32, 32), codec='ffv1')
    assert len(list_times(path)) == 5
    assert numbered._list_times.cache_info().maxsize
