"""Recurrent inference on whole videos, the atlas of a degradation model, and the evaluation of methods."""
from animevsr.inference.atlas import atlas
from animevsr.inference.compare import compare
from animevsr.inference.evaluate import evaluate
from animevsr.inference.upscale import Summary, upscale

__all__ = ['Summary', 'atlas', 'compare', 'evaluate', 'upscale']
