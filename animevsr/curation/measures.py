"""What damage a frame shows, measured without its original.

For the choice of training data (AnimeSR Sec. 4.1 chooses by hyperIQA, which needs weights of its own) and for
histograms of what low-quality frames show. The measures are ours; each is tested on damage that was put
there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np

EDGE = 24  # gradient, in levels of 255 per pixel, of what counts as a line
CALM = 6  # gradient up to which a place is flat
LEVEL = 0.12  # power of a frequency, over that of the base, from which it carries detail
BANDS, BASE = 32, slice(6, 12)  # into which the frequencies are divided; those that even small pictures have
LETTERS = 6  # that make a subtitle
TRIMMED = 1.25  # a normal distribution's mean magnitude, over that without its largest tenth


@dataclass(frozen=True)
class Damage:
    """Measures of a frame.

    Attributes:
        noise (float): standard deviation in flat places, in levels of 255.
        blocks (float): how much more brightness jumps at every eighth pixel than elsewhere in flat places; 0
            is not at all.
        ringing (float): unrest close to lines beyond that of flat places, in levels.
        resolution (float): the share of the frame's pixels, along a side, that carries detail: 0.5 of what
            was made twice as large, 1 of what is sharp.
        banding (float): the share of soft gradients that are steps.
        combing (float): the share of the picture in which odd and even lines are of different moments.
        rainbow (float): unrest of colour close to lines beyond that of flat places, in levels.
    """

    noise: float
    blocks: float
    ringing: float
    resolution: float
    banding: float
    combing: float
    rainbow: float

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measure(image: np.ndarray) -> Damage:
    """The damage of a frame, (h, w, 3) uint8 RGB, at the size that it was coded in."""
    luma, *chroma = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float32), -1, 0)
    size = np.hypot(cv2.Sobel(luma, -1, 1, 0) / 8, cv2.Sobel(luma, -1, 0, 1) / 8)
    lines = (cv2.GaussianBlur(size, (0, 0), 1) > EDGE / 2).astype(np.uint8)
    near, far = cv2.dilate(lines, np.ones((5, 5), np.uint8)), cv2.dilate(lines, np.ones((17, 17), np.uint8))
    ring, calm = (near == 0) & (far > 0), (far == 0) & (size < CALM)
    rest = unrest(luma, calm)
    return Damage(
        noise=rest,
        blocks=max(blocks(luma, calm), blocks(luma.T, calm.T)),
        ringing=max(0.0, unrest(luma, ring) - rest),
        resolution=max(resolution(luma), resolution(luma.T)),
        banding=banding(luma),
        combing=combing(luma),
        rainbow=max(max(0.0, unrest(c, ring) - unrest(c, calm)) for c in chroma),
    )


def quality(damage: Damage) -> float:
    """One number of the measures, from 0 to 100, higher is better: ours, and no hyperIQA."""
    spoilt = (
        0.12 * damage.noise
        + 0.8 * damage.blocks
        + 1.0 * damage.ringing
        + 1.2 * max(0.0, 0.85 - damage.resolution)
        + 0.15 * damage.banding
        + 2 * damage.combing
        + 0.15 * damage.rainbow
    )
    return float(100 * np.exp(-spoilt))


def unrest(plane: np.ndarray, where: np.ndarray) -> float:
    """Standard deviation of white noise that would look as restless (Immerkaer 1996); 0 where there is no
    such place. The most restless tenth, which are lines that were overlooked, does not count.
    """
    if where.sum() < 64:
        return 0.0
    kernel = np.float32([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    found = np.abs(cv2.filter2D(plane, -1, kernel)[where])
    return float(TRIMMED * np.sqrt(np.pi / 2) / 6 * np.sort(found)[: int(0.9 * len(found)) + 1].mean())


def blocks(luma: np.ndarray, calm: np.ndarray) -> float:
    """Jumps between the columns of blocks of 8 against those between other columns, in flat places; wherever
    the blocks begin, for a picture may have been cropped.
    """
    # what a jump adds to the slope on both sides of it
    slope = np.diff(luma, axis=1)
    jump = np.abs(slope[:, 1:-1] - (slope[:, 2:] + slope[:, :-2]) / 2)
    where = calm[:, 1:-2] & calm[:, 2:-1]
    counts, sums = where.sum(0), np.where(where, jump, 0).sum(0)
    phases = [(counts[i::8].sum(), sums[i::8].sum()) for i in range(8)]
    if min(count for count, _ in phases) < 64:
        return 0.0
    on = max(total / count for count, total in phases)
    off = float(np.median([total / count for count, total in phases]))
    return float(np.clip((on - off) / (off + 0.5), 0, 4))


def resolution(luma: np.ndarray) -> float:
    """The highest frequency along rows at which steps still have power, over half the sampling rate: the
    spectrum of differences is level for steps, and ends where a picture was made larger. What is as strong in
    flat rows is noise, and does not count.
    """
    if luma.shape[1] <= 2 * BANDS:
        return 1.0
    steps = np.diff(luma, axis=1)
    power = np.abs(np.fft.rfft(steps * np.hanning(steps.shape[1]), axis=1)[:, 1:]) ** 2
    energy = power.sum(1)
    order = np.argsort(energy)
    few = max(1, len(order) // 10)
    spectrum = power[order[len(order) // 2 :]].mean(0) - power[order[:few]].mean(0)
    bands = np.array([band.mean() for band in np.array_split(spectrum, BANDS)])
    base = bands[BASE].mean()
    weak = np.flatnonzero(bands[BASE.stop :] < LEVEL * base)
    return float((BASE.stop + weak[0]) / BANDS) if base > 0 and len(weak) else 1.0


def banding(luma: np.ndarray) -> float:
    """Of the places around which brightness changes by a few levels, the share that is level itself."""
    wide, narrow = np.ones((25, 25), np.uint8), np.ones((5, 5), np.uint8)
    whole = luma.round()
    change = cv2.dilate(whole, wide) - cv2.erode(whole, wide)
    soft = (change >= 2) & (change <= 8)
    if soft.mean() < 0.02:
        return 0.0
    return float((cv2.dilate(whole, narrow) == cv2.erode(whole, narrow))[soft].mean())


def combing(luma: np.ndarray) -> float:
    """Where a line differs from both of its neighbours to the same side, and those are alike."""
    above, here, below = luma[:-2], luma[1:-1], luma[2:]
    comb = ((here - above) * (here - below) > 150) & (np.abs(above - below) < 10)
    # fine horizontal lines of a drawing do so, too, but not in four rows one after the other
    runs = comb[:-3] & comb[1:-2] & comb[2:-1] & comb[3:]
    return float(cv2.dilate(runs.astype(np.uint8), np.ones((5, 3), np.uint8)).mean())


def has_text(image: np.ndarray) -> bool:
    """Whether the lower third of a frame has subtitles in it: several small bright shapes with a dark
    outline, as high as letters, in a row.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    luma = luma[2 * luma.shape[0] // 3 :]
    reach = max(5, luma.shape[0] // 30) | 1
    bright = (luma > 200).astype(np.uint8)
    # letters are thin: all of them lies near a darker outline
    near_dark = luma > 60 + cv2.erode(luma, np.ones((reach, reach), np.uint8)).astype(int)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(bright)
    inside = np.bincount(labels.ravel(), (bright & near_dark).ravel(), count)
    outlined = inside > 0.7 * boxes[:, cv2.CC_STAT_AREA]
    low, high = image.shape[0] * 0.015, image.shape[0] * 0.1
    letters = [
        (top + height, height)
        for (left, top, width, height, _), is_letter in zip(boxes[1:].tolist(), outlined[1:])
        if is_letter and low < height < high and width < 3 * height
    ]

    def beside(row, height):
        """How many end on one line with it, but for those with tails, and are about as high."""
        return sum(abs(row - r) <= low and 0.6 * height <= h <= 1.7 * height for r, h in letters)

    return any(beside(row, height) >= LETTERS for row, height in letters)


def differing_bits(numbers: np.ndarray) -> np.ndarray:
    """How many bits of each of (n, 3) uint64 are set."""
    return np.unpackbits(numbers.view(np.uint8).reshape(*numbers.shape, 8), axis=-1).sum(-1)
