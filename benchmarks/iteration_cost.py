"""What one iteration of VQD-SR's stage 2 computes and holds, counted and not measured: the figures of
docs/gpu.md.

    python benchmarks/iteration_cost.py [--clips 4] [--frames 15] [--gt 256]

Multiply-adds are counted by PyTorch's FlopCounterMode on tensors without content (`meta`), a backward pass as
twice its forward; bytes are those of float32 tensors.
"""

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model

from animevsr.archs.discriminator_arch import MultiScalePatchDiscriminator
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.archs.vsr_arch import MSRBVSR


def multiply_adds(function, *shapes):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*(torch.empty(shape, device='meta') for shape in shapes))
    return counter.get_total_flops() / 2


class Held:
    """Bytes of what the layers of a network give out in one forward pass: about what is held for the backward
    pass.
    """

    def __init__(self, net):
        self.bytes = 0
        for module in net.modules():
            if not list(module.children()):
                module.register_forward_hook(self._add)

    def _add(self, module, inputs, output):
        self.bytes += output.numel() * 4


def rows(b, t, gt):
    """(what, multiply-adds of all its passes, bytes that it holds)."""
    frames, lq = b * t, gt // 4
    with torch.device('meta'):
        net, d, vqgan, vgg = (
            MSRBVSR(),
            MultiScalePatchDiscriminator(use_sn=False),
            MultiScaleVQGAN(),
            get_model('vgg19').features[:35],
        )
    # the search is counted on its own
    vqgan.quantize = lambda z, k=(1, 1, 1): (z, [torch.zeros((), device='meta')], {})
    held = {name: Held(module) for name, module in (('net', net), ('d', d), ('vgg', vgg))}
    cost = dict(
        vqgan=multiply_adds(vqgan, (frames, 3, lq, lq)),
        net=multiply_adds(net, (b, t, 3, lq, lq)),
        d=multiply_adds(lambda x: d(x), (frames, 3, gt, gt)),
        vgg=multiply_adds(vgg, (frames, 3, gt, gt)),
    )
    vectors = frames * sum((lq // f) ** 2 for f in (2, 4, 8))
    images = frames * 3 * gt * gt * 4
    return [
        ('degradation: VQGAN, forward', cost['vqgan'], 0),
        ('degradation: search of the codebook', vectors * 1024 * 256, vectors * 1024 * 4),
        ('network, forward and backward', 3 * cost['net'], held['net'].bytes),
        ('the same with checkpointing', 4 * cost['net'], held['net'].bytes // t + frames * 64 * lq * lq * 4),
        ('VGG19 of output (and back) and truth', 3 * cost['vgg'], held['vgg'].bytes),
        ('discriminator: for the network, on real, on fake', 8 * cost['d'], 2 * held['d'].bytes),
        ('ground truth and output', 0, 2 * images),
    ]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--clips', type=int, default=4)
    parser.add_argument('--frames', type=int, default=15)
    parser.add_argument('--gt', type=int, default=256)
    args = parser.parse_args()
    print('| part | multiply-adds (T) | held (GB) |\n| --- | --- | --- |')
    for what, work, size in rows(args.clips, args.frames, args.gt):
        print(f'| {what} | {work / 1e12:.2f} | {size / 1e9:.2f} |')
