"""Degradation of clips: operators, and the pipeline that strings them together."""
from animevsr.degradations.batches import BatchDegrader
from animevsr.degradations.pipeline import DegradationPipeline

__all__ = ['BatchDegrader', 'DegradationPipeline']
