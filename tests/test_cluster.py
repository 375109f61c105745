"""Processes that torchrun or slurm started: one work list, whatever becomes of some of them."""
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPO, decode, run_python, write_video
from test_shots_and_resume import CODEC, three_shots

import animevsr
from animevsr.upscaling import meeting

COMMAND = ['-m', 'animevsr_cli', 'upscale']
OPTIONS = ['--codec', 'ffv1', '--backend', 'torch', '--threads', '1']
# a process that takes a shot and dies without a word
DIES = '''
import os
from animevsr.upscaling.workers import Cluster
Cluster().store.add('claim', 1)
os.kill(os.getpid(), 9)
'''
# the first process, with less patience
PATIENT = '''
import sys
from animevsr.upscaling import workers
workers.SILENCE = 8
import animevsr_cli
animevsr_cli.main(sys.argv[1:])
'''


def long_video(path):
    return write_video(path, np.concatenate([three_shots()[0]] * 2), codec='ffv1', pix_fmt='bgr0')


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def start(rank, arguments, cwd, **environment):
    """One of two processes, as srun starts them."""
    names = dict(SLURM_PROCID=str(rank), SLURM_STEP_NUM_TASKS='2', SLURM_STEP_NODELIST='localhost', **environment)
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, 'PYTHONPATH': str(REPO), **names})


def test_under_torchrun(tiny_weights, tmp_path):
    source = long_video(tmp_path / 'in.mkv')
    run_python('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', 2, *COMMAND, source, '-o', 'two.mkv', '-n', tiny_weights,
               *OPTIONS, cwd=tmp_path)
    animevsr.upscale(source, tmp_path / 'one.mkv', tiny_weights, threads=1, **CODEC)
    assert np.array_equal(decode(tmp_path / 'one.mkv')[0], decode(tmp_path / 'two.mkv')[0])
    assert not list(tmp_path.glob('.*'))


def test_a_folder_of_videos_under_slurm(tiny_weights, tmp_path):
    (tmp_path / 'in').mkdir()
    for name in 'ab':
        long_video(tmp_path / f'in/{name}.mkv')
    (tmp_path / 'in/broken.mkv').write_bytes(b'nothing')
    port = free_port()
    both = [start(rank, [*COMMAND, 'in', '-o', 'out', '-n', tiny_weights, *OPTIONS], tmp_path, MASTER_PORT=port) for rank in (0, 1)]
    said = [process.communicate(timeout=200) for process in both]
    assert both[0].returncode == 1 and 'broken.mkv: failed' in said[0][0] and '2 done, 1 failed' in said[0][0], said
    assert both[1].returncode == 0 and not said[1][0], said
    assert not any('Traceback' in error for _, error in said), said
    animevsr.upscale(tmp_path / 'in/a.mkv', tmp_path / 'one.mkv', tiny_weights, threads=1, **CODEC)
    for name in 'ab':
        assert np.array_equal(decode(tmp_path / f'out/{name}.mkv')[0], decode(tmp_path / 'one.mkv')[0])
    assert not list((tmp_path / 'out').glob('.*.work'))


@pytest.mark.slow
def test_a_process_that_was_killed_is_left_behind(tiny_weights, tmp_path):
    source, port = long_video(tmp_path / 'in.mkv'), free_port()
    first = start(0, ['-c', PATIENT, 'upscale', source, '-o', 'out.mkv', '-n', tiny_weights, *OPTIONS], tmp_path, MASTER_PORT=port)
    second = start(1, ['-c', DIES], tmp_path, MASTER_PORT=port)
    said = first.communicate(timeout=200)
    said += second.communicate(timeout=60)
    assert first.returncode == 0 and second.returncode == -9, said
    assert 'process 1 gives no sign of life' in said[1]
    assert len(decode(tmp_path / 'out.mkv')[0]) == 24


