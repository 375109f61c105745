"""Operators of the degradations for photographs: Real-ESRGAN (Wang et al., ICCVW 2021), BSRGAN (Zhang et al.,
ICCV 2021) and RealBasicVSR (Chan et al., CVPR 2022). With them the "original degradation" of VQD-SR's tables
1 and 3 is a list in a YAML like every other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from animevsr.degradations import functional as D
from animevsr.degradations.operator import Operator, interval, operator, probability
from animevsr.degradations.operators import LEAST_SIGMA, SEEDS, Down, whole_interval

if TYPE_CHECKING:
    from torch import Tensor


KERNELS = dict(
    iso=0.45, aniso=0.25, generalized_iso=0.12, generalized_aniso=0.03, plateau_iso=0.12, plateau_aniso=0.03
)


def walked(rng: np.random.Generator, start: float, step: float, limits: tuple, t: int) -> list[float]:
    """A value for each of `t` frames: from `start`, each differs from the one before by up to `step`, within
    the limits.
    """
    values = [start]
    for _ in range(t - 1):
        values.append(float(np.clip(values[-1] + rng.uniform(-step, step), *limits)))
    return values


@operator('mixed_blur')
class MixedBlur(Operator):
    """Blur by a kernel of random size and kind: Gaussian, generalised Gaussian, plateau-shaped, or a sinc
    filter, which rings.

    Args:
        sigma (pair of float): range of the standard deviation in pixels, per axis.
        prob (float): the probability that there is any blur.
        sinc_prob (float): the probability of a sinc filter instead of the other kinds.
        kernels (dict[str, float]): kind -> probability.
        beta_generalized, beta_plateau (pair of float): ranges of the shape parameters.
        kernel_size (pair of int): range of the (odd) size.
        walk (bool): strength, angle and shape change a little from frame to frame (RealBasicVSR); else all
            frames share them.
    """

    # of the published code
    LOWEST = 5  # the cutoff of kernels of 13 and more is pi / 5 or higher
    STEPS = dict(
        sigma_x=0.02, sigma_y=0.02, theta=0.31416, beta=dict(generalized=0.05, plateau=0.1), cutoff=0.0628
    )

    def __init__(
        self,
        sigma: Sequence[float] = (0.2, 3.0),
        prob: float = 1.0,
        sinc_prob: float = 0.1,
        kernels: dict[str, float] | None = None,
        beta_generalized: Sequence[float] = (0.5, 4.0),
        beta_plateau: Sequence[float] = (1.0, 2.0),
        kernel_size: Sequence[float] = (7, 21),
        walk: bool = False,
    ) -> None:
        self.walk = walk
        self.kernels = dict(kernels or KERNELS)
        if set(self.kernels) - set(KERNELS) or not math.isclose(sum(self.kernels.values()), 1, abs_tol=1e-6):
            raise ValueError(
                f'mixed_blur: kernels must be of {", ".join(KERNELS)}, with probabilities that add up to 1; '
                f'got {self.kernels}'
            )
        self.prob = probability('mixed_blur: prob', prob)
        self.sinc_prob = probability('mixed_blur: sinc_prob', sinc_prob)
        self.sigma = interval('mixed_blur: sigma', sigma, LEAST_SIGMA)
        self.betas = dict(
            generalized=interval('mixed_blur: beta_generalized', beta_generalized),
            plateau=interval('mixed_blur: beta_plateau', beta_plateau),
        )
        self.kernel_size = whole_interval('mixed_blur: kernel_size', kernel_size)
        if any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(f'mixed_blur: kernel_size must be odd, got {kernel_size}')

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        size = int(rng.integers(self.kernel_size[0] // 2, self.kernel_size[1] // 2 + 1)) * 2 + 1
        if rng.random() >= self.prob:
            return dict(kind='none', kernel_size=size)
        if rng.random() < self.sinc_prob:
            limits = math.pi / (3 if size < 13 else self.LOWEST), math.pi
            cutoff = float(rng.uniform(*limits))
            return dict(
                kind='sinc',
                kernel_size=size,
                cutoff=walked(rng, cutoff, self.STEPS['cutoff'], limits, t) if self.walk else cutoff,
            )
        kind = str(rng.choice(list(self.kernels), p=list(self.kernels.values())))
        sigma_x, sigma_y = (float(s) for s in rng.uniform(*self.sigma, 2))
        theta, beta = float(rng.uniform(-math.pi, math.pi)), None
        if kind.endswith('_iso') or kind == 'iso':
            sigma_y, theta = sigma_x, 0.0
        shape = kind.split('_')[0]
        if shape in self.betas:
            low, high = self.betas[shape]
            # half of them flatter, half of them steeper than a Gaussian, whose beta is 1
            beta = float(rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high))
        isotropic, kind = theta == 0.0 and sigma_y == sigma_x, shape if beta is not None else 'gaussian'
        if self.walk:
            sigma_x = walked(rng, sigma_x, self.STEPS['sigma_x'], self.sigma, t)
            sigma_y = sigma_x if isotropic else walked(rng, sigma_y, self.STEPS['sigma_y'], self.sigma, t)
            theta = (
                [theta] * t if isotropic else walked(rng, theta, self.STEPS['theta'], (-math.pi, math.pi), t)
            )
            beta = (
                None if beta is None else walked(rng, beta, self.STEPS['beta'][shape], self.betas[shape], t)
            )
        return dict(kind=kind, kernel_size=size, sigma_x=sigma_x, sigma_y=sigma_y, theta=theta, beta=beta)

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        return D.blur_by_kind(clip, **params)


@operator('sinc')
class Sinc(MixedBlur):
    """A sinc filter (ringing, overshoot), or none; its cutoff is at least pi / 3 for every size, as in
    Real-ESRGAN's last one.

    Args:
        prob (float): its probability.
        kernel_size (pair of int): range of the (odd) size.
        walk (bool): see `MixedBlur`.
    """

    LOWEST = 3

    def __init__(self, prob: float = 0.8, kernel_size: Sequence[float] = (7, 21), walk: bool = False) -> None:
        super().__init__(prob=prob, sinc_prob=1.0, kernel_size=kernel_size, walk=walk)


@operator('random_resize')
class RandomResize(Operator):
    """Resize by a random factor, in a mode chosen at random; the size stays another one until `resize_to`.

    Args:
        factor (pair of float): range of the factor; what is below 1 shrinks.
        probs (three floats): probabilities to enlarge, shrink and keep.
        modes (list[str]): of 'area', 'bilinear', 'bicubic'.
        walk (float): by how much the factor changes at most from frame to frame (RealBasicVSR: 0.015 and
            0.03). Each frame is then brought to the size of the first one, for frames of one clip have one
            size here. Default: 0, all frames share it.
        of (float | None): the factor is one of the size of the undegraded clip divided by this number
            (Real-ESRGAN's second resize: 4). Default: of the size that the clip has by now.
    """

    needs_original_size = True

    def __init__(
        self,
        factor: Sequence[float] = (0.15, 1.5),
        probs: list[float] | tuple[float, float, float] = (0.2, 0.7, 0.1),
        modes: Sequence[str] = D.RESIZE_MODES,
        walk: float = 0,
        of: float | None = None,
    ) -> None:
        if of is not None and not (isinstance(of, (int, float)) and of > 0):
            raise ValueError(f'random_resize: of must be above 0, got {of}')
        self.walk, self.of = walk, of
        self.factor = interval('random_resize: factor', factor)
        if not 0 < self.factor[0] <= 1 <= self.factor[1]:
            raise ValueError(f'random_resize: factor must be above 0 and hold 1, got {factor}')
        if len(probs) != 3 or not math.isclose(sum(probs), 1, abs_tol=1e-6):
            raise ValueError(
                'random_resize: probs are those to enlarge, shrink and keep, and must add up to 1; got'
                f' {probs}'
            )
        self.probs = tuple(probs)
        self.modes = Down(1, modes).modes

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        low, high = self.factor
        factors = (rng.uniform(1, high), rng.uniform(low, 1), 1.0)
        factor = float(factors[rng.choice(3, p=self.probs)])
        factor = walked(rng, factor, self.walk, self.factor, t) if self.walk else factor
        return dict(factor=factor, mode=self.modes[rng.integers(len(self.modes))])

    def apply(self, clip: Tensor, params: dict, original_size: torch.Size) -> Tensor:
        factors, mode = params['factor'], params['mode']
        base = clip.shape[-2:] if self.of is None else [size / self.of for size in original_size]
        sizes = [[max(1, round(size * factor)) for size in base] for factor in np.atleast_1d(factors)]
        if not isinstance(factors, list):
            return D.resize(clip, *sizes[0], mode)
        frames = (D.resize(frame[None], *size, mode) for frame, size in zip(clip, sizes))
        return torch.cat([D.resize(frame, *sizes[0], mode) for frame in frames])


@operator('resize_to')
class ResizeTo(Operator):
    """Resize to the size of the undegraded clip divided by a factor, whatever became of the size before.

    Args:
        factor (int): rounded up.
        modes (list[str]): of 'area', 'bilinear', 'bicubic', and 'matlab', the antialiased bicubic resize of
            MATLAB.
    """

    needs_original_size = True

    def __init__(self, factor: int = 4, modes: Sequence[str] = D.RESIZE_MODES) -> None:
        known = (*D.RESIZE_MODES, 'matlab')
        unknown = [mode for mode in modes if mode not in known]
        if unknown or not modes:
            what = f"unknown mode '{unknown[0]}'" if unknown else 'no mode'
            raise ValueError(f'resize_to: {what}; known: {", ".join(known)}')
        self.factor = Down(factor).factor
        self.modes = tuple(modes)

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        return dict(factor=self.factor, mode=self.modes[rng.integers(len(self.modes))])

    def apply(self, clip: Tensor, params: dict, original_size: torch.Size) -> Tensor:
        h, w = (-(-size // params['factor']) for size in original_size)
        return D.resize(clip, h, w, params['mode'])


@operator('mixed_noise')
class MixedNoise(Operator):
    """Gaussian noise, or Poisson noise, which grows with the light; coloured or gray.

    Args:
        gaussian_prob (float): the probability of Gaussian noise.
        sigma (pair of float): range of its standard deviation, in levels of 255.
        poisson_scale (pair of float): range of the strength of Poisson noise; 1 is that of 255 photons at
            white.
        gray_prob (float): the probability of gray noise.
        prob (float): the probability that there is any noise.
        walk (bool): the strength changes a little from frame to frame (RealBasicVSR); else all frames share
            it.
    """

    STEPS = dict(sigma=0.1, scale=0.005)  # of the published code

    def __init__(
        self,
        gaussian_prob: float = 0.5,
        sigma: Sequence[float] = (1, 30),
        poisson_scale: Sequence[float] = (0.05, 3.0),
        gray_prob: float = 0.4,
        prob: float = 1.0,
        walk: bool = False,
    ) -> None:
        self.walk = walk
        self.gaussian_prob = probability('mixed_noise: gaussian_prob', gaussian_prob)
        self.gray_prob = probability('mixed_noise: gray_prob', gray_prob)
        self.prob = probability('mixed_noise: prob', prob)
        self.sigma = interval('mixed_noise: sigma', sigma, 0)
        self.poisson_scale = interval('mixed_noise: poisson_scale', poisson_scale, 0)

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        common = dict(gray=bool(rng.random() < self.gray_prob), seed=int(rng.integers(SEEDS)))
        if rng.random() >= self.prob:
            return dict(kind='none', **common)
        if rng.random() < self.gaussian_prob:
            sigma = float(rng.uniform(*self.sigma))
            return dict(
                kind='gaussian',
                sigma=walked(rng, sigma, self.STEPS['sigma'], self.sigma, t) if self.walk else sigma,
                **common,
            )
        scale = float(rng.uniform(*self.poisson_scale))
        return dict(
            kind='poisson',
            scale=walked(rng, scale, self.STEPS['scale'], self.poisson_scale, t) if self.walk else scale,
            **common,
        )

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        functions = dict(
            none=lambda clip, **_: clip, gaussian=D.add_gaussian_noise, poisson=D.add_poisson_noise
        )
        return functions[params['kind']](
            clip, **{key: value for key, value in params.items() if key != 'kind'}
        )


@operator('jpeg')
class Jpeg(Operator):
    """JPEG compression of each frame.

    Args:
        quality (pair of int): range, both ends included.
        prob (float): its probability.
        walk (int): by how much the quality changes at most from frame to frame (RealBasicVSR: 3). Default: 0,
            all frames share it.
    """

    def __init__(self, quality: Sequence[float] = (30, 95), prob: float = 1.0, walk: int = 0) -> None:
        self.walk = walk
        self.quality = whole_interval('jpeg: quality', quality)
        self.prob = probability('jpeg: prob', prob)
        if self.quality[1] > 100:
            raise ValueError(f'jpeg: quality goes up to 100, got {quality}')

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        quality = int(rng.integers(self.quality[0], self.quality[1] + 1))
        quality = (
            [round(q) for q in walked(rng, quality, self.walk, self.quality, t)] if self.walk else quality
        )
        return dict(quality=quality if rng.random() < self.prob else None)

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        return clip if params['quality'] is None else D.compress_jpeg(clip, **params)
