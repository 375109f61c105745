"""Step 3 of the recipe: compose animation clips from the drawings of materials.py.

    python recipes/open_animation/compose.py --root datasets/open_animation --split train --clips 400

Cut-out animation with the habits of real animation: a background that holds, pans, tilts or zooms;
characters drawn on ones, twos or threes that blink and move their lips; parallax between layers; shallow
depth of field, cel shade, thin ink lines, rain, speed lines, titles, cuts, fades and a little film grain.
Each clip is a folder of PNG frames, or with --packed one file (`animevsr pack`), composed at twice its size
and averaged down. One clip depends on (split, seed, number) alone, so any part of the set can be made again;
finished clips are skipped.
"""

import argparse
import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from drawings import drawing, hue_turn, mottle, place, render_character, shade_plan, tint
from effects import SS, make_overlays
from jobs import run_jobs

from animevsr.video.packed import SUFFIX, pack

HOLDS = [1, 2, 2, 2, 3, 3, 4, 5]  # frames for which a drawing is held
SOFT = 0.2  # share of the backgrounds that are out of focus


@dataclass
class Actor:
    drawings: list
    timing: list  # which drawing at which frame
    hold: int
    x: float
    y: float
    scale: float
    speed: tuple
    bob: float
    turn: float
    spin: float
    parallax: float
    phase: float

    def __post_init__(self):
        """Prefiltered drawings: averaged down to at most 1.4 times the size at which they are shown."""
        factor = min(1, self.scale * 1.4)
        self.drawings = [
            cv2.resize(d, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else d
            for d in self.drawings
        ]
        self.scale /= factor

    def draw(self, canvas, t, camera):
        step = t // self.hold * self.hold
        x = self.x + self.speed[0] * step + camera[0] * self.parallax
        y = (
            self.y
            + self.speed[1] * step
            + camera[1] * self.parallax
            + self.bob * np.sin((step + self.phase) * 0.8)
        )
        place(
            canvas,
            self.drawings[self.timing[step] % len(self.drawings)],
            x,
            y,
            self.scale * camera[2],
            self.turn + self.spin * step,
        )


@dataclass
class Scene:
    """One shot: a background, a camera move and actors."""

    backdrop: np.ndarray
    path: tuple  # camera offsets and zooms at start and end
    easing: int
    actors: list = field(default_factory=list)
    overlay: list = field(default_factory=list)  # functions (canvas, t)

    def draw(self, width, height, t, length):
        u = t / max(length - 1, 1)
        u = (u, 3 * u * u - 2 * u**3, u * u)[self.easing]
        (x0, y0, z0), (x1, y1, z1) = self.path
        x, y, zoom = x0 + (x1 - x0) * u, y0 + (y1 - y0) * u, z0 + (z1 - z0) * u
        matrix = np.float32(
            [[zoom, 0, -x * zoom - (zoom - 1) * width / 2], [0, zoom, -y * zoom - (zoom - 1) * height / 2]]
        )
        canvas = cv2.warpAffine(
            self.backdrop, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        for actor in self.actors:
            actor.draw(canvas, t, (x0 - x, y0 - y, zoom))
        for effect in self.overlay:
            effect(canvas, t)
        return np.clip(canvas, 0, 1)


def painted_backdrop(width, height, rng):
    """A procedural painting: gradient, soft clouds or hills, brush texture."""
    seed = np.random.default_rng(rng.randrange(1 << 30))
    top, bottom = (seed.uniform(0.2, 0.9) + seed.uniform(-0.15, 0.15, 3) for _ in range(2))
    ramp = np.linspace(0, 1, height)[:, None, None]
    image = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (height, width, 3)).astype(np.float32).copy()
    for _ in range(rng.randrange(1, 5)):  # clouds, foliage: thresholded smooth noise, hard or soft border
        cell = rng.choice([6, 12, 24, 60])
        noise = cv2.resize(
            seed.standard_normal((height // cell + 4, width // cell + 4)).astype(np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        mask = np.clip((noise - rng.uniform(0.3, 1.2)) / rng.choice([0.02, 0.05, 0.6]), 0, 1)[..., None]
        image += (
            mask
            * ((seed.uniform(0.2, 0.9) + seed.uniform(-0.2, 0.2, 3)).astype(np.float32) - image)
            * rng.uniform(0.2, 0.7)
        )
    if rng.random() < 0.5:
        for _ in range(rng.randrange(4, 40)):  # buildings, furniture, fences
            x, y = rng.randrange(width), rng.randrange(height)
            size = (rng.randrange(8, width // 4), rng.randrange(8, height // 3))
            colour = tuple(float(c) for c in seed.uniform(0, 1, 3))
            cv2.rectangle(
                image, (x, y), (x + size[0], y + size[1]), colour, rng.choice([-1, -1, 2, 3]), cv2.LINE_AA
            )
    texture = cv2.GaussianBlur(
        seed.standard_normal((height, width, 1)).astype(np.float32), (0, 0), rng.choice([1.5, 3, 6])
    )
    return np.clip(image + texture[..., None] * rng.uniform(0, 0.15), 0, 1)


def make_backdrop(library, width, height, rng):
    """RGB background larger than the canvas, so that the camera can move."""
    need_w, need_h = int(width * rng.uniform(1.1, 1.8)), int(height * rng.uniform(1.1, 1.6))
    if rng.random() < 0.12:
        image = painted_backdrop(need_w, need_h, rng)
    else:
        image = tint(drawing(library.pick('backdrop', rng)['files'][0]), rng)[..., :3]
        scale = max(need_w / image.shape[1], need_h / image.shape[0])
        image = cv2.resize(
            image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        image = np.clip(image[: int(need_h * 1.6), : int(need_w * 2)], 0, 1)
        if rng.random() < 0.3:
            image = np.ascontiguousarray(image[:, ::-1])
    if rng.random() < 0.15:
        image = mottle(np.ascontiguousarray(image), rng.uniform(0.02, 0.16), rng.randrange(1 << 30))
    if rng.random() < library.soft:  # shallow depth of field: must stay blurred
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(2, 9) * SS)
    if rng.random() < 0.35:  # light falling off
        h, w = image.shape[:2]
        y, x = np.mgrid[0:h, 0:w].astype(np.float32)
        distance = np.hypot(x / w - rng.random(), y / h - rng.random())
        image = image * (1.1 - rng.uniform(0.2, 0.7) * distance)[..., None]
    return np.clip(image, 0, 1).astype(np.float32)


def make_actor(library, kind, width, height, length, rng):
    entry = library.pick(kind, rng)
    close = rng.random() < 0.45
    tall = dict(anime=(0.9, 2.6), face=(0.4, 1.2), rig=(0.8, 1.8), sprite=(0.12, 0.5))[kind]
    size = rng.uniform(*(tall if close or kind == 'sprite' else (tall[0] * 0.7, tall[0] * 1.2))) * height
    images = [drawing(path, None if kind == 'rig' else max(int(size), 16)) for path in entry['files']]
    flip, plan, turn = rng.random() < 0.5, shade_plan(rng), rng.uniform(0, 360) if rng.random() < 0.12 else 0
    tinted = random.Random(rng.random())
    state = tinted.getstate()
    drawings = []
    for image in images:
        tinted.setstate(state)  # the same tint for every drawing of the character
        image = tint(hue_turn(image, turn) if turn and kind != 'rig' else image, tinted)
        drawings.append(np.ascontiguousarray(render_character(image[:, ::-1] if flip else image, plan)))
    lively = len(drawings) > 1 and rng.random() < 0.75
    start = rng.randrange(len(drawings))
    if kind == 'rig':
        timing = [start + t for t in range(length)]
    elif kind == 'face':  # lip flap, and now and then a blink
        timing = [
            (4 if rng.random() < 0.15 else rng.randrange(3)) if lively else start for _ in range(length)
        ]
    else:
        timing = [start if not lively or t < length // 2 else start + 1 for t in range(length)]
    moving = rng.random() < 0.5
    scale = size / drawings[0].shape[0]
    return Actor(
        drawings,
        timing,
        hold=rng.choice(HOLDS),
        scale=scale,
        x=rng.uniform(0.05, 0.95) * width,
        # a tall drawing stands in the frame or shows its face: its head is near the top of the picture
        y=(
            rng.uniform(0.1, 0.35) * height + size * 0.42
            if kind in ('anime', 'rig')
            else rng.uniform(0.25, 0.85) * height
        ),
        speed=(rng.uniform(-6, 6) * SS, rng.uniform(-2, 2) * SS) if moving else (0, 0),
        bob=rng.uniform(0, 5) * SS if moving else 0,
        turn=rng.uniform(-8, 8) if kind != 'sprite' else rng.uniform(-180, 180),
        spin=rng.uniform(-1.5, 1.5) if moving else 0,
        parallax=rng.uniform(0.6, 1.4),
        phase=rng.uniform(0, 9),
    )


def make_scene(library, width, height, length, rng):
    backdrop = make_backdrop(library, width, height, rng)
    room = np.array([backdrop.shape[1] - width, backdrop.shape[0] - height], float)
    move = rng.choice(['hold', 'hold', 'hold', 'pan', 'pan', 'tilt', 'zoom'])
    start, end = np.array([rng.random(), rng.random()]), np.array([rng.random(), rng.random()])
    if move in ('hold', 'zoom'):
        end = start
    elif move == 'tilt':
        end[0] = start[0]
    travel = np.hypot(*((end - start) * room))
    # up to 9 output pixels a frame
    end = start + (end - start) * min(1, rng.uniform(1, 9) * SS * length / max(travel, 1))
    zooms = rng.choice([(1, 1.12), (1.12, 1)]) if move == 'zoom' else (1, 1)
    scene = Scene(backdrop, ((*(start * room), zooms[0]), (*(end * room), zooms[1])), rng.randrange(3))
    kinds = [
        kind
        for kind, weight in (('anime', 6), ('face', 4), ('rig', 3), ('sprite', 3))
        for _ in range(weight)
        if library.has(kind)
    ]
    for _ in range(rng.choice([1, 2, 2, 3, 4])):
        scene.actors.append(make_actor(library, rng.choice(kinds), width, height, length, rng))
    scene.overlay = make_overlays(width, height, rng)
    return scene


def clip_frames(library, width, height, length, rng):
    """RGB uint8 frames of one clip."""
    cut = rng.randrange(3, length - 3) if length >= 8 and rng.random() < 0.06 else length
    scenes = [make_scene(library, width * SS, height * SS, length, rng)]
    if cut < length:
        scenes.append(make_scene(library, width * SS, height * SS, length, rng))
    fade = rng.choice([-1, 1]) if rng.random() < 0.05 else 0
    grain = rng.uniform(0.3, 1.5) / 255 if rng.random() < 0.15 else 0
    noise = np.random.default_rng(rng.randrange(1 << 30))
    for t in range(length):
        canvas = scenes[t >= cut].draw(width * SS, height * SS, t, length)
        frame = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
        if fade:
            frame *= 1 - 0.7 * (t if fade > 0 else length - 1 - t) / length
        if grain:
            frame += noise.normal(0, grain, frame.shape).astype(np.float32)
        yield (np.clip(frame, 0, 1) * 255 + 0.5).astype(np.uint8)


class Library:
    """The drawings of one split by kind; remembers which were used. `soft`: see `SOFT`."""

    def __init__(self, materials, split, soft=SOFT):
        self.soft = soft
        entries = json.loads((materials / 'index.json').read_text())
        self._kinds, self.used = {}, []
        for entry in entries:
            if entry['split'] == split:
                self._kinds.setdefault(entry['kind'], []).append(
                    dict(entry, files=[materials / f for f in entry['files']])
                )

    def has(self, kind):
        return kind in self._kinds

    def pick(self, kind, rng):
        entry = rng.choice(self._kinds[kind])
        self.used.append({key: entry[key] for key in ('source', 'licence')})
        return entry


def make_clip(root, split, number, seed, size, length, packed, soft=SOFT):
    """Compose clip `number` into ROOT/<split>/<number>/, or ROOT/<split>/<number>.b2nd, with the credits of
    its drawings; it appears only when it is complete.
    """
    cv2.setNumThreads(1)
    folder, name = Path(root) / split, f'{number:04d}'
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name + SUFFIX if packed else name)
    if target.exists():
        return number
    library = Library(Path(root) / 'materials', split, soft)
    frames = clip_frames(library, *size, length, random.Random(f'{split} {seed} {number}'))
    if packed:
        frames = list(frames)  # by then it is known what they are made of
        (folder / f'{name}.credits.json').write_text(json.dumps(library.used, indent=1))
        pack(iter(frames), target)
    else:
        partial = target.with_name(target.name + '.partial')
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for t, frame in enumerate(frames):
            cv2.imwrite(str(partial / f'{t:08d}.png'), frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
        (partial / 'credits.json').write_text(json.dumps(library.used, indent=1))
        partial.rename(target)
    return number


def compose(root, split, clips, seed=1, size=(640, 384), length=24, jobs=2, packed=False, soft=SOFT):
    calls = [(root, split, n, seed, size, length, packed, soft) for n in range(clips)]
    run_jobs(make_clip, calls, f'clips, {split}', jobs)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default='datasets/open_animation')
    parser.add_argument('--split', choices=['train', 'heldout'], default='train')
    parser.add_argument('--clips', type=int, default=400)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--length', type=int, default=24, help='frames of a clip')
    parser.add_argument('--size', type=int, nargs=2, default=(640, 384), metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--soft', type=float, default=SOFT, help='share of backgrounds that are out of focus')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--packed', action='store_true', help='one file a clip, which is read faster')
    args = parser.parse_args()
    form = dict(seed=args.seed, size=tuple(args.size), length=args.length, packed=args.packed, soft=args.soft)
    compose(args.root, args.split, args.clips, jobs=args.jobs, **form)
