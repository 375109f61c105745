"""A picture of what a VQGAN has learned: reconstructions, degradations and the codebook (VQD-SR Sec. 3.2 and
Fig. 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from animevsr.archs.loading import load_network
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.errors import CheckpointError, MediaError
from animevsr.utils.device import exact_float32, select_device
from animevsr.utils.drawing import titled
from animevsr.utils.files import check_file
from animevsr.video.images import IMAGE_SUFFIXES, write_image
from animevsr.video.reader import open_reader

if TYPE_CHECKING:
    from torch import Tensor, nn


KS = (5, 10, 20, 50)
COLUMNS = 4  # pictures in a row
ENTRY, ENTRY_SCALE = 16, 2  # side of an entry's patch in pixels, and how much larger it is drawn
COLOURS = dict(top=('red', (230, 90, 90)), middle=('green', (90, 200, 90)), bottom=('blue', (90, 130, 240)))


@dataclass
class View:
    """One picture of the atlas and its numbers against the reconstruction (the frame's own: against the
    frame).
    """

    title: str
    image: np.ndarray  # (h, w, 3) uint8 RGB
    psnr: float | None = None  # dB, against the frame
    # mean absolute difference (of 255) from the reconstruction, both shrunk 8 times by area
    structure: float | None = None


@torch.inference_mode()
def atlas(
    weights: str | Path,
    frame: str | Path,
    output: str | Path,
    number: int = 0,
    device: str | torch.device = 'auto',
) -> Any:
    """Draw what a VQGAN makes of a frame.

    The picture shows the frame, its reconstruction (k = 1), what the coarser branches carry alone, and the
    frame at k = 5, 10, 20 and 50 of the finest branch; below, every entry of the codebook decoded as a patch
    through the branch that uses it most in this frame, from the most to the least used.

    Args:
        weights (str | Path): of a `MultiScaleVQGAN`.
        frame (str | Path): image, folder of images or video.
        output (str | Path): image to write.
        number (int): of the frame in a folder or video.
        device (str): 'auto', 'cpu', ...

    Returns:
        list[View]: the pictures, with their numbers.

    Raises:
        CheckpointError, MediaError: an input that cannot be used; nothing is written.
    """
    output = Path(output)
    check_file(output)
    if output.suffix.lower() not in IMAGE_SUFFIXES:
        raise MediaError(f'{output}: the atlas is an image; name it e.g. {output.stem}.png')
    if any(output.exists() and Path(other).exists() and output.samefile(other) for other in (frame, weights)):
        raise MediaError(f'{output}: is an input; name another output')
    device = select_device(device)
    exact_float32()
    net = load_network(weights, device)
    if not isinstance(net, MultiScaleVQGAN):
        raise CheckpointError(
            f'{weights}: holds a {type(net).__name__}, but an atlas is drawn of a MultiScaleVQGAN'
        )
    image = read_frame(frame, number)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float().to(device) / 127.5 - 1
    z = net.encode(x)
    views, indices = draw_views(net, z, image)
    picture = np.vstack(
        [_pad(part, max_width) for part, max_width in _parts(views, codebook_sheet(net, indices))]
    )
    write_image(output, picture)
    return views


def read_frame(path: Path, number: int) -> np.ndarray:
    """Frame `number` of a video, a folder or an image: (h, w, 3) uint8 RGB."""
    with open_reader(path) as reader:
        for i, (image, _) in enumerate(reader.frames()):
            if i == number:
                return image
    raise MediaError(f'{path}: has {i + 1} frames, frame {number} was asked for (they count from 0)')


def draw_views(net: nn.Module, z: Tensor, image: np.ndarray) -> Any:
    """([View], {branch: indices of the reconstruction}) of a frame (h, w, 3) and its encoding."""
    size, finest = image.shape[:2], net.branches[-1]

    def looked_up(k, branches):
        ks = dict.fromkeys(('top', 'middle', 'bottom'), 1)
        ks[finest] = k
        quantized, _, indices = net.quantize(z, tuple(ks.values()))
        decoded = net.decode({name: quantized[name] for name in branches}, size)
        return ((decoded[0] + 1) * 127.5).round().clamp(0, 255).to('cpu', torch.uint8).permute(
            1, 2, 0
        ).numpy(), indices

    whole, indices = looked_up(1, net.branches)
    views = [View('frame', image), View('reconstruction, k = 1', whole)]
    for count in range(1, len(net.branches)):
        some = net.branches[:count]
        views.append(View(f'{" + ".join(some)} only', looked_up(1, some)[0]))
    for k in KS:
        if k <= len(net.codebook):
            views.append(View(f'k = {k}', looked_up(k, net.branches)[0]))
    for view in views[1:]:
        view.psnr = 10 * np.log10(255**2 / max(1e-9, np.square(view.image.astype(float) - image).mean()))
        view.structure = structure_change(view.image, whole)
    return views, indices


def structure_change(image: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference, of 255, between two (h, w, 3) uint8 images shrunk 8 times by area."""
    small = [
        F.avg_pool2d(torch.from_numpy(i).permute(2, 0, 1).float(), 8, ceil_mode=True) for i in (image, other)
    ]
    return (small[0] - small[1]).abs().mean().item()


