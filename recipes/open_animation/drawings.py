"""One drawing: read, tinted, inked and shaded, and laid onto a picture (for compose.py)."""

import random
from functools import lru_cache

import cv2
import numpy as np


@lru_cache(96)
def drawing(path, height=None):
    """Premultiplied RGBA, float32 in [0, 1]."""
    image = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    if height is not None and height < image.shape[0]:
        scale = height / image.shape[0]
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    image = image.astype(np.float32) / 255
    image[..., :3] *= image[..., 3:]
    return image


def tint(image, rng, amount=0.14):
    """Slight change of the colour balance; strong ones make odd skins."""
    gain = np.array([rng.uniform(1 - amount, 1 + amount / 2) for _ in range(3)], np.float32)
    out = image.copy()
    out[..., :3] = np.minimum(out[..., :3] * gain, out[..., 3:])
    return out


def hue_turn(image, turn):
    """Turn the hue of premultiplied RGBA by `turn` degrees."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + turn) % 360
    return np.dstack([cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), image[..., 3]])


def shade_plan(rng):
    """Parameters of cel shade and ink for one character, shared by all its drawings."""
    hue = np.array([rng.uniform(0, 0.45) for _ in range(3)], np.float32)
    return dict(
        angle=rng.uniform(0, 360),
        depth=rng.uniform(0.6, 0.9),
        soft=rng.random() < 0.3,
        # few are inked: where most edges have a dark line, a network learns to draw one along every edge
        ink=rng.random() < 0.16,
        # some ink is nearly black; other lines are drawn in a dark colour, or in a darker tone of what they
        # enclose
        colour=hue if rng.random() < 0.6 else hue * 0.15,
        tone=rng.random() < 0.4,
        width=rng.choice([1, 1, 1, 2, 2, 3]),
        mottle=rng.uniform(0.02, 0.14) if rng.random() < 0.12 else 0,
        shaded=rng.random() < 0.5,
        tones=rng.choice([1, 1, 2]),
        rim=rng.random() < 0.15,
        folds=rng.randrange(0, 7) if rng.random() < 0.4 else 0,
        seed=rng.random(),
    )


def mottle(image, strength, seed):
    """Fine uneven texture (paper, foliage, watercolour) on RGB or premultiplied RGBA: what must not become
    lines.
    """
    noise = np.random.default_rng(seed)
    h, w = image.shape[:2]
    texture = np.zeros((h, w), np.float32)
    for cell in noise.choice([2, 3, 4, 6, 10], 2, replace=False):
        small = noise.standard_normal((h // cell + 2, w // cell + 2)).astype(np.float32)
        texture += cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)
    image[..., :3] *= np.clip(1 + strength * texture, 0, None)[..., None]
    return image


def render_character(image, plan):
    """Cel shade in two or three tones (darker sides behind curved borders), a light rim, re-inked edges and
    thin fold lines.
    """
    out = image.copy()
    h, w = out.shape[:2]
    rng = random.Random(plan['seed'])
    if plan['shaded']:
        y, x = np.mgrid[0:h, 0:w].astype(np.float32) / max(h, w)
        a = np.deg2rad(plan['angle'])
        side = (x - 0.4) * np.cos(a) + (y - 0.4) * np.sin(a) + 0.05 * np.sin(9 * y + plan['seed'] * 6)
        for tone in range(plan['tones']):
            edge = np.clip((side - 0.12 * tone) / (0.5 if plan['soft'] else 0.004), 0, 1)
            out[..., :3] *= (1 - (1 - plan['depth']) * edge)[..., None]
    if plan['mottle']:
        mottle(out, plan['mottle'], int(plan['seed'] * 1e9))
        out[..., :3] = np.minimum(out[..., :3], out[..., 3:])
    if plan['rim']:
        inside = cv2.erode(out[..., 3], np.ones((9, 9), np.uint8))
        out[..., :3] += (out[..., 3:] - out[..., :3]) * ((out[..., 3] - inside) * 0.6)[..., None]
    if plan['ink']:
        gray = (cv2.cvtColor(np.ascontiguousarray(out[..., :3]), cv2.COLOR_RGB2GRAY) * 255).astype(np.uint8)
        lines = cv2.Canny(cv2.GaussianBlur(gray, (3, 3), 0), 60, 160)
        if plan['width'] > 1:
            lines = cv2.dilate(
                lines, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (plan['width'], plan['width']))
            )
        lines = np.clip(cv2.GaussianBlur(lines, (3, 3), 0).astype(np.float32) / 255 * 1.6, 0, 1)[..., None]
        colour = cv2.blur(out[..., :3], (9, 9)) * 0.4 if plan['tone'] else plan['colour'] * out[..., 3:]
        out[..., :3] += (colour - out[..., :3]) * lines * 0.9
    for _ in range(plan['folds']):
        x0, y0 = rng.uniform(0.2, 0.8) * w, rng.uniform(0.2, 0.9) * h
        t = np.linspace(0, 1, 40)
        curve = np.stack(
            [
                x0 + t * rng.uniform(-0.25, 0.25) * w + np.sin(t * 3) * rng.uniform(-20, 20),
                y0 + t * rng.uniform(0.05, 0.3) * h,
            ],
            1,
        )
        mask = np.zeros((h, w), np.uint8)
        cv2.polylines(
            mask, [(curve * 8).astype(np.int32)], False, 255, rng.choice([1, 2, 2, 3]), cv2.LINE_AA, 3
        )
        out[..., :3] *= 1 - mask[..., None].astype(np.float32) / 255 * 0.8
    return out


def place(canvas, image, x, y, scale, turn):
    """Composite premultiplied RGBA over `canvas` (in place), centred on (x, y), within its bounding box only.

    What is to be shrunk by more than a half was made small before (`Actor`): the warp itself takes no
    averages.
    """
    h, w = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), turn, scale)
    matrix[:, 2] += (x - w / 2, y - h / 2)
    corners = matrix @ np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1]])
    x0, y0 = np.maximum(np.floor(corners.min(1)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(corners.max(1)).astype(int) + 1, (canvas.shape[1], canvas.shape[0]))
    if x1 <= x0 or y1 <= y0:
        return
    matrix[:, 2] -= (x0, y0)
    layer = np.clip(cv2.warpAffine(image, matrix, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_CUBIC), 0, 1)
    region = canvas[y0:y1, x0:x1]
    region *= 1 - layer[..., 3:]
    region += np.minimum(layer[..., :3], layer[..., 3:])
