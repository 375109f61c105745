"""Readers, writers and colour conversion."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from colour_bars import BARS, MATRIX, bar_colours, bars_frame, bars_yuv
from conftest import decode, moving_frames, write_clip, write_video

import animevsr
from animevsr.errors import MediaError
from animevsr.video.color import Color, from_rgb, to_rgb
from animevsr.video.encoders import check_output, choose_encoding
from animevsr.video.images import list_images, read_image
from animevsr.video.numbered import count_frames, read_frames
from animevsr.video.reader import VideoReader, open_reader
from animevsr.video.remux import join
from animevsr.video.scan import scan
from animevsr.video.segments import SegmentWriter


@pytest.mark.parametrize('full_range', [False, True])
@pytest.mark.parametrize('standard', ['bt601', 'bt709'])
def test_colour_bars_to_rgb_and_back(standard, full_range):
    frame = bars_frame(standard, full_range)
    color = Color.of_frame(frame)
    assert (color.matrix, color.full_range) == (MATRIX[standard], full_range)
    rgb = to_rgb(frame, color)
    assert np.abs(bar_colours(rgb) - BARS).max() <= 2
    back = from_rgb(np.ascontiguousarray(rgb), 'yuv420p', color)
    yuv = np.stack(
        [
            np.frombuffer(bytes(p), np.uint8).reshape(p.height, -1)[2, p.width // 16 : p.width : p.width // 8]
            for p in back.planes
        ],
        1,
    )
    assert np.abs(yuv.astype(int) - bars_yuv(standard, full_range)).max() <= 2


def test_untagged_video_is_guessed_by_its_height():
    frame = bars_frame('bt601', False, tagged=False)
    assert Color.of_frame(frame).matrix == 6
    assert Color.of_frame(av.VideoFrame(1280, 720, 'yuv420p')).matrix == 1


def test_video_reader(tmp_path):
    frames = moving_frames(7, 36, 50)
    path = write_video(
        tmp_path / 'v.mkv', frames, rate=Fraction(24000, 1001), codec='libx264rgb', pix_fmt='rgb24', crf=0
    )
    with open_reader(path) as reader:
        assert (reader.info.width, reader.info.height) == (50, 36)
        assert abs(reader.info.fps - Fraction(24000, 1001)) < Fraction(1, 1000)
    out, times = decode(path)
    assert np.array_equal(out, frames)
    assert [round(float(t) * 24000 / 1001) for t in times] == list(range(7))
    assert np.array_equal(np.stack(read_frames(path, [1, 3, 3, 6])), frames[[1, 3, 3, 6]])
    assert count_frames(path) == 7
    with pytest.raises(MediaError, match='v.mkv: ends after 7 frames, frame 9 was asked for'):
        read_frames(path, [9])


def test_image_folder_in_numeric_order(tmp_path):
    frames = moving_frames(12, 20, 24)
    (tmp_path / 'f').mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f'f/shot {i}.png'), frame[..., ::-1])
    (tmp_path / 'f/notes.txt').write_text('not a frame')
    assert [p.stem for p in list_images(tmp_path / 'f')] == [f'shot {i}' for i in range(12)]
    assert np.array_equal(np.stack(read_frames(tmp_path / 'f', range(12))), frames)


def test_images_of_every_kind(tmp_path):
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    cv2.imwrite(str(tmp_path / 'gray.png'), gray)
    assert np.array_equal(read_image(tmp_path / 'gray.png'), np.repeat(gray[..., None], 3, 2))
    deep = gray.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    assert np.array_equal(read_image(tmp_path / 'deep.png')[..., 0], gray)
    colour = moving_frames(1, 8, 8)[0]
    cv2.imwrite(str(tmp_path / 'alpha.png'), np.dstack([colour[..., ::-1], np.full((8, 8), 255, np.uint8)]))
    assert np.array_equal(read_image(tmp_path / 'alpha.png'), colour)
    (tmp_path / 'bad.png').write_bytes(b'x')
    with pytest.raises(MediaError, match='bad.png: cannot be read'):
        read_image(tmp_path / 'bad.png')


def test_unreadable_inputs_are_named(tmp_path):
    with pytest.raises(MediaError, match='gone.mp4: no such file'):
        open_reader(tmp_path / 'gone.mp4')
    (tmp_path / 'empty.mp4').touch()
    with pytest.raises(MediaError, match='empty.mp4: the file is empty'):
        open_reader(tmp_path / 'empty.mp4')
    (tmp_path / 'text.mp4').write_text('hello ' * 100)
    with pytest.raises(MediaError, match='text.mp4: not readable as a video'):
        open_reader(tmp_path / 'text.mp4')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(MediaError, match='folder: holds no images'):
        open_reader(tmp_path / 'folder')
    with av.open(str(tmp_path / 'sound.m4a'), 'w') as out:
        track = out.add_stream('aac', rate=44100, layout='mono')
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
        frame.sample_rate = 44100
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    with pytest.raises(MediaError, match=r'sound.m4a: has no video stream \(it holds audio\)'):
        open_reader(tmp_path / 'sound.m4a')


def write_all(path, source, frames, codec='h264', shots=(0,)):
    """Frames in place of those of a source, in segments that begin at `shots`, with everything else that the
    source holds.
    """
    with VideoReader(source, conceal=True) as reader:
        timeline = scan(reader, None, False)
        ticks, base = timeline.ticks, timeline.base
        encoding, segments = choose_encoding(codec, reader.info, frames.shape[1:3]), []
        for start, stop in zip(shots, (*shots[1:], len(frames))):
            segments.append(path.with_name(f'{path.stem}_{start}.mkv'))
            with SegmentWriter(segments[-1], encoding, reader.info.fps) as writer:
                for frame in frames[start:stop]:
                    writer.write(frame)
        join(segments, ticks, base, path, source, reader.stream.index)
    return path


def test_lossless_writer(tmp_path):
    frames = moving_frames(5, 30, 42)
    source = write_video(tmp_path / 'a.mp4', frames)
    assert np.array_equal(decode(write_all(tmp_path / 'b.mkv', source, frames, codec='ffv1'))[0], frames)


@pytest.mark.parametrize(
    'rate', [Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(18), Fraction(12)]
)
def test_constant_rates_stay_exact(rate, tmp_path):
    frames = moving_frames(10, 32, 48)
    source = write_video(tmp_path / 'a.mp4', frames, rate=rate)
    with VideoReader(write_all(tmp_path / 'b.mp4', source, frames)) as reader:
        assert reader.info.fps == rate and reader.info.frame_count == 10
        assert [time for _, time in reader.frames()] == [i / rate for i in range(10)]


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.mov', '.m4v'])
@pytest.mark.parametrize('source', ['.flv', '.mkv', '.avi', '.ts'])
def test_rates_survive_the_clocks_of_containers(source, suffix, tmp_path):
    """FLV and Matroska round times to milliseconds, AVI has none: the rate is exact all the same."""
    frames, rate = moving_frames(12, 32, 48), Fraction(24000, 1001)
    path = write_video(tmp_path / f'a{source}', frames, rate=rate)
    out = write_all(tmp_path / f'b{suffix}', path, frames)
    with VideoReader(out) as reader:
        assert abs(reader.info.fps - rate) < Fraction(1, 100)
        times = [time for _, time in reader.frames()]
    assert len(times) == 12
    assert [round(float(t - times[0]) * 1000) for t in times] == pytest.approx(
        [i * 1001 / 24 for i in range(12)], abs=1.01
    )


TIMES = [0, 40, 80, 300, 310, 700, 1000, 1040, 1041, 1500, 2000, 2001]


@pytest.mark.parametrize('shots', [(0,), (0, 5), (0, 1, 2, 11)])
@pytest.mark.parametrize('codec', ['h264', 'h265', 'av1', 'ffv1', 'prores'])
@pytest.mark.parametrize('names', [('.mkv', '.mkv'), ('.mp4', '.mp4'), ('.mkv', '.mov')], ids='-'.join)
def test_variable_times_are_kept(names, codec, shots, tmp_path):
    """To the tick of the source's clock, through segments that reorder their frames, and whatever the first
    time is.
    """
    if (codec, names[1]) in (('ffv1', '.mp4'), ('ffv1', '.mov'), ('prores', '.mp4'), ('av1', '.mov')):
        pytest.skip('not carried')
    frames = moving_frames(12, 64, 96)
    source = write_video(tmp_path / f'a{names[0]}', frames, times=[t + 120 for t in TIMES])
    expected = decode(source)[1]
    out, times = decode(write_all(tmp_path / f'b{names[1]}', source, frames, codec, shots))
    assert list(times) == list(expected) and times[0] > 0
    assert [np.abs(a.astype(int) - b).mean() < 12 for a, b in zip(out, frames)] == [True] * 12  # in order


def test_times_that_run_backwards_or_are_missing(tmp_path):
    frames = moving_frames(5, 32, 48)
    source = write_video(tmp_path / 'a.mp4', frames)
    with VideoReader(source, conceal=True) as reader:
        decoded = list(reader.decoded())
        for frame, pts in zip(decoded, [0, 512, 256, None, 2048]):
            frame.pts = pts
        reader.decoded = lambda: iter(decoded)
        assert [round(time * 25, 3) for _, time in reader.timed()] == [0, 1, 2, 3, 4]


def test_names_with_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = moving_frames(2, 32, 48)
    source = write_video(tmp_path / 'plain.mp4', frames).rename(tmp_path / 'Show: 1.mp4')
    write_all(Path('Show: 1 x4.mkv'), Path(source.name), frames)
    assert len(decode(Path('Show: 1 x4.mkv'))[0]) == 2


def test_segments_of_another_plan_are_refused(tmp_path):
    frames = moving_frames(5, 32, 48)
    source = write_video(tmp_path / 'a.mp4', frames)
    for count, message in (
        (4, 'the segments hold 4 frames, the plan 5'),
        (6, 'holds more frames than the plan says'),
    ):
        with pytest.raises(MediaError, match=message):
            write_all(tmp_path / 'b.mkv', source, moving_frames(count, 32, 48))
        assert not list(tmp_path.glob('*b.mkv'))


def test_an_older_output_stays_until_the_new_one_is_complete(tmp_path):
    frames = moving_frames(3, 32, 48)
    source = write_video(tmp_path / 'a.mp4', frames)
    (tmp_path / 'out.mkv').write_text('older')
    with pytest.raises(MediaError):
        write_all(tmp_path / 'out.mkv', source, frames[:2])
    assert (tmp_path / 'out.mkv').read_text() == 'older'
    write_all(tmp_path / 'out.mkv', source, frames)
    assert len(decode(tmp_path / 'out.mkv')[0]) == 3


@pytest.mark.parametrize(
    'name, options, message',
    [
        ('nowhere/x.mp4', {}, 'its folder does not exist'),
        ('x.mp4', dict(codec='ffv1'), 'ffv1 is not written into .mp4; use .mkv'),
        ('x.avi', {}, 'h264 is not written into'),
        ('x.webm', {}, 'h264 is not written into'),
        ('x.png', {}, 'one image cannot hold 3 frames'),
        ('x.docx', {}, "unknown kind of output '.docx'"),
        ('full', {}, 'is a folder that is not empty'),
    ],
)
def test_impossible_outputs_are_named(name, options, message, tmp_path):
    source = write_video(tmp_path / 'a.mp4', moving_frames(3, 32, 48))
    write_clip(tmp_path / 'full', moving_frames(1, 8, 8))
    with VideoReader(source) as reader, pytest.raises(MediaError, match=message):
        check_output(tmp_path / name, reader.info, options.get('codec', 'h264'))


def test_a_rate_that_no_container_keeps(tiny_weights, tmp_path):
    """A damaged header may say a frame in three years; the segments then say no rate at all."""
    source = write_clip(tmp_path / 'in', moving_frames(3, 16, 24))
    done = animevsr.upscale(
        source, tmp_path / 'out.mkv', tiny_weights, fps=Fraction(1, 112207555), backend='torch'
    )
    assert done.frames == 3 and len(decode(tmp_path / 'out.mkv')[0]) == 3
