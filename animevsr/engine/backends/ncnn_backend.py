"""ncnn: its Winograd convolutions are the fastest exact ones on many CPUs. Networks are converted by pnnx."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import ncnn
import numpy as np
import torch

from animevsr.engine.backends.base import ConvertedBackend
from animevsr.engine.backends.cache import StepGraph, cached, make_example

if TYPE_CHECKING:
    from torch import Tensor, nn

    from animevsr.archs.interfaces import RecurrentNetwork


FILES = 'step.param', 'step.bin'


class NcnnBackend(ConvertedBackend):
    """A step by ncnn, in float32.

    Args:
        net (MSRBVSR), threads (int): see `open_backend`.
        device (torch.device): where the tensors are; ncnn itself runs on the CPU, or by Vulkan where the
            device is another.
    """

    kind = 'ncnn'

    def __init__(self, net: RecurrentNetwork, device: torch.device, threads: int) -> None:
        super().__init__(net, device)
        folder = cached(net, f'ncnn{ncnn.__version__}', lambda folder: convert(net, folder))
        self.net = ncnn.Net()
        options = None
        options = self.net.opt
        options.num_threads = threads
        options.use_vulkan_compute = device.type != 'cpu'
        for name in ('use_fp16_storage', 'use_fp16_packed', 'use_fp16_arithmetic', 'use_bf16_storage'):
            setattr(options, name, False)
        if self.net.load_param(str(folder / FILES[0])) or self.net.load_model(str(folder / FILES[1])):
            raise RuntimeError(f'{folder}: the converted network cannot be read; remove that folder')
        self.name = f'ncnn {ncnn.__version__}{" (Vulkan)" if options.use_vulkan_compute else ""}'

    def step(
        self, prev: Tensor, cur: Tensor, nxt: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        extractor = self.net.create_extractor()
        kept = []  # ncnn reads the arrays, it does not copy them
        for i, x in enumerate((prev, cur, nxt, *state)):
            array = np.ascontiguousarray(x[0].float().cpu().numpy())
            kept.append((array, ncnn.Mat(array)))
            extractor.input(f'in{i}', kept[-1][1])
        outputs = []
        for i in range(1 + len(state)):
            failed, out = extractor.extract(f'out{i}')
            if failed:
                raise RuntimeError('ncnn could not run a step (out of memory?)')
            outputs.append(torch.from_numpy(np.array(out))[None].to(self.device))
        return outputs[0], tuple(outputs[1:])


def convert(net: nn.Module, folder: Path) -> None:
    """Write a network's step as an ncnn model with dynamic sizes into a folder."""
    net = net.cpu().float()
    shapes = []
    for height, width in ((64, 80), (48, 96)):
        shapes.append(
            ','.join('[' + ','.join(map(str, x.shape)) + ']f32' for x in make_example(net, height, width))
        )
    with torch.no_grad():
        torch.jit.trace(StepGraph(net), make_example(net)).save(str(folder / 'step.pt'))
    command = [
        converter(),
        'step.pt',
        f'inputshape={shapes[0]}',
        f'inputshape2={shapes[1]}',
        'fp16=0',
        'ncnnparam=step.param',
        'ncnnbin=step.bin',
    ]
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace'
    )
    if (
        done.returncode
        or not (folder / FILES[1]).is_file()
        or 'pnnx.Expression' in (folder / FILES[0]).read_text()
    ):
        raise RuntimeError(
            f'pnnx could not convert the network: {(done.stderr or done.stdout).strip()[-200:]}'
        )
    for path in folder.iterdir():
        if path.name not in FILES:
            path.unlink()


def converter() -> str:
    """Path of pnnx's program, which its package puts beside Python."""
    beside = Path(sys.executable).with_name('pnnx')
    found = str(beside) if beside.is_file() else shutil.which('pnnx')
    if found is None:
        raise RuntimeError('the program pnnx is not on PATH')
    return found
