"""Where shots are computed: processes of this machine, nodes of a Ray cluster, parts of an array job; always
the same frames.
"""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CODEC, REPO, decode, run_python, three_shots, write_video

import animevsr
from animevsr.errors import MediaError
from animevsr.upscaling import api, executors, run, workdir
from animevsr.upscaling.joining import join_parts
from animevsr.upscaling.options import GROUPS, UpscaleOptions
from animevsr.upscaling.workdir import WorkFolder
from animevsr.upscaling.worker import DifferentRounding, Job
from animevsr_cli.config import settings_of
from animevsr_cli.main import parser

OPTIONS = dict(CODEC, threads=1)


@pytest.fixture
def source(tmp_path):
    return write_video(
        tmp_path / 'in.mkv', np.concatenate([three_shots()[0]] * 2), codec='ffv1', pix_fmt='bgr0'
    )


@pytest.fixture
def expected(source, tiny_weights, tmp_path):
    """The frames of one process, and their times."""
    assert animevsr.upscale(source, tmp_path / 'one.mkv', tiny_weights, **OPTIONS).shots == 6
    return decode(tmp_path / 'one.mkv')


def same(path, expected):
    images, times = decode(path)
    return (
        np.array_equal(images, expected[0]) and times == expected[1] and not list(path.parent.glob('.*.work'))
    )


@pytest.mark.parametrize('jobs', [3])  # two: below, where one of them dies
def test_processes_give_the_same_frames(jobs, source, expected, tiny_weights, tmp_path):
    done = animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, jobs=jobs, **OPTIONS)
    assert (done.frames, done.shots) == (24, 6) and same(tmp_path / 'out.mkv', expected)


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


def test_a_shot_whose_process_died_is_computed_again(source, expected, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(api, 'Job', Dying)
    with pytest.warns(
        UserWarning, match=r'a worker process has stopped \(it was killed\); the work goes on with 1 of them'
    ):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, jobs=2, **OPTIONS)
    assert (tmp_path / 'out.deaths').read_text() and same(tmp_path / 'out.mkv', expected)


def test_what_no_process_can_compute_is_computed_here(source, expected, tiny_weights, tmp_path, monkeypatch):
    class Broken:
        def __init__(self, *_):
            pass

        def submit(self, shot, number):
            raise executors.BrokenProcessPool

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(executors, 'ProcessPoolExecutor', Broken)
    with pytest.warns(UserWarning, match='the work goes on with this process alone'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, jobs=2, **OPTIONS)
    assert same(tmp_path / 'out.mkv', expected)


def test_an_error_of_a_process_is_raised_here(source, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(api, 'Job', Refusing)
    with pytest.raises(MediaError, match='no such thing'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, jobs=2, **OPTIONS)
    assert not (tmp_path / 'out.mkv').exists()


class Refusing(Job):
    def open_same_upscaler(self, *_, **__):
        raise MediaError('no such thing')


class NoMemory(Job):
    def open_same_upscaler(self, plan, rank=None, **options):
        mark = Path(self.output).with_suffix('.once')
        if rank is not None and not mark.exists():
            mark.touch()
            raise RuntimeError('out of memory')
        return super().open_same_upscaler(plan, rank, **options)


@pytest.mark.slow
def test_a_process_without_memory_is_left_out(source, expected, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(api, 'Job', NoMemory)
    with pytest.warns(UserWarning, match=r'has stopped \(out of memory\); the work goes on with 1 of them'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, jobs=2, **OPTIONS)
    assert same(tmp_path / 'out.mkv', expected)


def test_shots_in_order_decode_the_input_once(source, tiny_weights, tmp_path, monkeypatch):
    """One decoder for all shots of a process, not one for each."""
    opened, real = [], Job.open_reader
    monkeypatch.setattr(Job, 'open_reader', lambda self: opened.append(1) or real(self))
    animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **OPTIONS)
    assert len(opened) == 3  # to look at it, to plan, to compute


def test_paths_may_be_relative_or_absolute(source, tiny_weights, tmp_path, monkeypatch):
    """What was begun with the one is continued with the other; workers elsewhere are given absolute ones."""
    monkeypatch.chdir(tmp_path)
    animevsr.upscale('in.mkv', 'out.mkv', 'tiny.pth', part=(1, 2), **OPTIONS)
    assert animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, part=(2, 2), **OPTIONS).resumed == 3
    seen = []
    monkeypatch.setattr(api, 'Job', lambda *arguments: seen.append(arguments) or Job(*arguments))
    done = animevsr.upscale('in.mkv', 'again.mkv', 'tiny.pth', device=torch.device('cpu'), **OPTIONS)
    assert seen[0][:2] == (str(source), str(tmp_path / 'again.mkv')) and seen[0][2].weights == str(
        tiny_weights
    )
    assert str(done.output) == 'again.mkv'


# --- parts of an array job


