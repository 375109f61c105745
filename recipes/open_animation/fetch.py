"""Step 1 of the recipe: fetch the source packages by name and unpack them.

    python recipes/open_animation/fetch.py --root datasets/open_animation

Writes ROOT/sources/<package>/. Needs `apt-get` and `dpkg-deb` (Debian or Ubuntu) and `npm`,
each set up for its usual registry. Packages that are already unpacked are skipped.
"""

import argparse
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent

DEBIAN = [
    'renpy-thequestion',
    'gcompris-qt-data',
    'openclipart-svg',
    'renpy-demo',
    'plasma-workspace-wallpapers',
]
NPM = {'@dicebear/core': '9.4', '@dicebear/collection': '9.4', 'openmoji': '17'}


def run(*command, cwd=None):
    """Run a command; a failure is one line that names it."""
    if shutil.which(command[0]) is None:
        sys.exit(f'{command[0]} is not installed: this recipe needs apt-get, dpkg-deb, node and npm.')
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f'{" ".join(map(str, command))} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}'
        )


def fetch_debian(package, sources):
    target = sources / package
    if target.exists():
        return
    run('apt-get', 'download', package, cwd=sources)
    archive = next(sources.glob(f'{package}_*.deb'))
    partial = sources / f'{package}.partial'
    run('dpkg-deb', '-x', str(archive), str(partial))
    archive.unlink()
    for rcc in partial.rglob('*.rcc'):
        extract_rcc(rcc, partial / 'rcc')
    partial.rename(target)


def fetch_npm(sources):
    target = sources / 'npm'
    if (target / 'done').exists():
        return
    target.mkdir(exist_ok=True)
    (target / 'package.json').write_text('{"private": true, "type": "module"}')
    run(
        'npm',
        'install',
        '--no-audit',
        '--no-fund',
        *(f'{name}@{version}' for name, version in NPM.items()),
        cwd=target,
    )
    (target / 'done').touch()


def extract_rcc(path, out):
    """Unpack the plain and zlib-compressed files of a Qt resource archive (format: `qres`, versions 1 to
    3).
    """
    blob = path.read_bytes()
    if blob[:4] != b'qres':
        return
    version, tree, data, names = struct.unpack('>4I', blob[4:20])
    entry_size = 14 if version < 2 else 22

    def name_at(offset):
        at = names + offset
        length = struct.unpack('>H', blob[at : at + 2])[0]
        return blob[at + 6 : at + 6 + 2 * length].decode('utf-16-be')

    def walk(index, folder):
        at = tree + index * entry_size
        name_offset, flags = struct.unpack('>IH', blob[at : at + 6])
        path = folder / name_at(name_offset) if index else folder
        if flags & 2:
            count, first = struct.unpack('>2I', blob[at + 6 : at + 14])
            for child in range(first, first + count):
                walk(child, path)
        elif not flags & 4:  # 4 is Zstandard, used for none of the pictures
            start = data + struct.unpack('>I', blob[at + 10 : at + 14])[0]
            length = struct.unpack('>I', blob[start : start + 4])[0]
            content = blob[start + 4 : start + 4 + length]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(zlib.decompress(content[4:]) if flags & 1 else content)

    walk(0, out)


def fetch(root):
    sources = Path(root) / 'sources'
    sources.mkdir(parents=True, exist_ok=True)
    for package in DEBIAN:
        print('fetching', package, flush=True)
        fetch_debian(package, sources)
    print('fetching', ', '.join(NPM), flush=True)
    fetch_npm(sources)
    if not (sources / 'rigs').exists():
        partial = sources / 'rigs.partial'
        with tarfile.open(HERE / 'rigs.tar.xz') as archive:
            archive.extractall(partial, filter='data')
        partial.rename(sources / 'rigs')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default='datasets/open_animation')
    fetch(parser.parse_args().root)
