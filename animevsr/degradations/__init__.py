"""Degradation of clips: operators, and the pipeline that strings them together."""

from animevsr.degradations import learned, operators, real_world  # noqa: F401  (they register their operators)
from animevsr.degradations.batch_degrader import BatchDegrader
from animevsr.degradations.operator import Operator, operator
from animevsr.degradations.pipeline import DegradationPipeline

__all__ = ['BatchDegrader', 'DegradationPipeline', 'Operator', 'operator']
