"""animevsr: animation video super-resolution, as a plugin of BasicSR.

It fills BasicSR's registries with its archs, losses, metrics, models and datasets, as soon as both are
imported, in whatever order. `load_network` and `upscale` are the Python interface.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING

from animevsr import compat
from animevsr.utils import registry
from animevsr.version import __version__

if TYPE_CHECKING:  # for editors, type checkers and the documentation
    from animevsr.archs.loading import load_network
    from animevsr.curation import curate_clips, curate_frames, enhance, pack_clips, rescale
    from animevsr.engine import export
    from animevsr.evaluation.codebook_atlas import atlas
    from animevsr.evaluation.comparison import compare
    from animevsr.evaluation.evaluator import evaluate
    from animevsr.evaluation.preview import preview
    from animevsr.evaluation.verifier import verify
    from animevsr.upscaling import estimate, upscale, upscale_folder

# what each is imported from when it is first asked for
PUBLIC = {
    'atlas': 'evaluation.codebook_atlas',
    'compare': 'evaluation.comparison',
    'curate_clips': 'curation',
    'curate_frames': 'curation',
    'enhance': 'curation',
    'estimate': 'upscaling',
    'evaluate': 'evaluation.evaluator',
    'export': 'engine',
    'load_network': 'archs.loading',
    'pack_clips': 'curation',
    'preview': 'evaluation.preview',
    'rescale': 'curation',
    'upscale': 'upscaling',
    'upscale_folder': 'upscaling',
    'verify': 'evaluation.verifier',
}
REGISTERING = {
    'animevsr.archs': '_arch',
    'animevsr.losses': '_loss',
    'animevsr.metrics': '_metric',
    'animevsr.data': '_dataset',
    'animevsr.models': '_model',
}

__all__ = ['__version__', *PUBLIC]


def _register():
    compat.correct()
    registry.fill(REGISTERING)


def __getattr__(name):
    if name in PUBLIC:
        return getattr(importlib.import_module(f'animevsr.{PUBLIC[name]}'), name)
    if importlib.util.find_spec(f'animevsr.{name}') is not None:
        return importlib.import_module(f'animevsr.{name}')
    raise AttributeError(f'module animevsr has no attribute {name!r}')


def __dir__():
    return sorted({*globals(), *PUBLIC})


registry.when_imported('basicsr', compat.prepare, _register)
