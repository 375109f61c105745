"""Input rescaling: pairs of pseudo-HR and real frames from one low-quality video (AnimeSR supplement Sec. 2).

A low-quality video that is made smaller first loses its artefacts with its detail, and a network trained on basic operators alone can then
super-resolve it cleanly. The result, at twice the size of the video, is its pseudo-HR; a person chooses the factor.
"""
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from animevsr.archs.loading import load_network
from animevsr.curation import rescaling_page
from animevsr.curation.artefacts import artefact_score, rank
from animevsr.utils.checkpoint import CheckpointError
from animevsr.utils.device import choose
from animevsr.utils.resources import find_weights
from animevsr.video.reader import MediaError, count_frames, open_reader, read_frames

FACTORS = tuple(i / 10 for i in range(1, 11))
PSEUDO_HR = 2  # size of the pseudo-HR frame over that of the real one; the learnable basic operator halves it
WINDOW = 5  # frames around a patch that the recurrent network is given; the one in the middle is looked at
SAME = 8  # mean difference of two patches, in levels of 255, below which they show the same
RUN = 10  # frames in sequence of which pairs are made


@dataclass(frozen=True)
class Study:
    """Patches of a video, super-resolved after rescaling by every factor.

    Attributes:
        sources (list[ndarray]): the patches as they are, enlarged to twice their size by bicubic interpolation; (2p, 2p, 3) uint8 RGB.
        places (list[tuple]): (frame, top, left, size) of each patch.
        results (dict[float, list[ndarray]]): factor -> the patches' pseudo-HR, (2p, 2p, 3) uint8 RGB.
        scores (ndarray): (factors, patches), see `artefact_score`.
        ranking (list[tuple]): (factor, relative score), best first.
    """
    sources: list
    places: list
    results: dict
    scores: np.ndarray
    ranking: list


def rescale(video, output, weights='animevsr_x4', factor=None, patches=6, patch_size=96, max_frames=300, device='auto', progress=False):
    """The input-rescaling strategy in two calls: look at all factors, then, with `factor`, write the pairs.

    Without `factor` it writes into the folder `output`: `contact_sheet.png` (patches by factors, ranked, with their scores), `choose.html`
    (the same as a page on which a person chooses; it works from a file and saves `factor.json`) and `scores.json`. With `factor` it writes
    `factor_<factor>/gt` (pseudo-HR frames, twice as large) and `factor_<factor>/lq` (the frames as they are), for `PairedFrameDataset`;
    called again, it goes on where it was interrupted.

    Args:
        video (str | Path): video file or folder of frames.
        output (str | Path): folder, made where it is missing.
        weights (str | Path): of a recurrent network that was trained on basic operators alone.
        factor (float | str | Path | None): in (0, 1], or the `factor.json` that the page saved.
        patches, patch_size (int): how many edge-rich patches are looked at, and their side in pixels of the video.
        max_frames (int): at most so many pairs, in runs of consecutive frames that are spread evenly over the video.
        device (str): 'auto', 'cpu', ...
        progress (bool): show progress on standard error.

    Returns:
        Study, or the folder of the pairs (Path).

    Raises:
        MediaError, CheckpointError, ValueError: an input that cannot be used; one line.
    """
    video, output = Path(video), Path(output)
    if factor is not None:
        factor = read_factor(factor)
    if patches < 1 or patch_size < 16 or max_frames < 1:
        raise ValueError(f'patches and max_frames must be at least 1, patch_size at least 16; got {patches}, {max_frames}, {patch_size}')
    with open_reader(video) as reader:
        size = reader.height, reader.width
    if min(size) < 16:
        raise MediaError(f'{video}: is {size[1]}x{size[0]}; rescaling needs at least 16 pixels each way')
    if output.exists() and not output.is_dir() or output.exists() and video.is_dir() and output.samefile(video):
        raise MediaError(f'{output}: is not a folder for results; name another output')
    net = load_network(find_weights(weights), choose(device))
    if not hasattr(net, 'step'):
        raise CheckpointError(f'{weights}: holds a {type(net).__name__}, which does not upscale')
    count = count_frames(video)
    output.mkdir(parents=True, exist_ok=True)
    if factor is not None:
        return write_pairs(video, count, output / f'factor_{factor:g}', net, factor, max_frames, str(weights), progress)
    study = look_at_factors(video, count, net, patches, min(patch_size, *size), progress)
    rescaling_page.write(study, output, video, str(weights))
    return study


