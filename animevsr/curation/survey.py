"""One pass over a video: some numbers of each frame, by which clips are chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from animevsr.curation.measures import Damage, has_text, measure
from animevsr.errors import MediaError
from animevsr.utils.images import as_bytes
from animevsr.utils.interrupts import check
from animevsr.video.frame_reader import FrameReader
from animevsr.video.reader import VideoReader, open_reader
from animevsr.video.selection import find_crop
from animevsr.video.shots import CutDetector

GLANCE, SMALL = 288, 128  # longer side at which frames are looked at; width at which motion is measured
LOGO_WIDTH = 320  # width at which standing edges are looked for
LOGO_SHOTS, STANDING = 8, 0.85  # shots that are needed, and the share of them in which an edge must stand
MARGIN, LARGEST = 0.25, 0.06  # of a side, in which a logo lies; of the picture, that it covers at most


@dataclass
class Survey:
    """What is known of a video.

    Attributes:
        path (str), width, height (int), rate (float), crop (str): without black bars.
        times (list[float]): of the frames, in seconds from the first. starts (list[int]): of the shots.
        change (list[float]): the mean change from the frame before, in levels of 255.
        motion (list[float]): the median motion since the frame before, in pixels of the video, of what moves.
        light, contrast (list[float]): mean and standard deviation of brightness.
        hashes (list[int]): 64 bits of a frame that stay under compression and resizing.
        damage (dict[int, dict]), texts (list[int]): measures of some frames, and which of those have
            subtitles.
        logos (list[tuple]): (top, bottom, left, right) of what stands in nearly all shots, in pixels.
        key (str): of the video as it was.
    """

    path: str
    width: int
    height: int
    rate: float
    crop: str
    times: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    change: list[float] = field(default_factory=list)
    motion: list[float] = field(default_factory=list)
    light: list[float] = field(default_factory=list)
    contrast: list[float] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    damage: dict[int, dict] = field(default_factory=dict)
    texts: list[int] = field(default_factory=list)
    logos: list[tuple[int, int, int, int]] = field(default_factory=list)
    key: str = ''

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict) -> Survey:
        """What `to_json` gave, also after its keys became texts."""
        return cls(**{**values, 'damage': {int(n): d for n, d in values['damage'].items()}})

    def shots(self) -> list[tuple[int, int]]:
        """(first frame, one past the last) of each."""
        return list(zip(self.starts, [*self.starts[1:], len(self.times)]))

    def measured(self, first: int, end: int) -> list[int]:
        """The measured frames within a stretch, or the one that is nearest to it."""
        return [n for n in self.damage if first <= n < end] or [
            min(self.damage, key=lambda n: abs(n - (first + end) / 2))
        ]

    def damage_of(self, first: int, end: int) -> Damage:
        """The mean of the measures within a stretch, or of the nearest ones."""
        within = self.measured(first, end)
        names = self.damage[within[0]]
        return Damage(**{name: float(np.mean([self.damage[n][name] for n in within])) for name in names})


def survey(path: str | Path, every: float = 0.5) -> Survey:
    """Look at each frame of a video, or of a folder of frames, once.

    Args:
        every (float): seconds between two frames whose damage is measured.

    Raises:
        MediaError: it cannot be read, or has no frames.
    """
    crop = find_crop(path)
    with open_reader(path, crop=crop) as reader:
        info = reader.info
        found = Survey(str(path), info.width, info.height, float(info.fps), str(crop))
        cuts, flow = CutDetector(), cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        before, starts, due, edges = None, [], 0.0, []
        for frame, time in timed(reader):
            number = len(found.times)
            found.times.append(time)
            glance = glance_at(reader, frame)
            starts += cuts.push(glance)
            small = shrink(glance, SMALL)
            moved, change = (0.0, 0.0) if before is None else compare(flow, before, small)
            found.motion.append(round(moved * info.width / SMALL, 2))
            found.change.append(round(change, 2))
            found.light.append(round(float(small.mean()), 1))
            found.contrast.append(round(float(small.std()), 1))
            found.hashes.append(difference_hash(glance))
            before = small
            if time >= due:
                due, image = time + every, as_bytes(reader.image(frame))
                found.damage[number] = measure(image).to_json()
                if has_text(image):
                    found.texts.append(number)
                edges.append((number, np.packbits(standing_edges(image), axis=1)))
        starts += cuts.finish()
    if not found.times:
        raise MediaError(f'{path}: has no frames')
    found.starts += starts
    found.logos = find_logos(found, edges)
    return found


def timed(reader: FrameReader) -> Iterator[tuple[Any, float]]:
    """(frame as the reader gives it, seconds from the first one) of each; a signal that waits comes between
    two.
    """
    for number, (frame, time) in enumerate(reader.timed()):
        check()
        yield frame, float(reader.since_first(number, time))


def glance_at(reader: FrameReader, frame: Any) -> np.ndarray:
    """A frame made small, without what is cropped: quicker than the whole of it."""
    image = as_bytes(reader.small(frame, GLANCE))
    if not isinstance(reader, VideoReader):
        return image
    if reader.rotation:
        image = np.ascontiguousarray(np.rot90(image, reader.rotation // 90))
    if reader.crop:
        ratio = image.shape[1] / (reader.info.width + reader.crop.left + reader.crop.right)
        top, bottom, left, right = (round(side * ratio) for side in astuple(reader.crop))
        image = image[top : image.shape[0] - bottom, left : image.shape[1] - right]
    return image


def shrink(image: np.ndarray, width: int) -> np.ndarray:
    """Brightness of an image, `width` pixels wide."""
    height = max(8, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA)


def compare(flow: cv2.DISOpticalFlow, before: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """(median motion of what moves, in pixels; mean change)."""
    change = float(cv2.absdiff(before, now).mean())
    if change < 0.2:
        return 0.0, change
    length = np.linalg.norm(flow.calc(before, now, None), axis=-1)
    moving = length[length > 0.25]
    return (float(np.median(moving)) if moving.size > 0.01 * length.size else 0.0), change


def difference_hash(image: np.ndarray) -> int:
    """64 bits: whether a pixel of a 9x8 image is brighter than its right neighbour."""
    tiny = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    bits = tiny[:, 1:] > tiny[:, :-1]
    return int.from_bytes(np.packbits(bits).tobytes(), 'big')


def standing_edges(image: np.ndarray) -> np.ndarray:
    return cv2.Canny(shrink(image, LOGO_WIDTH), 80, 160) > 0


def find_logos(found: Survey, edges: list[tuple[int, np.ndarray]]) -> list[tuple[int, int, int, int]]:
    """Boxes around edges that stand where they are in nearly all shots, small and near a side; none where
    there are too few shots to tell. `edges`: (number of the frame, `standing_edges` as bits along its rows).
    """
    shots, number = [], 0
    for first, end in found.shots():
        within = [edge for n, edge in edges[number:] if first <= n < end]
        number += len(within)
        if within:
            shots.append(np.unpackbits(within[len(within) // 2], axis=1)[:, :LOGO_WIDTH])
    if len(shots) < LOGO_SHOTS:
        return []
    near = np.ones((3, 3), np.uint8)  # by a pixel an edge may differ
    share = np.mean([cv2.dilate(shot, near) for shot in shots], 0)
    # what belongs together, with gaps of a few pixels as between letters
    joined = cv2.morphologyEx((share > STANDING).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    _, _, boxes, _ = cv2.connectedComponentsWithStats(joined)
    (h, w), logos = share.shape, []
    down, across = found.height / h, found.width / w
    for left, top, width, height, area in boxes[1:].tolist():
        right, bottom = left + width, top + height
        at_a_side = min(bottom, h - top) < h * MARGIN or min(right, w - left) < w * MARGIN
        if area >= 20 and at_a_side and width * height < LARGEST * share.size:
            logos.append(tuple(map(round, (top * down, bottom * down, left * across, right * across))))
    return logos
