"""Degradation operators: each samples its parameters, then applies them (values: AnimeSR supplement, Sec. 3).

See `Operator` for what they have in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from animevsr.degradations import functional as D
from animevsr.degradations.operator import Operator, interval, operator, probability
from animevsr.utils.options import check_keys
from animevsr.video.codec import ROUND_TRIPS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


LEAST_SIGMA = 0.01  # pixels: a kernel of a single one
SEEDS = 2**31
PROFILES = 'baseline', 'main', 'high', 'high10', 'high422', 'high444'  # of H.264


@operator('blur')
class Blur(Operator):
    """Isotropic or anisotropic Gaussian blur.

    Args:
        kernel_size (int): odd.
        isotropic_prob (float): the probability of an isotropic kernel.
        sigma, sigma_aniso (pair of float): ranges of the standard deviation in GT pixels, isotropic and per
            axis.
    """

    def __init__(
        self,
        kernel_size: int = 21,
        isotropic_prob: float = 0.7,
        sigma: Sequence[float] = (0.2, 4.0),
        sigma_aniso: Sequence[float] = (0.8, 3.0),
    ) -> None:
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'blur: kernel_size must be an odd whole number, got {kernel_size}')
        self.kernel_size = kernel_size
        self.isotropic_prob = probability('blur: isotropic_prob', isotropic_prob)
        self.sigma = interval('blur: sigma', sigma, LEAST_SIGMA)
        self.sigma_aniso = interval('blur: sigma_aniso', sigma_aniso, LEAST_SIGMA)

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict[str, float]:
        if rng.random() < self.isotropic_prob:
            sigma = float(rng.uniform(*self.sigma))
            return dict(kernel_size=self.kernel_size, sigma_x=sigma, sigma_y=sigma, theta=0.0)
        sigma_x, sigma_y = (float(s) for s in rng.uniform(*self.sigma_aniso, 2))
        return dict(
            kernel_size=self.kernel_size,
            sigma_x=sigma_x,
            sigma_y=sigma_y,
            theta=float(rng.uniform(-math.pi, math.pi)),
        )

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        return D.gaussian_blur(clip, **params)


@operator('noise')
class Noise(Operator):
    """Gaussian noise, coloured or gray.

    Args:
        gray_prob (float): the probability of gray noise.
        sigma (pair of float): range of the standard deviation, in levels of 255.
        per_frame (bool): draw strength and kind anew for every frame, as the published code does. The paper
            does not say; the noise of a real recording keeps its strength, so one draw for the clip is the
            default.
    """

    def __init__(
        self, gray_prob: float = 0.5, sigma: Sequence[float] = (0, 10), per_frame: bool = False
    ) -> None:
        self.gray_prob = probability('noise: gray_prob', gray_prob)
        self.sigma = interval('noise: sigma', sigma, 0)
        self.per_frame = per_frame

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict[str, float]:
        count = t if self.per_frame else 1
        gray, sigma = (rng.random(count) < self.gray_prob).tolist(), rng.uniform(*self.sigma, count).tolist()
        return dict(
            gray=gray if self.per_frame else gray[0],
            sigma=sigma if self.per_frame else sigma[0],
            seed=int(rng.integers(SEEDS)),
        )

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        return D.add_gaussian_noise(clip, **params)


@operator('down')
class Down(Operator):
    """Downscaling by an integer factor in a mode chosen at random.

    Args:
        factor (int): the height and the width are divided by it, rounded up.
        modes (list[str]): of 'area', 'bilinear', 'bicubic'.
    """

    def __init__(self, factor: int = 2, modes: Sequence[str] = D.RESIZE_MODES) -> None:
        if not modes:
            raise ValueError('down: modes must name at least one')
        for mode in modes:
            if mode not in D.RESIZE_MODES:
                raise ValueError(f"down: unknown mode '{mode}'; known: {', '.join(D.RESIZE_MODES)}")
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(f'down: factor must be a whole number >= 1, got {factor}')
        self.factor = factor
        self.modes = tuple(modes)

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        return dict(factor=self.factor, mode=self.modes[rng.integers(len(self.modes))])

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        h, w = (-(-size // params['factor']) for size in clip.shape[-2:])
        return D.resize(clip, h, w, params['mode'])


@operator('contrast')
class Contrast(Operator):
    """Less contrast, as fine-tuning of the published VQD-SR has it: x - (x - 127) * c / 255, in levels.

    Args:
        range (pair of float): of c, in [0, 255].
        k_max (int | None): where an operator `vq` drew a k for the clip, c is the k-th part of the range out
            of `k_max`; else, and without `k_max`, it is drawn from the range.
    """

    def __init__(self, range: Sequence[float] = (0, 50), k_max: int | None = None) -> None:
        self.range = interval('contrast: range', range, 0, 255)
        self.k_max = k_max

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        low, high = self.range
        k = next((params['k'] for params in drawn if params['op'] == 'vq'), None)
        share = k / self.k_max if k is not None and self.k_max else float(rng.random())
        return dict(amount=low + share * (high - low))

    def apply(self, clip: Tensor, params: dict) -> Any:
        return (clip - (clip - 127 / 255) * (params['amount'] / 255)).clamp(0, 1)


@operator('codec')
class Codec(Operator):
    """Video compression in memory (the papers' FFmpeg operator).

    Args:
        codec (str): 'h264'. (FFmpeg's own MPEG encoders now and then give other bits for the same frames
            where memory is used again; the operator `ffmpeg`, whose process is always a new one, repeats
            them.)
        crf (pair of float): range of the constant rate factor of H.264, from which a real number is drawn, as
            in the published code.
        profiles (dict[str, float]): profile of H.264 -> probability.
        bit_rate (pair of float | None): instead of crf and profile, a range of bits a second at 25 frames
            (RealBasicVSR).
    """

    def __init__(
        self,
        codec: str = 'h264',
        crf: Sequence[float] = (18, 35),
        profiles: dict[str, float] | None = None,
        bit_rate: list[int] | None = None,
    ) -> None:
        if codec not in ROUND_TRIPS:
            raise ValueError(f"codec: unknown codec '{codec}'; known: {', '.join(ROUND_TRIPS)}")
        profiles = dict(profiles or dict(baseline=0.1, main=0.2, high=0.7))
        check_keys(profiles, PROFILES, 'the profiles of codec')
        if not math.isclose(sum(profiles.values()), 1, abs_tol=1e-6):
            raise ValueError(f'codec: the probabilities of the profiles must add up to 1, got {profiles}')
        self.codec = codec
        self.crf = interval('codec: crf', crf, 0, 51)
        self.profiles = profiles
        self.bit_rate = None if bit_rate is None else interval('codec: bit_rate', bit_rate, 1)

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        if self.bit_rate:
            return dict(codec=self.codec, b=int(rng.uniform(*self.bit_rate)))
        profile = rng.choice(list(self.profiles), p=list(self.profiles.values()))
        return dict(codec=self.codec, crf=float(rng.uniform(*self.crf)), profile=str(profile))

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        return D.compress(clip, **params)


@operator('ffmpeg')
class FFmpeg(Operator):
    """An external ffmpeg: any encoder, container and filter chain, e.g. MPEG-2 or interlacing.

    Example: `{ffmpeg: {options: {vcodec: mpeg2video, 'q:v': [4, 12]}, suffix: mpg, filters: 'gblur=0.6'}}`

    Args:
        options (dict): output options of ffmpeg; a pair of whole numbers is a range to draw from, both ends
            included.
        suffix (str): the container.
        filters, decode_filters (str): filter chains before the encoder and after the decoder; the number and
            size of frames stay.
    """

    def __init__(
        self, options: dict, suffix: str = 'avi', filters: str = '', decode_filters: str = ''
    ) -> None:
        self.options = {
            key: interval(f'ffmpeg: {key}', v) if isinstance(v, (list, tuple)) else v
            for key, v in options.items()
        }
        for key, value in self.options.items():
            if isinstance(value, tuple) and not all(isinstance(end, int) for end in value):
                raise ValueError(f'ffmpeg: {key} must be a pair of whole numbers, got {list(value)}')
        self.fixed = dict(suffix=suffix, filters=filters, decode_filters=decode_filters)

    def sample(self, rng: np.random.Generator, drawn: Sequence[dict] = (), t: int = 1) -> dict:
        drawn = {
            key: int(rng.integers(v[0], v[1] + 1)) if isinstance(v, tuple) else v
            for key, v in self.options.items()
        }
        return dict(options=drawn, **self.fixed)

    def apply(self, clip: Tensor, params: dict) -> Tensor:
        return D.run_ffmpeg(clip, **params)


def whole_interval(name: str, value: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """A pair of whole numbers >= 1; one number stands for both ends."""
    low, high = interval(name, (value, value) if isinstance(value, int) else value)
    if not isinstance(low, int) or not isinstance(high, int) or low < 1:
        raise ValueError(f'{name} must be whole numbers >= 1, got {value}')
    return low, high
