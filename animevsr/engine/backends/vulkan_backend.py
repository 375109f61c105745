"""ncnn on a GPU by Vulkan: also on those of AMD and Intel, which PyTorch's usual builds do not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ncnn
import torch

from animevsr.engine.backends.base import ConvertedBackend
from animevsr.engine.backends.cache import make_example
from animevsr.engine.backends.ncnn_backend import NcnnBackend, convert_cached, load
from animevsr.engine.backends.torch_backend import TorchBackend
from animevsr.utils.vulkan import UNIT, find_gpu, list_gpus

if TYPE_CHECKING:
    from animevsr.archs.interfaces import RecurrentNetwork
    from animevsr.archs.single_image import NcnnNetwork

TOLERANCE = {False: 5e-3, True: 5e-2}  # by `half`; a driver that computes nonsense is off by far more


class VulkanBackend(NcnnBackend):
    """A step by ncnn on a GPU. Frames and the state go there and back at each step.

    Args:
        net (MSRBVSR), device (torch.device), threads (int): see `open_backend`; the device is the CPU, where
            the tensors are.
        unit (str): 'vulkan', or 'vulkan:1' for the second GPU. half (bool): float16, else float32.

    Raises:
        ValueError: there is no such GPU, or it does not compute what the network does.
    """

    def __init__(
        self, net: RecurrentNetwork, device: torch.device, threads: int, unit: str = UNIT, half: bool = False
    ) -> None:
        ConvertedBackend.__init__(self, net, device)
        number = find_gpu(unit)
        self.tiles = None
        self.net = load(convert_cached(net), threads, unit=f'{UNIT}:{number}', half=half)
        self.kind, self.name = f'ncnn:{unit}', name_of(number, half)
        example = make_example(net)
        with torch.no_grad():
            expected = net.cpu().float().core(*example)
        results = self.step(*example[:3], example[3:])
        check((results[0], *results[1]), expected, half, self.name)


class VulkanImages(TorchBackend):
    """A network for single images of an ncnn model, on a GPU; arguments as `VulkanBackend`."""

    def __init__(
        self, net: NcnnNetwork, device: torch.device, threads: int, unit: str = UNIT, half: bool = False
    ) -> None:
        number = find_gpu(unit)
        super().__init__(net, device, threads=threads)
        image = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
        expected = net.image(image)
        net.open(f'{UNIT}:{number}', half)
        self.threads, self.kind, self.name = None, f'ncnn:{unit}', name_of(number, half)
        check((net.image(image),), (expected,), half, self.name)


def name_of(number: int, half: bool) -> str:
    return f'ncnn {ncnn.__version__} (Vulkan, {list_gpus()[number][0]}, {"float16" if half else "float32"})'


def check(
    results: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...], half: bool, name: str
) -> None:
    """That a GPU computes what the processor does: faulty drivers give black or torn pictures without a word.

    Raises:
        ValueError: it does not.
    """
    for ours, theirs in zip(results, expected):
        bound = TOLERANCE[half] * max(1.0, theirs.abs().max().item())
        difference = (ours - theirs).abs().max().item()
        if not difference < bound:  # NaN, too
            raise ValueError(
                f'{name}: computes something else than the processor (off by {difference:.3g}): its driver is'
                f' faulty or too old{"; try it without --half" if half else ""}'
            )
