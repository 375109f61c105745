"""What `upscale` looks at before PyTorch is there, which takes longer to import than all else together."""

import pytest
from conftest import moving_frames, run_python, write_video

PROGRAM = """
import sys, time
import animevsr
from animevsr.errors import MediaError
from animevsr.upscaling import run
from animevsr.upscaling.job import Job

load, scan = Job.load, run.scan
seen = []

def slow_load(job, rank=None):
    while not seen:  # until the input has been looked through
        time.sleep(0.01)
    seen.append('torch' in sys.modules)
    return load(job, rank)

def watched_scan(*arguments):
    timeline = scan(*arguments)
    seen.append(len(timeline.ticks))
    return timeline

Job.load, run.scan = slow_load, watched_scan
try:
    done = animevsr.upscale(sys.argv[1], sys.argv[2], sys.argv[3], device='cpu', backend='torch')
    print(done.frames, seen)
except (MediaError, ValueError) as error:
    print(error, 'torch' in sys.modules)
"""


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / 'clip.mkv', moving_frames(5, 32, 32))


def test_the_input_is_looked_through_before_torch_is_imported(clip, tmp_path, tiny_weights):
    done = run_python('-c', PROGRAM, clip, tmp_path / 'out.mkv', tiny_weights, cwd=tmp_path)
    assert done.stdout.split() == ['5', '[5,', 'False]']


@pytest.mark.parametrize(
    'output, said', [('out.xyz/a.mkv', 'its folder does not exist'), ('clip.mkv', 'is the input')]
)
def test_what_is_wrong_with_input_or_output_is_said_without_torch(clip, output, said, tmp_path, tiny_weights):
    done = run_python('-c', PROGRAM, clip, tmp_path / output, tiny_weights, cwd=tmp_path)
    assert said in done.stdout and done.stdout.endswith('False\n'), done.stdout