def codebook_sheet(net: nn.Module, indices: Any) -> np.ndarray:
    """(h, w, 3) uint8: every entry as a patch, ordered by its use in `indices` {branch: (1, h, w)}; the
    frame's colour is its branch.
    """
    entries = len(net.codebook)
    counts = torch.stack(
        [torch.bincount(indices[name].flatten(), minlength=entries) for name in net.branches]
    ).cpu()
    branch_of, tiles = counts.argmax(0), [None] * entries
    for b, name in enumerate(net.branches):
        mine = (branch_of == b).nonzero().flatten()
        # the middle of a larger patch is kept, away from its border
        grid = 2 * ENTRY // dict(top=8, middle=4, bottom=2)[name]
        for some in mine.split(64):
            constant = net.codebook[some.to(net.codebook.device)][:, :, None, None].expand(-1, -1, grid, grid)
            patches = net.decode({name: constant}, (2 * ENTRY, 2 * ENTRY))[
                ..., ENTRY // 2 : -ENTRY // 2, ENTRY // 2 : -ENTRY // 2
            ]
            patches = (
                ((patches + 1) * 127.5)
                .round()
                .clamp(0, 255)
                .to('cpu', torch.uint8)
                .permute(0, 2, 3, 1)
                .numpy()
            )
            for entry, patch in zip(some.tolist(), patches):
                colour = COLOURS[name][1] if counts[b, entry] else (60, 60, 60)
                large = cv2.resize(
                    patch, None, fx=ENTRY_SCALE, fy=ENTRY_SCALE, interpolation=cv2.INTER_NEAREST
                )
                tiles[entry] = cv2.copyMakeBorder(large, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=colour)
    order = counts.sum(0).argsort(descending=True, stable=True).tolist()
    per_row = 32
    tiles = [tiles[i] for i in order] + [np.zeros_like(tiles[0])] * (-entries % per_row)
    rows = [np.hstack(tiles[i : i + per_row]) for i in range(0, len(tiles), per_row)]
    used = int((counts.sum(0) > 0).sum())
    legend = ', '.join(f'{name} {COLOURS[name][0]}' for name in net.branches)
    title = f'codebook: {used} of {entries} entries used, most used first ({legend}, unused gray)'
    return titled(title, np.vstack(rows))


def _parts(views, sheet):
    """[(picture, width of the whole)]: the rows of views, then the sheet."""
    tiles = []
    for view in views:
        numbers = '' if view.psnr is None else f'  {view.psnr:.2f} dB, structure {view.structure:.2f}'
        tiles.append(titled(view.title + numbers, view.image))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    width = max(part.shape[1] for part in (*rows, sheet))
    return [(part, width) for part in (*rows, sheet)]


def _pad(image, width):
    return np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)))
