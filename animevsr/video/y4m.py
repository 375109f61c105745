"""YUV4MPEG2, the plain form in which programs hand frames of video to one another through a pipe."""

from __future__ import annotations

import errno
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

from animevsr.errors import MediaError
from animevsr.video.color import YUV_FORMATS, Color, from_rgb, guess_matrix

if TYPE_CHECKING:
    import numpy as np

NAMES = {  # of `YUV_FORMATS`, in Y4M
    ('420', 8): '420mpeg2',
    ('422', 8): '422',
    ('444', 8): '444',
    ('420', 10): '420p10',
    ('422', 10): '422p10',
    ('444', 10): '444p10',
}


class Y4MWriter:
    """Writes frames to standard output, or another binary stream.

    Args:
        size (pair of int): (height, width).
        rate (Fraction), aspect (Fraction): frames a second, and the shape of a pixel.
        form (pair): a key of `NAMES`.
        color (Color): its range. Y4M does not say a matrix, and readers guess it by the size, so that is
            what is written.
    """

    def __init__(
        self,
        size: tuple[int, int],
        rate: Fraction,
        aspect: Fraction,
        form: tuple[str, int],
        color: Color,
        stream: BinaryIO | None = None,
    ) -> None:
        self.pix_fmt = YUV_FORMATS[form]
        self.color = Color(guess_matrix(size[1], size[0]), color.full_range)
        self.stream = stream or sys.stdout.buffer
        shape = Fraction(aspect)
        tags = f'XCOLORRANGE={"FULL" if color.full_range else "LIMITED"}'
        self.header = (
            f'YUV4MPEG2 W{size[1]} H{size[0]} F{rate.numerator}:{rate.denominator} Ip'
            f' A{shape.numerator}:{shape.denominator} C{NAMES[form]} {tags}\n'
        )

    def write(self, image: np.ndarray) -> None:
        """(h, w, 3) uint8 or uint16 RGB."""
        frame = from_rgb(image, self.pix_fmt, self.color)
        try:
            self.stream.write(self.header.encode())
            self.header = ''
            self.stream.write(b'FRAME\n')
            for plane in frame.planes:
                width = plane.width * (2 if '10' in self.pix_fmt else 1)
                rows = memoryview(plane)
                for y in range(plane.height):
                    self.stream.write(rows[y * plane.line_size : y * plane.line_size + width])
            self.stream.flush()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # the second one on Windows
                raise
            raise MediaError('the program that reads the output has ended') from None
