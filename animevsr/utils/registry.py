"""Registration in BasicSR, which begins when BasicSR is imported.

BasicSR imports all that trains: torchvision, torch._dynamo, cloud storage; seconds, of which upscaling a
video needs nothing. So what belongs into its registries is collected here, under the names of its own
(`ARCH_REGISTRY` and so on), and handed over when somebody imports it, before or after this package.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Collected:
    """Stands for one of BasicSR's registries until that is there.

    Args:
        name (str): of the registry in `basicsr.utils.registry`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting = []
        self.registry = None

    def register(self) -> Callable:
        """The decorator of BasicSR's registries."""

        def decorate(item):
            self.waiting.append(item)
            if self.registry is not None:
                self.hand_over(self.registry)
            return item

        return decorate

    def hand_over(self, registry: Any) -> None:
        """Register what was collected; what comes later is registered at once."""
        self.registry = registry
        while self.waiting:
            registry.register(self.waiting.pop(0))


ARCH_REGISTRY = Collected('ARCH_REGISTRY')
DATASET_REGISTRY = Collected('DATASET_REGISTRY')
LOSS_REGISTRY = Collected('LOSS_REGISTRY')
METRIC_REGISTRY = Collected('METRIC_REGISTRY')
MODEL_REGISTRY = Collected('MODEL_REGISTRY')
REGISTRIES = ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY


def fill(modules: dict) -> None:
    """Hand everything over to BasicSR, which is imported.

    Args:
        modules (dict): {package: suffix of the names of its modules that register something}.
    """
    theirs = importlib.import_module('basicsr.utils.registry')
    for registry in REGISTRIES:
        registry.hand_over(getattr(theirs, registry.name))
    for package, suffix in modules.items():
        import_modules(package, suffix)


def import_modules(package: str, suffix: str) -> None:
    """Import every module of `package` whose name ends with `suffix`.

    BasicSR scans its own folders in the same way; it does not look into those of a plugin.
    """
    path = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(path):
        if module.name.endswith(suffix):
            importlib.import_module(f'{package}.{module.name}')


def when_imported(name: str, before: Any, after: Any) -> None:
    """Call `before()` and `after()` around the import of a module; only `after()`, now, where it is there."""
    if name in sys.modules:
        after()
    else:
        sys.meta_path.insert(0, Hook(name, before, after))


class Hook(importlib.abc.MetaPathFinder):
    """Finds one module as the others do, and calls something around its import."""

    def __init__(self, name: str, before: Any, after: Any) -> None:
        self.name = name
        self.before = before
        self.after = after

    def find_spec(self, name: str, path: Path | None = None, target: Tensor | None = None) -> Any:
        """None for every other module, for which the next finder is asked."""
        if name != self.name:
            return None
        sys.meta_path.remove(self)  # the module is found by the others, once
        spec = importlib.util.find_spec(name)
        if spec is None:
            sys.meta_path.insert(0, self)
            return None
        load = spec.loader.exec_module

        def exec_module(module):
            self.before()
            load(module)
            self.after()

        spec.loader.exec_module = exec_module
        return spec
