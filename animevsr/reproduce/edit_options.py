"""Options of a YAML, changed: another network in a degradation, and the weights files that they name."""

from __future__ import annotations

from typing import Any

from animevsr.reproduce.tables import Stage


def with_network(degradation: list[dict], operator: str, arguments: dict, stage: Stage) -> list[dict]:
    """A degradation's list in which an operator has these arguments.

    Raises:
        ValueError: it has no such operator.
    """
    changed, found = [], False
    for entry in degradation:
        name = entry if isinstance(entry, str) else next(iter(entry))
        if name == operator:
            given = {} if isinstance(entry, str) else dict(entry[name])
            given = {key: value for key, value in given.items() if not (key == 'bands' and 'k' in arguments)}
            entry, found = {name: {**given, **arguments}}, True
        changed.append(plain(entry))
    if not found:
        raise ValueError(f'{stage.name}: its degradation has no {operator}')
    return changed


def plain(value: Any) -> Any:
    """Dicts and lists of a YAML as Python's own, which `repr` writes so that BasicSR can read them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def weights_in(value: Any, key: str = '') -> list:
    """All weights files that an option file names."""
    if isinstance(value, dict):
        return [found for name, item in value.items() for found in weights_in(item, name)]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in weights_in(item, key)]
    named = key in ('weights', 'pool', 'pretrain_network_g', 'pretrain_network_d', 'spynet_path')
    return [value] if named and isinstance(value, str) and value != '~' else []
