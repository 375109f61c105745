"""From raw video to training data."""

from animevsr.curation.enhance import enhance
from animevsr.curation.input_rescaling import rescale

__all__ = ['enhance', 'rescale']
