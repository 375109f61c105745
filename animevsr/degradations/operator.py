"""What a degradation operator is, and the register of those that a YAML file can name."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


OPERATORS = {}  # name in a YAML file: class


class Operator(ABC):
    """One step of a degradation: its parameters are sampled, then applied.

    A new one is a class with `@operator('its_name')` above it, in any module that is imported before the
    training, and a line of YAML.

    Attributes:
        needs_original_size (bool): `apply` is also given `original_size`, (h, w) of the clip before all
            degradation.
    """

    needs_original_size = False

    @abstractmethod
    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        """Parameters for one clip: a dict of plain numbers, strings and lists (it can be stored as JSON).

        Args:
            rng (numpy.random.Generator): the only source of chance.
            drawn (list[dict]): what the operators before it drew for the same clip.
            t (int): frames of the clip. All of them share the parameters, unless one is a list with a value
                for each.
        """

    @abstractmethod
    def apply(self, clip: Tensor, params: dict) -> Tensor:
        """A clip (t, 3, h, w), RGB in [0, 1] -> the degraded clip. The same params give the same pixels."""


def operator(name: str) -> Callable:
    """Class decorator: register an `Operator` under the name that YAML files use.

    Raises:
        ValueError: the name is taken.
    """

    def register(kind):
        if name in OPERATORS:
            raise ValueError(f"a degradation operator is named '{name}' already: {OPERATORS[name].__name__}")
        OPERATORS[name] = kind
        return kind

    return register


def interval(name: str, value: list | tuple, lowest: float = -math.inf, highest: float = math.inf) -> tuple:
    """A pair of numbers in a range."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f'{name} must be a pair of numbers, got {value}')
    low, high = (number(name, end) for end in value)
    if low < lowest or high > highest:
        raise ValueError(
            f'{name} must be {f"at least {lowest:g}" if high <= highest else f"at most {highest:g}"}, got'
            f' {value}'
        )
    if low > high:
        raise ValueError(f'{name}: the lower end {low} is above the upper end {high}')
    return low, high


def number(name: str, value: float) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise ValueError(f'{name} must be a number, got {value!r}')
    return value


def probability(name: str, value: float) -> float:
    if not 0 <= number(name, value) <= 1:
        raise ValueError(f'{name} must be in [0, 1], got {value}')
    return value
