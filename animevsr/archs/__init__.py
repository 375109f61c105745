"""Networks; modules named `*_arch.py` register themselves in BasicSR."""
