"""From raw video to training data."""

from animevsr.curation.enhance import enhance
from animevsr.curation.input_rescaling import rescale
from animevsr.curation.pack import pack_clips

__all__ = ['enhance', 'pack_clips', 'rescale']
