"""Names of devices that options may give; `engine.backends` opens them."""

from __future__ import annotations

VULKAN = 'ncnn:vulkan'
# devices that PyTorch does not know: the runtime, and what it calls them
RUNTIME_DEVICES = {
    'vulkan': VULKAN,
    'tensorrt': 'onnxruntime:TensorrtExecutionProvider',
    'directml': 'onnxruntime:DmlExecutionProvider',
    'coreml': 'onnxruntime:CoreMLExecutionProvider',
    'onnx-cuda': 'onnxruntime:CUDAExecutionProvider',
    'openvino-gpu': 'openvino:GPU',
}


def find_runtime(device: str) -> str | None:
    """The backend of a device that PyTorch does not know, or None; 'vulkan:1' is the second GPU."""
    name, _, number = device.lower().partition(':')
    if number and name == 'vulkan':
        return f'{VULKAN}:{number}'
    return None if number else RUNTIME_DEVICES.get(name)


def is_runtime(backend: str) -> bool:
    """Whether a backend is that of such a device."""
    return backend in RUNTIME_DEVICES.values() or is_vulkan(backend)


def is_vulkan(backend: str) -> bool:
    """Whether a backend computes on a GPU by Vulkan."""
    return backend == VULKAN or backend.startswith(f'{VULKAN}:')
