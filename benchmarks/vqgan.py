"""What degradation models make of held-out low-quality frames: reconstruction, codebook use, and what rising
k changes.

    python benchmarks/vqgan.py [WEIGHTS ...] [--root assets/heldout_lowquality]

PSNR and SSIM (BasicSR's, RGB, 8 bit) between frame and reconstruction; entries of the codebook that are used,
and the perplexity of their use in each branch; for k = 5, 10, 20, 50 of the finest branch the mean absolute
change (of 255) from the reconstruction, of the whole image (`detail`) and of the image shrunk 8 times by area
(`structure`). Means over the frames; use is counted over all of them.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim

import animevsr
from animevsr.data.low_quality_frame_dataset import LowQualityFrameDataset
from animevsr.evaluation.codebook_atlas import KS, draw_views
from animevsr.models.vqgan_model import perplexity
from animevsr.utils.device import select_device

ROOT = Path(__file__).resolve().parents[1]


@torch.inference_mode()
def measure(net, dataset, device):
    """Numbers of one network: {name: value}."""
    scores, counts, changes = [], {}, {k: [] for k in KS}
    for sample in dataset:
        image = (sample['lq'] * 255).round().byte().permute(1, 2, 0).numpy()
        views, indices = draw_views(net, net.encode(sample['lq'][None].to(device) * 2 - 1), image)
        whole = views[1].image
        scores.append(
            (
                calculate_psnr(whole[..., ::-1], image[..., ::-1], 0),
                calculate_ssim(whole[..., ::-1], image[..., ::-1], 0),
            )
        )
        for name, found in indices.items():
            counts[name] = counts.get(name, 0) + torch.bincount(found.flatten(), minlength=len(net.codebook))
        for view in views:
            if view.title.startswith('k = '):
                changes[int(view.title[4:])].append(
                    (np.abs(view.image.astype(int) - whole).mean(), view.structure)
                )
    psnr, ssim = np.mean(scores, 0)
    used = int((sum(counts.values()) > 0).sum())
    row = {
        'PSNR': f'{psnr:.2f}',
        'SSIM': f'{ssim:.4f}',
        'entries used': f'{used} of {len(net.codebook)}',
        'perplexity': ' / '.join(f'{perplexity(c.float()).item():.0f}' for c in counts.values()),
    }
    for k, values in changes.items():
        detail, structure = np.mean(values, 0)
        row[f'k = {k}: detail / structure'] = f'{detail:.2f} / {structure:.2f}'
    return row


def main(weights, root):
    device = select_device()
    dataset = LowQualityFrameDataset(dict(name='heldout', phase='val', dataroot_lq=str(root)))
    rows = {}
    for path in weights:
        net = animevsr.load_network(path, device)
        rows[
            (
                f'{Path(path).parents[1].name}/{Path(path).stem}'
                if 'experiments' in Path(path).parts
                else Path(path).stem
            )
        ] = {'branches': ' + '.join(net.branches), **measure(net, dataset, device)}
    columns = list(next(iter(rows.values())))
    print('| weights | ' + ' | '.join(columns) + ' |\n' + '| --- ' * (len(columns) + 1) + '|')
    for name, row in rows.items():
        print(f'| {name} | ' + ' | '.join(row[c] for c in columns) + ' |')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('weights', nargs='*', default=[ROOT / 'weights/vqgan_animation.pth'])
    parser.add_argument('--root', default=ROOT / 'assets/heldout_lowquality')
    main(**vars(parser.parse_args()))
