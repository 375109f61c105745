"""The degradation pipeline: a list of operators, sampled once per clip, then applied in order."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from animevsr.degradations.operator import OPERATORS, Operator, operator, probability
from animevsr.utils.options import check_keys

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


class DegradationPipeline:
    """A sequence of degradation operators, configured by a list as it stands in a YAML file.

    Args:
        config (list): each entry is an operator's name (`blur`), a name with its first argument (`{down: 2}`)
            or a name with named arguments (`{noise: {sigma: [0, 5]}}`). The order is the order of
            application. `{shuffle: [...]}` applies what it lists in random order; a list in it stays
            together.

    Example: the papers' basic operators are `[blur, noise, {down: 2}, {down: 2}, {codec: h264}]`.
    """

    def __init__(self, config: list) -> None:
        if not isinstance(config, (list, tuple)) or not config:
            raise ValueError(
                'degradation must be a list of operators, e.g. [blur, noise, {down: 2}, {down: 2}, {codec:'
                ' h264}]'
            )
        self.names, self.operators = zip(*(_build(entry) for entry in config))

    def sample(self, rng: np.random.Generator, t: int, drawn: Sequence[dict] = ()) -> list[dict]:
        """Parameters for one clip of `t` frames: a list with one dict per operator, of plain values (it can
        be stored as JSON).

        Args:
            rng (numpy.random.Generator): the only source of chance.
            drawn (list[dict]): what operators before this pipeline drew for the same clip, where it is a part
                of another one; what stands inside `shuffle` and `choice` is there, too.
        """
        params = []
        for name, step in zip(self.names, self.operators):
            params.append(dict(op=name, **step.sample(rng, [*drawn, *flattened(params)], t)))
        return params

    def apply(self, clip: Tensor, params: list, original_size: torch.Size | None = None) -> Tensor:
        """Degrade a clip (t, 3, h, w), RGB in [0, 1], as `params` say. The same params give the same pixels.

        `original_size`: (h, w) of the clip before all degradation, where this pipeline is a part of another
        one.
        """
        if [p['op'] for p in params] != list(self.names):
            raise ValueError(
                f'params of {[p["op"] for p in params]} do not fit a pipeline of {list(self.names)}'
            )
        original_size = original_size or clip.shape[-2:]
        for step, p in zip(self.operators, params):
            size = dict(original_size=original_size) if step.needs_original_size else {}
            clip = step.apply(clip, {key: value for key, value in p.items() if key != 'op'}, **size)
        return clip


@operator('shuffle')
class Shuffle(Operator):
    """Operators in an order that is drawn anew for each clip (BSRGAN, Sec. 3.4; the end of Real-ESRGAN's
    degradation).

    Example: `{shuffle: [blur, {jpeg: [30, 95]}, [{resize_to: 4}, sinc]]}`

    Args:
        parts (list): each an operator, or a list of operators that stay together.
    """

    needs_original_size = True

    def __init__(self, parts: list) -> None:
        self.parts = [
            DegradationPipeline(part if isinstance(part, (list, tuple)) else [part]) for part in parts
        ]

    def sample(
        self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1
    ) -> dict[str, list[int | list]]:
        order = rng.permutation(len(self.parts)).tolist()
        params = []
        for part in self.parts:
            params.append(part.sample(rng, t, [*drawn, *flattened(params)]))
        return dict(order=order, params=params)

    def apply(self, clip: Tensor, params: dict, original_size: torch.Size) -> Tensor:
        for i in params['order']:
            clip = self.parts[i].apply(clip, params['params'][i], original_size)
        return clip


@operator('choice')
class Choice(Operator):
    """One of several lists of operators, drawn for each clip.

    Example: `{choice: [{prob: 0.7, degradation: [blur, {codec: h264}]}, {prob: 0.3, degradation: [{jpeg: [30,
    95]}]}]}`

    Args:
        parts (list[dict]): `degradation`, a list of operators (an empty one leaves the clip as it is), and
            `prob`, its probability.
    """

    needs_original_size = True

    def __init__(self, parts: list[dict]) -> None:
        for part in parts:
            check_keys(part, ('prob', 'degradation'), 'a part of choice')
            if len(part) < 2:
                raise ValueError(f'choice: each part needs prob and degradation, got {part}')
        self.probs = [probability('choice: prob', part['prob']) for part in parts]
        if not math.isclose(sum(self.probs), 1, abs_tol=1e-6):
            raise ValueError(f'choice: the probabilities must add up to 1, got {self.probs}')
        self.parts = [
            DegradationPipeline(part['degradation']) if part['degradation'] else None for part in parts
        ]

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        i = int(rng.choice(len(self.parts), p=self.probs))
        return dict(part=i, params=self.parts[i].sample(rng, t, drawn) if self.parts[i] else [])

    def apply(self, clip: Tensor, params: dict, original_size: torch.Size) -> Tensor:
        part = self.parts[params['part']]
        return part.apply(clip, params['params'], original_size) if part else clip


def flattened(params: Sequence[dict | list]) -> Iterator[dict]:
    """What was drawn, with what stands inside `shuffle` and `choice`, one after the other."""
    for p in params:
        if isinstance(p, dict):
            yield p
        inner = p if isinstance(p, list) else p.get('params') if p['op'] in ('shuffle', 'choice') else None
        if inner:
            yield from flattened(inner)


def _build(entry):
    """(name, operator) of one entry of the list."""
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, arguments),) = entry.items()
    else:
        name, arguments = entry, {}
    if not isinstance(name, str):
        raise ValueError(f'degradation: cannot read the entry {entry!r}; write a name or one name: arguments')
    check_keys([name], OPERATORS, 'degradation')
    signature = inspect.signature(OPERATORS[name])
    known = list(signature.parameters)
    if not isinstance(arguments, dict):
        arguments = {known[0]: arguments}
    check_keys(arguments, known, f'degradation operator {name}')
    try:
        signature.bind(**arguments)
    except TypeError as error:  # a missing argument
        raise ValueError(f'degradation: {name}: {error}') from None
    return name, OPERATORS[name](**arguments)
