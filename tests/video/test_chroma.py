"""Colours stay where they are: samples of chroma lie at the left one of two of luma (MPEG-1: in between)."""

import multiprocessing
import threading

import av
import numpy as np
import pytest
from conftest import make_identity

import animevsr
from animevsr.video.color import Color, from_rgb, to_rgb
from animevsr.video.reader import open_reader


def step(pix_fmt='yuv420p', width=64, height=48):
    """A frame whose colour changes between two samples of chroma, in the middle."""
    frame = av.VideoFrame(width, height, pix_fmt)
    for i, plane in enumerate(frame.planes):
        rows = np.full((plane.height, plane.line_size), 128, np.uint8)
        if i == 1:
            rows[:, : plane.width // 2], rows[:, plane.width // 2 :] = 100, 160
        plane.update(rows.tobytes())
    return frame


def edge(image):
    """Where blue crosses the middle of its two values, in pixels from the left border."""
    blue = image[len(image) // 2, :, 2].astype(float)
    share = (blue - blue[:8].mean()) / (blue[-8:].mean() - blue[:8].mean())
    i = int(np.argmax(share > 0.5))
    return i + 0.5 - (share[i] - 0.5) / (share[i] - share[i - 1])


@pytest.mark.parametrize('full_range', [False, True])
def test_what_is_written_stays_where_it_was(full_range):
    image = np.full((48, 64, 3), 90, np.uint8)
    image[:, 33:, 2] = 200
    back = to_rgb(from_rgb(image, 'yuv420p', Color(1, full_range)), Color(1, full_range))
    assert edge(back) == pytest.approx(edge(image), abs=0.15)


@pytest.mark.parametrize('codec, place', [('mpeg2video', 31.5), ('mpeg1video', 32), ('libx264', 31.5)])
def test_of_a_file(codec, place, tmp_path):
    with av.open(str(tmp_path / 'in.mkv'), 'w') as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, 'yuv420p', 2_000_000
        for _ in range(2):
            out.mux(stream.encode(step()))
        out.mux(stream.encode(None))
    with open_reader(tmp_path / 'in.mkv') as reader:
        assert edge(next(image for image, _ in reader.frames())) == pytest.approx(place, abs=0.15)
    animevsr.upscale(
        tmp_path / 'in.mkv', tmp_path / 'out.mkv', make_identity(tmp_path), backend='torch', crf=5
    )
    with open_reader(tmp_path / 'out.mkv') as reader:
        assert edge(next(image for image, _ in reader.frames())) == pytest.approx(4 * place, abs=0.7)


def convert_in_child(queue):
    queue.put(from_rgb(np.zeros((48, 64, 3), np.uint8), 'yuv420p', Color(6)).width)


@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='there is no fork')
def test_after_a_fork(tmp_path):
    """As in the workers of a data loader: what other threads had before must not hold them up."""
    image = np.zeros((48, 64, 3), np.uint8)
    from_rgb(image, 'yuv420p', Color(6))
    thread = threading.Thread(target=lambda: (from_rgb(image, 'yuv420p', Color(6)), ready.set(), go.wait(30)))
    ready, go = threading.Event(), threading.Event()
    thread.start()
    ready.wait(30)
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=convert_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == 64
    child.join(30)
    go.set()
    thread.join()
    assert child.exitcode == 0


def test_more_sizes_than_are_remembered():
    for width in (32, 48, 64, 80, 96, 112, 32):
        frame = from_rgb(np.zeros((48, width, 3), np.uint8), 'yuv420p', Color(6))
        assert (frame.width, frame.height) == (width, 48)
