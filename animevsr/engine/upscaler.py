"""The recurrent network over the frames of one shot: whole, in tiles, or only where something changed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from animevsr.archs.interfaces import ClipNetwork
from animevsr.engine.backends.torch_backend import TorchBackend, describe
from animevsr.engine.held_average import HeldAverage
from animevsr.engine.held_regions import DirtyRegions
from animevsr.engine.rectangles import Rect
from animevsr.utils.device import Fetch, device_name, exact_float32, one_behind
from animevsr.utils.images import to_bytes
from animevsr.utils.interrupts import check
from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.windows import triples

if TYPE_CHECKING:
    from torch import Tensor, nn

    from animevsr.engine.backends.base import Backend


# frames that a network which looks both ways is given at once, and how many of them only as context
WINDOW, OVERLAP = 24, 4
# steps on the first frame of a shot: until two results are as near as this (dB), and at most so many; of
# results in bytes it is sometimes one more, as rounding adds to small differences
SETTLED, MOST_WARM_UP = 55, 4


class Upscaler:
    """Runs a network over frames one by one; memory does not grow with their number.

    Args:
        backend: see `animevsr.engine.backends`; or a network, which then runs in PyTorch. One over whole
            clips (`whole_clips`) is given windows of frames that overlap.
        device (torch.device | None): of a network.
        tile (int | None): side of the squares, in pixels of the input, that are computed one after the other,
            where memory is short.
        reuse (bool): compute again only what changed; see `DirtyRegions`. `held` tells afterwards what share
            was not computed.
        steady (bool): begin each shot with a state that has settled on its first frame, and average the
            results of what is held; see `HeldAverage`. Without it the results are the network's own.
        shrink (bool): bring each result back to the size of its frame, by MATLAB's antialiased bicubic
            resize (HR-SR, VQD-SR Sec. 3.3).

    Attributes:
        scale (int): of the results.
        backend_id (dict): `backend`, its `name` with the machine's, and `threads` (None where results do not
            depend on them).
    """

    def __init__(
        self,
        backend: Backend | nn.Module,
        device: torch.device | None = None,
        tile: int | None = None,
        reuse: bool = False,
        steady: bool = False,
        shrink: bool = False,
    ) -> None:
        self.tile = tile
        self.reuse = reuse
        self.steady = steady
        self.shrink = shrink
        self.steps = 0
        self.computed = 0.0
        if isinstance(backend, torch.nn.Module):
            exact_float32()
            device = device or next((p.device for p in backend.parameters()), torch.device('cpu'))
            if isinstance(backend, ClipNetwork):
                if tile or reuse or shrink:
                    raise ValueError('tile, reuse and shrink are for networks that go from frame to frame')
                self.clips = backend.to(device)
                self.device = device
                self.scale = backend.scale
                name = f'{describe(device, "whole clips")}, {device_name(device)}'
                self.backend_id = dict(backend='torch', name=name, threads=torch.get_num_threads())
                return
            backend = TorchBackend(backend, device)
        self.clips = None
        self.backend = backend
        self.device = backend.device
        self.scale = 1 if shrink else backend.scale
        self.backend_id = dict(
            backend=backend.kind,
            name=f'{backend.name}, {device_name(backend.device)}',
            threads=backend.threads,
        )
        self.halo = None if backend.reach is None else backend.reach + -backend.reach % backend.multiple
        if shrink and self.halo is not None:
            self.halo += 4  # the resize reaches 2 pixels far
        if tile and self.halo is None:
            raise ValueError(
                'tile: this network looks at the whole picture; recurrent ones of this package can be had in'
                ' tiles, and most for single images'
            )
        if reuse and not backend.is_recurrent:
            raise ValueError('reuse needs a recurrent network of this package')

    @property
    def held(self) -> float:
        """The share of the pixels that were not computed."""
        return 1 - self.computed / self.steps if self.steps else 0.0

    def __call__(self, frames: Iterator | np.ndarray) -> Iterator[np.ndarray]:
        """Iterable of (h, w, 3) uint8 or uint16 RGB -> iterator of (scale*h, scale*w, 3) of the same kind:
        one for each, of one shot.
        """
        yield from one_behind(self._windows(frames) if self.clips is not None else self._steps(frames))

    def _steps(self, frames):
        """For recurrent networks: the result of each frame, as a `Fetch`."""
        shot = None
        for prev, cur, nxt in triples(frames):
            if shot is None:
                shot = Shot(self, cur)
                if self.steady and self.backend.is_recurrent:
                    shot.warm_up(cur)
            yield shot.step(prev, cur, nxt)

    def _windows(self, frames):
        """For networks over clips: windows of frames, of which those near an inner border are only
        context.
        """
        waiting, context, average = [], 0, HeldAverage() if self.steady else None
        for frame in frames:
            waiting.append(frame)
            if len(waiting) == WINDOW:
                yield from self._window(waiting, context, WINDOW - OVERLAP, average)
                waiting, context = waiting[-2 * OVERLAP :], OVERLAP
        if len(waiting) > context:
            yield from self._window(waiting, context, len(waiting), average)

    @torch.inference_mode()
    def _window(self, frames, start, stop, average):
        """Results of the frames from `start` to `stop` of a window."""
        clip = torch.stack([to_input(frame, self.device) for frame in frames], 1)
        for frame, sr in zip(frames[start:stop], self.clips(clip)[0, start:stop]):
            then = average and partial(average.add, source=frame)
            yield Fetch(to_image(sr[None], frame.dtype), frame.dtype, then)


class Shot:
    """The state of one shot: what the network remembers, and the last result."""

    def __init__(self, owner: Upscaler, frame: np.ndarray) -> None:
        self.owner = owner
        self.backend = owner.backend
        self.height, self.width = frame.shape[:2]
        multiple = self.backend.multiple
        self.bottom = -self.height % multiple
        self.right = -self.width % multiple
        self.size = self.height + self.bottom, self.width + self.right
        self.state = self.backend.initial_state(*self.size)
        # a result of 8 bits that is not resized again
        as_bytes = frame.dtype == np.uint8 and not owner.shrink
        self.step_of_network = partial(self.backend.step, **(self.backend.for_bytes if as_bytes else {}))
        self.inputs = {}
        self.canvas = self.first = None
        self.average = HeldAverage(self.backend.patience) if owner.steady else None
        self.held = None
        if owner.reuse:
            # tiles are for where memory is short
            square = self.backend.batches and not owner.tile
            self.held = DirtyRegions(self.size, owner.halo, owner.steady, square)

    @torch.inference_mode()
    def warm_up(self, frame: np.ndarray) -> None:
        """Let the network see the first frame before it counts, until it makes the same of it again: a shot
        whose state begins with nothing is softer at first, and changes for half a second while it stands
        still. Where what is held is not computed again, neither is the first frame: the last result is its.
        """
        tiles, inputs, before = self._tiles([Rect(0, 0, *self.size)]), self._inputs([frame] * 3), None
        for _ in range(MOST_WARM_UP):
            results = self._advance(tiles, inputs)
            if before is not None and is_settled(before, results):
                break
            before = results
        self.first = results if self.held else None

    @torch.inference_mode()
    def step(self, prev: np.ndarray, cur: np.ndarray, nxt: np.ndarray) -> Fetch:
        """The result for `cur`, a `Fetch` of (h, w, 3) RGB."""
        changed = self.held.dirty_rects(cur) if self.held else [Rect(0, 0, *self.size)]
        regions = self._tiles(changed)
        if self.first is not None:
            done, self.first = self.first, None
        else:
            done = self._advance(regions, self._inputs([prev, cur, nxt]) if regions else None)
        self.owner.steps += 1
        self.owner.computed += sum(region.area for region in regions) / (self.size[0] * self.size[1])
        average = self.average and partial(self.average.add, source=cur)
        if regions == [Rect(0, 0, *self.size)] and not self.held:
            return Fetch(to_image(done[0], cur.dtype), cur.dtype, average)
        # all are on their way before one is waited for
        images = [Fetch(to_image(sr, cur.dtype), cur.dtype) for sr in done]
        for region, image in zip(regions, images):
            self._paint(region, image())
        if average is None:
            return Fetch(torch.from_numpy(self.canvas.copy()))
        if self.held:
            places = [self._place(region) for region in changed]
            return Fetch(torch.from_numpy(average(self.canvas, regions=places, times=self.held.stands_for)))
        return Fetch(torch.from_numpy(average(self.canvas)))

    def _tiles(self, regions):
        """What is computed at once."""
        if not self.owner.tile:
            return regions
        multiple, side = self.backend.multiple, self.owner.tile
        return [tile for region in regions for tile in region.tiled(side, multiple)]

    def _advance(self, regions, tensors):
        """One step of the network for the regions; the result of each, without what was padded."""
        together = self.held is not None and self.held.window is not None
        groups = [regions] if together and regions else [[region] for region in regions]
        results, states = [], []
        for group in groups:
            for sr, state in self._compute(group, tensors):
                results.append(sr)
                states.append(state)
        if regions == [Rect(0, 0, *self.size)]:
            self.state = states[0]
        else:
            for region, state in zip(regions, states):
                for mine, new in zip(self.state, state):
                    region.cut(mine)[:] = new
        return results

    def _inputs(self, triple):
        """The tensors of three frames; those of the last three are kept, so that each is converted once."""
        tensors = [self._input(frame) for frame in triple]
        self.inputs = {id(frame): (frame, tensor) for frame, tensor in zip(triple, tensors)}
        return tensors

    def _input(self, frame):
        """(1, 3, h, w), padded to what the network needs."""
        known = self.inputs.get(id(frame))
        if known is not None and known[0] is frame:
            return known[1]
        return F.pad(
            to_input(frame, self.backend.device, self.backend.dtype),
            (0, self.right, 0, self.bottom),
            mode='replicate',
        )

    def _compute(self, regions, tensors):
        """[(result without what was padded, state)] of regions, each computed with as much around it as it
        depends on, in one step of the network.
        """
        check()
        if regions == [Rect(0, 0, *self.size)]:
            sr, state = self.step_of_network(*tensors, self.state)
            return [(self._result(sr, regions[0]), state)]
        halo, size = self.owner.halo, self.size
        around = [self.held.around(r) if self.held else r.expanded(halo, size) for r in regions]
        frames, state = ([torch.cat([r.cut(x) for r in around]) for x in xs] for xs in (tensors, self.state))
        sr, state = self.step_of_network(*frames, tuple(state))
        done = []
        for i, (region, outer) in enumerate(zip(regions, around)):
            inner, one = region.relative_to(outer), slice(i, i + 1)
            result = inner.scaled(self.owner.scale).cut(self._result(sr[one], outer))
            done.append((result, tuple(inner.cut(x[one]) for x in state)))
        return done

    def _result(self, sr, region):
        """What a step made of a region, without what was padded, in the size of the results."""
        inside = region.clipped(self.height, self.width)
        height, width = inside.bottom - inside.top, inside.right - inside.left
        sr = sr[..., : height * self.backend.scale, : width * self.backend.scale]
        return matlab_resize(sr.float().clamp(0, 1), height, width) if self.owner.shrink else sr

    def _place(self, region):
        scale = self.owner.scale
        return region.scaled(scale).clipped(self.height * scale, self.width * scale)

    def _paint(self, region, image):
        """Put a result onto the canvas."""
        scale = self.owner.scale
        if self.canvas is None:
            self.canvas = np.empty((self.height * scale, self.width * scale, 3), image.dtype)
        if self.held:
            self.held.paint(self.canvas, image, region, scale)
        else:
            place = self._place(region)
            self.canvas[place.top : place.bottom, place.left : place.right] = image


def is_settled(before: list[Tensor], after: list[Tensor]) -> bool:
    """Whether results hardly differ from those before; see `SETTLED`."""
    error = sum(float((in_unit(a) - in_unit(b)).square().sum()) for a, b in zip(before, after))
    return error <= 10 ** (-SETTLED / 10) * sum(a.numel() for a in after)


def in_unit(sr: Tensor) -> Tensor:
    """A result, in floats or bytes, as float32 in [0, 1]."""
    return sr.float() / 255 if sr.dtype == torch.uint8 else sr.float().clamp(0, 1)


def to_input(frame: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """(h, w, 3) uint8 or uint16 -> (1, 3, h, w) in [0, 1]."""
    highest = np.iinfo(frame.dtype).max
    array = np.ascontiguousarray(frame)
    tensor = (
        torch.from_numpy(array if frame.dtype == np.uint8 else array.astype(np.int32))
        .to(device)
        .permute(2, 0, 1)
        .unsqueeze(0)
    )
    return (tensor.float() / highest).to(dtype)  # float16 ends at 65504


def to_image(sr: Tensor, kind: np.dtype) -> Tensor:
    """(1, 3, h, w) in [0, 1] -> (h, w, 3) of the integer type `kind`, on the same device; int32 for uint16,
    which not all devices have. Bytes stay as they are.
    """
    if sr.dtype == torch.uint8 or (sr.device.type == 'cpu' and kind == np.uint8):  # several times as fast
        planes = sr[0].cpu().numpy() if sr.dtype == torch.uint8 else to_bytes(sr[0].float().numpy())
        return torch.from_numpy(cv2.merge(list(planes)))
    image = (sr[0].float().clamp(0, 1) * np.iinfo(kind).max).round()
    image = image.to(torch.uint8 if kind == np.uint8 else torch.int32)
    return image.permute(1, 2, 0).contiguous()
