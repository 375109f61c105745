"""Recurrent inference on whole videos, the atlas of a degradation model, and the evaluation of methods."""
from animevsr.inference.atlas import atlas
from animevsr.inference.batch import is_batch, upscale_folder
from animevsr.inference.compare import compare
from animevsr.inference.evaluate import evaluate
from animevsr.inference.export import export
from animevsr.inference.upscale import Summary, upscale
from animevsr.inference.verify import verify

__all__ = ['Summary', 'atlas', 'compare', 'evaluate', 'export', 'is_batch', 'upscale', 'upscale_folder', 'verify']
