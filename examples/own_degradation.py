"""A degradation of one's own, beside those of the package: rainbow-like bleeding of colours, as composite
video has it.

    python examples/own_degradation.py CLIP OUT.png

A training uses it in the same way: import this file, then start BasicSR's runner (see foreign_project.py).
"""

import sys

import cv2
import torch

import animevsr  # noqa: F401
from animevsr.degradations import DegradationPipeline, Operator, operator


@operator('colour_bleed')
class ColourBleed(Operator):
    """Chroma that is blurred and shifted to the right, luma that stays.

    Args:
        shift (pair of int): range of the shift, in pixels.
    """

    def __init__(self, shift=(1, 6)):
        self.shift = shift

    def sample(self, rng, drawn=(), t=1):
        return dict(shift=int(rng.integers(self.shift[0], self.shift[1] + 1)))

    def apply(self, clip, params):
        luma = clip.mean(1, keepdim=True)
        chroma = torch.roll(clip - luma, params['shift'], -1)
        chroma = torch.nn.functional.avg_pool2d(chroma, (1, 9), 1, (0, 4), count_include_pad=False)
        return (luma + chroma).clamp(0, 1)


if __name__ == '__main__':
    import numpy as np

    from animevsr.utils.tensors import to_images, to_tensor
    from animevsr.video.clips import load_clip

    clip = to_tensor(load_clip(sys.argv[1], [0, 1, 2]))
    pipeline = DegradationPipeline(
        [{'colour_bleed': [4, 4]}, 'blur', {'down': 4}, {'codec': {'crf': [28, 28]}}]
    )
    result = pipeline.apply(clip, pipeline.sample(np.random.default_rng(0), len(clip)))
    cv2.imwrite(sys.argv[2], to_images(result)[0][..., ::-1])
    print(sys.argv[2], tuple(result.shape))