def read_factor(value):
    """A factor, from a number or the file that the page saved.

    Raises:
        ValueError: neither, or not in (0, 1].
    """
    try:
        value = float(value)
    except (TypeError, ValueError):
        path = Path(value)
        try:
            value = float(json.loads(path.read_text())['factor'])
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(f'factor: {path} is neither a number nor a file that choose.html saved') from None
    if not 0 < value <= 1:
        raise ValueError(f'factor must be above 0 and at most 1, got {value:g}')
    return value


# --- the study: steps 1 to 3 of the supplement ------------------------------------------------------------------------------------


def look_at_factors(video, count, net, patches, size, progress=False):
    """Pick patches, super-resolve them after rescaling by every factor, score and rank: a `Study`."""
    clips, places = pick_patches(video, count, patches, size)
    sources = to_images(resize(clips[:, WINDOW // 2], PSEUDO_HR * size, PSEUDO_HR * size))
    results, scores = {}, []
    with tqdm(total=sum(f * f for f in FACTORS), file=sys.stderr, disable=not progress, unit='', desc='factors',
              bar_format='{desc}: {percentage:3.0f}% |{bar:30}| [{elapsed}<{remaining}]') as bar:
        for factor in FACTORS:
            results[factor] = to_images(pseudo_hr(net, clips, factor)[:, WINDOW // 2])
            scores.append([artefact_score(*pair) for pair in zip(results[factor], sources)])
            bar.update(factor * factor)
    scores = np.array(scores)
    order, relative = rank(scores)
    return Study(sources, places, results, scores, [(FACTORS[i], float(relative[i])) for i in order])


def pick_patches(video, count, patches, size):
    """The patches with the most edges, each from another frame while there are enough, with the frames around.

    Returns:
        clips (Tensor): (patches, WINDOW, 3, size, size), RGB in [0, 1].
        places: [(frame, top, left, size)].
    """
    middles = sorted({round(i) for i in np.linspace(0, count - 1, min(count, 4 * patches))})
    around = {m: [min(max(m + d, 0), count - 1) for d in range(-(WINDOW // 2), WINDOW // 2 + 1)] for m in middles}
    wanted = sorted({i for window in around.values() for i in window})
    frames = dict(zip(wanted, read_frames(video, wanted)))
    found = [(density, m, top, left) for m in middles for density, top, left in edge_rich_places(frames[m], size)]
    places = [(m, top, left, size) for _, m, top, left in choose_places(sorted(found, reverse=True), frames, patches, size)]
    clips = [np.stack([frames[i][top:top + size, left:left + size] for i in around[m]]) for m, top, left, _ in places]
    return torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3).float() / 255, places


def choose_places(found, frames, patches, size):
    """So many of `found`, (density, frame, top, left): one of each frame, then more of a frame, then repetitions, as far as needed."""

    def repeats(place, other):
        """Whether both show the same: a drawing that is held, or seen again."""
        (_, m, top, left), (_, n, y, x) = place, other
        mine, its = (frames[i][top:top + size, left:left + size].astype(int) for i in (m, n))
        return abs(top - y) < size and abs(left - x) < size and np.abs(mine - its).mean() < SAME

    chosen = []
    for acceptable in (lambda place, other: place[1] != other[1] and not repeats(place, other),
                       lambda place, other: not repeats(place, other), lambda place, other: place != other):
        for place in found:
            if len(chosen) < patches and all(acceptable(place, other) for other in chosen):
                chosen.append(place)
    return chosen


def edge_rich_places(frame, size):
    """[(share of edge pixels, top, left)] of squares that do not overlap, the most edges first."""
    edges = cv2.Canny(cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.0), 40, 120)
    h, w = edges.shape
    density = cv2.boxFilter(edges.astype(np.float32) / 255, -1, (size, size), anchor=(0, 0), borderType=cv2.BORDER_ISOLATED)
    density, found = density[:h - size + 1, :w - size + 1], []
    while density.max() >= 0:
        top, left = (int(i) for i in np.unravel_index(density.argmax(), density.shape))
        found.append((float(density[top, left]), top, left))
        density[max(0, top - size + 1):top + size, max(0, left - size + 1):left + size] = -1
    return found


# --- the pairs: step 4 ------------------------------------------------------------------------------------------------------------


def write_pairs(video, count, folder, net, factor, max_frames, weights, progress=False):
    """Write the pairs of a factor into `folder`/gt and `folder`/lq; pairs that are there already are kept."""
    made_of = dict(video=str(video.resolve()), factor=factor, weights=weights, frames=count, max_frames=max_frames)
    note = folder / 'pairs.json'
    if note.exists() and json.loads(note.read_text()) != made_of:
        raise MediaError(f'{folder}: holds pairs of another video, or made in another way (see pairs.json); move it away')
    for side in ('gt', 'lq'):
        (folder / side).mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(made_of, indent=1))
    runs = spread_runs(count, max_frames)
    total, wanted = sum(map(len, runs)), {i for run in runs for i in run}
    with tqdm(total=total, file=sys.stderr, disable=not progress, unit='pair', mininterval=0.5 if sys.stderr.isatty() else 10,
              bar_format='pairs: {percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]') as bar:
        pending = iter(runs)
        run, frames = next(pending), []
        with open_reader(video) as reader:
            for i, (image, _) in enumerate(reader.frames()):
                if i in wanted:
                    frames.append(image)
                if frames and i == run[-1]:
                    _write_run(folder, run, frames, net, factor)
                    bar.update(len(run))
                    run, frames = next(pending, None), []
                    if run is None:
                        break
    if run is not None:
        raise MediaError(f'{video}: ends before frame {run[-1]}; the pairs before it are written')
    return folder


def _write_run(folder, run, frames, net, factor):
    paths = [[folder / side / f'{i:08d}.png' for side in ('gt', 'lq')] for i in run]
    if all(path.exists() for pair in paths for path in pair):
        return
    clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[None].float() / 255
    for (gt, lq), high, frame in zip(paths, to_images(pseudo_hr(net, clip, factor)[0]), frames):
        for path, image in ((gt, high), (lq, frame)):
            partial = path.with_name(f'.{path.name}')
            if not cv2.imwrite(str(partial), image[..., ::-1]):
                raise MediaError(f'{path}: could not be written')
            os.replace(partial, path)


def spread_runs(count, max_frames):
    """[[frame, ...]]: all frames in runs, or as many runs as give `max_frames`, spread evenly."""
    runs = [list(range(start, min(start + RUN, count))) for start in range(0, count, RUN)]
    wanted = -(-max_frames // RUN)
    if count > max_frames:
        runs = [runs[i * len(runs) // wanted] for i in range(wanted)]
        runs[-1] = runs[-1][:max_frames - RUN * (wanted - 1)]
    return runs


# --- pictures ---------------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def pseudo_hr(net, clips, factor):
    """Clips (b, t, 3, h, w) rescaled by `factor`, super-resolved, and brought to (b, t, 3, 2h, 2w), all in [0, 1] on the CPU."""
    h, w = clips.shape[-2:]
    small = resize(clips, max(4, round(h * factor)), max(4, round(w * factor)))
    large = net(small.to(next(net.parameters()).device)).clamp(0, 1).cpu()
    return resize(large, PSEUDO_HR * h, PSEUDO_HR * w)


def resize(clips, height, width):
    """Antialiased bicubic resize of (..., 3, h, w), clamped."""
    out = F.interpolate(clips.flatten(0, -4), (height, width), mode='bicubic', antialias=True).clamp(0, 1)
    return out.unflatten(0, clips.shape[:-3])


def to_images(frames):
    """(t, 3, h, w) -> [(h, w, 3) uint8 RGB]."""
    return list((frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())