def test_parts_share_the_shots_and_the_last_one_joins(source, expected, tiny_weights, tmp_path):
    out, options = tmp_path / 'out.mkv', dict(weights=tiny_weights, **OPTIONS)
    first = animevsr.upscale(source, out, part=(2, 3), **options)
    assert (first.missing, first.shots) == (4, 6) and not out.exists()
    with pytest.raises(MediaError, match='4 of 6 shots missing, the first is number 0'):
        join_parts(out)
    with pytest.raises(
        ValueError, match='was begun with different options; all parts must be given the same ones'
    ):
        animevsr.upscale(source, out, part=(1, 3), **{**options, 'codec': 'h264'})
    said = run_python(
        '-m',
        'animevsr_cli',
        'upscale',
        source,
        '-o',
        out,
        '-n',
        tiny_weights,
        '--codec',
        'ffv1',
        '--backend',
        'torch',
        '--threads',
        1,
        '--part',
        '3/3',
        cwd=tmp_path,
    ).stdout
    assert 'this part is done, 2 of 6 shots left to other parts' in said
    last = animevsr.upscale(source, out, part=(1, 3), **options)
    assert last.missing == 0 and last.resumed == 4 and same(out, expected)
    with pytest.raises(MediaError, match='nothing of it has been begun'):
        join_parts(out)


def test_parts_side_by_side(source, expected, tiny_weights, tmp_path):
    """All begin at once: one makes the plan, the others wait for it."""
    out, missing = tmp_path / 'out.mkv', []

    def run(number):
        missing.append(animevsr.upscale(source, out, tiny_weights, part=(number, 3), **OPTIONS).missing)

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(missing) == 3 and missing.count(0) >= 1 and same(out, expected)


def test_join_after_the_last_part_was_stopped(source, expected, tiny_weights, tmp_path, monkeypatch):
    out = tmp_path / 'out.mkv'

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, 'join_segments', stop)
        with pytest.raises(KeyboardInterrupt):
            animevsr.upscale(source, out, tiny_weights, part=(1, 1), **OPTIONS)
    assert not out.exists()
    assert 'out.mkv' in run_python('-m', 'animevsr_cli', 'join', out, cwd=tmp_path).stdout and same(
        out, expected
    )


def test_a_part_that_comes_after_the_join(source, expected, tiny_weights, tmp_path):
    """Begun again, or one of more parts than there are shots: there is nothing to do, and nothing is left
    behind.
    """
    out = tmp_path / 'out.mkv'
    for number in (1, 2):
        animevsr.upscale(source, out, tiny_weights, part=(number, 2), **OPTIONS)
    done = animevsr.upscale(source, out, tiny_weights, part=(2, 2), **OPTIONS)
    assert (done.missing, done.frames) == (0, 24) and same(out, expected)
    for number in (1, 2, 2):
        done = animevsr.upscale(source, tmp_path / 'images', tiny_weights, part=(number, 2), **OPTIONS)
    assert (done.missing, done.frames) == (0, 24) and not list(tmp_path.glob('.*'))


def test_parts_and_other_runs_keep_apart(source, tiny_weights, tmp_path):
    out = tmp_path / 'out.mkv'
    animevsr.upscale(source, out, tiny_weights, part=(1, 2), **OPTIONS)
    with WorkFolder(out).lock_part((1, 2)):
        with pytest.raises(MediaError, match='part 1 of 2 is at work on it'):
            animevsr.upscale(source, out, tiny_weights, **OPTIONS)
        with pytest.raises(MediaError, match='part 1/2 is at work on it already'):
            animevsr.upscale(source, out, tiny_weights, part=(1, 2), **OPTIONS)
    # when nobody is at work, any run may go on
    assert animevsr.upscale(source, out, tiny_weights, **OPTIONS).resumed == 3


def test_a_plan_of_another_version_is_one_line(source, tiny_weights, tmp_path):
    out = tmp_path / 'out.mkv'
    animevsr.upscale(source, out, tiny_weights, part=(1, 2), **OPTIONS)
    WorkFolder(out).plan_file.write_text('{"made_of": {}}')
    with pytest.raises(MediaError, match='was begun by another version of animevsr; remove'):
        join_parts(out)


def test_a_folder_without_locks(source, expected, tiny_weights, tmp_path, monkeypatch):
    """Some network folders know none: one run alone goes on, parts do not."""

    def acquire(self, *_, **__):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(workdir.FileLock, 'acquire', acquire)
    with pytest.raises(MediaError, match='knows no locks, which parts need'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, part=(1, 2), **OPTIONS)
    with pytest.warns(UserWarning, match='knows no locks'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **OPTIONS)
    assert same(tmp_path / 'out.mkv', expected)


# --- a Ray cluster


