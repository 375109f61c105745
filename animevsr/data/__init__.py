"""Datasets; modules named `*_dataset.py` register themselves in BasicSR."""

import basicsr  # noqa: F401  (first: with it all that registers itself is imported, in order)
