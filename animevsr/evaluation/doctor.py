"""What is installed here, and what of it works: text to paste into an issue."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata

import av
import torch

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.backends import NAMES, name_with_fast, open_backend
from animevsr.utils.device import count, device_name, select_device
from animevsr.utils.resources import cache_folder
from animevsr.version import __version__
from animevsr.video.encoders import CODECS
from animevsr.zoo import MODELS, find_file

PACKAGES = [
    'torch',
    'torchvision',
    'basicsr',
    'numpy',
    'opencv-python',
    'av',
    'imageio-ffmpeg',
    'spandrel',
    'ncnn',
    'pnnx',
    'MNN',
    'openvino',
    'nncf',
    'onnx',
    'onnxruntime',
    'ray',
    'safetensors',
    'blosc2',
    'gradio',
]
SIZE = 64  # height and width of the frames with which backends are tried


def doctor() -> str:
    """Versions, devices, backends (each by a small step), encoders, and models, as lines of text."""
    found = {name: find_version(name) for name in PACKAGES}
    lines = [
        f'animevsr {__version__}, Python {platform.python_version()}, {platform.platform()}',
        f'processor: {platform.machine()}, {device_name(torch.device("cpu"))}, {os.cpu_count()} cores',
        'packages: ' + ', '.join(f'{name} {version}' for name, version in found.items() if version),
        'missing: ' + (', '.join(name for name, version in found.items() if not version) or 'nothing'),
        f'device auto: {select_device()}, CUDA devices: {count()}',
    ]
    for name in NAMES:
        lines += [f'backend {name}: {try_backend(name, False)}'] if name != 'auto' else []
    lines += [f'vulkan: {try_vulkan()}']
    lines.append(f'--fast: {try_backend(name_with_fast(select_device()), True)}')
    for name, codec in CODECS.items():
        encoders = [
            encoder for encoder in (codec.software, *codec.hardware) if encoder in av.codecs_available
        ]
        lines.append(f'codec {name}: {", ".join(encoders) or "no encoder"}')
    here = [name for name in MODELS if find_file(name) is not None]
    lines.append(f'models here: {", ".join(here)}; cache: {cache_folder()}')
    return '\n'.join(lines)


def find_version(package: str) -> str | None:
    """Of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def try_vulkan() -> str:
    """The GPUs that Vulkan finds, asked for by a process of their own: a faulty driver may end it."""
    code = 'from animevsr.utils.vulkan import describe_gpus; print(describe_gpus())'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, errors='replace')
    said = (done.stdout or done.stderr).strip().splitlines() or [f'the process ended with {done.returncode}']
    return said[-1][:300]


def try_backend(name: str, fast: bool) -> str:
    """What became of a step of a small network: 'works', or why it does not, and what to do."""
    device = select_device('auto' if name in ('auto', 'torch') else 'cpu')
    torch.manual_seed(0)
    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1)).eval()
    try:
        backend = open_backend(net, device, name, fast)
        frame = torch.rand(1, 3, SIZE, SIZE).to(device, backend.dtype)
        sr, _ = backend.step(frame, frame, frame, backend.initial_state(SIZE, SIZE))
        finite = bool(torch.isfinite(sr.float()).all())
        return f'works ({backend.name})' if finite else f'{backend.name} computes nonsense'
    except Exception as error:  # of packages that are broken in any way
        return ' '.join(str(error).split())[:200]
