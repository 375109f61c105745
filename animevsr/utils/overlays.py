"""YAML files that say only how they differ from another one.

    _base_: ../vqd_sr/net.yml             # relative to the file; a base may have a base itself
    network_g: {num_feat: 16}             # a mapping is merged into the base's, anything else takes its place
    datasets: {train: {_delete_: [hold]}} # keys of the base that are left out

`animevsr.train`, `animevsr.test` and `animevsr reproduce` merge them; what they write into the folder of an
experiment is the merged file, which BasicSR alone reads.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

BASE, DELETE = '_base_', '_delete_'


class Loader(yaml.SafeLoader):
    """Takes 6e-5 for a number, as YAML 1.2 does; PyYAML wants 6.0e-5, and takes this for text."""


Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?[0-9]+([.][0-9]*)?[eE][-+]?[0-9]+$'), list('-+0123456789')
)


def read_options(path: Path) -> dict:
    """The options of a YAML file, merged with those of its bases.

    Raises:
        ValueError: a base is missing, or is based on itself; a key to be deleted is not there.
    """
    return _read(Path(path), ())


def _read(path, above):
    if path.resolve() in above:
        raise ValueError(f'{path}: is its own base')
    try:
        own = yaml.load(path.read_text(encoding='utf8'), Loader) or {}
    except yaml.MarkedYAMLError as error:
        line = f', line {error.problem_mark.line + 1}' if error.problem_mark else ''
        raise ValueError(f'{path}{line}: not YAML ({error.problem})') from None
    if not isinstance(own, dict) or BASE not in own:
        return own
    base = path.parent / own.pop(BASE)
    if not base.is_file():
        raise ValueError(f'{path}: its {BASE} {base} does not exist')
    return merged(_read(base, (*above, path.resolve())), own, path)


def merged(base: dict, changes: dict, where: Path) -> dict:
    """A mapping with changes, as the head of this file says; neither of the two is changed. `where`: for
    errors.
    """
    result = dict(base)
    for key in changes.get(DELETE, ()):
        if key not in result:
            raise ValueError(f'{where}: {DELETE} names {key}, which the base does not have')
        del result[key]
    for key, value in changes.items():
        if key != DELETE:
            result[key] = (
                merged(result[key], value, where)
                if isinstance(value, dict) and isinstance(result.get(key), dict)
                else value
            )
    return result


def plain_file(
    path: Path, folder: Any, forced: Sequence[str] = (), check: Callable[[dict, Path], None] | None = None
) -> Path:
    """Path of a file that BasicSR reads: the file itself, or one of the same name in `folder`, merged with
    its bases and with what is `forced` (see `force`), and with its numbers as numbers. `check(options, path)`
    may refuse them.
    """
    path = Path(path)
    whole, options = Path(folder) / path.name, read_options(path)
    for entry in forced:
        force(options, entry)
    if check is not None:
        check(options, path)
    if not forced and options == yaml.safe_load(path.read_text(encoding='utf8')):
        return path
    text = yaml.safe_dump(options, sort_keys=False)
    whole.write_text(f'# {path.name}, merged with its base and what was forced\n{text}', encoding='utf8')
    return whole


def force(options: dict, entry: str) -> None:
    """Change one option, as `--force_yml` says: 'train:optim_g:lr=6e-5'. A number names a place in a list.

    Values are those of BasicSR and, which BasicSR takes for text, numbers as -1 and 6e-5, and mappings.

    Raises:
        ValueError: there is no such place.
    """
    place, equals, value = entry.partition('=')
    *above, last = (key.strip() for key in place.split(':'))
    inner = options
    for key in above:
        inner = _inside(inner, key, entry)
    if not equals or not isinstance(inner, dict | list):
        raise ValueError(f'--force_yml {entry}: write KEY:KEY=VALUE, e.g. train:optim_g:lr=6e-5')
    if isinstance(inner, list):
        _inside(inner, last, entry)
    inner[int(last) if isinstance(inner, list) else last] = read_value(value.strip())


def _inside(value, key, entry):
    places = [str(i) for i in range(len(value))] if isinstance(value, list) else value
    if not isinstance(value, dict | list) or key not in places:
        known = f'; known there: {", ".join(places)}' if isinstance(value, dict | list) else ''
        raise ValueError(f"--force_yml {entry}: there is no '{key}'{known}")
    return value[int(key) if isinstance(value, list) else key]


def read_value(text: str) -> Any:
    """The value that a text stands for on a command line."""
    number = text.removeprefix('!!float').strip()
    if re.fullmatch(r'[-+]?[0-9]+', number):
        return int(number) if number == text else float(number)
    if re.fullmatch(r'[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)(e[-+]?[0-9]+)?', number, re.IGNORECASE):
        return float(number)
    if text.startswith('['):
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval(text)
    if text.startswith(('[', '{')):
        return yaml.safe_load(text)
    return {'~': None, 'none': None, 'true': True, 'false': False}.get(text.lower(), text)
