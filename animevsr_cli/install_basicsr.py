"""Installs BasicSR 1.4.2, its last release, which pip alone cannot install everywhere.

    python animevsr_cli/install_basicsr.py        (or, once animevsr is installed: animevsr setup)

Three things stand in the way, and one more behind them:

* there is no wheel, and its setup asks for torch in an isolated build: it is built here without isolation,
against the torch that is
  installed already;
* its setup.py reads a variable that `exec` set through `locals()`, which Python 3.13 no longer allows;
* once installed, it imports `torchvision.transforms.functional_tensor`, which is gone, so that `import
basicsr` fails.

Two lines of its source are corrected before it is built; installed files are never touched. Only the standard
library and pip are used.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

VERSION = '1.4.2'
# file in the source -> (what stands there, what it becomes)
CORRECTIONS = {
    'setup.py': (
        "        exec(compile(f.read(), version_file, 'exec'))\n    return locals()['__version__']",
        (
            "        scope = {}\n        exec(compile(f.read(), version_file, 'exec'), scope)\n    return"
            " scope['__version__']"
        ),
    ),
    'basicsr/data/degradations.py': (
        'from torchvision.transforms.functional_tensor import',
        'from torchvision.transforms.functional import',
    ),
}


def pip(*arguments: Any, **kwargs: Any) -> Any:
    return subprocess.run([sys.executable, '-m', 'pip', '--disable-pip-version-check', *arguments], **kwargs)


def unpack_source(folder: Any) -> Any:
    """The unpacked source of BasicSR below `folder`.

    `pip download` wants to build metadata, which is what fails; with `--no-clean` it leaves the source that
    it unpacked.
    """
    environment = dict(os.environ, TMPDIR=folder, TEMP=folder, TMP=folder)
    done = pip(
        'download',
        '--no-clean',
        '--no-deps',
        '--no-build-isolation',
        '--no-binary',
        'basicsr',
        '--dest',
        folder,
        f'basicsr=={VERSION}',
        env=environment,
        capture_output=True,
        text=True,
    )
    found = list(Path(folder).glob('*/basicsr*/setup.py'))
    if not found:
        reason = [line for line in done.stderr.splitlines() if line.startswith('ERROR')] or [
            'pip gave no reason'
        ]
        sys.exit(f'BasicSR {VERSION} could not be downloaded: {reason[-1]}')
    return found[0].parent


def correct(source: Any) -> None:
    for name, (old, new) in CORRECTIONS.items():
        path = source / name
        text = path.read_text(encoding='utf8')
        if old not in text:
            sys.exit(f'BasicSR {VERSION}: {name} is not as expected, nothing was installed')
        path.write_text(text.replace(old, new), encoding='utf8')


def main() -> None:
    """Install BasicSR unless it is there; every problem is one line."""
    try:
        install()
    except subprocess.CalledProcessError as error:
        sys.exit(f'pip failed (exit {error.returncode}); its message is above.')


def install() -> None:
    try:
        importlib.metadata.version('torch')
    except importlib.metadata.PackageNotFoundError:
        sys.exit('Install torch and torchvision first: BasicSR is built against them.')
    try:
        print(f'BasicSR {importlib.metadata.version("basicsr")} is installed.')
        return
    except importlib.metadata.PackageNotFoundError:
        pass
    pip('install', '--quiet', 'setuptools', 'wheel', 'cython', 'numpy', check=True)
    with tempfile.TemporaryDirectory() as folder:
        source = unpack_source(folder)
        correct(source)
        pip('install', '--quiet', '--no-build-isolation', str(source), check=True)
    print(f'BasicSR {VERSION} is installed.')


if __name__ == '__main__':
    main()
