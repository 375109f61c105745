"""Records of options (dataclasses): whether their values are of the types that they say."""

from __future__ import annotations

import numbers
from dataclasses import replace
from typing import Any, get_args, get_type_hints

WORDS = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'text', tuple: 'a list'}


def check_types(options: Any) -> None:
    """ValueError that names the first field of a record that is of another type than it says: settings of
    files come in any.
    """
    for name, hint in get_type_hints(type(options)).items():
        kinds, value = get_args(hint) or (hint,), getattr(options, name)
        wider = {int: numbers.Integral, float: numbers.Real}
        fits = value is None or isinstance(value, tuple(wider.get(kind, kind) for kind in kinds))
        if bool in kinds:  # of Python, of NumPy, or a number
            fits = not isinstance(value, str) and value in (None, True, False)
        elif isinstance(value, bool):
            fits = False
        elif int in kinds and isinstance(value, float):
            fits = value.is_integer()
        if not fits:
            wanted = ' or '.join(WORDS[kind] for kind in kinds if kind in WORDS)
            raise ValueError(f'{name} must be {wanted}, got {value!r}')


def as_python(options: Any) -> Any:
    """A record that `check_types` let through, with Python's own numbers: plans are kept as JSON, and threads
    counted by integers.
    """
    changes = {}
    for name, hint in get_type_hints(type(options)).items():
        kinds, value = get_args(hint) or (hint,), getattr(options, name)
        value = value.item() if hasattr(value, 'item') else value
        if bool in kinds and value is not None:
            value = bool(value)
        elif int in kinds and isinstance(value, float):
            value = int(value)
        changes[name] = value
    return replace(options, **changes)
