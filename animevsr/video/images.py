"""Image files: one by one, or the frames of a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from animevsr.errors import MediaError
from animevsr.utils.files import atomic_file
from animevsr.video.color import Color, guess_matrix
from animevsr.video.container import explain
from animevsr.video.frame_reader import FrameReader, MediaInfo

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
DEEP_SUFFIXES = ('.png', '.tif', '.tiff', '.ppm')  # hold 16 bits
STILLS_FPS = Fraction(24)  # of a folder of frames, where the user does not say


def list_images(folder: str | Path) -> list[Path]:
    """Image files of a folder in the order of their names, numbers compared as numbers ('9.png' before
    '10.png').
    """
    files = [
        p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith('.')
    ]
    if not files:
        raise MediaError(f'{folder}: holds no images ({", ".join(IMAGE_SUFFIXES)})')
    return sorted(files, key=lambda p: [int(s) if s.isdecimal() else s for s in re.split(r'(\d+)', p.name)])


def images_in(path: Path) -> int:
    """Number of images of a file: more than one in an animated PNG or WebP, or a TIFF with several pages."""
    try:
        with Image.open(path) as image:
            return getattr(image, 'n_frames', 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # whoever reads it will say so
        return 1


def read_image(path: Path, deep: bool = False) -> np.ndarray:
    """(h, w, 3) RGB of an image file, upright as its EXIF data says (JPEG); transparency is laid over black.

    uint8, to which more bits are rounded; with `deep` uint16 where the file has 16 bits.
    """
    # which does not turn
    how = cv2.IMREAD_COLOR if path.suffix.lower() in ('.jpg', '.jpeg') else cv2.IMREAD_UNCHANGED
    image = cv2.imdecode(np.fromfile(path, np.uint8), how) if path.stat().st_size else None
    if image is None:
        raise MediaError(f'{path}: cannot be read as an image')
    if image.dtype not in (np.uint8, np.uint16):
        image = np.round(image * 255.0).clip(0, 255).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:
        alpha = image[..., 3:] / float(np.iinfo(image.dtype).max)
        image = np.round(image[..., :3] * alpha).astype(image.dtype)
    return cv2.cvtColor(image if deep else to_kind(image, np.uint8), cv2.COLOR_BGR2RGB)


def to_kind(image: np.ndarray, kind: np.dtype) -> np.ndarray:
    """uint8 or uint16 as the one or the other."""
    if image.dtype == kind:
        return image
    return image.astype(kind) * 257 if kind == np.uint16 else (image / 257).round().astype(kind)


def image_name(number: int) -> str:
    """Of the frame with a number, in a folder of images."""
    return f'{number:08d}.png'


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (h, w, 3) uint8 or uint16 RGB; a file of that name is complete or not there. Formats of 8 bits
    get 8.

    Raises:
        MediaError: it cannot be written.
    """
    with atomic_file(path) as partial:
        save_image(partial, image, path)


def save_image(path: Path, image: np.ndarray, known_as: Path | None = None) -> None:
    """`write_image` without its care; errors name the file `known_as`."""
    if image.dtype == np.uint16 and path.suffix.lower() not in DEEP_SUFFIXES:
        image = to_kind(image, np.uint8)
    try:
        encoded, data = cv2.imencode(path.suffix, image[..., ::-1])
        if not encoded:
            raise OSError('no such format')
        path.write_bytes(data)  # OpenCV's own writing does not notice a full disk
    except (cv2.error, OSError) as error:
        raise MediaError(f'{known_as or path}: could not be written ({explain(error)})') from None


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image file as `read_image` gives it, from its header alone."""
    try:
        with Image.open(path) as image:
            lies = (
                path.suffix.lower() in ('.jpg', '.jpeg')
                and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            )
            return image.size[::-1] if lies else image.size
    except Image.DecompressionBombError:
        raise MediaError(f'{path}: has too many pixels') from None
    except OSError:
        raise MediaError(f'{path}: cannot be read as an image') from None


def has_alpha(path: Path) -> bool:
    """Whether an image file has transparency, by its header."""
    try:
        with Image.open(path) as image:
            return 'A' in image.getbands() or 'transparency' in image.info
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


class ImageReader(FrameReader):
    """Image files as frames: with `deep` as uint16 where the first one has 16 bits, else as uint8."""

    def __init__(self, files: list[Path], fps: Fraction | None = None, deep: bool = False) -> None:
        self.files = files
        self.damage = []
        first = read_image(files[0], deep=True)
        self.size, self.kind = first.shape[:2], first.dtype if deep else np.uint8
        height, width = self.size
        rate, color = fps or STILLS_FPS, Color(matrix=guess_matrix(width, height))
        self.info = MediaInfo(
            width,
            height,
            rate,
            color,
            1 / rate,
            depth=8 * first.itemsize,
            frame_count=len(files),
            expected_frames=len(files),
            transparent=has_alpha(files[0]),
        )

    def timed(self) -> Iterator[tuple[Path, None]]:
        for file in self.files:
            yield file, None

    def whole_image(self, file: Path) -> np.ndarray:
        image = to_kind(read_image(file, deep=True), self.kind)
        if image.shape[:2] != self.size:
            raise MediaError(
                f'{file}: is {image.shape[1]}x{image.shape[0]}, but the first frame is'
                f' {self.size[1]}x{self.size[0]}'
            )
        return image
