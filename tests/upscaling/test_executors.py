"""Shots computed by processes of this machine: always the same frames."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ONE_THREAD, REPO, same_video, three_shots, write_video

import animevsr
from animevsr.errors import MediaError
from animevsr.upscaling import api, executors
from animevsr.upscaling.job import Job
from animevsr.utils import tasks


@pytest.mark.slow
@pytest.mark.parametrize('jobs', [3])  # two: below, where one of them dies
def test_processes_give_the_same_frames(jobs, six_shots, six_shots_upscaled, tiny_weights, tmp_path):
    done = animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, jobs=jobs, **ONE_THREAD)
    assert (done.frames, done.shots) == (24, 6) and same_video(tmp_path / 'out.mkv', six_shots_upscaled)


class Dying(Job):
    """A job whose workers die with the first shot of this video that they take, until a file says that this
    has happened often enough.
    """

    def open_same_upscaler(self, plan, *arguments, **options):
        marks = Path(self.output).with_suffix('.deaths')
        if (
            executors.multiprocessing.parent_process() is not None
            and len(marks.read_text() if marks.exists() else '') < DEATHS
        ):
            with open(marks, 'a') as file:
                file.write('x')
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open_same_upscaler(plan, *arguments, **options)


DEATHS = 1


def test_a_shot_whose_process_died_is_computed_again(
    six_shots, six_shots_upscaled, tiny_weights, tmp_path, monkeypatch
):
    monkeypatch.setattr(api, 'Job', Dying)
    with pytest.warns(
        UserWarning, match=r'a worker process has stopped \(it was killed\); the work goes on with 1 of them'
    ):
        animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, jobs=2, **ONE_THREAD)
    assert (tmp_path / 'out.deaths').read_text() and same_video(tmp_path / 'out.mkv', six_shots_upscaled)


def test_what_no_process_can_compute_is_computed_here(
    six_shots, six_shots_upscaled, tiny_weights, tmp_path, monkeypatch
):
    class Broken:
        def __init__(self, *_):
            pass

        def submit(self, shot, number):
            raise executors.BrokenProcessPool

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(tasks, 'ProcessPoolExecutor', Broken)
    with pytest.warns(UserWarning, match='the work goes on with this process alone'):
        animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, jobs=2, **ONE_THREAD)
    assert same_video(tmp_path / 'out.mkv', six_shots_upscaled)


def test_an_error_of_a_process_is_raised_here(six_shots, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(api, 'Job', Refusing)
    with pytest.raises(MediaError, match='no such thing'):
        animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, jobs=2, **ONE_THREAD)
    assert not (tmp_path / 'out.mkv').exists()


class Refusing(Job):
    def open_same_upscaler(self, *_, **__):
        raise MediaError('no such thing')


class NoMemory(Job):
    def open_same_upscaler(self, plan, rank=None, **options):
        mark = Path(self.output).with_suffix('.once')
        if rank is not None and not mark.exists():
            mark.touch()
            raise MemoryError('out of memory')
        return super().open_same_upscaler(plan, rank, **options)


@pytest.mark.slow
def test_a_process_without_memory_is_left_out(
    six_shots, six_shots_upscaled, tiny_weights, tmp_path, monkeypatch
):
    monkeypatch.setattr(api, 'Job', NoMemory)
    with pytest.warns(UserWarning, match=r'has stopped \(out of memory\); the work goes on with 1 of them'):
        animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, jobs=2, **ONE_THREAD)
    assert same_video(tmp_path / 'out.mkv', six_shots_upscaled)


def test_shots_in_order_decode_the_input_once(six_shots, tiny_weights, tmp_path, monkeypatch):
    """One decoder for all shots of a process, not one for each."""
    opened, real = [], Job.open_reader
    monkeypatch.setattr(Job, 'open_reader', lambda self: opened.append(1) or real(self))
    animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, **ONE_THREAD)
    assert len(opened) == 3  # to look at it, to plan, to compute


def test_paths_may_be_relative_or_absolute(six_shots, tiny_weights, tmp_path, monkeypatch):
    """What was begun with the one is continued with the other; workers elsewhere are given absolute ones."""
    monkeypatch.chdir(tmp_path)
    animevsr.upscale('in.mkv', 'out.mkv', 'tiny.pth', part=(1, 2), **ONE_THREAD)
    assert (
        animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, part=(2, 2), **ONE_THREAD).resumed
        == 3
    )
    seen = []
    monkeypatch.setattr(api, 'Job', lambda *arguments: seen.append(arguments) or Job(*arguments))
    done = animevsr.upscale('in.mkv', 'again.mkv', 'tiny.pth', device=torch.device('cpu'), **ONE_THREAD)
    assert seen[0][:2] == (str(six_shots), str(tmp_path / 'again.mkv')) and seen[0][2].weights == str(
        tiny_weights
    )
    assert str(done.output) == 'again.mkv'


@pytest.mark.slow
def test_a_worker_ends_with_the_first_process(tiny_weights, tmp_path):
    """It must not go on with the list of a run that is gone, or wait for it."""
    source = write_video(tmp_path / 'in.mkv', np.concatenate([three_shots((20, 20, 20), (48, 64))[0]] * 20))
    command = [
        'upscale',
        str(source),
        '-o',
        'out.mkv',
        '-n',
        str(tiny_weights),
        '--jobs',
        '2',
        '--backend',
        'torch',
        '--threads',
        '1',
    ]
    first = subprocess.Popen(
        [sys.executable, '-m', 'animevsr_cli', *command],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        env={**os.environ, 'PYTHONPATH': str(REPO)},
        start_new_session=True,
    )
    for _ in range(900):
        if list(tmp_path.glob('.out.mkv.work/plan.json')):
            break
        time.sleep(0.1)
    time.sleep(1)
    first.kill()
    first.wait()
    with pytest.raises(ProcessLookupError):  # nobody is left of its group
        for _ in range(150):
            os.killpg(first.pid, 0)
            time.sleep(0.1)
