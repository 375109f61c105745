"""`animevsr learn` and the training processes that it starts."""

import signal
import subprocess
import sys
import time

import pytest

from animevsr.utils.files import inherited_lock

# a training that has something to do before it ends
TRAINING = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.3)
    pathlib.Path('ended').touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
pathlib.Path('began').touch()
time.sleep(60)
"""
PARENT = f"""
import sys
from animevsr.utils.files import inherited_lock
from animevsr_cli.guard import end_on_sigterm
from animevsr_cli.training_commands import train
end_on_sigterm()
train([sys.executable, '-c', {TRAINING!r}], inherited_lock('lock'))
"""


@pytest.mark.skipif(sys.platform == 'win32', reason='there is no SIGTERM')
def test_a_training_ends_with_the_command_and_in_its_own_way(tmp_path):
    parent = subprocess.Popen([sys.executable, '-c', PARENT], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / 'began').exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(BlockingIOError):  # a second one would train beside it
        inherited_lock(tmp_path / 'lock')
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(30) == 143 and (tmp_path / 'ended').exists()
    inherited_lock(tmp_path / 'lock').close()


def test_a_name_of_other_frames_is_refused(tmp_path):
    for name in ('first', 'säcond'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '0.png').write_bytes(b'')
    (tmp_path / 'experiments/mine_top/models').mkdir(parents=True)
    (tmp_path / 'experiments/mine_frames.txt').write_text(str((tmp_path / 'first').resolve()))
    command = [sys.executable, '-m', 'animevsr_cli', 'learn', 'säcond', '--name', 'mine']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(said) == 1 and 'mine_frames.txt); choose another --name' in said[0]
