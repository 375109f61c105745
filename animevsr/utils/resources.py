"""Where the YAML files and weights that come with the package lie, in a clone and in an installed package alike."""
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def find(path):
    """The file `path`, e.g. 'options/tiny/net.yml' or 'weights/animevsr_x4.pth': as given, else the one that came with the package.

    Where neither exists, the path is returned as given, for the caller's own error.
    """
    path = Path(path)
    for root in (Path(), PACKAGE.parent, PACKAGE):  # here, in a clone, in an installed package
        if (root / path).exists():
            return root / path
    return path


def find_weights(name):
    """Path of a weights file: as given, or by its name among those that come with the package ('animevsr_x4')."""
    found = (find(candidate) for candidate in (name, f'weights/{name}', f'weights/{name}.pth'))
    return next((path for path in found if path.is_file()), Path(name))


def hash_of_weights(weights):
    """A hash of a weights file, of both files of an ncnn model, or the name of one that is no file."""
    files = [path for path in (weights, weights.with_suffix('.bin') if weights.suffix == '.param' else weights) if path.is_file()]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest() if files else str(weights)
