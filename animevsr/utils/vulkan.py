"""GPUs that are reached by Vulkan, through ncnn: of AMD, Intel or NVIDIA, with their driver alone."""

from __future__ import annotations

import functools
from typing import Any

from animevsr.utils.native_output import without_native_output

UNIT = 'vulkan'
PROCESSOR = 3  # of ncnn's types: a driver that computes on the CPU


@functools.cache
def list_gpus() -> list[tuple[str, bool]]:
    """(name, whether it is a GPU) of each device of Vulkan; the processor may be one of them (llvmpipe).

    Raises:
        ValueError: ncnn is missing.
    """
    try:
        import ncnn
    except ImportError:
        raise ValueError('Vulkan needs ncnn; run: pip install ncnn pnnx') from None
    with without_native_output(2):  # it lists what each of them can do
        # a build without Vulkan has no such function
        count = ncnn.get_gpu_count() if hasattr(ncnn, 'get_gpu_count') else 0
        infos = [ncnn.get_gpu_info(number) for number in range(count)]
    return [(info.device_name(), info.type() != PROCESSOR) for info in infos]


def find_gpu(unit: str) -> int:
    """The number of a device: of 'vulkan:1' that one, of 'vulkan' the one that ncnn takes for the strongest.

    Raises:
        ValueError: there is none; this says what there is.
    """
    gpus, number = list_gpus(), unit.partition(':')[2]
    if number:
        if number.isdecimal() and int(number) < len(gpus):
            return int(number)
        raise ValueError(f'device {unit}: there is {describe_gpus()}')
    import ncnn

    usable = [i for i, (_, is_gpu) in enumerate(gpus) if is_gpu]
    if not usable:
        raise ValueError(f'device {unit}: no GPU is found ({describe_gpus()}); is its driver installed?')
    strongest = ncnn.get_default_gpu_index()
    return strongest if strongest in usable else usable[0]


def describe_gpus() -> str:
    """One line of all devices: 'vulkan:0 NAME, vulkan:1 NAME (a processor)'."""
    lines = [
        f'{UNIT}:{i} {name}{"" if is_gpu else " (a processor: slow)"}'
        for i, (name, is_gpu) in enumerate(list_gpus())
    ]
    return ', '.join(lines) or 'no device of Vulkan'


def free_memory(unit: str) -> int:
    """Bytes of a device that are free, as its driver says."""
    number = find_gpu(unit)
    import ncnn

    return ncnn.get_gpu_device(number).get_heap_budget() * 2**20


def use_gpu(net: Any, unit: str, half: bool = False) -> None:
    """Let a `ncnn.Net` that holds nothing yet compute on a GPU, in float32, or with `half` in float16."""
    net.opt.use_vulkan_compute = True
    for name in ('use_fp16_storage', 'use_fp16_packed', 'use_fp16_arithmetic'):
        setattr(net.opt, name, half)
    net.opt.use_bf16_storage = False
    net.set_vulkan_device(find_gpu(unit))
