"""Windows over a stream of frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def triples(frames: Any) -> Iterator[tuple]:
    """(previous, current, next) of each item of an iterable; the first and the last one stand in for their
    missing neighbours.

    At most three items are held at a time.
    """
    frames = iter(frames)
    current = previous = next(frames, None)
    if current is None:
        return
    for following in frames:
        yield previous, current, following
        previous, current = current, following
    yield previous, current, current
