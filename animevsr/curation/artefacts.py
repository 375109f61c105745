"""How many artefacts a super-resolved patch has, from image gradients (AnimeSR supplement Sec. 2, step 3).

The supplement says "simple image statistics (e.g., image gradients)" and no more. The statistics here rest on
what cartoons are: flat fills between lines. Noise, ringing, blocks and specks are gradients where there is no
line. A result without lines has none of them either, so what is missing from the input counts as well.
"""

from __future__ import annotations

import cv2
import numpy as np

FULL = 16  # gradient, in levels of 255 per pixel, that counts in full
LINE = 8  # gradient after a blur of 1 pixel from which a pixel belongs to a line
WEIGHT = 4  # of unrest against loss
STRUCTURE = 2  # standard deviation, in pixels, of the blur that leaves structure and takes noise away
FAINT = 2  # gradient after that blur, in levels per pixel, up to which there is noise and no structure


def artefact_score(result: np.ndarray, source: np.ndarray) -> float:
    """Artefacts of a super-resolved patch; lower is better, 0 is a flat patch that was flat.

        score  = 4 unrest + loss
        unrest = sum over A of min(|grad result|, 16) / 16, over (pixels of A + 0.02 pixels)
        loss   = sum of max(0, T - |grad S(result)|), over (sum of T + 0.1 pixels), with T = max(0, |grad
        S(source)| - 2)

    where |grad| is the Sobel gradient in levels of 255 per pixel, the largest of the three colours; S a
    Gaussian blur of 2 pixels; A the pixels more than 2 pixels away from every line, a line being where the
    gradient of the result, blurred by 1 pixel, exceeds 8. `unrest`, in [0, 1], is what lies between the
    lines; the small term makes it vanish where a busy patch has no such place. `loss`, in [0, 1], is the
    share of the source's structure that is gone; the 2 leaves its noise out, and the small term makes it
    vanish where a flat patch has no structure. Soft halos close to thick lines are not seen.

    Args:
        result, source (ndarray): (h, w, 3) uint8 RGB of the same size; the source is the low-quality patch,
            enlarged by bicubic interpolation to the size of the result.

    Returns:
        float: in [0, 5].
    """
    lines = (gradient(result, 1) > LINE).astype(np.uint8)
    away = cv2.dilate(lines, np.ones((5, 5), np.uint8)) == 0
    unrest = np.minimum(gradient(result), FULL)[away].sum() / FULL / (away.sum() + 0.02 * away.size)
    wanted = np.maximum(0, gradient(source, STRUCTURE) - FAINT)
    loss = np.maximum(0, wanted - gradient(result, STRUCTURE)).sum() / (wanted.sum() + 0.1 * wanted.size)
    return float(WEIGHT * unrest + loss)


def rank(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of the factors, best first, from scores (factors, patches).

    Returns:
        (order, relative): relative (factors, ) is the mean over the patches of each score over the mean of
            its patch, so that a busy
        patch, whose scores are all high, does not outvote a quiet one. 1 is average, lower is better. A patch
        whose scores are all next to nothing hardly counts.
    """
    scores = np.asarray(scores, float)
    relative = ((scores + 0.01) / (scores.mean(0) + 0.01)).mean(1)
    return np.argsort(relative, kind='stable'), relative


def gradient(image: np.ndarray, blur: int = 0) -> np.ndarray:
    """Magnitude of the Sobel gradient of an image (h, w, 3), after a Gaussian blur; in levels per pixel, (h,
    w).
    """
    image = image.astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), blur) if blur else image
    return np.hypot(cv2.Sobel(image, -1, 1, 0) / 8, cv2.Sobel(image, -1, 0, 1) / 8).max(-1)
