"""ncnn: its Winograd convolutions are the fastest exact ones on many CPUs. Networks are converted by pnnx."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import ncnn
import numpy as np
import torch

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.backends.base import ConvertedBackend
from animevsr.engine.backends.cache import StepGraph, cached, make_example

if TYPE_CHECKING:
    from torch import Tensor, nn

    from animevsr.archs.interfaces import RecurrentNetwork


FILES = 'step.param', 'step.bin'
# The fusion, the last two convolutions, takes most of the memory: on larger frames it is done in strips of
# so many pixels, with as many rows around each as its two convolutions and the interpolation before them see
STRIP, AROUND = 65_536, 4


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
        options = self.net.opt
        options.num_threads = threads
        options.use_vulkan_compute = device.type != 'cpu'
        for name in ('use_fp16_storage', 'use_fp16_packed', 'use_fp16_arithmetic', 'use_bf16_storage'):
            setattr(options, name, False)
        if self.net.load_param(str(folder / FILES[0])) or self.net.load_model(str(folder / FILES[1])):
            raise RuntimeError(f'{folder}: the converted network cannot be read; remove that folder')
        self.features = None  # of a network whose parts are not known here: it is run as a whole
        if isinstance(net, MSRBVSR):
            self.features = find_features((folder / FILES[0]).read_text())
        self.name = f'ncnn {ncnn.__version__}{" (Vulkan)" if options.use_vulkan_compute else ""}'

    def step(
        self, prev: Tensor, cur: Tensor, nxt: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        frames = [x[0].float().cpu().numpy() for x in (prev, cur, nxt, *state)]
        given = {f'in{i}': frame for i, frame in enumerate(frames)}
        names = [f'out{i}' for i in range(1 + len(state))]
        height, width = cur.shape[-2:]
        rows = max(2 * AROUND, STRIP // width // 4 * 4)  # whole rows of the coarsest features
        if rows >= height or not self.features or self.net.opt.use_vulkan_compute:
            # copies: a state must not keep memory of ncnn's pool
            outputs = [torch.from_numpy(array.copy()) for array in self._run(given, names)]
        else:
            given = dict(zip(self.features, self._run(given, list(self.features)))) | {'in1': frames[1]}
            outputs = self._in_strips(given, names, height, rows)
        sr, *state = (output[None].to(self.device) for output in outputs)
        return sr, tuple(state)

    def _in_strips(
        self, given: dict[str, np.ndarray], names: list[str], height: int, rows: int
    ) -> list[torch.Tensor]:
        """The fusion of the features of a whole frame, and what comes after it; `in1` is its input, to which
        the result is added.
        """
        outputs = None
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            start, end = max(0, top - AROUND), min(height, bottom + AROUND)
            part = {}
            for name, array in given.items():
                shrunk = self.features.get(name, 1)
                part[name] = array[:, start // shrunk : end // shrunk]
            strips = self._run(part, names)
            scales = [strip.shape[1] // (end - start) for strip in strips]
            outputs = outputs or [
                torch.empty(strip.shape[0], scale * height, strip.shape[2])
                for strip, scale in zip(strips, scales)
            ]
            for output, strip, scale in zip(outputs, strips, scales):
                inner = strip[:, scale * (top - start) : scale * (bottom - start)]
                output[:, scale * top : scale * bottom] = torch.from_numpy(inner)
        return outputs

    def _run(self, inputs: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        """Values of the network's tensors, (c, h, w), by name, from those of others."""
        extractor = self.net.create_extractor()
        kept = []  # ncnn reads the arrays, it does not copy them
        for name, array in inputs.items():
            array = np.ascontiguousarray(array)
            kept.append((array, ncnn.Mat(array)))
            extractor.input(name, kept[-1][1])
        results = []
        for name in outputs:
            failed, out = extractor.extract(name)
            if failed:
                raise RuntimeError('ncnn could not run a step (out of memory?)')
            results.append(np.asarray(out))  # not a copy: it keeps `out`
        return results


def find_features(description: str) -> dict[str, int]:
    """What the fusion takes, read off a converted network's description (`.param`): name -> by how much it is
    smaller than the frame. The last concatenation joins them, the coarser ones after an interpolation.
    """
    layers = [line.split() for line in description.splitlines()]
    names = next(layer for layer in reversed(layers) if layer[0] == 'Concat')
    makers = {layer[5]: layer for layer in layers if layer[0] == 'Interp'}
    features = {}
    for name in names[4 : 4 + int(names[2])]:
        if name in makers:  # Interp name 1 1 INPUT OUTPUT 0=kind 1=FACTOR ...
            features[makers[name][4]] = int(float(makers[name][7].removeprefix('1=')))
        else:
            features[name] = 1
    return features


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
    beside = Path(sys.executable).with_name('pnnx.exe' if os.name == 'nt' else 'pnnx')
    found = str(beside) if beside.is_file() else shutil.which('pnnx')
    if found is None:
        raise RuntimeError('the program pnnx is not on PATH')
    return found
