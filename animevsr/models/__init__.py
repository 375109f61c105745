"""Training and validation models; modules named `*_model.py` register themselves in BasicSR."""

from animevsr.utils.registry import import_modules

import_modules((__name__, __path__), '_model')
