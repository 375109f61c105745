"""Random draws of the datasets: they depend on seed, epoch and position alone."""
import numpy as np
import torch


def flip_and_turn(frames, opt, rng):
    """Frames (t, h, w, 3), each of a flip, an upside-down flip and a turn by 90 degrees with probability 0.5.

    `opt` switches them: `use_hflip` (default: true), `use_vflip` (false), `use_rot` (true).
    """
    draws = rng.random(3) < 0.5
    if draws[0] and opt.get('use_hflip', True):
        frames = frames[:, :, ::-1]
    if draws[1] and opt.get('use_vflip', False):
        frames = frames[:, ::-1]
    if draws[2] and opt.get('use_rot', True):
        frames = frames.transpose(0, 2, 1, 3)[:, ::-1]
    return frames


def draw_generator(dataset, index):
    """The random generator of one draw from a dataset with a `seed`.

    `compat.Draw` carries the number of the draw; with another sampler, torch's seed of this process (new for every worker and epoch) and
    a count stand in for it.
    """
    number = getattr(index, 'number', None)
    if number is not None:
        return np.random.default_rng([dataset.seed, 0, number])
    dataset.plain_draws = getattr(dataset, 'plain_draws', 0) + 1
    return np.random.default_rng([dataset.seed, 1, torch.initial_seed() % 2**63, dataset.plain_draws, int(index)])
