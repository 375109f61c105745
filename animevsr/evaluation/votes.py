"""Votes of the blind study, of one person or several, as shares with their uncertainty (VQD-SR Fig. 4)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animevsr.errors import MediaError

Z = 1.959964  # of 95 %


@dataclass(frozen=True)
class Share:
    """How two methods did against each other.

    Attributes:
        a, b (str): the methods. votes (int): in all. for_a (int): for `a`.
        share (float), interval (pair of float): of the votes for `a`, in [0, 1], and its 95 % interval
            (Wilson's).
    """

    a: str
    b: str
    votes: int
    for_a: int

    @property
    def share(self) -> float:
        return self.for_a / self.votes

    @property
    def interval(self) -> tuple[float, float]:
        n, p = self.votes, self.share
        centre, spread = p + Z**2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        return (centre - spread) / (1 + Z**2 / n), (centre + spread) / (1 + Z**2 / n)


def votes(files: list[str | Path]) -> Any:
    """Merge votes that the page of `compare` saved.

    Args:
        files (list[str | Path]): one for each person; the same file twice is refused.

    Returns:
        list[Share]: of each pair that was voted on, in the order of the methods.

    Raises:
        MediaError: a file is missing, twice there, or holds no votes.
    """
    methods, counts, seen = [], {}, {}
    for path in map(Path, files):
        try:
            text = path.read_text(encoding='utf8')
            content = json.loads(text)
            found = [(vote['first'], vote['second'], vote['vote']) for vote in content['votes']]
            methods += [name for name in content['methods'] if name not in methods]
        except (OSError, ValueError, KeyError, TypeError):
            raise MediaError(f'{path}: holds no votes that a page of animevsr compare saved') from None
        if text in seen:
            raise MediaError(f'{path}: holds the same votes as {seen[text]}')
        seen[text] = path
        for first, second, vote in found:
            if vote not in (first, second) or {first, second} - set(methods):
                raise MediaError(f'{path}: a vote for {vote} between {first} and {second} is none')
            pair = tuple(sorted((first, second), key=methods.index))
            counts.setdefault(pair, []).append(vote == pair[0])
    return [
        Share(a, b, len(found), sum(found))
        for (a, b), found in sorted(
            counts.items(), key=lambda item: [methods.index(name) for name in item[0]]
        )
    ]
