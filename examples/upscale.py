"""Upscale a video from Python, and check that everything of it is in the result.

python examples/upscale.py IN OUT
"""

import sys

import animevsr

source, result = sys.argv[1:3]
done = animevsr.upscale(source, result, progress=True)
print(f'{done.frames} frames, {done.width}x{done.height}, {done.fps:.2f} frames a second')
for check in animevsr.verify(source, result):
    print('ok  ' if check.ok else 'FAIL', check.name, check.what)
