"""Losses; modules named `*_loss.py` register themselves in BasicSR."""

import basicsr  # noqa: F401  (first: with it all that registers itself is imported, in order)
