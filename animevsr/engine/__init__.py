"""Frames of one shot in, frames out: what runs a network over a video, on whatever computes it."""

from animevsr.engine.exporting import export
from animevsr.engine.upscaler import Upscaler

__all__ = ['Upscaler', 'export']
