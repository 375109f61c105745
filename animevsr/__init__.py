"""animevsr: animation video super-resolution, as a plugin of BasicSR.

Importing this package fills BasicSR's registries with its archs, losses, metrics, models and datasets; the
order of `import animevsr` and `import basicsr` does not matter. `load_network` and `upscale` are the Python
interface.
"""

from animevsr import compat

compat.apply()

from animevsr import archs, data, degradations, losses, metrics, models  # noqa: E402,F401  (they fill the registries)
from animevsr.archs.loading import load_network  # noqa: E402
from animevsr.curation import enhance, rescale  # noqa: E402
from animevsr.engine import export  # noqa: E402
from animevsr.evaluation import atlas, compare, evaluate, verify  # noqa: E402
from animevsr.upscaling import upscale, upscale_folder  # noqa: E402
from animevsr.version import __version__  # noqa: E402

__all__ = [
    '__version__',
    'atlas',
    'compare',
    'enhance',
    'evaluate',
    'export',
    'load_network',
    'rescale',
    'upscale',
    'upscale_folder',
    'verify',
]
