"""From raw video to training data."""

from animevsr.curation.clips import curate_clips
from animevsr.curation.enhance import enhance
from animevsr.curation.frames import curate_frames
from animevsr.curation.input_rescaling import rescale
from animevsr.curation.pack import pack_clips

__all__ = ['curate_clips', 'curate_frames', 'enhance', 'pack_clips', 'rescale']
