"""Random draws of the datasets: they depend on seed, epoch and position alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from animevsr.data.sampling import Draw


def flip_and_turn(frames: np.ndarray, opt: dict, rng: np.random.Generator) -> np.ndarray:
    """Frames (t, h, w, 3) in one of the orientations that BasicSR's `augment` gives; see `orientation`."""
    return orientation(opt, rng)(frames)


def orientation(opt: dict, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A function that brings frames (t, h, w, 3) into a random orientation, each time the same.

    `opt` switches, each for half of the draws: `use_hflip` a flip (default: true); `use_rot` a flip upside
    down and, drawn on its own, an exchange of rows and columns (true: all 8 orientations together with
    `use_hflip`); `use_vflip` the flip upside down alone (false).
    """
    draws, turns = rng.random(3) < 0.5, opt.get('use_rot', True)

    def turned(frames):
        if draws[0] and opt.get('use_hflip', True):
            frames = frames[:, :, ::-1]
        if draws[1] and (turns or opt.get('use_vflip', False)):
            frames = frames[:, ::-1]
        if draws[2] and turns:
            frames = frames.transpose(0, 2, 1, 3)
        return frames

    return turned


def draw_generator(dataset: Any, index: int | Draw) -> np.random.Generator:
    """The random generator of one draw from a dataset with a `seed`.

    `sampling.Draw` carries the number of the draw; with another sampler, torch's seed of this process (new
    for every worker and epoch) and a count stand in for it.
    """
    number = getattr(index, 'number', None)
    if number is not None:
        return np.random.default_rng([dataset.seed, 0, number])
    dataset.plain_draws = getattr(dataset, 'plain_draws', 0) + 1
    return np.random.default_rng(
        [dataset.seed, 1, torch.initial_seed() % 2**63, dataset.plain_draws, int(index)]
    )