@pytest.fixture(scope='module')
def cluster():
    """A Ray cluster of two nodes on this machine, each of one CPU."""
    pytest.importorskip('ray')
    from ray.cluster_utils import Cluster

    warnings.simplefilter('ignore')
    os.environ['RAY_DISABLE_IMPORT_WARNING'], before = '1', os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = f'{REPO}:{REPO / "tests"}:{REPO / "tests/upscaling"}'
    # it is 15 by default: beside other tests they would starve
    os.environ.update({'RAY_worker_niceness': '0'})
    made = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, include_dashboard=False))
    made.second = made.add_node(num_cpus=1)
    yield made
    import ray

    ray.shutdown()
    made.shutdown()
    os.environ.pop('PYTHONPATH') if before is None else os.environ.update(PYTHONPATH=before)


def test_nodes_of_ray_give_the_same_frames(cluster, source, expected, tiny_weights, tmp_path):
    done = animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, cluster=cluster.address, **OPTIONS)
    assert (done.frames, done.shots) == (24, 6) and same(tmp_path / 'out.mkv', expected)


def test_workers_of_ray_that_round_differently_are_excluded(
    cluster, source, expected, tiny_weights, tmp_path, monkeypatch
):
    monkeypatch.setattr(api, 'Job', Elsewhere)
    with pytest.warns(
        UserWarning, match=r'were excluded \(it would .*another processor\); 6 of 6 shots are computed here'
    ):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, cluster=cluster.address, **OPTIONS)
    assert same(tmp_path / 'out.mkv', expected)


class Elsewhere(Job):
    def open_same_upscaler(self, plan, *arguments, **options):
        import ray

        if ray.get_runtime_context().get_task_id():
            raise DifferentRounding('here computes another processor')
        return super().open_same_upscaler(plan, *arguments, **options)


def test_a_node_of_ray_that_is_killed(cluster, source, expected, tiny_weights, tmp_path, monkeypatch):
    """In the middle of the work; its shots are computed by the other one."""
    monkeypatch.setattr(api, 'Job', Slow)
    killer = threading.Thread(target=kill_when, args=(tmp_path / '.out.mkv.work', cluster))
    killer.start()
    animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, cluster=cluster.address, **OPTIONS)
    killer.join()
    assert cluster.killed and same(tmp_path / 'out.mkv', expected)


class Slow(Job):
    def open_same_upscaler(self, *arguments, **options):
        time.sleep(1)
        return super().open_same_upscaler(*arguments, **options)


def kill_when(folder, cluster):
    """Kill the second node as soon as there is a segment."""
    cluster.killed = False
    for _ in range(1200):
        if list(folder.glob('shot_*.mkv')):
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.killed = True
            return
        time.sleep(0.05)


def test_no_cluster_is_one_line(source, tiny_weights, tmp_path):
    pytest.importorskip('ray')
    done = run_python(
        '-m',
        'animevsr_cli',
        'upscale',
        source,
        '-o',
        'o.mkv',
        '-n',
        tiny_weights,
        '--backend',
        'torch',
        '--cluster',
        '127.0.0.1:1',
        cwd=tmp_path,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if line.startswith('animevsr: ')][-1]
    assert (
        done.returncode == 1
        and 'no Ray cluster answers there' in said
        and 'ray start --head' in said
        and 'Traceback' not in done.stderr
    )


# --- options


def test_flags_are_the_fields():
    """A new option is a field and a flag: neither is without the other, and their defaults agree."""
    flags = settings_of(parser().parse_args(['upscale', 'in.mkv', '-o', 'out.mkv']))
    options = UpscaleOptions.of()
    values = dict(vars(options))
    for group in GROUPS:
        values.update(vars(values.pop(group)))
    assert flags == values


def test_what_the_pixels_depend_on():
    changed = dict(
        outscale=2,
        height=64,
        width=64,
        fit='64x64',
        fps=25,
        square_pixels=True,
        strength=0.5,
        steady=False,
        grain=2.0,
        start='3',
        end='200f',
        crop='2:2:0:0',
        deinterlace='off',
        cuts=False,
        codec='ffv1',
        crf=3,
        depth=10,
        chroma='444',
        hardware=True,
        preset='slow',
        tune='animation',
        encoder_options=['g=12'],
        audio='none',
        device='cpu',
        backend='torch',
        fast=True,
        half=True,
        bf16=True,
        compiled=True,
        reuse=True,
        tile=64,
        threads=3,
    )
    names = {f.name for kind in (UpscaleOptions, *GROUPS.values()) for f in fields(kind)}
    assert set(changed) == names - {*GROUPS, 'weights', 'jobs', 'cluster', 'part'}
    plain = UpscaleOptions.of().pixels()
    for name, value in changed.items():
        assert UpscaleOptions.of(**{name: value}).pixels() != plain, name
    assert UpscaleOptions.of(jobs=3, cluster='auto', part=(1, 2)).pixels() == plain


def test_unknown_options_are_refused(source, tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'cfr'"):
        animevsr.upscale(source, tmp_path / 'o.mkv', cfr=3)


# --- the end of a run


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
