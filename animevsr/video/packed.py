"""Clips of training sets as one file each, from which crops of a few frames are read quickly: Blosc2 arrays.

Each frame is compressed without loss in squares, and only those are unpacked that a crop needs: 15 crops of
256x256 out of 1280x720 take 10 ms, where PNG takes 200, at 1.3 times the space
(`benchmarks/degradation.py`).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np

from animevsr.errors import MediaError
from animevsr.utils.files import atomic_file
from animevsr.video.color import Color, guess_matrix
from animevsr.video.frame_reader import FrameReader, MediaInfo
from animevsr.video.images import STILLS_FPS, image_size, read_image

SUFFIX, SQUARE = '.b2nd', 128
MANIFEST = 'manifest.jsonl'
WHOLE = slice(None), slice(None)


def blosc2() -> ModuleType:
    """The library; MediaError where it is not installed."""
    try:
        library = importlib.import_module('blosc2')
    except ImportError:
        raise MediaError("packed clips need the package blosc2; run: pip install '.[pack]'") from None
    library.set_nthreads(1)  # the workers of a loader are the parallelism, and threads do not survive a fork
    return library


def pack(frames: Iterable[np.ndarray], path: Path) -> tuple[int, int, int]:
    """Write frames, (h, w, 3) uint8 RGB of one size, into a packed clip; (frames, height, width).

    Raises:
        MediaError: it cannot be written, or a frame has another size.
    """
    library, array = blosc2(), None
    params = dict(codec=library.Codec.ZSTD, clevel=5, filters=[library.Filter.BITSHUFFLE], nthreads=1)
    with atomic_file(path) as partial:
        partial.unlink(missing_ok=True)
        for number, image in enumerate(frames):
            height, width = image.shape[:2]
            if array is None:
                whole, square = (1, 3, height, width), (1, 3, min(SQUARE, height), min(SQUARE, width))
                shape = dict(chunks=whole, blocks=square)
                array = library.empty(
                    (0, *whole[1:]), np.uint8, urlpath=str(partial), cparams=params, **shape
                )
            if array.shape[2:] != (height, width):
                first = f'{array.shape[3]}x{array.shape[2]}'
                raise MediaError(f'{path}: frame {number} is {width}x{height}, frame 0 is {first}')
            array.resize((number + 1, *array.shape[1:]))
            array[number] = np.ascontiguousarray(image.transpose(2, 0, 1))
        if array is None:
            raise MediaError(f'{path}: there are no frames to pack')
        count, _, height, width = array.shape
        del array  # closes the file
    return count, height, width


class PackedClip:
    """Reads crops of some frames of a packed clip.

    Attributes:
        count (int): frames. size (tuple[int, int]): (height, width).

    Raises:
        MediaError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        library = blosc2()
        self.path = path
        try:
            self.array = library.open(str(path), mode='r')
            self.count, channels, *size = self.array.shape
            if channels != 3 or len(size) != 2:
                raise ValueError
            self.size = tuple(size)
        except (OSError, RuntimeError, ValueError, AttributeError):
            raise MediaError(f'{path}: is no packed clip, or damaged') from None

    def read(self, numbers: list[int], crop: tuple[slice, slice] = WHOLE) -> np.ndarray:
        """(t, h, w, 3) uint8 RGB: a crop of the frames with these numbers, of which some may be the same."""
        low, high = min(numbers), max(numbers)
        if high >= self.count:
            raise MediaError(f'{self.path}: has {self.count} frames, frame {high} was asked for')
        try:
            if len(set(numbers)) == high - low + 1:  # at once
                found = self.array[(slice(low, high + 1), slice(None), *crop)][[n - low for n in numbers]]
            else:
                known = {n: self.array[(n, slice(None), *crop)] for n in set(numbers)}
                found = np.stack([known[n] for n in numbers])
        except RuntimeError as error:
            raise MediaError(f'{self.path}: damaged ({error})') from None
        return found.transpose(0, 2, 3, 1)


class FolderClip:
    """The same of a folder of images.

    Args:
        path (Path), files (list[Path]): its images, in order.
    """

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.path = path
        self.files = files
        self.count = len(files)
        self.known = {}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), as the first image says."""
        return image_size(self.files[0])[::-1]

    def read(self, numbers: list[int], crop: tuple[slice, slice] = WHOLE) -> np.ndarray:
        """As `PackedClip.read`."""
        frames = {number: self._image(number)[crop] for number in sorted(set(numbers))}
        return np.stack([frames[number] for number in numbers])

    def _image(self, number):
        if number >= self.count:
            raise MediaError(f'{self.path}: has {self.count} frames, frame {number} was asked for')
        if number not in self.known:
            image = read_image(self.files[number])
            first, other = next(iter(self.known.items()), (number, image))
            if image.shape != other.shape:
                sizes = [f'{i.shape[1]}x{i.shape[0]}' for i in (image, other)]
                raise MediaError(f'{self.path}: frame {number} is {sizes[0]}, frame {first} is {sizes[1]}')
            self.known[number] = image
        return self.known[number]


class PackedReader(FrameReader):
    """The frames of a packed clip, one at a time.

    Args:
        fps (Fraction | None): Default: that of the video that was packed, as the manifest says.
    """

    def __init__(self, path: Path, fps: Fraction | None = None) -> None:
        self.clip = PackedClip(path)
        self.damage = []
        known = read_manifest(path.parent).get(path.name, {})
        rate = fps or (Fraction(known['fps']) if 'fps' in known else STILLS_FPS)
        (height, width), count = self.clip.size, self.clip.count
        color = Color(matrix=guess_matrix(width, height))
        self.info = MediaInfo(width, height, rate, color, 1 / rate, frame_count=count, expected_frames=count)

    def timed(self) -> Iterator[tuple[int, None]]:
        for number in range(self.clip.count):
            yield number, None

    def whole_image(self, frame: int) -> np.ndarray:
        return np.ascontiguousarray(self.clip.read([frame])[0])


def read_manifest(root: Path) -> dict[str, dict]:
    """{name of a clip's file: its entry} of a root that has a manifest, in which no clip needs to be opened;
    else empty. Entries of files that have changed since are left out.

    Raises:
        MediaError: it is damaged.
    """
    entries, file = {}, root / MANIFEST
    if not file.is_file():
        return entries
    for number, line in enumerate(file.read_text(encoding='utf8').splitlines(), 1):
        try:
            entry = json.loads(line)
            clip = root / entry['clip']
            if clip.is_file() and clip.stat().st_size == entry['bytes']:
                entries[entry['clip']] = entry
        except (ValueError, KeyError, TypeError):
            raise MediaError(f'{file}: line {number} is damaged; remove that line, or the file') from None
    return entries
