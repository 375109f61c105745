"""Frames of one shot in, frames out: what runs a network over a video, on whatever computes it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from animevsr.engine.exporting import export
    from animevsr.engine.upscaler import Upscaler

__all__ = ['Upscaler', 'export']


def __getattr__(name):
    """What needs PyTorch is imported when it is asked for: parts of this package do without it."""
    if name == 'export':
        from animevsr.engine.exporting import export

        return export
    if name == 'Upscaler':
        from animevsr.engine.upscaler import Upscaler

        return Upscaler
    raise AttributeError(f'module animevsr.engine has no attribute {name!r}')
