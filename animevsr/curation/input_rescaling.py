"""Input rescaling: pairs of pseudo-HR and real frames from one low-quality video (AnimeSR supplement Sec. 2).

A low-quality video that is made smaller first loses its artefacts with its detail, and a network trained on
basic operators alone can then super-resolve it cleanly. The result, at twice the size of the video, is its
pseudo-HR; a person chooses the factor.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from animevsr.archs.loading import load_upscaler
from animevsr.curation import rescaling_page
from animevsr.curation.artefacts import artefact_score, rank
from animevsr.curation.pseudo_hr import PSEUDO_HR, RESIZES, pseudo_hr_frames, write_pairs
from animevsr.curation.pseudo_hr import resize as resized
from animevsr.errors import MediaError
from animevsr.utils.device import select_device
from animevsr.utils.files import make_folder
from animevsr.utils.progress import progress_bar
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.numbered import count_decodable
from animevsr.video.reader import open_reader
from animevsr.zoo import find_weights

if TYPE_CHECKING:
    import torch
    from torch import nn


FACTORS = tuple(i / 10 for i in range(1, 11))
WINDOW = 5  # frames around a patch that the recurrent network is given; the one in the middle is looked at
SAME = 8  # mean difference of two patches, in levels of 255, below which they show the same


@dataclass(frozen=True)
class Patch:
    """A square of a frame, and of the frames around it.

    Attributes:
        edges (float): share of edge pixels.
        frame, top, left, size (int): its place.
        clip (ndarray): (WINDOW, size, size, 3) uint8 RGB.
    """

    edges: float
    frame: int
    top: int
    left: int
    size: int
    clip: np.ndarray


@dataclass(frozen=True)
class Study:
    """Patches of a video, super-resolved after rescaling by every factor.

    Attributes:
        patches (list[Patch])
        sources (list[ndarray]): the patches as they are, enlarged to twice their size by bicubic
            interpolation; (2p, 2p, 3) uint8 RGB.
        results (dict[float, list[ndarray]]): factor -> the patches' pseudo-HR, (2p, 2p, 3) uint8 RGB.
        scores (ndarray): (factors, patches), see `artefact_score`.
        ranking (list[tuple]): (factor, relative score), best first.
    """

    patches: list
    sources: list
    results: dict
    scores: np.ndarray
    ranking: list


def rescale(
    video: str | Path,
    output: str | Path,
    weights: str | Path = 'animevsr_x4',
    factor: float | str | Path | None = None,
    patches: int = 6,
    patch_size: int = 96,
    max_frames: int = 300,
    device: str | torch.device = 'auto',
    progress: bool = False,
    resize: str = 'bicubic',
) -> Study | Path:
    """The input-rescaling strategy in two calls: look at all factors, then, with `factor`, write the pairs.

    Without `factor` it writes into the folder `output`: `contact_sheet.png` (patches by factors, ranked, with
    their scores), `choose.html` (the same as a page on which a person chooses; it works from a file and saves
    the choice) and `scores.json`. With `factor` it writes `factor_<factor>/gt` (pseudo-HR frames, twice as
    large) and `factor_<factor>/lq` (the frames as they are), for `PairedFrameDataset`; called again, it goes
    on where it was interrupted.

    Args:
        video (str | Path): video file or folder of frames.
        output (str | Path): folder, made where it is missing.
        weights (str | Path): of a recurrent network; the paper's was trained on basic operators alone, the
            default on more.
        factor (float | str | Path | None): in (0, 1], or the file that the page saved for this video.
        patches, patch_size (int): how many edge-rich patches are looked at, and their side in pixels of the
            video.
        max_frames (int): at most so many pairs, in runs of consecutive frames that are spread evenly over the
            video.
        device (str): 'auto', 'cpu', ...
        progress (bool): show progress on standard error.
        resize (str): 'bicubic', with antialiasing, or 'lanczos', without, as published.

    Returns:
        Study, or the folder of the pairs (Path).

    Raises:
        MediaError, CheckpointError, ValueError: an input that cannot be used; one line.
    """
    video, output = Path(video), Path(output)
    if factor is not None:
        factor = read_factor(factor, video)
    if patches < 1 or patch_size < 16 or max_frames < 1:
        raise ValueError(
            f'patches and max_frames must be at least 1, patch_size at least 16; got {patches}, {max_frames},'
            f' {patch_size}'
        )
    if resize not in RESIZES:
        raise ValueError(f'resize must be one of {", ".join(RESIZES)}, got {resize}')
    with open_reader(video) as reader:
        size = reader.info.height, reader.info.width
    if min(size) < 16:
        raise MediaError(f'{video}: is {size[1]}x{size[0]}; rescaling needs at least 16 pixels each way')
    if (
        output.exists()
        and not output.is_dir()
        or output.exists()
        and video.is_dir()
        and output.samefile(video)
    ):
        raise MediaError(f'{output}: is not a folder for results; name another output')
    net = load_upscaler(weights, select_device(device))
    count = count_decodable(
        video, lambda frames: progress_bar(None, 'frames', progress, 'counting', frames=frames)
    )
    make_folder(output)
    if factor is not None:
        return write_pairs(
            video,
            count,
            output / f'factor_{factor:g}',
            net,
            factor,
            max_frames,
            find_weights(weights),
            progress,
            resize,
        )
    study = look_at_factors(video, count, net, patches, min(patch_size, *size), progress, resize)
    options = dict(weights=weights, max_frames=max_frames, device=device, resize=resize)
    command = [
        'animevsr',
        'rescale',
        video,
        '-o',
        output,
        *(a for k, v in options.items() for a in (f'--{k.replace("_", "-")}', v)),
    ]
    rescaling_page.write(study, output, video.resolve(), shlex.join(map(str, [*command, '--factor'])))
    return study


def read_factor(value: Any, video: Path) -> float:
    """A factor, from a number or the file that the page saved.

    Raises:
        ValueError: neither, saved for another video, or not in (0, 1].
    """
    try:
        value = float(value)
    except (TypeError, ValueError):
        path = Path(value)
        try:
            answer = json.loads(path.read_text(encoding='utf8'))
            value, of = float(answer['factor']), Path(answer['video'])
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(
                f'factor: {path} is neither a number nor a file that choose.html saved'
            ) from None
        if of.resolve() != video.resolve():
            raise ValueError(
                f'factor: {path} was saved for {of}, not for {video}; if it is meant, write --factor'
                f' {value:g}'
            ) from None
    if not 0 < value <= 1:
        raise ValueError(f'factor must be above 0 and at most 1, got {value:g}')
    return value


# --- the study: steps 1 to 3 of the supplement


def look_at_factors(
    video: Path,
    count: int,
    net: nn.Module,
    patches: int,
    size: int,
    progress: bool = False,
    mode: str = 'bicubic',
) -> Study:
    """Pick patches, super-resolve them after rescaling by every factor, score and rank: a `Study`."""
    chosen = choose_patches(edge_rich_patches(video, count, patches, size), patches)
    clips = [to_tensor(patch.clip) for patch in chosen]
    sources = [
        _image(resized(clip[WINDOW // 2 : WINDOW // 2 + 1], PSEUDO_HR * size, PSEUDO_HR * size))
        for clip in clips
    ]
    results, scores = {}, []
    steps = {factor: round(100 * factor**2) for factor in FACTORS}  # of work
    with progress_bar(sum(steps.values()), 'steps', progress, 'factors') as bar:
        for factor in FACTORS:
            results[factor] = [
                _image(list(pseudo_hr_frames(net, clip, factor, mode))[WINDOW // 2]) for clip in clips
            ]
            scores.append([artefact_score(*pair) for pair in zip(results[factor], sources)])
            bar.update(steps[factor])
    scores = np.array(scores)
    order, relative = rank(scores)
    return Study(chosen, sources, results, scores, [(FACTORS[i], float(relative[i])) for i in order])


def _image(frame):
    return to_images(frame)[0]


def edge_rich_patches(video: Path, count: int, patches: int, size: int) -> list[Patch]:
    """[Patch]: the `patches` best of each of some frames that are spread over the video."""
    middles = sorted({round(i) for i in np.linspace(0, count - 1, min(count, 4 * patches))})
    ready, recent, found = {}, {}, []
    for m in middles:
        ready.setdefault(min(m + WINDOW // 2, count - 1), []).append(m)
    with open_reader(video) as reader:
        for i, (image, _) in enumerate(reader.frames()):
            recent[i] = image
            recent.pop(i - WINDOW, None)
            for m in ready.get(i, ()):
                window = [
                    recent[min(max(m + d, 0), count - 1)] for d in range(-(WINDOW // 2), WINDOW // 2 + 1)
                ]
                for edges, top, left in edge_rich_places(recent[m], size)[:patches]:
                    clip = np.stack([frame[top : top + size, left : left + size] for frame in window])
                    found.append(Patch(edges, m, top, left, size, clip))
    return found


def edge_rich_places(frame: np.ndarray, size: int) -> list[tuple[float, int, int]]:
    """[(share of edge pixels, top, left)] of squares that do not overlap, the most edges first."""
    edges = cv2.Canny(cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.0), 40, 120)
    h, w = edges.shape
    density = cv2.boxFilter(
        edges.astype(np.float32) / 255, -1, (size, size), anchor=(0, 0), borderType=cv2.BORDER_ISOLATED
    )
    density, found = density[: h - size + 1, : w - size + 1], []
    while density.max() >= 0:
        top, left = (int(i) for i in np.unravel_index(density.argmax(), density.shape))
        found.append((float(density[top, left]), top, left))
        density[max(0, top - size + 1) : top + size, max(0, left - size + 1) : left + size] = -1
    return found


def choose_patches(found: list[Patch], patches: int) -> list[Patch]:
    """So many of `found`, the most edges first: one of each frame, then more of a frame, then repetitions, as
    far as needed.
    """
    chosen = []
    for acceptable in (
        lambda patch, other: patch.frame != other.frame and not repeats(patch, other),
        lambda patch, other: not repeats(patch, other),
        lambda patch, other: patch is not other,
    ):
        for patch in sorted(found, key=lambda patch: -patch.edges):
            if len(chosen) < patches and all(acceptable(patch, other) for other in chosen):
                chosen.append(patch)
    return chosen


def repeats(patch: Patch, other: Patch) -> bool:
    """Whether two patches show the same where they overlap: a drawing that is held, or seen again."""
    top, left = max(patch.top, other.top), max(patch.left, other.left)
    bottom, right = min(patch.top, other.top) + patch.size, min(patch.left, other.left) + patch.size
    if bottom <= top or right <= left:
        return False
    mine, its = (
        p.clip[WINDOW // 2, top - p.top : bottom - p.top, left - p.left : right - p.left].astype(int)
        for p in (patch, other)
    )
    return np.abs(mine - its).mean() < SAME
