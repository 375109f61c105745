"""ncnn: its Winograd convolutions are the fastest exact ones on many CPUs. Networks are converted by pnnx."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import ncnn
import numpy as np
import torch

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.backends.base import ConvertedBackend
from animevsr.engine.backends.cache import StepGraph, cached, make_example, run_converter
from animevsr.engine.backends.ncnn_tiles import Description, TileRunner, find_passes, with_crops
from animevsr.utils.images import to_bytes
from animevsr.utils.vulkan import use_gpu

if TYPE_CHECKING:
    from torch import Tensor, nn

    from animevsr.archs.interfaces import RecurrentNetwork


FILES = 'step.param', 'step.bin'
SMALL = 65_536  # pixels of a frame up to which it is faster as a whole than in tiles (on two cores)
OLDEST = 1, 0, 20261020  # before this release a thread of Python waited until another one's tile was done


class NcnnBackend(ConvertedBackend):
    """A step by ncnn, in float32.

    Args:
        net (MSRBVSR), threads (int): see `open_backend`.
        device (torch.device): where the tensors are; ncnn itself runs on the CPU.
    """

    kind, gives_bytes = 'ncnn', True

    def __init__(self, net: RecurrentNetwork, device: torch.device, threads: int) -> None:
        super().__init__(net, device)
        folder = convert_cached(net)
        self.net = load(folder, threads)
        self.tiles = self._open_tiles(folder, threads) if isinstance(net, MSRBVSR) else None
        self.name = f'ncnn {ncnn.__version__}'

    def step(
        self, prev: Tensor, cur: Tensor, nxt: Tensor, state: tuple[Tensor, ...], as_bytes: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        frames = [x[0].float().cpu().numpy() for x in (prev, cur, nxt, *state)]
        given = {f'in{i}': frame for i, frame in enumerate(frames)}
        # whatever the number of threads and cores is, so that results do not depend on it
        if self.tiles is None or cur.shape[-2] * cur.shape[-1] <= SMALL:
            # copies: a state must not keep memory of ncnn's pool
            outputs = [array.copy() for array in self._run(given, self._outputs)]
            if as_bytes:
                outputs[0] = to_bytes(outputs[0])
        else:
            finish = dict(out0=to_bytes) if as_bytes else {}
            outputs = self.tiles.run(given, self._outputs, self._run, **finish)
        sr, *state = (torch.from_numpy(output)[None].to(self.device) for output in outputs)
        return sr, tuple(state)

    def _open_tiles(self, folder: Path, threads: int) -> TileRunner | None:
        """What runs the network in tiles, or None where a release of pnnx writes it in layers of other kinds:
        then it is run as a whole.
        """
        with contextlib.suppress(ValueError, KeyError, StopIteration):
            text = (folder / FILES[0]).read_text()
            description = Description(text)
            inputs = [f'in{i}' for i in range(3 + len(self.channels))]
            passes = find_passes(description, inputs, self._outputs)
            text, windows = with_crops(text, description)
            return TileRunner(load(folder, 1, text=text), windows, description, passes, threads)
        return None

    @property
    def _outputs(self) -> list[str]:
        return [f'out{i}' for i in range(1 + len(self.channels))]

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


def convert_cached(net: nn.Module) -> Path:
    """Folder of a network's step as an ncnn model, which is converted where it is not there yet."""
    if tuple(int(part) for part in ncnn.__version__.split('.')[:3]) < OLDEST:
        raise RuntimeError(f'ncnn {ncnn.__version__} is too old; run: pip install -U ncnn')
    kind = f'ncnn{ncnn.__version__}-pnnx{metadata.version("pnnx")}'
    return cached(net, kind, lambda folder: convert(net, folder))


def load(
    folder: Path, threads: int, text: str | None = None, unit: str | None = None, half: bool = False
) -> ncnn.Net:
    """A converted network, on the CPU or a `unit` of Vulkan; in float32, or float16 with `half`. `text`:
    instead of its `.param` file.
    """
    net = ncnn.Net()
    net.opt.num_threads = threads
    for name in ('use_fp16_storage', 'use_fp16_packed', 'use_fp16_arithmetic', 'use_bf16_storage'):
        setattr(net.opt, name, False)
    net.opt.use_vulkan_compute = False
    if unit is not None:
        use_gpu(net, unit, half)
    try:
        text = (folder / FILES[0]).read_text() if text is None else text
        failed = net.load_param_mem(text) or net.load_model(str(folder / FILES[1]))
    except OSError:
        failed = True
    if failed:
        raise RuntimeError(f'{folder}: the converted network cannot be read; remove that folder')
    return net


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
    ended_well, reason = run_converter(command, folder)
    if (
        not ended_well
        or not (folder / FILES[1]).is_file()
        or 'pnnx.Expression' in (folder / FILES[0]).read_text()
    ):
        raise RuntimeError(f'pnnx could not convert the network: {reason}')
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
