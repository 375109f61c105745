"""A few frames of a video, upscaled by one or several models, before all of it is."""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from animevsr.archs.loading import load_upscaler
from animevsr.engine.backends import open_backend, place
from animevsr.engine.sizes import choose_tile
from animevsr.engine.upscaler import Upscaler
from animevsr.errors import MediaError
from animevsr.utils.files import check_folder
from animevsr.utils.progress import progress_bar
from animevsr.video.images import write_image
from animevsr.video.numbered import count_decodable
from animevsr.video.reader import VideoReader
from animevsr.video.shots import SIDE, is_cut
from animevsr.video.telecine import is_telecined
from animevsr.zoo import keeps_grain

# frames before the one that is shown: with two the network's result is 57 dB and more from the whole run's
# (of AnimeSR v2, which feeds its results back: 45 and more); of a held drawing the whole run averages more
WARM_UP = 2
CANDIDATES = 5  # times as many moments are looked at as are shown
DARK = 20  # mean level below which a frame shows nothing
WINDOW = 120, 160  # height and width of the part that the sheet shows, in pixels of the input


@dataclass(frozen=True)
class Preview:
    """What was written, and how long the whole video would take on this machine.

    Attributes:
        page (Path), sheet (Path). moments (list[float]): seconds.
        hours (dict[str, float]): model -> hours for all frames, at the speed of these.
    """

    page: Path
    sheet: Path
    moments: list[float]
    hours: dict[str, float]


