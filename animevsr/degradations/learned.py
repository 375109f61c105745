"""Operators that were learned from real frames: the multi-scale VQGAN (VQD-SR Sec. 3.2), learnable basic
operators (AnimeSR), PDM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from animevsr.archs.lbo_arch import LearnableBasicOperator
from animevsr.archs.pdm_arch import ProbabilisticDegradation
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.degradations import functional as D
from animevsr.degradations.networks import FrozenNetwork
from animevsr.degradations.operator import Operator, operator, probability
from animevsr.degradations.operators import SEEDS, Down, whole_interval
from animevsr.zoo import find_weights

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


LBO_POOL = ('lbo_tape', 'lbo_disc', 'lbo_web')  # the bundled operators


@operator('vq')
class VQ(Operator):
    """Degradation learned from real frames: the clip is looked up in the codebook of a VQGAN (VQD-SR Sec.
    3.2).

    Example of the released recipe: `{vq: {bands: [[1, 15, 0.3], [16, 30, 0.4], [31, 50, 0.3]], k_middle: [1,
    10]}}`

    Args:
        weights (str): file of a `MultiScaleVQGAN`, or name of bundled ones.
        k (int | pair of int): the k-th nearest entries are taken in the finest branch, k from this range,
            both ends included; 1 is nearest-only.
        bands (list of [low, high, probability]): ranges to draw k from, in place of `k`.
        k_middle (int | pair of int): the same for the middle branch. The top branch takes its nearest
            entries.
    """

    def __init__(
        self,
        weights: str = 'vqgan_animation',
        k: int | list[int] = (1, 50),
        bands: Any = None,
        k_middle: int | list[int] = 1,
    ) -> None:
        bands = bands or [(*whole_interval('vq: k', k), 1.0)]
        if any(not isinstance(band, (list, tuple)) or len(band) != 3 for band in bands):
            raise ValueError(f'vq: a band is [lowest k, highest k, probability], got {bands}')
        if not math.isclose(sum(band[2] for band in bands), 1, abs_tol=1e-6):
            raise ValueError(f'vq: the probabilities of the bands must add up to 1, got {bands}')
        self.bands = [
            (*whole_interval('vq: bands', band[:2]), probability('vq: bands', band[2])) for band in bands
        ]
        self.k_middle = whole_interval('vq: k_middle', k_middle)
        self.network = FrozenNetwork(weights, MultiScaleVQGAN)
        if self.k_middle != (1, 1) and 'middle' not in self.network.cpu.branches[:-1]:
            raise ValueError(f'vq: k_middle is given, but {weights} has no middle branch beside a finer one')
        entries = len(self.network.cpu.codebook)
        highest = max(self.k_middle[1], *(high for _, high, _ in self.bands))
        if highest > entries:
            raise ValueError(
                f'vq: k goes up to {highest}, but the codebook of {weights} has {entries} entries'
            )

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict[str, int]:
        low, high, _ = self.bands[rng.choice(len(self.bands), p=[p for _, _, p in self.bands])]
        return dict(
            k=int(rng.integers(low, high + 1)),
            k_middle=int(rng.integers(self.k_middle[0], self.k_middle[1] + 1)),
        )

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        return D.look_up(clip, self.network.on(clip.device), **params)


@operator('down_or_lbo')
class DownOrLBO(Down):
    """A learnable basic operator of a pool, or else the downscaling before it, which it replaces (AnimeSR
    supplement Sec. 3).

    Example, twice in a degradation of 4x: `{down_or_lbo: {pool: [mine.pth, lbo_tape], prob: 0.5}}`

    Args:
        factor (int): the height and the width are divided by it, rounded up.
        pool (list[str]): weights files of `LearnableBasicOperator`s, or names of bundled ones. Default: the
            three bundled ones.
        prob (float): the probability of the learnable operator.
        share (bool): in a clip, use the weights that an earlier such operator drew, where they are in this
            pool too, as in the paper; else draw its own.
        modes (list[str]): of the downscaling, see `Down`.
    """

    def __init__(
        self,
        factor: int = 2,
        pool: int | list[str] | tuple[str, str, str] = LBO_POOL,
        prob: float = 0.5,
        share: bool = True,
        modes: Sequence[str] = D.RESIZE_MODES,
    ) -> None:
        super().__init__(factor, modes)
        pool = [pool] if isinstance(pool, str) else pool
        if (
            not isinstance(pool, (list, tuple))
            or not pool
            or len({find_weights(w).resolve() for w in pool}) < len(pool)
        ):
            raise ValueError(
                f'down_or_lbo: pool must be a list of one or more weights files, each once; got {pool}'
            )
        self.prob = probability('down_or_lbo: prob', prob)
        self.share = share
        self.pool = {weights: FrozenNetwork(weights, LearnableBasicOperator) for weights in pool}
        for weights, network in self.pool.items():
            if network.cpu.downscale != factor:
                raise ValueError(
                    f'down_or_lbo: {weights} divides the size by {network.cpu.downscale}, but factor is'
                    f' {factor}'
                )

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        use, own = bool(rng.random() < self.prob), list(self.pool)[rng.integers(len(self.pool))]
        before = [p['weights'] for p in drawn if p['op'] == 'down_or_lbo' and p['weights'] in self.pool]
        return dict(lbo=use, weights=before[0] if before and self.share else own, **super().sample(rng))

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        if params['lbo']:
            return D.degrade_by_lbo(clip, self.pool[params['weights']].on(clip.device))
        return super().apply(clip, params)


@operator('pdm')
class PDM(Operator):
    """A learned distribution of degradations (PDM): blur, shrinking and noise from a network whose input is
    random.

    Args:
        weights (str): file of a `ProbabilisticDegradation`, trained by `PDMModel`. It divides the size by its
            own factor.
    """

    def __init__(self, weights: str) -> None:
        self.network = FrozenNetwork(weights, ProbabilisticDegradation)

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict[str, int]:
        return dict(seed=int(rng.integers(SEEDS)))

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        return D.degrade_by_pdm(clip, self.network.on(clip.device), **params)
