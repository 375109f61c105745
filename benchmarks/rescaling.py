"""Which resize makes the better pseudo-HR (AnimeSR's input rescaling): antialiased bicubic, or Lanczos
without antialiasing, as published.

    python benchmarks/rescaling.py [--weights animevsr_x4] [--frames 3]

The held-out clips, damaged as the three sets of `recipes/open_animation/lbo_sets.yml` and rescaled, against
their clean originals, which the rescaling does not see: mean PSNR in dB (RGB).
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'recipes/open_animation'))

from lbo_sets import degrade, read_sets  # noqa: E402

from animevsr.archs.loading import load_upscaler  # noqa: E402
from animevsr.curation.pseudo_hr import RESIZES, pseudo_hr_frames  # noqa: E402
from animevsr.utils.tensors import to_tensor  # noqa: E402
from animevsr.video.clips import list_clips, load_clip  # noqa: E402

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--weights', default='animevsr_x4')
    parser.add_argument('--frames', type=int, default=3)
    parser.add_argument('--factors', type=float, nargs='+', default=[0.5, 0.6, 0.7])
    parser.add_argument('--sets', nargs='+', default=list(read_sets()), help='of lbo_sets.yml')
    args = parser.parse_args()
    net, clips = load_upscaler(args.weights), list_clips(str(ROOT / 'assets/heldout'))
    print('| set | factor | ' + ' | '.join(RESIZES) + ' |\n| --- | --- | ' + '--- | ' * len(RESIZES))
    for name in args.sets:
        config = read_sets()[name]
        for factor in args.factors:
            values = {mode: [] for mode in RESIZES}
            for clip in clips:
                gt = to_tensor(load_clip(clip, range(args.frames)))
                gt = gt[..., : gt.shape[-2] // 4 * 4, : gt.shape[-1] // 4 * 4]
                low = degrade(gt, config)
                for mode in RESIZES:
                    errors = [
                        (high[0] - truth).square().mean().item()
                        for high, truth in zip(pseudo_hr_frames(net, low, factor, mode), gt)
                    ]
                    values[mode].append(-10 * np.log10(np.mean(errors)))
            print(
                f'| {name} | {factor:g} | '
                + ' | '.join(f'{np.mean(found):.2f}' for found in values.values())
                + ' |',
                flush=True,
            )
