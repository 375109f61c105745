"""YAML files that say only how they differ from another one.

    _base_: ../vqd_sr/net.yml             # relative to the file; a base may have a base itself
    network_g: {num_feat: 16}             # a mapping is merged into the base's, anything else takes its place
    datasets: {train: {_delete_: [hold]}} # keys of the base that are left out

`animevsr.train`, `animevsr.test` and `animevsr reproduce` merge them; what they write into the folder of an
experiment is the merged file, which BasicSR alone reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

BASE, DELETE = '_base_', '_delete_'


def read_options(path: Path) -> dict:
    """The options of a YAML file, merged with those of its bases.

    Raises:
        ValueError: a base is missing, or is based on itself; a key to be deleted is not there.
    """
    return _read(Path(path), ())


def _read(path, above):
    if path.resolve() in above:
        raise ValueError(f'{path}: is its own base')
    own = yaml.safe_load(path.read_text(encoding='utf8')) or {}
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


def plain_file(path: Path, folder: Any) -> Path:
    """Path of a file that BasicSR reads: the file itself, or one of the same name in `folder`, merged with
    its bases.
    """
    path = Path(path)
    if BASE not in path.read_text(encoding='utf8'):
        return path
    whole = Path(folder) / path.name
    text = yaml.safe_dump(read_options(path), sort_keys=False)
    whole.write_text(f'# {path.name}, merged with its base\n{text}', encoding='utf8')
    return whole
