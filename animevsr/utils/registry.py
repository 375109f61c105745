"""Finds and imports the modules of a package whose classes and functions register themselves."""

import importlib
import pkgutil


def import_modules(package, suffix):
    """Import every module of `package` (its name and path: `__name__`, `__path__`) whose name ends with
    `suffix`.

    BasicSR scans its own folders in the same way; it does not look into those of a plugin.
    """
    name, path = package
    return [
        importlib.import_module(f'{name}.{module.name}')
        for module in pkgutil.iter_modules(path)
        if module.name.endswith(suffix)
    ]
