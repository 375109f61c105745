"""The clip of the demonstration: two characters of a visual novel, as an old file would hold them.

    python recipes/open_animation/demo.py --root datasets/open_animation -o assets/demo/cartoon.avi

48 frames on twos, 400x300, made small, a little soft, and encoded as MPEG-4 (Xvid) at a low rate. The
drawings (Eileen and Lucy of the demonstration of Ren'Py, Expat licence) were seen by no training (split
heldout).
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from compose import Actor, Scene
from drawings import drawing
from effects import SS
from encode import encode

WIDTH, HEIGHT, FRAMES = 800, 600, 48  # of the picture before it is made small
XVID = '-c:v mpeg4 -vtag xvid -q:v 7 -g 120 -bf 1 -pix_fmt yuv420p'


def actor(files, x, scale, phase):
    """A character that breathes, and changes its face now and then; `scale`: its height, of the picture's."""
    drawings, height = [np.ascontiguousarray(drawing(file)) for file in files], HEIGHT * SS
    return Actor(
        drawings,
        timing=[0 if t % 24 < 14 else 1 + (t // 24) % (len(drawings) - 1) for t in range(FRAMES)],
        hold=2,
        x=x * WIDTH * SS,
        y=(0.12 + scale / 2) * height,
        scale=scale * height / drawings[0].shape[0],
        speed=(0, 0),
        bob=2 * SS,
        turn=0,
        spin=0,
        parallax=1,
        phase=phase,
    )


def frames_of(materials):
    """(h, w, 3) uint8 RGB of each frame, small."""
    entries = json.loads((materials / 'index.json').read_text())
    own = [
        [materials / file for file in e['files']] for e in entries if e['split'] == 'heldout' and is_drawn(e)
    ]
    (place,) = (files[0] for files in own if 'panorama' in files[0].name)
    eileen, lucy = (files for files in own if 'panorama' not in files[0].name)
    backdrop = drawing(place)[..., :3]
    factor = HEIGHT * SS * 1.1 / backdrop.shape[0]
    backdrop = cv2.resize(backdrop, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    scene = Scene(backdrop, ((40, 20, 1), (40 + 100 * SS, 20, 1)), 1)
    scene.actors = [actor(lucy, 0.72, 1.25, 3), actor(eileen, 0.32, 1.35, 0)]
    noise, size = np.random.default_rng(0), (WIDTH, HEIGHT)
    for t in range(FRAMES):
        frame = scene.draw(WIDTH * SS, HEIGHT * SS, t, FRAMES)
        frame = cv2.GaussianBlur(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), (0, 0), 0.9)
        small = cv2.resize(frame, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA) * 255
        yield (np.clip(small + noise.normal(0, 1.5, small.shape), 0, 255) + 0.5).astype(np.uint8)


def is_drawn(entry):
    """A character, or the background that belongs to them."""
    return entry['kind'] == 'anime' or entry['kind'] == 'backdrop' and entry['source'] == 'renpy-demo'


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', type=Path, default=Path('datasets/open_animation'))
    parser.add_argument('-o', '--output', type=Path, default=Path('assets/demo/cartoon.avi'))
    args = parser.parse_args()
    encode(frames_of(args.root / 'materials'), args.output, 24, XVID)
    print(args.output, args.output.stat().st_size, 'bytes')
