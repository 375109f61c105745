"""What `animevsr upscale` does: the plan of a video, its shots on workers, and the join; single videos and
folders of them.
"""

from animevsr.upscaling.api import estimate, upscale
from animevsr.upscaling.batch import estimate_folder, is_batch, upscale_folder
from animevsr.upscaling.estimate import Estimate, duration
from animevsr.upscaling.options import UpscaleOptions
from animevsr.upscaling.run import Summary
from animevsr.upscaling.workdir import WorkFolder

__all__ = [
    'Estimate',
    'Summary',
    'UpscaleOptions',
    'WorkFolder',
    'duration',
    'estimate',
    'estimate_folder',
    'is_batch',
    'upscale',
    'upscale_folder',
]
