"""Recurrent inference on whole videos, and the atlas of a degradation model."""
from animevsr.inference.atlas import atlas
from animevsr.inference.upscale import Summary, upscale

__all__ = ['Summary', 'atlas', 'upscale']
