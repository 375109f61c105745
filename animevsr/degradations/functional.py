"""What degradations do to pixels: pure functions of a clip and plain numbers.

Clips are float tensors (t, 3, h, w), RGB, in [0, 1], on any device; the result is on the same device.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.codec import roundtrip as codec_roundtrip
from animevsr.video.ffmpeg import roundtrip as ffmpeg_roundtrip

if TYPE_CHECKING:
    from torch import Tensor, nn


RESIZE_MODES = ('area', 'bilinear', 'bicubic')
INEXACT = 1e-3  # of a filter, the sum of what its parts may leave out: a quarter of a level at most
PIECE = 2**17  # pixels that a network is given at one time


def kernels() -> ModuleType:
    """BasicSR's module of blur kernels. Not at the head of the file: BasicSR is imported before what is
    registered in it, and that uses this file.
    """
    from basicsr.data import degradations

    return degradations


def gaussian_blur(clip: Tensor, kernel_size: int, sigma_x: float, sigma_y: float, theta: float) -> Tensor:
    """Blur with a Gaussian kernel of odd `kernel_size`, sigmas in pixels along its axes, turned by `theta`
    radians.

    Borders are reflected; where the picture is smaller than half the kernel, repeated.
    """
    return filter_clip(
        clip, kernels().bivariate_Gaussian(kernel_size, sigma_x, sigma_y, theta, isotropic=sigma_x == sigma_y)
    )


def blur_by_kind(
    clip: Tensor,
    kind: str,
    kernel_size: int,
    sigma_x: float | list[float] | None = None,
    sigma_y: float | list[float] | None = None,
    theta: float | list[float] | None = None,
    beta: float | list[float] | None = None,
    cutoff: float | list[float] | None = None,
) -> Tensor:
    """Blur with one of Real-ESRGAN's kernels: 'gaussian', 'generalized', 'plateau' (of shape `beta`), 'sinc'
    (of `cutoff`), or 'none'.

    Values that are lists have one for each frame.
    """
    if kind == 'none':
        return clip
    shape = dict(sigma_x=sigma_x, sigma_y=sigma_y, theta=theta, beta=beta, cutoff=cutoff)
    if any(isinstance(value, list) for value in shape.values()):
        frames = (
            {key: value[i] if isinstance(value, list) else value for key, value in shape.items()}
            for i in range(len(clip))
        )
        return torch.cat(
            [blur_by_kind(frame[None], kind, kernel_size, **own) for frame, own in zip(clip, frames)]
        )
    if kind == 'gaussian':
        return gaussian_blur(clip, kernel_size, sigma_x, sigma_y, theta)
    if kind == 'sinc':
        return filter_clip(clip, kernels().circular_lowpass_kernel(cutoff, kernel_size, pad_to=False)).clamp(
            0, 1
        )
    make = kernels().bivariate_generalized_Gaussian if kind == 'generalized' else kernels().bivariate_plateau
    return filter_clip(clip, make(kernel_size, sigma_x, sigma_y, theta, beta, isotropic=sigma_x == sigma_y))


def filter_clip(clip: Tensor, kernel: np.ndarray) -> Tensor:
    """Filter with a kernel, an array (k, k), k odd. Borders are reflected; where the picture is smaller than
    k / 2, repeated.
    """
    from basicsr.utils.img_process_util import filter2D

    half = len(kernel) // 2
    if clip.device.type == 'cpu' and clip.dtype == torch.float32:
        return _filter_planes(clip, kernel, min(clip.shape[-2:]) > half)
    kernel = torch.from_numpy(kernel).to(clip).unsqueeze(0)
    if min(clip.shape[-2:]) > half:
        return filter2D(clip.contiguous(), kernel)
    return filter2D(F.pad(clip, (half,) * 4, mode='replicate'), kernel)[..., half:-half, half:-half]


def _filter_planes(clip, kernel, reflect):
    """`filter_clip` by OpenCV. A Gaussian is the product of two vectors, and turned it is nearly the sum of a
    few such products: each is two passes of `k` multiply-adds instead of `k * k`.
    """
    border = cv2.BORDER_REFLECT_101 if reflect else cv2.BORDER_REPLICATE
    u, s, v = np.linalg.svd(np.asarray(kernel, np.float64))
    rank = next((r for r in range(1, 8) if np.abs(kernel - (u[:, :r] * s[:r]) @ v[:r]).sum() < INEXACT), None)
    planes = clip.detach().contiguous().view(-1, *clip.shape[-2:]).numpy()
    out = torch.empty_like(clip, memory_format=torch.contiguous_format)
    for plane, filtered in zip(planes, out.view(-1, *clip.shape[-2:]).numpy()):
        if rank is None:
            cv2.filter2D(plane, -1, kernel.astype(np.float32), filtered, borderType=border)
            continue
        for i in range(rank):
            part = cv2.sepFilter2D(plane, -1, v[i] * s[i], u[:, i], borderType=border)
            filtered[:] = part if i == 0 else filtered + part
    return out


def add_gaussian_noise(clip: Tensor, sigma: float | list[float], gray: bool, seed: int) -> Tensor:
    """Add Gaussian noise of standard deviation `sigma` (in levels of 255), the same in all channels if
    `gray`; clamped.

    Both may be lists with a value for each frame. The noise differs from frame to frame. It is drawn on the
    device of the clip: a seed means the same noise on the same kind of device.
    """
    t, c, h, w = clip.shape
    generator = generator_on(clip.device, seed)
    noise = torch.randn(t, c, h, w, generator=generator, device=clip.device)
    gray, sigma = (v if isinstance(v, list) else [v] * t for v in (gray, sigma))
    for frame, is_gray, strength in zip(noise, gray, sigma):
        frame *= strength / 255
        if is_gray:
            frame[1:] = frame[:1]
    return noise.to(clip).add_(clip).clamp_(0, 1)


def add_poisson_noise(clip: Tensor, scale: float | list[float], gray: bool, seed: int) -> Tensor:
    """Add `scale` times the noise of counted photons, of which there are 255 at white, the same in all
    channels if `gray`; clamped.
    """
    generator = generator_on(clip.device, seed)
    light = clip.detach().clamp(0, 1)
    if gray:
        light = (light * light.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    noise = torch.poisson(light * 255, generator=generator) / 255 - light
    scale = noise.new_tensor(scale).view(-1, 1, 1, 1) if isinstance(scale, list) else scale
    return (clip + (scale * noise).to(clip)).clamp(0, 1)


def resize(clip: Tensor, height: int, width: int, mode: str) -> Tensor:
    """Resize to (t, 3, height, width), clamped. The modes are those of the papers' code, without antialiasing
    filter, and 'matlab'.
    """
    if mode == 'matlab':
        return matlab_resize(clip, height, width).clamp(0, 1)
    align = {} if mode == 'area' else dict(align_corners=False)
    return F.interpolate(clip, (height, width), mode=mode, **align).clamp(0, 1)


@torch.no_grad()
def look_up(clip: Tensor, net: nn.Module, k: int, k_middle: int = 1) -> Tensor:
    """Reconstruct a clip through the codebook of a VQGAN, by the k-th nearest entries of its finest branch;
    clamped.
    """
    ks = dict(top=1, middle=k_middle, bottom=1)
    ks[net.branches[-1]] = k
    return torch.cat([(net(piece * 2 - 1, tuple(ks.values()))[0] + 1) / 2 for piece in _pieces(clip)]).clamp(
        0, 1
    )


@torch.no_grad()
def degrade_by_lbo(clip: Tensor, net: nn.Module) -> Tensor:
    """A clip through a `LearnableBasicOperator`, which makes it smaller; clamped."""
    return torch.cat([net(piece) for piece in _pieces(clip)]).clamp(0, 1)


@torch.no_grad()
def degrade_by_pdm(clip: Any, net: nn.Module, seed: int) -> Any:
    """A clip through a `ProbabilisticDegradation`: one kernel for all frames, noise that differs from frame
    to frame; clamped.
    """
    kernel, noise = net.draw(len(clip), *clip.shape[-2:], generator_on(clip.device, seed))
    return net(clip, kernel[:1].expand(len(clip), -1).to(clip), noise.to(clip)).clamp(0, 1)


def generator_on(device: torch.device, seed: int) -> Any:
    """A generator on the device of the data, where what it draws is needed: a seed means the same noise on
    the same kind of device.
    """
    return torch.Generator(device).manual_seed(seed)


def _pieces(clip):
    """Frames that a network is given at one time: the same on every device, so that memory does not grow with
    the clip.
    """
    return clip.split(max(1, PIECE // (clip.shape[-2] * clip.shape[-1])))


def compress(clip: Tensor, codec: str, **options: Any) -> Tensor:
    """Encode and decode in memory; the values come back as multiples of 1/255. See
    `animevsr.video.codec.roundtrip`.
    """
    return _on_images(clip, codec_roundtrip, codec=codec, **options)


def compress_jpeg(clip: Tensor, quality: int | list[int]) -> Tensor:
    """Each frame through JPEG, of one quality or of one for each."""
    return _on_images(clip, _jpeg, quality=quality)


def _jpeg(images, quality):
    qualities = quality if isinstance(quality, list) else [quality] * len(images)
    files = (
        cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, q])[1]
        for image, q in zip(images, qualities)
    )
    return [cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1] for file in files]


def run_ffmpeg(clip: Tensor, options: dict, suffix: str, filters: str, decode_filters: str) -> Tensor:
    """The same with an external ffmpeg: any encoder and filter chain. See
    `animevsr.video.ffmpeg.roundtrip`.
    """
    return _on_images(
        clip, ffmpeg_roundtrip, options=options, suffix=suffix, filters=filters, decode_filters=decode_filters
    )


def _on_images(clip, function, **arguments):
    """Apply a function of uint8 images (t, h, w, 3) to a clip."""
    return to_tensor(function(to_images(clip.detach().clamp(0, 1)), **arguments)).to(clip)
