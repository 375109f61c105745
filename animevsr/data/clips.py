"""Clips on disk: a root folder that holds one folder of frames, or one video file, per clip."""
import numpy as np
import torch

from animevsr.utils.resources import find
from animevsr.video.reader import VIDEO_SUFFIXES, MediaError, count_frames, read_frames


def list_clips(root, key='dataroot_gt'):
    """Clips of a root, sorted by name: folders of frames and video files.

    Raises:
        MediaError: the root is missing or holds no clip.
    """
    root = find(root)
    if not root.is_dir():
        raise MediaError(f'{key}: {root}: no such folder')
    clips = [p for p in sorted(root.iterdir())
             if not p.name.startswith('.') and not p.name.endswith('.partial') and (p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES)]
    if not clips:
        raise MediaError(f'{key}: {root}: holds no clips (folders of frames, or video files)')
    return clips


def clip_name(clip):
    """Name of a clip: its folder's, or its file's without the suffix."""
    return clip.name if clip.is_dir() else clip.stem


def clip_lengths(clips, at_least, reason):
    """Number of frames of each clip; MediaError that names the first clip with fewer than `at_least`."""
    lengths = [count_frames(clip) for clip in clips]
    for clip, length in zip(clips, lengths):
        if length < at_least:
            raise MediaError(f'{clip}: has {length} frames, but {reason}')
    return lengths


def load_clip(path, indices):
    """Frames of a clip as uint8 array (t, h, w, 3), RGB."""
    frames = read_frames(path, indices)
    for i, frame in zip(indices, frames):
        if frame.shape != frames[0].shape:
            raise MediaError(f'{path}: frame {i} is {frame.shape[1]}x{frame.shape[0]}, frame {indices[0]} is '
                             f'{frames[0].shape[1]}x{frames[0].shape[0]}')
    return np.stack(frames)


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
