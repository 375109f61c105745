"""A step by ncnn in tiles. A convolution of a whole frame waits for memory; one of a tile finds its features,
and what Winograd's transforms make of them, in the processor's caches. So the network is cut into passes of a
few convolutions each, and every thread takes a tile through a pass at a time.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import product

import ncnn
import numpy as np

TILE = 76  # height and width, about, of the tiles; of the frame's pixels
AROUND = 4  # so many pixels around a tile a pass of several blocks may need; they are computed by two tiles
SAME_SIZE = 'Concat', 'BinaryOp', 'Slice', 'ReLU'
GRID = 4  # tiles start at multiples of it, as the coarsest features have a quarter of the size
EVEN = 2  # and what is computed around them, as features of half of the size are made of it


@dataclass
class Pass:
    """A part of a network: what it computes from what, by the names of ncnn's tensors."""

    inputs: list[str]
    outputs: list[str]
    in_tiles: bool  # else it takes the whole frame at once


@dataclass
class Layer:
    """A line of a `.param` file."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    options: dict[str, str]


class Description:
    """A converted network's layers, read off its `.param` file.

    Args:
        text (str): of the file.

    Raises:
        ValueError: a kind of layer is not known here.

    Attributes:
        layers (list[Layer]): in the order in which they run; copies for several readers (`Split`) left out.
        pixel (dict[str, float]): for each tensor how many of the frame's pixels, each way, one of its own is.
    """

    def __init__(self, text: str) -> None:
        self.layers: list[Layer] = []
        self.pixel: dict[str, float] = {}
        self.original: dict[str, str] = {}  # of a copy
        for line in text.splitlines()[2:]:
            kind, _, inputs, outputs, *rest = line.split()
            names, options = rest[: int(inputs) + int(outputs)], rest[int(inputs) + int(outputs) :]
            takes = [self.original.get(name, name) for name in names[: int(inputs)]]
            makes = names[int(inputs) :]
            if kind == 'Split':
                self.original |= dict.fromkeys(makes, takes[0])
                self.pixel |= dict.fromkeys(makes, self.pixel[takes[0]])
                continue
            layer = Layer(kind, takes, makes, dict(option.split('=', 1) for option in options))
            self.layers.append(layer)
            grows = self.pixel[takes[0]] * layer_stride(layer) if takes else 1
            self.pixel |= dict.fromkeys(makes, grows)

    def reach(self, outputs: list[str], given: Iterable[str]) -> dict[str, float]:
        """How many of the frame's pixels around a tile are needed of each of the `given` tensors for the tile
        of each of the `outputs`; those that are not needed are left out.
        """
        given = set(given)
        needed = dict.fromkeys((self.original.get(name, name) for name in outputs), 0.0)
        for layer in reversed(self.layers):
            asked = [needed[name] for name in layer.outputs if name in needed and name not in given]
            for name in layer.inputs if asked else ():
                seen = layer_reach(layer, max(asked), self.pixel[name], self.pixel[layer.outputs[0]])
                needed[name] = max(needed.get(name, 0), seen)
        return {name: reach for name, reach in needed.items() if name in given}


def with_crops(text: str, description: Description) -> tuple[str, dict[str, str]]:
    """A `.param` file in which coarser features, made as large as the frame, are cut to the part that is
    needed: they can be given in steps of their own pixels alone, which is more. And, for each input that says
    what part, the features.
    """
    pixel = description.pixel
    lines, windows = [], {}
    for line in text.splitlines()[2:]:
        kind, _, _, _, *names = line.split()
        if kind == 'Interp' and pixel[names[1]] == 1 < pixel[names[0]]:
            whole, window, name = f'{names[1]}_whole', f'window{len(windows)}', names[1]
            windows[window] = description.original.get(names[0], names[0])
            lines.append(line.replace(f' {names[0]} {name} ', f' {names[0]} {whole} '))
            lines.append(f'Crop crop_{name} 2 1 {whole} {window} {name} 0=-233')  # -233: see the second input
        else:
            lines.append(line)
    lines[:0] = [f'Input {window} 0 1 {window}' for window in windows]
    magic, counts = text.splitlines()[:2]
    layers, blobs = (int(count) + 2 * len(windows) for count in counts.split())
    return '\n'.join([magic, f'{layers} {blobs}', *lines]) + '\n', windows


def layer_stride(layer: Layer) -> float:
    """By how much a layer makes its input smaller."""
    if layer.kind in SAME_SIZE:
        return 1
    if layer.kind == 'Convolution':
        return int(layer.options.get('3', 1))
    if layer.kind == 'Reorg':
        return int(layer.options['0'])
    if layer.kind == 'PixelShuffle':
        return 1 / int(layer.options['0'])
    if layer.kind == 'Interp':
        return 1 / float(layer.options['1'])
    raise ValueError(f'layers of the kind {layer.kind} are not known here')


def layer_reach(layer: Layer, asked: float, pixel_in: float, pixel_out: float) -> float:
    """How many of the frame's pixels beyond a tile a layer needs of its input, if `asked` of its output."""
    if layer.kind == 'Convolution':
        return asked + pixel_in * (int(layer.options['1']) // 2)
    if layer.kind == 'Interp':  # bilinear, between the centres of pixels
        return pixel_in * math.ceil(0.5 + (asked / pixel_out - 0.5) * pixel_out / pixel_in)
    return asked


def find_passes(description: Description, inputs: list[str], outputs: list[str]) -> list[Pass]:
    """The passes of an `MSRBVSR`: its residual blocks at full size and the fusion by tiles, as many in each
    pass (but one at least) as need no more than `AROUND` pixels around a tile; between the first two of them
    the coarser blocks as a whole, which are small (in tiles they were not faster).
    """
    pixel, layers = description.pixel, description.layers
    convolutions = [layer for layer in layers if layer.kind == 'Convolution']
    read = {name for layer in layers if layer.kind in ('Convolution', 'Concat') for name in layer.inputs}
    sums = [layer.outputs[0] for layer in layers if layer.kind == 'BinaryOp']
    blocks = [name for name in sums if pixel[name] == 1 and name in read]
    shrunk = next(layer.outputs[0] for layer in convolutions if layer_stride(layer) > 1)
    grown = [layer for layer in layers if layer.kind == 'Interp' and pixel[layer.outputs[0]] == 1]
    coarse = list(dict.fromkeys(layer.inputs[0] for layer in grown))

    passes = []
    given = list(inputs)
    waiting = [[convolutions[0].outputs[0]], *([name] for name in blocks), outputs]
    while waiting:
        more = [shrunk] if not passes else []
        chosen = waiting.pop(0)
        while waiting and max(description.reach(waiting[0] + more, given).values()) <= AROUND:
            chosen = waiting.pop(0)
        passes.append(Pass(list(description.reach(chosen + more, given)), chosen + more, in_tiles=True))
        given += chosen
        if more:
            passes.append(Pass(more, coarse, in_tiles=False))
            given += coarse
    return passes


class TileRunner:
    """Runs the passes of a network over a frame: in each, every tile is one call of ncnn, by any of the
    threads; what the next passes need is kept for the whole frame.

    Args:
        net (ncnn.Net): for one thread, and `windows`: of `with_crops`. passes: of the whole network.
            threads (int).
    """

    def __init__(
        self,
        net: ncnn.Net,
        windows: dict[str, str],
        description: Description,
        passes: list[Pass],
        threads: int,
    ) -> None:
        self.net, self.windows = net, windows
        self.pixel = description.pixel
        self.passes = passes
        self.around = [self._around(description.reach(p.outputs, p.inputs)) for p in passes]
        self.threads = ThreadPoolExecutor(threads)
        self.own = threading.local()  # of each thread: its memory, and for which run of a pass
        self.stores: list = []  # of all threads, so that what is left in them can be freed after they end

    def _around(self, reach: dict[str, float]) -> tuple[int, int]:
        """How many pixels around a tile are computed, and how many are given of what is coarser."""
        fine, coarse = (
            max((reach[name] for name in reach if (self.pixel[name] > 1) == is_coarse), default=0)
            for is_coarse in (False, True)
        )
        around = EVEN * math.ceil(fine / EVEN)
        return around, max(around, GRID * math.ceil(coarse / GRID))

    def run(
        self, inputs: dict[str, np.ndarray], outputs: list[str], whole: Callable, **finish: Callable
    ) -> list[np.ndarray]:
        """All passes: arrays (c, h, w) by name -> those of the last pass; h and w are multiples of 4.

        Args:
            whole: `(inputs, outputs) -> list of arrays`, of a pass that is not in tiles.
            finish: for some of the outputs, what each of their tiles is put through.
        """
        given = dict(inputs)
        height, width = next(iter(inputs.values())).shape[1:]
        for i, (part, around) in enumerate(zip(self.passes, self.around)):
            taken = {name: given[name] for name in part.inputs}
            if part.in_tiles:
                made = self._in_tiles(part, taken, around, (height, width), finish)
            else:
                made = dict(zip(part.outputs, whole(taken, part.outputs)))
            given |= made
            later = {name for after in self.passes[i + 1 :] for name in after.inputs} | set(outputs)
            given = {name: array for name, array in given.items() if name in later}
        return [given[name] for name in outputs]

    def _in_tiles(
        self,
        part: Pass,
        given: dict[str, np.ndarray],
        around: tuple[int, int],
        size: tuple[int, int],
        finish: dict[str, Callable],
    ) -> dict[str, np.ndarray]:
        results: dict[str, np.ndarray] = {}
        run = object()

        def compute(tile: tuple[Span, Span]) -> None:
            window = [(span.start, span.end) for span in tile]
            coarse = [(span.coarse_start, span.coarse_end) for span in tile]
            inside = [(span.first, span.last) for span in tile]
            inner = [(span.first - span.start, span.last - span.start) for span in tile]

            (y, height), (x, width) = ((s.start - s.coarse_start, s.end - s.start) for s in tile)
            crops = {
                input_name: np.array([x, y, 0, width, height, len(given[name])], np.int32)
                for input_name, name in self.windows.items()
                if name in given
            }

            def keep(name: str, array: np.ndarray) -> None:
                array = array[self._slices(name, inner)]
                if name in finish:
                    array = finish[name](array)
                if name not in results:
                    shape = len(array), *(round(n / self.pixel[name]) for n in size)
                    results.setdefault(name, np.empty(shape, array.dtype))
                results[name][self._slices(name, inside)] = array

            cut = {
                name: array[self._slices(name, coarse if self.pixel[name] > 1 else window)]
                for name, array in given.items()
            }
            self._extract(cut | crops, part.outputs, keep, self._store(run))

        tiles = product(*(cut_evenly(n, *around) for n in size))
        waiting = [self.threads.submit(compute, tile) for tile in tiles]
        try:
            for one in waiting:
                one.result()
        finally:  # after an error, too, nothing goes on beside what comes next
            for one in waiting:
                one.cancel()
            wait(waiting)
        return results

    def _store(self, run: object) -> tuple:
        """Memory of this thread alone, for the tiles of one run of a pass: with memory for all, what is given
        out was last used by another core; with that of other sizes, it is taken in turns, from outside the
        caches.
        """
        if not hasattr(self.own, 'store'):
            self.own.store = ncnn.UnlockedPoolAllocator(), ncnn.UnlockedPoolAllocator()
            self.own.run = None
            self.stores.append(self.own.store)
            for allocator in self.own.store:
                allocator.set_size_compare_ratio(0.5)
        if self.own.run is not run:
            for allocator in self.own.store:
                allocator.clear()
            self.own.run = run
        return self.own.store

    def _slices(self, name: str, tile: Iterable[tuple[int, int]]) -> tuple[slice, ...]:
        pixel = self.pixel[name]
        return slice(None), *(slice(*(round(edge / pixel) for edge in edges)) for edges in tile)

    def _extract(self, inputs: dict, outputs: list[str], keep: Callable, store: tuple) -> None:
        """Calls `keep(name, array)` for each of the outputs; the array is good until it returns."""
        arrays = [np.ascontiguousarray(array) for array in inputs.values()]  # ncnn reads, does not copy
        extractor = self.net.create_extractor()
        extractor.set_blob_allocator(store[0])
        extractor.set_workspace_allocator(store[1])
        for name, array in zip(inputs, arrays):
            extractor.input(name, ncnn.Mat(array))
        for name in outputs:
            failed, out = extractor.extract(name)
            if failed:
                raise RuntimeError(f'ncnn could not run a step as far as {name} (out of memory?)')
            keep(name, np.asarray(out))
            del out


@dataclass
class Span:
    """A part of a row or a column, `first` to `last`, what is computed for it, `start` to `end`, and what it
    is given of coarser features.
    """

    first: int
    last: int
    start: int
    end: int
    coarse_start: int
    coarse_end: int


def cut_evenly(size: int, around: int, coarse: int) -> list[Span]:
    """Parts of about `TILE` pixels, at multiples of `GRID`, with `around` pixels around each, and with as
    many, `coarse`, of coarser features; all of them in windows of one size, for memory of one size serves
    them best.
    """
    count = max(1, round(size / TILE))
    edges = [size * i // count // GRID * GRID for i in range(count)] + [size]
    longest = max(b - a for a, b in zip(edges, edges[1:]))
    spans = []
    for first, last in zip(edges, edges[1:]):
        ends = []
        for margin in (around, coarse):
            window = min(size, longest + 2 * margin)
            start = max(0, min(first - margin, size - window))
            ends += [start, start + window]
        spans.append(Span(first, last, *ends))
    return spans
