"""One training step, as it is done here, against a plain one of the same network, batch and clip.

    python benchmarks/training.py [--rounds 7] [--batch 2] [--frames 8] [--size 160]

Plain: `MSRBVSR` as it is written, contiguous, float32, Adam. Ours: channels-last, as all models of this
package train; and with `amp: bf16`. Medians of rounds in turns; the largest difference of a gradient to that
of the plain step, over the largest gradient of its tensor.
"""

import argparse
import time
from statistics import median

import torch

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.losses.pixel_loss import EdgeCharbonnierLoss
from animevsr.utils.device import exact_float32, select_device


def make(layout, amp, device):
    """(step, network): step(lq, gt) is one iteration."""
    torch.manual_seed(0)
    net = MSRBVSR().to(device, memory_format=layout)
    optimizer, loss = torch.optim.Adam(net.parameters(), 1e-5), EdgeCharbonnierLoss(edge_weight=3.0)

    def step(lq, gt):
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            value = loss(net(lq), gt)
        value.backward()
        gradients = [p.grad.float().clone() for p in net.parameters()]
        optimizer.step()
        value.item()  # waits for the device
        return gradients

    return step


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--frames', type=int, default=8)
    parser.add_argument('--size', type=int, default=160, help='of the ground truth')
    args = parser.parse_args()
    exact_float32()
    device = select_device()
    gt = torch.rand(args.batch, args.frames, 3, args.size, args.size, device=device)
    lq = torch.nn.functional.avg_pool2d(gt.flatten(0, 1), 4).unflatten(0, gt.shape[:2])
    kinds = {
        'plain': make(torch.contiguous_format, False, device),
        'channels-last': make(torch.channels_last, False, device),
        'channels-last, bfloat16': make(torch.channels_last, True, device),
    }
    first = {name: step(lq, gt) for name, step in kinds.items()}
    times = {name: [] for name in kinds}
    for _ in range(args.rounds):
        for name, step in kinds.items():
            start = time.perf_counter()
            step(lq, gt)
            times[name].append(time.perf_counter() - start)
    print(f'{device}, {torch.get_num_threads()} threads, torch {torch.__version__}')
    print('| step | s | times as fast | gradients differ by |')
    print('| --- | --- | --- | --- |')
    for name, values in times.items():
        off = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(first['plain'], first[name]))
        print(
            f'| {name} | {median(values):.3f} | {median(times["plain"]) / median(values):.2f} | {off:.1e} |'
        )
