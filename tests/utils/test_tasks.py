"""Many things at once, in processes: what fails, and what happens when it is to stop."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from animevsr.utils.tasks import run_tasks

LONG = 600  # seconds that nobody waits for
PROGRAM = f"""
import signal, sys, time
from animevsr.utils.interrupts import at_checks
from animevsr.utils.tasks import run_tasks

if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
    with at_checks():
        for item, _, problem in run_tasks(time.sleep, [0, {LONG}, {LONG}], jobs=2):
            print(item, problem, flush=True)
"""


@pytest.mark.parametrize('jobs', [1, 2])
def test_what_fails_stops_none_of_the_others(jobs):
    done = {item: problem for item, _, problem in run_tasks(time.sleep, [0, -1, 0.01], jobs)}
    assert done.pop(-1) and set(done) == {0, 0.01} and not any(done.values())


@pytest.mark.parametrize('number, code', [(signal.SIGINT, -2), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_it_ends_without_what_its_processes_are_at(tmp_path, number, code):
    (tmp_path / 'program.py').write_text(PROGRAM)
    program = subprocess.Popen(
        [sys.executable, tmp_path / 'program.py'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert program.stdout.readline() == b'0 \n'
    processes = psutil.Process(program.pid).children(recursive=True)
    assert len(processes) >= 2
    program.send_signal(number)
    assert program.wait(LONG / 10) == code
    assert not psutil.wait_procs(processes, LONG / 10)[1]


WRITING = f"""
import signal, sys, time
from pathlib import Path
from animevsr.utils.files import atomic_file
from animevsr.utils.tasks import run_tasks

def write(name):
    with atomic_file(Path(name)) as partial:
        partial.write_text('half')
        Path(name + '.begun').touch()
        time.sleep({LONG})

if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.default_int_handler)
    list(run_tasks(write, ['a', 'b', 'c', 'd', 'e'], jobs=2))
"""


def test_processes_that_are_interrupted_leave_no_partial_files(tmp_path):
    (tmp_path / 'program.py').write_text(WRITING)
    program = subprocess.Popen([sys.executable, 'program.py'], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while len(list(tmp_path.glob('*.begun'))) < 2:
        time.sleep(0.02)
    processes = psutil.Process(program.pid).children(recursive=True)
    program.send_signal(signal.SIGINT)
    assert program.wait(LONG / 10) == -2
    assert not psutil.wait_procs(processes, LONG / 10)[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.begun', 'b.begun', 'program.py']
