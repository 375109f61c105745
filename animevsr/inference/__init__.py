"""Recurrent inference on whole videos."""
from animevsr.inference.upscale import Summary, upscale

__all__ = ['Summary', 'upscale']
