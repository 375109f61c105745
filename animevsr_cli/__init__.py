# PYTHON_ARGCOMPLETE_OK
"""The console script `animevsr`, and `python -m animevsr_cli`.

It stands outside the package because importing `animevsr` fills BasicSR's registries, which takes torch and
seconds: the help must not wait for that, and `animevsr setup` installs BasicSR itself.
"""

from animevsr_cli.console import main

__all__ = ['main']
