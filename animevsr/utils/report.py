"""What reports are made of: Markdown tables, and pictures inside of pages."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    import numpy as np


WEBP_SIDE = 16383  # pixels, at most


def markdown_table(rows: list[list[str]]) -> str:
    """Rows of texts, the first one the head, as a Markdown table."""
    lines = ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |' for row in rows]
    return '\n'.join([lines[0], '| --- ' * len(rows[0]) + '|', *lines[1:]])


def data_url(image: np.ndarray, kind: str = 'png', parameters: tuple = ()) -> str:
    """An image (h, w, 3) uint8 RGB as a URL that holds it, 'png' or 'webp'; `parameters`: OpenCV's of the
    encoder. A picture that is too large for WebP comes as PNG.
    """
    if kind == 'webp' and max(image.shape[:2]) > WEBP_SIDE:
        kind, parameters = 'png', ()
    encoded = cv2.imencode(f'.{kind}', image[..., ::-1], list(parameters))[1]
    return f'data:image/{kind};base64,{base64.b64encode(encoded).decode()}'
