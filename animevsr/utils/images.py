"""Images and tensors."""

import numpy as np
import torch


def to_tensor(frames):
    """uint8 (t, h, w, 3) -> float tensor (t, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(np.asarray(frames).transpose(0, 3, 1, 2))).float() / 255


def to_images(frames):
    """Float tensor (t, 3, h, w) in [0, 1], on any device -> uint8 (t, h, w, 3)."""
    return (frames * 255).round().to('cpu', torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
