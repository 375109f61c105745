"""What `animevsr upscale` does: the plan of a video, its shots on workers, and the join; single videos and
folders of them.
"""

from animevsr.upscaling.api import estimate, upscale
from animevsr.upscaling.batch import estimate_folder, is_batch, upscale_folder
from animevsr.upscaling.estimate import Estimate, duration
from animevsr.upscaling.run import Summary

__all__ = [
    'Estimate',
    'Summary',
    'duration',
    'estimate',
    'estimate_folder',
    'is_batch',
    'upscale',
    'upscale_folder',
]
