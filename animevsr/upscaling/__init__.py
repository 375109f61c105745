"""What `animevsr upscale` does: the plan of a video, its shots on workers, and the join; single videos and
folders of them.
"""

from animevsr.upscaling.api import Summary, upscale
from animevsr.upscaling.batch import is_batch, upscale_folder

__all__ = ['Summary', 'is_batch', 'upscale', 'upscale_folder']
