"""Upscale, again and again, killed after so many seconds each time:
`killed_and_run_again.py SOURCE OUTPUT WEIGHTS SECONDS ...`.
"""

import os
import signal
import sys
import time

import animevsr

source, output, weights = sys.argv[1:4]
for delay in map(float, sys.argv[4:]):
    child = os.fork()
    if child == 0:
        try:
            animevsr.upscale(source, output, weights, codec='h264', backend='torch', threads=1)
        finally:
            os._exit(0)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    sys.stdout.write(f'{delay} {sorted(os.listdir(os.path.dirname(output)))}\n')
    sys.stdout.flush()
