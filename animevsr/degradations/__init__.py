"""Degradation of clips: operators, and the pipeline that strings them together."""
from animevsr.degradations.batch_degrader import BatchDegrader
from animevsr.degradations.pipeline import DegradationPipeline

__all__ = ['BatchDegrader', 'DegradationPipeline']
