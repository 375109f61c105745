"""How large outputs are, and tiles. Nothing here needs PyTorch, which takes a second and a half to import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import psutil

from animevsr.engine.runtimes import is_vulkan
from animevsr.utils.vulkan import free_memory

if TYPE_CHECKING:
    import torch


# of the input, that a step takes at most (measured at 640x480: PyTorch 8 kB, ncnn 5 kB)
BYTES_PER_PIXEL = 9_000
VULKAN_BYTES_PER_PIXEL = 12_000  # measured with a driver on the CPU; float16 takes half
CGROUP = Path('/sys/fs/cgroup')  # where a container's limit of memory stands


def choose_tile(
    tile: int | str | None, size: tuple[int, int], device: torch.device, jobs: int = 1, backend: str = 'auto'
) -> int | None:
    """The side of tiles, or None for whole frames: 'auto' looks at the memory that is there.

    Args:
        tile (int | str | None): 'auto', a number of pixels, or None. size (pair of int): (height, width) of
            the input. jobs (int): processes that share the memory. backend (str): see `open_backend`; one of
            Vulkan has memory of its own.
    """
    if tile != 'auto':
        return None if tile is None or tile >= max(size) else int(tile) + -int(tile) % 4
    if is_vulkan(backend):
        free, each = free_memory(backend.partition(':')[2]) // jobs, VULKAN_BYTES_PER_PIXEL
    else:
        free, each = memory(device, jobs), BYTES_PER_PIXEL
    if free is None or size[0] * size[1] * each < 0.7 * free:
        return None
    return max(128, int((0.4 * free / each) ** 0.5) // 64 * 64 - 64)


def memory(device: torch.device, jobs: int = 1) -> int | None:
    """Bytes that one of `jobs` processes can have on a device, or None where nobody says."""
    if device.type != 'cpu':
        import torch

        from animevsr.utils.device import sharing

        kind = getattr(torch, device.type, None)
        return (
            kind.mem_get_info(device)[0] // sharing(device, jobs) if hasattr(kind, 'mem_get_info') else None
        )
    free = psutil.virtual_memory().available
    limit, used = (read_number(CGROUP / f'memory.{name}') for name in ('max', 'current'))
    return (free if limit is None or used is None else min(free, max(0, limit - used))) // jobs


def read_number(file: Path) -> int | None:
    """The number in a file of the system, or None where there is none (a control group without a limit)."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def output_size(height: int, width: int, outscale: float, even: bool) -> tuple[int, int]:
    """(height, width) of the output; rounded up to even numbers where the pixel format needs them."""
    sizes = (max(1, round(size * outscale)) for size in (height, width))
    return tuple(size + size % 2 if even else size for size in sizes)


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` resized to (height, width) where it has another size: by area averaging where it is made
    smaller, bicubic where one side is stretched (square pixels).
    """
    if image.shape[:2] == tuple(size):
        return image
    larger = size[0] > image.shape[0] or size[1] > image.shape[1]
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_AREA)
