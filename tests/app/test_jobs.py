"""The queue of the app, without its page."""

import json
import sys

import numpy as np
import pytest
from conftest import decode, moving_frames, three_shots, write_video
from waiting import wait

from animevsr.app import jobs
from animevsr.app.describe import describe
from animevsr.app.jobs import DONE, FAILED, PAUSED, RUNNING, WAITING, Entry, JobQueue, lines, newest_frame
from animevsr.errors import MediaError


@pytest.fixture
def queue(tmp_path):
    queue = JobQueue(tmp_path / 'app')
    yield queue
    queue.close()


def test_one_app_runs_a_queue(queue):
    with pytest.raises(MediaError, match='another app runs this queue'):
        JobQueue(queue.file.parent)


def test_a_video_is_done(queue, tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mkv', three_shots((9, 8, 9))[0])
    settings = dict(weights=str(tiny_weights), backend='torch', reuse=True, outscale=2, crf=12)
    entry = queue.add(str(source), str(tmp_path / 'out.mkv'), settings)
    assert entry.command() == [
        *['upscale', str(source), '-o', str(tmp_path / 'out.mkv'), '--weights', str(tiny_weights)],
        *['--backend', 'torch', '--reuse', '--outscale', '2', '--crf', '12'],
    ]
    with pytest.raises(MediaError, match='is in the queue already'):
        queue.add(str(source), str(tmp_path / 'out.mkv'), settings)
    done = wait(queue, entry.number, DONE, FAILED)
    assert (done.state, done.done, done.total) == (DONE, 26, 26), done
    assert decode(tmp_path / 'out.mkv')[0].shape == (26, 64, 96, 3)
    assert newest_frame(tmp_path / 'out.mkv').shape == (64, 96, 3)
    with pytest.raises(MediaError, match='is there already'):
        queue.add(str(source), str(tmp_path / 'out.mkv'), settings)


def test_what_cannot_be_is_told_at_once(queue, tmp_path):
    source = write_video(tmp_path / 'in.mkv', moving_frames(3, 32, 48))
    with pytest.raises(ValueError, match='crf must be between'):
        queue.add(str(source), str(tmp_path / 'out.mkv'), dict(crf=99))
    (tmp_path / 'bad.mkv').write_bytes(b'no')
    with pytest.raises(MediaError, match='not readable'):
        queue.add(str(tmp_path / 'bad.mkv'), str(tmp_path / 'out.mkv'), {})
    with pytest.raises(ValueError, match='no_such_model: no such weights file'):
        queue.add(str(source), str(tmp_path / 'out.mkv'), dict(weights='no_such_model'))
    (tmp_path / 'junk.pth').write_text('junk')
    entry = queue.add(str(source), str(tmp_path / 'out.mkv'), dict(weights=str(tmp_path / 'junk.pth')))
    failed = wait(queue, entry.number, FAILED)
    assert 'junk.pth' in failed.message and not queue.process


def test_a_full_disk_fails_one_video_and_not_the_queue(queue, tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', moving_frames(3, 32, 48))
    settings = dict(weights=str(tiny_weights), backend='torch')
    whole = jobs.start

    def full(entry):
        if entry.number == 1:
            raise OSError(28, 'No space left on device')
        return whole(entry)

    monkeypatch.setattr(jobs, 'start', full)
    numbers = [queue.add(str(source), str(tmp_path / f'{i}.mkv'), settings).number for i in (1, 2)]
    assert 'No space left' in wait(queue, numbers[0], FAILED).message
    assert wait(queue, numbers[1], DONE, FAILED).state == DONE


@pytest.mark.slow
def test_paused_resumed_and_after_a_crash(tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mkv', three_shots((40, 40, 40))[0])
    settings = dict(weights=str(tiny_weights), backend='torch', threads=1)
    queue = JobQueue(tmp_path / 'app')
    first = queue.add(str(source), str(tmp_path / 'a.mkv'), settings).number
    second = queue.add(str(source), str(tmp_path / 'b.mkv'), settings).number
    wait(queue, first, RUNNING)
    assert queue.find(second).state == WAITING  # one after the other
    queue.pause(first)
    assert wait(queue, first, PAUSED).state == PAUSED
    wait(queue, second, RUNNING, DONE)
    queue.close()  # as the app is stopped
    assert not (tmp_path / 'a.mkv').exists()
    stored = json.loads((tmp_path / 'app/queue.json').read_text())
    assert [e['state'] for e in stored][0] == PAUSED
    stored[1]['state'] = RUNNING  # as a crash would leave it
    (tmp_path / 'app/queue.json').write_text(json.dumps(stored))
    (tmp_path / 'b.mkv').unlink(missing_ok=True)
    again = JobQueue(tmp_path / 'app')
    assert wait(again, second, DONE).done == 120
    again.resume(first)
    assert wait(again, first, DONE).done == 120
    assert np.array_equal(decode(tmp_path / 'a.mkv')[0], decode(tmp_path / 'b.mkv')[0])
    again.remove(first)
    assert again.find(first) is None and (tmp_path / 'a.mkv').exists()
    again.close()


def test_a_damaged_file_of_the_queue(tmp_path):
    (tmp_path / 'queue.json').write_text('[{"number"')
    queue = JobQueue(tmp_path)
    assert queue.entries == []
    queue.close()


def test_lines_are_those_of_a_terminal():
    class Stream:
        pieces = [b' 3%| 1/26 fra', b'mes [00:01<00:25, 1 frames/s]\r 7%|', b' 2/26\nanimevsr: x', b'']

        def read1(self):
            return self.pieces.pop(0)

    assert list(lines(Stream())) == [' 3%| 1/26 frames [00:01<00:25, 1 frames/s]', ' 7%| 2/26', 'animevsr: x']


def test_commands_are_understood():
    from animevsr_cli.console import parser

    settings = dict(weights='x', outscale=2.0, height=720, crop='2:2:0:0', grain=1.5, square_pixels=True)
    settings.update(reuse=True, fast=False, crf=20)
    args = parser().parse_args(Entry(1, 'in', 'out', settings).command())
    assert {name: getattr(args, name) for name in settings} == settings


def test_a_description(tmp_path):
    frames = np.zeros((12, 96, 128, 3), np.uint8)
    frames[:, 16:80] = np.maximum(moving_frames(12, 64, 128), 60)
    found = describe(write_video(tmp_path / 'in.mkv', frames, sound=True, crf=10))
    assert found.settings == dict(crop='16:16:0:0')
    assert '128x96, 25.000 frames a second, 1' in found.lines[0]
    assert found.lines[2] == '1 video, 1 audio' and 'upscaled for nothing' in found.advice[0]
    plain = describe(write_video(tmp_path / 'plain.mkv', np.maximum(moving_frames(5, 32, 48), 60)))
    assert plain.settings == {} and 'Nothing special' in plain.advice[0]


def test_it_needs_its_package(monkeypatch):
    from animevsr_cli.console import main

    monkeypatch.setitem(sys.modules, 'gradio', None)
    for name in ('page', 'server'):
        monkeypatch.delitem(sys.modules, f'animevsr.app.{name}', raising=False)
    with pytest.raises(SystemExit, match=r"the app needs the package gradio; run: pip install '.\[app\]'"):
        main(['app'])
