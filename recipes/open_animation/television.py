"""Clips like those of television, for measuring `--reuse`: drawings on ones, twos and threes, through the
codecs of DVDs, television recordings and the web.

    python recipes/open_animation/television.py --root datasets/open_animation -o assets/television

A talking head over a still background is the most frequent shot of a cartoon; pans, walks, fades, subtitles
and grain are what can go wrong. 48 frames of 640x480 each, of drawings that no training saw (split heldout).
"""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from compose import Library, Scene, make_actor, make_backdrop
from effects import SS
from encode import encode

WIDTH, HEIGHT, FRAMES = 640, 480, 48
X264 = '-c:v libx264 -preset medium -pix_fmt yuv420p'
CODECS = {
    'tv': f'{X264} -b:v 1000k -maxrate 2000k -bufsize 2000k -g 24 -bf 2',
    'web': f'{X264} -b:v 500k -maxrate 900k -bufsize 1200k -g 250 -bf 3',
    'dvd': '-c:v mpeg2video -b:v 4500k -maxrate 8000k -bufsize 1835k -g 12 -bf 2 -pix_fmt yuv420p',
    'asp': '-c:v mpeg4 -vtag xvid -b:v 1100k -g 250 -bf 2 -mbd rd -flags +mv4+aic -pix_fmt yuv420p',
}


@dataclass(frozen=True)
class Clip:
    """What a clip shows: `hold`, for how many frames a drawing is held; `codec`, a key of CODECS; `move`, how
    the camera does; `grain` in levels, `nod` in pixels."""

    name: str
    codec: str
    hold: int = 2
    heads: int = 1
    walks: bool = False
    move: str = 'hold'
    grain: float = 1.0
    nod: float = 0
    fade: bool = False
    subtitle: bool = False
    suffix: str = 'mkv'


CLIPS = (
    Clip('talk_twos_tv', 'tv'),
    Clip('talk_threes_tv', 'tv', hold=3, heads=2, nod=2),
    Clip('talk_twos_dvd', 'dvd', heads=2, nod=1, suffix='mpg'),
    Clip('talk_threes_web', 'web', hold=3),
    Clip('talk_twos_asp', 'asp', suffix='avi'),
    Clip('subtitle_tv', 'tv', subtitle=True),
    Clip('walk_twos_tv', 'tv', walks=True),
    Clip('pan_dvd', 'dvd', move='pan', suffix='mpg'),
    Clip('fade_web', 'web', fade=True),
    Clip('grain_tv', 'tv', grain=4.0),
)


def scene_of(clip, library, rng):
    width, height = WIDTH * SS, HEIGHT * SS
    backdrop = make_backdrop(library, width, height, rng)
    room = np.array([backdrop.shape[1] - width, backdrop.shape[0] - height], float)
    start = np.array([0.1, 0.4]) * room
    end = start + ([min(0.8 * room[0], 5 * SS * FRAMES), 0] if clip.move == 'pan' else [0, 0])
    scene = Scene(backdrop, ((*start, 1), (*end, 1)), 0)
    for i in range(clip.heads):
        actor = make_actor(library, 'face', width, height, FRAMES, rng)
        # the head nods now and then: the whole of it is drawn anew
        actor.hold, actor.bob, actor.spin, actor.turn = clip.hold, clip.nod * SS, 0, 0
        actor.scale *= (
            (0.85 if clip.heads == 1 else 0.6) * height / (actor.scale * actor.drawings[0].shape[0])
        )
        actor.speed = (4 * SS, 0) if clip.walks else (0, 0)
        actor.x, actor.y = (i + 1) / (clip.heads + 1) * width * (0.6 if clip.walks else 1), 0.55 * height
        pauses = [rng.randrange(FRAMES) for _ in range(3)]  # the mouth rests between two sentences
        actor.timing = [
            3 if any(0 <= t - pause < 8 for pause in pauses) else rng.randrange(3) for t in range(FRAMES)
        ]
        scene.actors.append(actor)
    return scene


def frames_of(clip, library, seed):
    """(h, w, 3) uint8 RGB of each frame."""
    rng = random.Random(f'{clip.name} {seed}')
    scene, noise = scene_of(clip, library, rng), np.random.default_rng(rng.randrange(1 << 30))
    for t in range(FRAMES):
        frame = cv2.resize(
            scene.draw(WIDTH * SS, HEIGHT * SS, t, FRAMES), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA
        )
        if clip.fade:
            frame = frame * min(1, t / 16, (FRAMES - t) / 16)
        frame = frame * 255 + noise.normal(0, clip.grain, frame.shape)
        image = (np.clip(frame, 0, 255) + 0.5).astype(np.uint8)
        if clip.subtitle and 8 <= t < 40:
            text = 'What have you done?' if t < 24 else 'Run!'
            for colour, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
                cv2.putText(
                    image, text, (60, 450), cv2.FONT_HERSHEY_SIMPLEX, 1.2, colour, thickness, cv2.LINE_AA
                )
        yield image


def make(clip, library, folder, seed=1):
    """Write the clip as a file in a folder; its path."""
    path = folder / f'{clip.name}.{clip.suffix}'
    encode(frames_of(clip, library, seed), path, 25, CODECS[clip.codec])
    return path


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', type=Path, default=Path('datasets/open_animation'))
    parser.add_argument('-o', '--output', type=Path, default=Path('assets/television'))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    used = set()
    for clip in CLIPS:
        library = Library(args.root / 'materials', 'heldout')
        print(make(clip, library, args.output))
        used |= {(entry['source'], entry['licence']) for entry in library.used}
    rows = [f'| {source} | {licence} |' for source, licence in sorted(used)]
    head = '# What the clips show\n\nMade by recipes/open_animation/television.py from drawings of others.\n'
    lines = [head, '| source | licence |', '| --- | --- |', *rows, '']
    (args.output / 'CREDITS.md').write_text('\n'.join(lines))
