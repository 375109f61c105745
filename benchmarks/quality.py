"""PSNR-Y and SSIM-Y on the held-out clips, under the papers' basic degradation, of weights and of bicubic
upscaling.

    python benchmarks/quality.py [WEIGHTS ...] [--root assets/heldout] [--frames 6]

The degradation is fixed by the seed and the clip's name. Values are BasicSR's, on 8-bit frames, 4 pixels of
border left out; a clip's value is the mean over its frames, the last row the mean over clips. `flicker` is
`calculate_flicker_clip`: the mean change (of 255) from frame to frame where the ground truth does not change
at all.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim

import animevsr
from animevsr.data.clip_pair_dataset import ClipPairDataset
from animevsr.engine.upscaler import Upscaler
from animevsr.metrics.clip_metric import calculate_flicker_clip
from animevsr.utils.device import select_device
from animevsr.utils.tensors import to_images, to_tensor

DEGRADATION = ['blur', 'noise', {'down': 2}, {'down': 2}, {'codec': 'h264'}]
ROOT = Path(__file__).resolve().parents[1]


def bicubic(frames, scale=4):
    return [cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for f in frames]


def scores(results, gt):
    """(PSNR-Y, SSIM-Y, flicker) of a clip."""
    bgr = [(r[..., ::-1], g[..., ::-1]) for r, g in zip(results, gt)]
    psnr = np.mean([calculate_psnr(r, g, 4, test_y_channel=True) for r, g in bgr])
    ssim = np.mean([calculate_ssim(r, g, 4, test_y_channel=True) for r, g in bgr])
    return psnr, ssim, calculate_flicker_clip(to_tensor(results), to_tensor(gt))


def table(root, weights, frames, seed):
    device = select_device()
    methods = {'bicubic': bicubic}
    for path in weights:
        methods[Path(path).stem] = Upscaler(animevsr.load_network(path, device), device)
    dataset = ClipPairDataset(
        dict(
            name='heldout',
            dataroot_gt=str(root),
            degradation=DEGRADATION,
            seed=seed,
            num_frame=frames,
            scale=4,
        )
    )
    rows = []
    for index in range(len(dataset)):
        sample = dataset[index]
        lq, gt = to_images(sample['lq']), to_images(sample['gt'])
        rows.append((sample['key'], [scores(list(method(lq)), gt) for method in methods.values()]))
    rows.append(('mean', np.nanmean([values for _, values in rows], 0)))
    head = '| clip | ' + ' | '.join(f'{name} PSNR-Y / SSIM-Y / flicker' for name in methods) + ' |'
    lines = [head, '| --- ' * (len(methods) + 1) + '|']
    for key, values in rows:
        lines.append(f'| {key} | ' + ' | '.join(f'{p:.2f} / {s:.4f} / {f:.2f}' for p, s, f in values) + ' |')
    return '\n'.join(lines)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('weights', nargs='*', default=[ROOT / 'weights/animevsr_x4.pth'])
    parser.add_argument('--root', default=ROOT / 'assets/heldout')
    parser.add_argument('--frames', type=int, default=6)
    parser.add_argument('--seed', type=int, default=7)
    args = parser.parse_args()
    print(table(args.root, args.weights, args.frames, args.seed))
