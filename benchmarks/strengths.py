"""Networks on the held-out clips at three strengths of damage, and undamaged: how clean, how sharp, how
steady.

    python benchmarks/strengths.py bicubic animevsr_x4 animevsr_x4+steady realesr-animevideov3 animesr_v2

A network's name alone is the network as it was trained; with `+steady` each shot begins warm and held
drawings are averaged, as `animevsr upscale` does.

Damage is fixed: light is sigma 0.8, noise of 2 levels, crf 20; medium 1.6, 5, 27; strong 2.8, 10, 34, all but
`clean` through x264 as the papers' degradation; `clean` is MATLAB's bicubic shrinking alone; `old`, only
where it is asked for (`--strengths old`), is sigma 1, noise of 3 levels and MPEG-1 or WMV2, in turns: codecs
that no training of ours saw. Drawings are
held for two frames. Values are means over clips of PSNR-Y and SSIM-Y (BasicSR's, 4 pixels of border left
out); `edge`, the steepness of the result along the gradient of the truth where that is steep, over the
steepness of the truth (1 is as steep); `over`, the mean overshoot in levels of 255 beyond the local range of
the truth; `flicker`, the mean change from frame to frame where the truth does not change, in levels.
`averaging` is another measurement: the flicker of one held drawing under noise of 3 levels alone, between
frames 30 and 40.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim

from animevsr.archs.loading import load_upscaler
from animevsr.degradations import functional as D
from animevsr.engine.upscaler import Upscaler
from animevsr.metrics.clip_metric import calculate_flicker_clip
from animevsr.utils.device import select_device
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.clips import list_clips, load_clip

ROOT = Path(__file__).resolve().parents[1]
STRENGTHS = {'clean': None, 'light': (0.8, 2, 20), 'medium': (1.6, 5, 27), 'strong': (2.8, 10, 34)}
OLD = 'old'
OLD_CODECS = ((dict(vcodec='mpeg1video', qscale=6), 'mpg'), (dict(vcodec='wmv2', qscale=6), 'avi'))
STEADY = '+steady'  # after the name of a network: as `upscale` runs it; see `Upscaler`
STEEP = 24  # levels per pixel
INTERPOLATIONS = {'bicubic': cv2.INTER_CUBIC, 'lanczos': cv2.INTER_LANCZOS4}


def degrade(gt, strength, seed):
    h, w = (size // 4 for size in gt.shape[-2:])
    if strength is None:
        return D.resize(gt, h, w, 'matlab')
    if strength == OLD:
        clip = D.add_gaussian_noise(D.gaussian_blur(gt, 21, 1.0, 1.0, 0.0), 3, False, seed)
        options, suffix = OLD_CODECS[seed % len(OLD_CODECS)]
        return D.run_ffmpeg(D.resize(clip, h, w, 'area'), options, suffix, '', '')
    sigma, noise, crf = strength
    clip = D.gaussian_blur(gt, 21, sigma, sigma, 0.0)
    clip = D.add_gaussian_noise(clip, noise, False, seed)
    clip = D.resize(D.resize(clip, 2 * h, 2 * w, 'bicubic'), h, w, 'area')
    return D.compress(clip, 'h264', crf=crf, profile='high')


def luma(frames):
    return np.asarray(frames, np.float32) @ np.float32([0.299, 0.587, 0.114])


def edge_and_overshoot(results, gt):
    """See the head of this file; lists of (h, w, 3) uint8."""
    steepness, beyond, kernel = [], [], np.ones((7, 7), np.uint8)
    for result, truth in zip(luma(results), luma(gt)):
        (gy, gx), (ry, rx) = np.gradient(truth), np.gradient(result)
        size = np.hypot(gx, gy)
        steep = size > STEEP
        steepness.append(((gx * rx + gy * ry)[steep] / size[steep]).sum() / size[steep].sum())
        beyond.append(
            (
                np.maximum(result - cv2.dilate(truth, kernel), 0)
                + np.maximum(cv2.erode(truth, kernel) - result, 0)
            ).mean()
        )
    return np.mean(steepness), np.mean(beyond)


def held(clip, count, hold=2):
    return load_clip(clip, [i // hold for i in range(count)])


def method(name):
    """(title, function of uint8 frames (t, h, w, 3) to a list of frames 4 times as large)."""
    if name in INTERPOLATIONS:
        return name, lambda frames: [
            cv2.resize(f, None, fx=4, fy=4, interpolation=INTERPOLATIONS[name]) for f in frames
        ]
    plain, plus, _ = name.partition(STEADY)
    device = select_device()
    upscaler = Upscaler(load_upscaler(plain, device), device, steady=bool(plus))
    if upscaler.scale != 4:
        sys.exit(
            f'{name}: enlarges by {upscaler.scale}; the clips are four times as large as their small ones'
        )
    return Path(plain).stem + plus, lambda frames: list(upscaler(frames))


@torch.no_grad()
def table(names, root, count, averaging, strengths=tuple(STRENGTHS), most=None):
    clips, methods = list_clips(str(root))[:most], dict(map(method, names))
    lines = [
        '| method | strength | PSNR-Y | SSIM-Y | edge | over | flicker |',
        '| --- | --- | --- | --- | --- | --- | --- |',
    ]
    for strength in strengths:
        rows = {name: [] for name in methods}
        for number, clip in enumerate(clips):
            gt = held(clip, count)
            gt = gt[:, : gt.shape[1] // 4 * 4, : gt.shape[2] // 4 * 4]
            lq = to_images(degrade(to_tensor(gt), STRENGTHS.get(strength, strength), number))
            for name, run in methods.items():
                results = run(lq)
                pairs = [(r[..., ::-1], g[..., ::-1]) for r, g in zip(results, gt)]
                rows[name].append(
                    (
                        np.mean([calculate_psnr(r, g, 4, test_y_channel=True) for r, g in pairs]),
                        np.mean([calculate_ssim(r, g, 4, test_y_channel=True) for r, g in pairs]),
                        *edge_and_overshoot(results, gt),
                        calculate_flicker_clip(to_tensor(results), to_tensor(gt)),
                    )
                )
        for name, found in rows.items():
            psnr, ssim, edge, over, flicker = np.nanmean(found, 0)
            lines.append(
                f'| {name} | {strength} | {psnr:.2f} | {ssim:.4f} | {edge:.3f} | {over:.2f} | {flicker:.2f} |'
            )
    if averaging:
        gt = np.repeat(load_clip(clips[0], [0])[:, :192, :320], 40, 0)
        lq = to_images(D.add_gaussian_noise(D.resize(to_tensor(gt), 48, 80, 'matlab'), 3, False, 0))
        for name, run in methods.items():
            results = run(lq)
            flicker = calculate_flicker_clip(to_tensor(results[30:]), to_tensor(gt[30:]))
            lines.append(f'| {name} | averaging | | | | | {flicker:.2f} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('methods', nargs='+', help='bicubic, lanczos, or weights, also weights+steady')
    parser.add_argument('--root', default=ROOT / 'assets/heldout')
    parser.add_argument('--frames', type=int, default=8)
    parser.add_argument('--no-averaging', action='store_true')
    parser.add_argument('--strengths', nargs='+', choices=[*STRENGTHS, OLD], default=list(STRENGTHS))
    parser.add_argument('--clips', type=int, help='only the first ones, for a short trial')
    args = parser.parse_args()
    print(table(args.methods, args.root, args.frames, not args.no_averaging, args.strengths, args.clips))