def preview(
    video: str | Path,
    output: str | Path,
    models: list[str] | tuple[str, ...] = ('animevsr_x4',),
    at: list[float] | None = None,
    count: int = 4,
    device: str = 'auto',
    progress: bool = False,
) -> Preview:
    """Upscale single frames of a video, each with the frames before it as warm-up, so that they look as they
    will in the whole.

    Args:
        video (str | Path): a video file.
        output (str | Path): folder for `compare.html`, a page with a slider between the models and bicubic
            interpolation, and `sheet.png`, the part of each frame with the most lines in all of them.
        models (list[str]): names or weights files of networks that go frame by frame, of one scale.
        at (list[float] | None): moments in seconds. Default: `count` of them, spread over the video, not of
            one shot, none dark, and those with many lines first.

    Raises:
        MediaError, CheckpointError, ValueError: one line.
    """
    video, output, (target, runtime) = Path(video), Path(output), place(device)
    if count < 1:
        raise ValueError(f'count must be at least 1, got {count}')
    for moment in at or ():
        if not (math.isfinite(moment) and moment >= 0):
            raise ValueError(f'at: {moment} is not a moment of a video')
    if not video.is_file():
        raise MediaError(f'{video}: no such video file')
    check_folder(output)
    if output.exists() and not output.is_dir():
        raise MediaError(f'{output}: is a file; name a folder')
    networks, keeps = {}, {}
    for model in models:
        # which becomes the name of a folder
        name = re.sub(r'[^\w.+-]', '_', Path(str(model)).stem)
        if name in (*networks, 'bicubic'):  # files of the same name: by their folders, too
            name = re.sub(r'[^\w.+-]', '_', str(model))
        if name in networks:
            raise ValueError(f'{model}: is named twice')
        networks[name], keeps[name] = load_upscaler(model, target), keeps_grain(model)
    scales = {net.scale for net in networks.values()}
    if len(scales) > 1:
        raise ValueError(f'models of one scale can be compared, not of {", ".join(map(str, sorted(scales)))}')
    scale = scales.pop()
    deinterlace = deinterlacing(video)
    with VideoReader(video, deinterlace=deinterlace) as reader:
        total, rate = reader.info.expected_frames, float(reader.info.fps)
        size = reader.info.height, reader.info.width
    total = total or count_decodable(video)  # nobody says how long it is
    moments = (
        sorted({round(moment, 2) for moment in at}) if at else telling_moments(video, total / rate, count)
    )
    for moment in moments:
        if moment > total / rate + 1:
            raise ValueError(f'at: the video ends before {moment} s, at {total / rate:.1f} s')
    shots = [shot_before(video, moment, deinterlace) for moment in moments]
    # with BasicSR, which takes seconds, but before the work
    from animevsr.evaluation.comparison import compare

    output.mkdir(exist_ok=True)
    rows, hours = [], {}
    with (
        tempfile.TemporaryDirectory() as folder,
        progress_bar(len(networks) * sum(map(len, shots)), 'frames', progress) as bar,
    ):
        for moment, shot in zip(moments, shots):
            large = cv2.resize(shot[-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            rows.append({'bicubic': large})
            keep(Path(folder), 'bicubic', moment, large)
        for name, net in networks.items():
            backend, seconds = open_backend(net, target, runtime), []
            tile = choose_tile('auto', size, target, 1, runtime) if backend.reach is not None else None
            upscaler = Upscaler(backend, tile=tile, steady=not keeps[name])
            for row, moment, shot in zip(rows, moments, shots):
                start = time.perf_counter()
                for result in upscaler(shot):
                    seconds.append(time.perf_counter() - start)
                    start, row[name] = time.perf_counter(), result
                    bar.update()
                keep(Path(folder), name, moment, row[name])
            hours[name] = float(np.median(seconds)) * total / 3600
        roots = {name: Path(folder) / name for name in rows[0]}
        page = compare(roots, output / 'compare.html', 1, metrics=(), device=device)
    sheet = output / 'sheet.png'
    write_image(sheet, np.vstack([crops(shot[-1], row, scale) for shot, row in zip(shots, rows)]))
    return Preview(page, sheet, list(moments), hours)


def keep(folder: Path, name: str, moment: float, image: np.ndarray) -> None:
    """Write a result where `compare` looks for it: a clip of one frame."""
    place = folder / name / f'{moment:09.2f} s'
    place.mkdir(parents=True)
    write_image(place / '00000000.png', image)


def telling_moments(video: Path, seconds: float, count: int) -> list[float]:
    """Moments of a video that tell much: many lines, not dark, of different shots; in order."""
    found = []
    with VideoReader(video) as reader:
        for i in range(count * CANDIDATES):
            moment = seconds * (i + 0.5) / (count * CANDIDATES)
            image = reader.small(reader.seek(moment), 2 * SIDE)
            if found and np.array_equal(image, found[-1][2]):  # of a short video, or held for long
                continue
            if image.mean() >= DARK:
                found.append((float(measure_lines(image).mean()), moment, image))
    chosen = []
    for _, moment, image in sorted(found, key=lambda item: -item[0]):
        if len(chosen) < count and all(is_cut(image, other) for _, other in chosen):
            chosen.append((moment, image))
    # a video of few shots: those that are left, with the most lines first
    rest = [item for item in sorted(found, key=lambda item: -item[0]) if item[1] not in dict(chosen)]
    chosen += [(moment, image) for _, moment, image in rest[: count - len(chosen)]]
    return sorted(moment for moment, _ in chosen) or [seconds / 2]


def deinterlacing(video: Path) -> str:
    """How `upscale` would read a video; see `VideoReader`."""
    with VideoReader(video) as reader:
        return 'ivtc' if is_telecined(reader) else 'marked'


def shot_before(video: Path, moment: float, deinterlace: str = 'off') -> list[np.ndarray]:
    """The frame at a moment (seconds) and the ones before it, no more than `WARM_UP`, of the same shot; the
    last ones where the video is shorter.
    """
    with VideoReader(video, deinterlace=deinterlace, conceal=True) as reader:
        rate = reader.info.fps
        if reader.timeless and deinterlace == 'marked' and not reader.interlaced:  # AVI is searched by `seek`
            count = min(WARM_UP, int(moment * rate))
            images = [reader.image(reader.seek(max(0, moment - i / rate))) for i in range(count, -1, -1)]
            return of_one_shot(images)
        reader.skip_to(Fraction(moment) - WARM_UP / rate)
        last = deque(maxlen=WARM_UP + 1)
        for number, (frame, time) in enumerate(reader.timed()):
            last.append(frame)
            if reader.since_first(number, time) + 1 / rate / 2 > moment:
                break
        return of_one_shot([reader.image(frame) for frame in last])


def of_one_shot(images: list[np.ndarray]) -> list[np.ndarray]:
    """The last of some frames, and those before it that no cut divides from it."""
    shot = [images.pop()]
    while images and not is_cut(images[-1], shot[0]):
        shot.insert(0, images.pop())
    return shot


def measure_lines(image: np.ndarray) -> np.ndarray:
    """How steep each pixel of an image is."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))


def find_busiest(strength: np.ndarray, height: int, width: int) -> tuple[int, int]:
    """(top, left) of the window of this size in which a map (h, w) has the largest sum."""
    score = cv2.boxFilter(strength, -1, (width, height), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    score = score[: strength.shape[0] - height + 1, : strength.shape[1] - width + 1]
    return np.unravel_index(score.argmax(), score.shape)


def crops(frame: np.ndarray, row: dict[str, np.ndarray], scale: int) -> np.ndarray:
    """The part of a frame with the most lines, in all results side by side, with their names."""
    height, width = (min(side, length) for side, length in zip(WINDOW, frame.shape))
    top, left = find_busiest(measure_lines(frame), height, width)
    parts = []
    for name, image in row.items():
        part = image[scale * top : scale * (top + height), scale * left : scale * (left + width)].copy()
        for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(part, name, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, thickness, cv2.LINE_AA)
        parts.append(part)
    return np.hstack(parts)
