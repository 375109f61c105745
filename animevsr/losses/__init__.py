"""Losses; modules named `*_loss.py` register themselves in BasicSR."""

from animevsr.utils.registry import import_modules

import_modules((__name__, __path__), '_loss')
