"""The examples run; the one of a foreign project in test_training."""

import runpy
import sys

import cv2
import numpy as np
import onnxruntime
import torch
from conftest import REPO, moving_frames, write_clip, write_video

import animevsr
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.engine.upscaler import Upscaler


def example(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
    return runpy.run_path(str(REPO / 'examples' / name), run_name='__main__')


def test_upscale(tmp_path, monkeypatch, capsys, tiny_weights):
    source = write_video(tmp_path / 'in.mkv', moving_frames(3, 32, 48), sound=True)
    monkeypatch.setattr(
        animevsr,
        'upscale',
        lambda *a, real=animevsr.upscale, **k: real(*a, weights=tiny_weights, backend='torch', **k),
    )
    example(monkeypatch, 'upscale.py', source, tmp_path / 'out.mkv')
    said = capsys.readouterr().out
    assert '3 frames, 192x128' in said and 'ok   frames' in said


def test_own_degradation(tmp_path, monkeypatch, capsys):
    write_clip(tmp_path / 'clip', moving_frames(3, 64, 96))
    names = example(monkeypatch, 'own_degradation.py', tmp_path / 'clip', tmp_path / 'out.png')
    assert (
        cv2.imread(str(tmp_path / 'out.png')).shape == (16, 24, 3)
        and '(3, 3, 16, 24)' in capsys.readouterr().out
    )
    clip = torch.rand(2, 3, 16, 24)
    shifted = names['ColourBleed']().apply(clip, dict(shift=0))
    assert torch.allclose(shifted.mean(1), clip.mean(1), atol=0.05) and not torch.allclose(
        shifted, clip, atol=0.05
    )


def test_onnx_loop(tmp_path, monkeypatch):
    """The loop without this package gives what the engine gives."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1)).eval()
    torch.save(dict(params=net.state_dict()), 'net.pth')
    animevsr.export('net.pth', 'step.onnx')
    frames = moving_frames(3, 24, 32)
    files = sorted(write_clip(tmp_path / 'in', frames).iterdir())
    names = example(monkeypatch, 'onnx_loop.py', 'step.onnx', *files, '-o', 'out')
    ours = np.stack(list(names['upscale'](frames, onnxruntime.InferenceSession('step.onnx'))))
    expected = np.stack(list(Upscaler(net, torch.device('cpu'))(frames)))
    assert np.abs(ours.astype(int) - expected).max() <= 1
    assert [p.name for p in sorted((tmp_path / 'out').iterdir())] == [f.name for f in files]