def test_a_process_that_never_comes_is_not_waited_for(tiny_weights, tmp_path):
    long_video(tmp_path / 'in.mkv')
    first = start(0, ['-c', PATIENT.replace('8', '1'), 'upscale', 'in.mkv', '-o', 'out.mkv', '-n', tiny_weights, *OPTIONS], tmp_path,
                  MASTER_PORT=free_port())
    said = first.communicate(timeout=100)
    assert first.returncode == 0 and 'process 1 gives no sign of life' in said[1], said
    assert len(decode(tmp_path / 'out.mkv')[0]) == 24


def test_the_others_end_with_the_first(tiny_weights, tmp_path):
    """The first one refuses its weights: the second one says that it has stopped, and ends."""
    source, port = long_video(tmp_path / 'in.mkv'), free_port()
    arguments = [*COMMAND, source, '-o', 'out.mkv', *OPTIONS]
    both = [start(0, [*arguments, '-n', 'nothing.pth'], tmp_path, MASTER_PORT=port), start(1, [*arguments, '-n', tiny_weights], tmp_path,
                                                                                          MASTER_PORT=port)]
    said = [process.communicate(timeout=100)[1] for process in both]
    assert all(process.returncode == 1 for process in both) and 'Traceback' not in ''.join(said), said
    assert 'nothing.pth' in said[0] and 'the first process has stopped' in said[1]
    assert {path.name for path in tmp_path.iterdir()} == {'in.mkv', 'tiny.pth'}


def test_a_process_that_computes_otherwise_does_not_help(tiny_weights, tmp_path):
    source, port = long_video(tmp_path / 'in.mkv'), free_port()
    other = "import torch; torch.__version__ = '0.0'; import animevsr_cli, sys; animevsr_cli.main(sys.argv[1:])"
    arguments = ['upscale', source, '-o', 'out.mkv', '-n', tiny_weights, *OPTIONS]
    both = [start(0, ['-m', 'animevsr_cli', *arguments], tmp_path, MASTER_PORT=port), start(1, ['-c', other, *arguments], tmp_path,
                                                                                            MASTER_PORT=port)]
    said = [process.communicate(timeout=100)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert 'process 1 cannot help: here computes torch 0.0' in said[1] and len(decode(tmp_path / 'out.mkv')[0]) == 24


def test_nodes_of_slurm(monkeypatch):
    monkeypatch.setenv('PATH', '')
    assert meeting.first_node('a,b') == 'a'
    with pytest.raises(ValueError, match='scontrol is needed'):
        meeting.first_node('node[3-7]')


def test_places(monkeypatch):
    monkeypatch.setattr(meeting, 'store', lambda *told: told)
    said = dict(SLURM_PROCID='5', SLURM_STEP_NUM_TASKS='7', SLURM_STEP_NODELIST='b', SLURM_JOB_ID='12345', SLURM_STEP_ID='2',
                SLURM_LOCALID='1', SLURM_STEP_TASKS_PER_NODE='4,3')
    monkeypatch.setattr(meeting.os, 'sched_getaffinity', lambda _: range(meeting.os.cpu_count()), raising=False)
    assert meeting.by_slurm(said) == (('b', 22539, 5, '12345.2'), 5, 7, 1, 4)
    monkeypatch.setattr(meeting.os, 'sched_getaffinity', lambda _: (), raising=False)
    assert meeting.by_slurm(said).local_size == 1  # slurm has divided the cores
    with pytest.raises(ValueError, match='RANK is set, but MASTER_ADDR and MASTER_PORT not'):
        meeting.by_hand(dict(RANK='0', WORLD_SIZE='2'))
    assert meeting.by_hand(dict(RANK='1', WORLD_SIZE='2', MASTER_ADDR='a', MASTER_PORT='1'))[1:] == (1, 2, 1, 2)


def test_which_processes_are_a_cluster(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'):
        monkeypatch.delenv(name, raising=False)
    assert not meeting.in_cluster()
    monkeypatch.setenv('SLURM_PROCID', '0')  # sbatch's own shell
    assert not meeting.in_cluster()
    monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '2')
    assert meeting.in_cluster()
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '1')
    assert not meeting.in_cluster()
