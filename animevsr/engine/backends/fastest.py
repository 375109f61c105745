"""Which backend is the fastest here for a network of this shape: measured once, and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING

import torch

from animevsr.engine.backends.cache import make_example
from animevsr.utils.device import device_name
from animevsr.utils.files import write_text
from animevsr.utils.resources import cache_folder

if TYPE_CHECKING:
    from animevsr.archs.interfaces import RecurrentNetwork
    from animevsr.engine.backends.base import Backend


SIZE = 288, 384  # height and width of the frames that are measured: large ones may be run in another way
STEPS = 3  # of each backend; the fastest counts
FILE = 'fastest.json'


def sort_by_speed(
    openers: dict[str, Callable[[], Backend]],
    packages: list[str],
    net: RecurrentNetwork,
    threads: int,
    say: Callable = lambda text: None,
) -> list[str]:
    """The names of backends, the fastest first; those that cannot run the network are left out.

    Args:
        openers: name -> what opens it. packages: of them, whose versions count.
        threads (int): of a CPU.
    """
    key, file = describe(packages, net, threads), cache_folder() / FILE
    try:
        known = json.loads(file.read_text(encoding='utf8'))
    except (OSError, ValueError):
        known = {}
    seconds = {name: taken for name, taken in known.get(key, {}).items() if name in openers}
    if missing := [name for name in openers if name not in seconds]:
        say(
            f'measuring which backend is the fastest here ({", ".join(missing)}): once for models'
            ' like this one, and this number of threads'
        )
        for name in missing:  # a failure is not kept: it may be of this time alone (memory, say)
            if (taken := measure(name, openers[name], net, say)) is not None:
                seconds[name] = taken
        known[key] = known.get(key, {}) | seconds
        with contextlib.suppress(OSError):  # where nothing can be kept it is measured again
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps(known, indent=1))
    return sorted(seconds, key=seconds.get)


def measure(name: str, opener: Callable[[], Backend], net: RecurrentNetwork, say: Callable) -> float | None:
    """Seconds of a step; None where the backend cannot run the network, which is said."""
    try:
        backend = opener()
        frames = [frame.to(backend.device, backend.dtype) for frame in make_example(net, *SIZE)[:3]]
        state, times = backend.initial_state(*SIZE), []
        for _ in range(STEPS + 1):  # the first one warms up
            start = time.perf_counter()
            with torch.inference_mode():
                _, state = backend.step(*frames, state, **backend.for_bytes)
            times.append(time.perf_counter() - start)
        return min(times[1:])
    except Exception as error:  # of packages that are broken in any way
        say(f'backend {name} cannot run this network ({" ".join(str(error).split())[:200]})')
        return None


def describe(packages: list[str], net: RecurrentNetwork, threads: int) -> str:
    """What a measurement holds for: processor, threads, versions, size, and the shape of the network."""
    versions = [f'{package} {version(package)}' for package in sorted(packages)]
    shape = [type(net).__name__, *(str(tuple(tensor.shape)) for tensor in net.state_dict().values())]
    digest = hashlib.sha256(' '.join(shape).encode()).hexdigest()[:12]
    size = '{}x{}'.format(*SIZE)
    return ', '.join([device_name(torch.device('cpu')), f'{threads} threads', *versions, size, digest])


def version(package: str) -> str:
    """Of an installed package; '?' where it was put there without saying one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return '?'
