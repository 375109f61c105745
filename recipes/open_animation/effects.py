"""What lies over a whole picture: rain, glow, speed lines, titles."""

import random

import cv2
import numpy as np

SS = 2  # supersampling: sizes are in pixels of the large canvas unless they say otherwise


def make_overlays(width, height, rng):
    effects = []
    if rng.random() < 0.08:  # rain
        seed, shade, slant = rng.randrange(1 << 30), rng.uniform(0.6, 1), rng.uniform(-0.3, 0.3)

        def rain(canvas, t):
            drops = random.Random(seed + t)
            layer = np.zeros(canvas.shape[:2], np.uint8)
            for _ in range(120):
                x, y, size = drops.randrange(width), drops.randrange(height), drops.randrange(20, 90)
                cv2.line(
                    layer,
                    (x, y),
                    (int(x + slant * size), y + size),
                    255,
                    drops.choice([1, 2, 2]),
                    cv2.LINE_AA,
                )
            canvas += (shade - canvas) * (layer.astype(np.float32) / 255 * 0.6)[..., None]

        effects.append(rain)
    if rng.random() < 0.12:  # glow: what is bright shines over its border
        size, strength, least = rng.uniform(4, 16) * SS, rng.uniform(0.3, 0.9), rng.uniform(0.6, 0.85)

        def glow(canvas, t):
            small = cv2.resize(
                np.clip(canvas - least, 0, 1), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA
            )
            canvas += (
                cv2.resize(cv2.GaussianBlur(small, (0, 0), size / 4), canvas.shape[1::-1]) * strength * 3
            )

        effects.append(glow)
    if rng.random() < 0.08:  # speed lines towards a point, redrawn on twos
        seed = rng.randrange(1 << 30)
        centre, ink = (rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height), rng.choice([0, 1])

        def speed_lines(canvas, t):
            lines = random.Random(seed + t // 2)
            layer = np.zeros(canvas.shape[:2], np.uint8)
            for _ in range(60):
                a, r = lines.uniform(0, 6.28), lines.uniform(0.3, 0.6) * width
                wedge = [
                    (centre[0] + np.cos(a + d) * q, centre[1] + np.sin(a + d) * q)
                    for d, q in ((0, r), (-0.01, 2 * width), (0.01, 2 * width))
                ]
                cv2.fillPoly(layer, [(np.array(wedge) * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
            canvas += (ink - canvas) * (layer.astype(np.float32) / 255)[..., None]

        effects.append(speed_lines)
    if rng.random() < 0.2:  # a title or a subtitle
        letters = 'aaeeiioouubcdfghjklmnprstvwyzABCDEGHKMNRSTW0123456789?!,.'
        words = ' '.join(
            ''.join(rng.choice(letters) for _ in range(rng.randrange(1, 9)))
            for _ in range(rng.randrange(1, 6))
        )
        size, fill = (
            rng.uniform(0.6, 2.4) * SS,
            rng.choice([(1.0, 1.0, 1.0), (1.0, 1.0, 0.2), (0.05, 0.05, 0.1)]),
        )
        at, font = (
            (int(rng.uniform(0.02, 0.4) * width), int(rng.uniform(0.2, 0.95) * height)),
            rng.choice([0, 2, 3, 4, 6]),
        )
        border = tuple(1.0 - c for c in fill)

        def title(canvas, t):
            for colour, thickness in ((border, 4), (fill, 1.3)):
                layer = np.zeros(canvas.shape[:2], np.uint8)
                cv2.putText(layer, words, at, font, size, 255, int(thickness * SS), cv2.LINE_AA)
                canvas += (np.float32(colour) - canvas) * (layer.astype(np.float32) / 255)[..., None]

        effects.append(title)
    return effects
