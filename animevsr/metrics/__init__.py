"""Metrics on tensors, on the device of the data; modules named `*_metric.py` register themselves in
BasicSR.
"""

from animevsr.utils.registry import import_modules

import_modules((__name__, __path__), '_metric')
