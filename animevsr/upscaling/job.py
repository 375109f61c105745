"""What one call of `upscale` has to do, and how its input and its network are opened.

The network's part is imported where it is opened: an input is looked at before PyTorch is there, which takes
a second and a half.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from animevsr.engine.sizes import choose_tile
from animevsr.upscaling.options import UpscaleOptions
from animevsr.video.reader import open_reader

if TYPE_CHECKING:
    import torch
    from torch import nn

    from animevsr.engine.upscaler import Upscaler
    from animevsr.upscaling.plan import Plan
    from animevsr.video.frame_reader import FrameReader


DEINTERLACE = {'auto': 'marked', 'bwdif': 'all', 'ivtc': 'ivtc', 'off': 'off'}


class DifferentRounding(ValueError):
    """This worker computes other bits than the one that the plan was made with."""


@dataclass(frozen=True)
class Job:
    """What every worker is sent; it can be sent to another process.

    Attributes:
        input, output (str): absolute paths, or '-'. options (UpscaleOptions)
    """

    input: str
    output: str
    options: UpscaleOptions

    def with_jobs(self, jobs: int) -> Job:
        """This job, for so many processes that share the cores."""
        return replace(self, options=replace(self.options, jobs=jobs))

    def open_reader(self) -> FrameReader:
        selection = self.options.selection
        return open_reader(
            self.input,
            self.options.fps,
            selection.part(),
            selection.crop_sides(),
            deep=True,
            deinterlace=DEINTERLACE[selection.deinterlace],
            conceal=True,
        )

    def device(self) -> torch.device:
        """Where its network is to be."""
        from animevsr.utils.device import select_device

        return select_device(self.options.compute.device)

    def load(self, rank: int | None = None) -> tuple[nn.Module, torch.device]:
        """(network, its device); `rank`: of this process among those that share the devices of the
        machine.
        """
        from animevsr.archs.loading import load_mixed
        from animevsr.utils.device import share

        device = self.device() if rank is None else share(self.device(), rank)
        return load_mixed(self.options.weights, self.options.strength, device, clips=True), device

    def choose_tile(
        self, size: tuple[int, int], device: torch.device | None = None, jobs: int = 1
    ) -> int | None:
        """The side of tiles for an input of (height, width); see `engine.sizes.choose_tile`."""
        c = self.options.compute
        return choose_tile(c.tile, size, device or self.device(), jobs, c.backend)

    def open_upscaler(
        self,
        loaded: tuple[nn.Module, torch.device],
        tile: int | None = None,
        say: Callable = lambda text: None,
    ) -> Upscaler:
        """Put what `load` gave into what computes it; `say(text)` reports what that is."""
        from animevsr.archs.interfaces import ClipNetwork
        from animevsr.engine.backends import open_backend
        from animevsr.engine.backends.torch_backend import use_threads
        from animevsr.engine.upscaler import Upscaler
        from animevsr.utils.device import exact_float32

        (net, device), c = loaded, self.options.compute
        if isinstance(net, ClipNetwork):
            if ':' in c.backend:
                raise ValueError(f'{c.backend} runs recurrent networks, not a {type(net).__name__}')
            given = [name for name in ('reuse', 'bf16', 'compiled') if getattr(c, name)]
            given += ['backend'] if c.backend not in ('auto', 'torch') else []
            given += ['tile'] if isinstance(c.tile, int) else []
            if given:
                raise ValueError(
                    f'{", ".join(given)}: not with a {type(net).__name__}, which sees whole clips'
                )
            for name in ('half', 'fast'):
                if getattr(c, name):
                    warnings.warn(
                        f'{name} is left out: a {type(net).__name__} sees whole clips', stacklevel=2
                    )
            use_threads(device, c.threads)
            if not c.fast:  # as `open_backend` for the others
                exact_float32()
            return Upscaler(net, device, steady=self.options.averages)
        backend = open_backend(
            net,
            device,
            c.backend,
            c.fast,
            c.half,
            c.threads,
            self.options.jobs,
            say,
            bf16=c.bf16,
            compiled=c.compiled,
        )
        if isinstance(c.tile, int) and backend.reach is None:
            raise ValueError('tile: this network looks at the whole picture, and cannot be had in tiles')
        return Upscaler(
            backend, None, tile if backend.reach is not None else None, c.reuse, self.options.averages
        )

    def open_same_upscaler(
        self,
        plan: Plan,
        rank: int | None = None,
        loaded: tuple[nn.Module, torch.device] | None = None,
        say: Callable = lambda text: None,
    ) -> Upscaler:
        """The upscaler that computes the same bits as what the plan was made with.

        Raises:
            DifferentRounding: it cannot be had here, as its backend is not there, or another version.
        """
        wanted, c = plan.backend_id, self.options.compute
        # all others have their tensors on the CPU, also where there is a GPU
        if wanted['backend'] != 'torch':
            on_cpu = replace(self, options=self.options.with_compute(device='cpu'))
            net, _ = loaded or on_cpu.load(rank)
            loaded = net.cpu(), on_cpu.device()
        loaded = loaded or self.load(rank)
        # of other names it is exact: no slower than 8-bit integers where the plan was made
        fast = c.fast and (loaded[1].type != 'cpu' or wanted['backend'] == 'openvino')
        same = self.options.with_compute(
            backend=wanted['backend'], threads=wanted['threads'] or c.threads, fast=fast
        )
        job = replace(self, options=same)
        try:
            upscaler = job.open_upscaler(loaded, plan.tile, say)
        except ValueError as error:
            raise DifferentRounding(str(error)) from None
        if upscaler.backend_id['name'] != wanted['name']:
            raise DifferentRounding(
                f'here computes {upscaler.backend_id["name"]}, elsewhere {wanted["name"]}, with other'
                ' rounding'
            )
        return upscaler
