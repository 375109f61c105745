"""Degradations: pure functions, operators that sample their parameters, and the pipeline that strings them together."""
from animevsr.degradations.pipeline import DegradationPipeline

__all__ = ['DegradationPipeline']
