"""Shots computed by the nodes of a Ray cluster: always the same frames."""

import os
import threading
import time
import warnings

import pytest
from conftest import ONE_THREAD, REPO, run_python, same_video

import animevsr
from animevsr.upscaling import api
from animevsr.upscaling.job import DifferentRounding, Job


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


def test_nodes_of_ray_give_the_same_frames(cluster, six_shots, six_shots_upscaled, tiny_weights, tmp_path):
    done = animevsr.upscale(
        six_shots, tmp_path / 'out.mkv', tiny_weights, cluster=cluster.address, **ONE_THREAD
    )
    assert (done.frames, done.shots) == (24, 6) and same_video(tmp_path / 'out.mkv', six_shots_upscaled)


def test_workers_of_ray_that_round_differently_are_excluded(
    cluster, six_shots, six_shots_upscaled, tiny_weights, tmp_path, monkeypatch
):
    monkeypatch.setattr(api, 'Job', Elsewhere)
    with pytest.warns(
        UserWarning, match=r'were excluded \(it would .*another processor\); 6 of 6 shots are computed here'
    ):
        animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, cluster=cluster.address, **ONE_THREAD)
    assert same_video(tmp_path / 'out.mkv', six_shots_upscaled)


class Elsewhere(Job):
    def open_same_upscaler(self, plan, *arguments, **options):
        import ray

        if ray.get_runtime_context().get_task_id():
            raise DifferentRounding('here computes another processor')
        return super().open_same_upscaler(plan, *arguments, **options)


@pytest.mark.slow
def test_a_node_of_ray_that_is_killed(
    cluster, six_shots, six_shots_upscaled, tiny_weights, tmp_path, monkeypatch
):
    """In the middle of the work; its shots are computed by the other one."""
    monkeypatch.setattr(api, 'Job', Slow)
    killer = threading.Thread(target=kill_when, args=(tmp_path / '.out.mkv.work', cluster))
    killer.start()
    animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, cluster=cluster.address, **ONE_THREAD)
    killer.join()
    assert cluster.killed and same_video(tmp_path / 'out.mkv', six_shots_upscaled)


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


def test_no_cluster_is_one_line(six_shots, tiny_weights, tmp_path):
    pytest.importorskip('ray')
    done = run_python(
        '-m',
        'animevsr_cli',
        'upscale',
        six_shots,
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
