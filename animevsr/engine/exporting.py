"""One step of a recurrent network as a file for other runtimes, checked against PyTorch after writing."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from animevsr.archs.interfaces import RecurrentNetwork
from animevsr.archs.loading import load_network
from animevsr.engine.backends.cache import StepGraph, list_names, make_example
from animevsr.errors import CheckpointError, MediaError
from animevsr.utils.files import check_file

if TYPE_CHECKING:
    from torch import nn


SUFFIXES = {'onnx': '.onnx', 'ncnn': '.param', 'torchscript': '.pt', 'safetensors': '.safetensors'}
PACKAGES = {'onnx': ('onnx', 'onnxruntime'), 'ncnn': ('ncnn', 'pnnx'), 'safetensors': ('safetensors',)}
CHECK = (52, 68), (64, 80)  # sizes at which the file is compared with PyTorch


@dataclass(frozen=True)
class Exported:
    """What was written: the file, and the largest difference from PyTorch in values of [0, 1] (of the weights
    for safetensors).
    """

    path: Path
    difference: float


def export(weights: str | Path, output: str | Path, to: str | None = None) -> Exported:
    """Write one step of a recurrent network, (prev, cur, next, *state) -> (sr, *state), with dynamic sizes.

    Frames are (1, 3, h, w), RGB in [0, 1], h and w multiples of 4; the state is zeros at the start of a shot.
    Metadata (scale, padding, range, channels of the state) is inside the file; ncnn's lies beside it as
    .json.

    Args:
        weights (str | Path): of an `MSRBVSR`. output (str | Path): the file.
        to (str | None): 'onnx', 'ncnn' (.param and .bin), 'torchscript' or 'safetensors' (weights alone).
            Default: by the suffix.

    Raises:
        CheckpointError, MediaError, ValueError: one line; nothing is written.
    """
    output = Path(output)
    to = to or next((kind for kind, suffix in SUFFIXES.items() if suffix == output.suffix), None)
    if to not in SUFFIXES:
        raise ValueError(f'{output}: say what to export to: {", ".join(SUFFIXES)}')
    if output.suffix != SUFFIXES[to]:
        raise MediaError(f'{output}: {to} files are named *{SUFFIXES[to]}')
    check_file(output)
    missing = [package for package in PACKAGES.get(to, ()) if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f'export to {to} needs packages that are missing; run: pip install {" ".join(missing)}'
        )
    net = load_network(weights)
    if not isinstance(net, RecurrentNetwork):
        raise CheckpointError(
            f'{weights}: holds a {type(net).__name__}; a step of MSRBVSR is what can be exported'
        )
    with tempfile.TemporaryDirectory(dir=output.parent, prefix='.export-') as folder:
        partial = Path(folder) / output.name
        WRITERS[to](net, partial)
        difference = max(differences(net, READERS[to](net, partial), size) for size in CHECK)
        made = sorted(Path(folder).iterdir())
        check_others([output.parent / file.name for file in made if file.name != output.name], output)
        for file in made:
            shutil.move(file, output.parent / file.name)
    return Exported(output, difference)


def check_others(files: list[Path], output: Path) -> None:
    """MediaError where a file that comes beside the output is there, and not of an export to that name."""
    for file in files:
        if file.exists() and not output.exists():
            raise MediaError(f'{file}: is there, and {output.name} would write it; name another output')


def make_metadata(net: nn.Module) -> dict[str, str]:
    """What a user of the file must know; all values are strings."""
    inputs, outputs = list_names(net)
    return dict(
        scale=str(net.scale),
        multiple='4',
        padding='replicate, at the right and the bottom',
        range='RGB in [0, 1], sr not clamped',
        state_channels=','.join(map(str, net.state_channels)),
        inputs=','.join(inputs),
        outputs=','.join(outputs),
        made_by='animevsr',
    )


def to_onnx(net: nn.Module, path: Path) -> None:
    """Write an ONNX file."""
    import onnx

    inputs, outputs = list_names(net)
    axes = {name: {2: 'height', 3: 'width'} for name in inputs + outputs[1:]} | {
        'sr': {2: 'out_height', 3: 'out_width'}
    }
    with torch.no_grad():
        torch.onnx.export(
            StepGraph(net.cpu().float()),
            make_example(net),
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, make_metadata(net))
    onnx.save(model, path)


def to_ncnn(net: nn.Module, path: Path) -> None:
    from animevsr.engine.backends.ncnn_backend import FILES, convert

    with tempfile.TemporaryDirectory() as folder:
        convert(net, Path(folder))
        shutil.move(Path(folder) / FILES[0], path)
        shutil.move(Path(folder) / FILES[1], path.with_suffix('.bin'))
    path.with_suffix('.json').write_text(json.dumps(make_metadata(net), indent=1) + '\n')


def to_torchscript(net: nn.Module, path: Path) -> None:
    with torch.no_grad():
        module = torch.jit.trace(StepGraph(net), make_example(net))
    module.save(str(path), _extra_files={'metadata.json': json.dumps(make_metadata(net))})


def to_safetensors(net: nn.Module, path: Path) -> None:
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    path.write_bytes(save(tensors, make_metadata(net)))  # `save_file` lets nobody else read it


def from_onnx(net: nn.Module, path: Path) -> Callable:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return lambda inputs: session.run(None, dict(zip(list_names(net)[0], (x.numpy() for x in inputs))))


def from_ncnn(net: nn.Module, path: Path) -> Callable:
    import ncnn

    model = ncnn.Net()
    for name in ('use_fp16_storage', 'use_fp16_packed', 'use_fp16_arithmetic', 'use_bf16_storage'):
        setattr(model.opt, name, False)
    model.load_param(str(path))
    model.load_model(str(path.with_suffix('.bin')))

    def run(inputs):
        extractor = model.create_extractor()
        mats = [ncnn.Mat(np.ascontiguousarray(x[0].numpy())) for x in inputs]
        for i, mat in enumerate(mats):
            extractor.input(f'in{i}', mat)
        return [np.array(extractor.extract(f'out{i}')[1])[None] for i in range(len(list_names(net)[1]))]

    return run


def from_torchscript(net: nn.Module, path: Path) -> Callable:
    module = torch.jit.load(str(path))
    return lambda inputs: [x.numpy() for x in module(*inputs)]


def from_safetensors(net: nn.Module, path: Path) -> Callable:
    from safetensors.torch import load_file

    other = type(net)(**type(net).read_arguments(load_file(path)))
    other.load_state_dict(load_file(path))
    return lambda inputs: [x.numpy() for x in other.eval().core(*inputs)]


WRITERS = dict(onnx=to_onnx, ncnn=to_ncnn, torchscript=to_torchscript, safetensors=to_safetensors)
READERS = dict(onnx=from_onnx, ncnn=from_ncnn, torchscript=from_torchscript, safetensors=from_safetensors)


@torch.no_grad()
def differences(net: nn.Module, run: Any, size: Any) -> float:
    """Largest difference of a step between PyTorch and `run(inputs) -> outputs`, at a size."""
    inputs = make_example(net, *size)
    return max(
        float(np.abs(np.asarray(ours) - theirs.numpy()).max())
        for ours, theirs in zip(run(inputs), net.core(*inputs))
    )
