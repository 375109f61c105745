"""Evaluation: values against the metrics themselves, several kinds of methods, tables."""

import csv
import io
import json
import math
import shutil
import sys

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics.psnr_ssim import calculate_psnr_pt
from conftest import moving_frames, write_clip, write_video
from torch.nn import functional as F

import animevsr
import animevsr_cli
from animevsr.errors import MediaError
from animevsr.evaluation.evaluator import nanmean
from animevsr.evaluation.tables import markdown, to_csv, to_json, write_table
from animevsr.metrics.clip_metric import calculate_cut_bleed_clip, calculate_flicker_clip
from animevsr.metrics.line_width_metric import calculate_line_width_pt
from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.tensors import to_images, to_tensor


@pytest.fixture
def clips(tmp_path):
    """Two clips, one with a cut: gt 64x96, lq a quarter of it, and results that are the ground truth with
    noise.
    """
    rng, gts = np.random.default_rng(0), {}
    for name in 'ab':
        gt = moving_frames(5, 64, 96, seed=ord(name))
        gt[:, :, :40] = gt[:1, :, :40]  # held
        if name == 'b':
            gt[3:] = 255 - gt[3:]
        gts[name] = gt
        noisy = (gt + rng.normal(0, 5, gt.shape)).clip(0, 255).round().astype(np.uint8)
        for root, frames in (('gt', gt), ('lq', to_images(F.avg_pool2d(to_tensor(gt), 4))), ('noisy', noisy)):
            write_clip(tmp_path / root / name, frames)
    return gts


def test_values_are_those_of_the_metrics(clips, tmp_path):
    names = ['psnr', 'line_width', 'flicker', 'cut_bleed']
    roots = {'perfect': tmp_path / 'gt', 'noisy': tmp_path / 'noisy'}
    perfect, noisy = animevsr.evaluate(roots, gt=tmp_path / 'gt', metrics=names, every=2, device='cpu')
    assert perfect.values['a']['flicker'] == 0 and perfect.values['b']['cut_bleed'] == pytest.approx(
        0, abs=1e-6
    )
    assert math.isnan(noisy.values['a']['cut_bleed']) and noisy.params is None and noisy.runtime is None
    for name, gt in clips.items():
        results = [
            animevsr.video.images.read_image(path) for path in sorted((tmp_path / 'noisy' / name).iterdir())
        ]
        x, y = to_tensor(np.stack(results)), to_tensor(gt)
        expected = dict(
            psnr=calculate_psnr_pt(x[::2], y[::2], 4).mean().item(),
            line_width=calculate_line_width_pt(x[::2]).mean().item(),
            flicker=calculate_flicker_clip(x, y),
            cut_bleed=calculate_cut_bleed_clip(x, y),
        )
        assert noisy.values[name] == pytest.approx(expected, rel=1e-4, nan_ok=True), name
    assert noisy.means()['psnr'] == pytest.approx(np.mean([noisy.values[n]['psnr'] for n in 'ab']))
    assert noisy.means()['cut_bleed'] == noisy.values['b']['cut_bleed']  # the other clip has none


def test_networks_and_bicubic_in_one_run(clips, tiny_weights, tmp_path):
    bicubic, net, done = animevsr.evaluate(
        {'bicubic': 'bicubic', 'net': tiny_weights, 'done': tmp_path / 'noisy'},
        lq=tmp_path / 'lq',
        gt=tmp_path / 'gt',
        metrics=['psnr'],
        every=2,
        device='cpu',
    )
    lq = F.avg_pool2d(to_tensor(clips['a']), 4)
    expected = matlab_resize((lq * 255).round() / 255, 64, 96).clamp(0, 1)[::2]
    expected = calculate_psnr_pt((expected * 255).round() / 255, to_tensor(clips['a'])[::2], 4).mean().item()
    assert bicubic.values['a']['psnr'] == pytest.approx(expected, abs=1e-3)
    loaded = animevsr.load_network(tiny_weights)
    assert net.params == pytest.approx(sum(p.numel() for p in loaded.parameters()) / 1e6) and net.runtime > 0
    with torch.no_grad():
        out = loaded((lq * 255).round()[None] / 255)[0].clamp(0, 1)[::2]
    expected = calculate_psnr_pt((out * 255).round() / 255, to_tensor(clips['a'])[::2], 4).mean().item()
    assert net.values['a']['psnr'] == pytest.approx(expected, abs=1e-2)
    assert done.values['a']['psnr'] > bicubic.values['a']['psnr']


def test_without_a_ground_truth(clips, tmp_path):
    """Videos as results; bleeding is measured against the input."""
    for name, gt in clips.items():
        bleeding = gt.copy()
        bleeding[3] = (0.6 * gt[3] + 0.4 * gt[2]).round()
        (tmp_path / 'videos').mkdir(exist_ok=True)
        write_video(tmp_path / f'videos/{name}.mkv', bleeding, codec='ffv1', pix_fmt='bgr0')
    names = ['line_width', 'flicker', 'cut_bleed']
    (method,) = animevsr.evaluate({'v': tmp_path / 'videos'}, lq=tmp_path / 'lq', metrics=names, device='cpu')
    assert method.values['b']['cut_bleed'] == pytest.approx(0.2, abs=0.02) and math.isnan(
        method.values['a']['cut_bleed']
    )
    (alone,) = animevsr.evaluate(
        {'v': tmp_path / 'videos'}, metrics=['line_width', 'cut_bleed'], device='cpu'
    )
    assert alone.values['b']['line_width'] == method.values['b']['line_width'] and math.isnan(
        alone.values['b']['cut_bleed']
    )


def test_tables_hold_every_value(clips, tmp_path):
    methods = animevsr.evaluate(
        {'one': tmp_path / 'gt', 'two': tmp_path / 'noisy'},
        gt=tmp_path / 'gt',
        metrics=['psnr_y', 'cut_bleed'],
        device='cpu',
    )
    text = markdown(methods)
    assert (
        '| two | - | - | ' in text
        and f'{methods[1].values["b"]["psnr_y"]:.2f}' in text
        and '| b | 100.00 | ' in text
    )
    rows = list(csv.DictReader(io.StringIO(to_csv(methods))))
    assert len(rows) == 2 * 3 * 2 and {row['clip'] for row in rows} == {'a', 'b', 'mean'}
    assert [
        row['value']
        for row in rows
        if row['method'] == 'two' and row['clip'] == 'a' and row['metric'] == 'cut_bleed'
    ] == ['']
    data = json.loads(to_json(methods))
    assert (
        data[1]['clips']['b']['psnr_y'] == methods[1].values['b']['psnr_y']
        and data[0]['clips']['a']['cut_bleed'] is None
    )
    assert data[0]['clips']['b']['psnr_y'] == 100
    for suffix in ('md', 'csv', 'json'):
        write_table(methods, tmp_path / f't.{suffix}')
        assert (tmp_path / f't.{suffix}').stat().st_size > 100


def test_the_command(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    animevsr_cli.main(
        [
            'evaluate',
            'noisy',
            'cubic=bicubic',
            '--lq',
            'lq',
            '--gt',
            'gt',
            '--metrics',
            'psnr',
            '-o',
            't.csv',
            't.json',
            '--device',
            'cpu',
        ]
    )
    out = capsys.readouterr().out
    (tmp_path / 'noisy').rename(tmp_path / 'bicubic')  # a folder of that name is a folder
    animevsr_cli.main(['evaluate', 'bicubic', '--gt', 'gt', '--metrics', 'psnr', '--device', 'cpu'])
    assert '| bicubic | - | - |' in capsys.readouterr().out
    assert (
        '| noisy |' in out
        and '| cubic |' in out
        and (tmp_path / 't.csv').exists()
        and (tmp_path / 't.json').exists()
    )


def test_bad_input_is_one_line(clips, tiny_vqgan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in 'ab':
        write_clip(tmp_path / 'short' / name, moving_frames(3, 64, 96))
        write_clip(tmp_path / 'small' / name, moving_frames(5, 32, 96))
        write_clip(tmp_path / 'long' / name, moving_frames(7, 64, 96))
    write_clip(tmp_path / 'one/a', moving_frames(5, 64, 96))
    for arguments, message in (
        (('noisy', '--metrics', 'psnr'), 'compares with a ground truth'),
        (('noisy', '--metrics', 'psn', '--gt', 'gt'), "did you mean 'psnr'"),
        (('bicubic',), 'needs low-quality clips'),
        (('gone', '--lq', 'lq'), 'gone: no such folder of results, and no such weights'),
        (('short', '--gt', 'gt'), 'short, a: has 3 frames, the ground truth has 5'),
        (('small', '--gt', 'gt'), 'is 96x32, the ground truth is 96x64'),
        (('noisy', 'noisy', '--gt', 'gt'), 'two methods are named noisy'),
        (('noisy', '--metrics', 'pyiqa:maniqa'), 'pyiqa is not installed'),
        ((tiny_vqgan, '--lq', 'lq'), 'which does not upscale'),
        (('noisy', '--every', 0, '--gt', 'gt'), 'every must be'),
        (('x=short', '--gt', 'gt', '--metrics', 'line_width'), 'x, a: has 3 frames, the ground truth has 5'),
        (('one', '--gt', 'gt'), "one: has no clip 'b', which gt has"),
        (('gt', 'short', '--metrics', 'line_width'), 'short, a: has 3 frames, gt has 5'),
        (
            ('short', '--lq', 'lq', '--metrics', 'line_width'),
            'ends after 3 frames, the low-quality clip has more',
        ),
        (('long', '--lq', 'lq', '--metrics', 'line_width'), 'has more frames than the low-quality clip, 5'),
        (('noisy', '--gt', 'gt', '-o', 'none/t.md'), 'its folder does not exist'),
        (('noisy', '--gt', 'gt', '-o', 't.txt'), 'written as .md, .csv or .json'),
    ):
        with pytest.raises(SystemExit) as stopped:
            animevsr_cli.main(['evaluate', *map(str, arguments), '--device', 'cpu'])
        assert message in str(stopped.value) and len(str(stopped.value).splitlines()) == 1, (
            arguments,
            stopped.value,
        )
    with pytest.raises(MediaError, match='written as .md, .csv or .json'):
        write_table([], tmp_path / 't.txt')


def test_mean_of_what_is_there():
    assert nanmean([1, math.nan, 3]) == 2 and math.isnan(nanmean([])) and math.isnan(nanmean([math.nan]))


def test_clips_of_one_name_are_refused(clips, tmp_path):
    write_video(tmp_path / 'noisy/a.mkv', moving_frames(3, 32, 32))
    with pytest.raises(MediaError, match=r'a.mkv: has the name of .*noisy/a; a clip is known by its name'):
        animevsr.evaluate({'noisy': tmp_path / 'noisy'}, gt=tmp_path / 'gt', metrics=['psnr'], device='cpu')


def test_what_does_not_fit_is_told_before_the_work(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules['animevsr.evaluation.evaluator'], '_measure', None)
    (tmp_path / 'fewer').mkdir()
    shutil.copytree(tmp_path / 'noisy/a', tmp_path / 'fewer/a')
    shutil.copytree(tmp_path / 'noisy/b', tmp_path / 'fewer/b')
    sorted((tmp_path / 'fewer/b').iterdir())[-1].unlink()
    for methods, message in (
        (
            {'one': tmp_path / 'noisy', 'fewer': tmp_path / 'fewer'},
            'fewer, b: has .* frames, the ground truth has',
        ),
        ({'one': tmp_path / 'noisy', 'small': tmp_path / 'lq'}, 'small, a: is .*, the ground truth is '),
    ):
        with pytest.raises(MediaError, match=message):
            animevsr.evaluate(methods, gt=tmp_path / 'gt', metrics=['psnr'], device='cpu')


def test_one_black_frame_does_not_hide_the_others(tmp_path):
    for root, value in (('gt', 0), ('other', 9)):
        frames = moving_frames(4, 40, 48) + np.uint8(value)
        frames[2] = 0  # a fade to black, met exactly
        write_clip(tmp_path / root / 'a', frames)
    (method,) = animevsr.evaluate(
        {'x': tmp_path / 'other'}, gt=tmp_path / 'gt', metrics=['psnr'], every=1, device='cpu'
    )
    one = 20 * np.log10(255 / 9)
    assert one < method.values['a']['psnr'] < (3 * one + 100) / 4 + 1


def test_lost_lines_are_not_sharp_ones(tmp_path):
    """Means are over what every method has a value for."""
    sharp = np.zeros((4, 40, 48, 3), np.uint8)
    sharp[:, :, 20:] = 200
    wide = cv2.blur(sharp[0], (9, 9))[None].repeat(4, 0)
    flat = np.full_like(sharp, 90)
    for clip, ours, theirs in (('a', sharp, sharp), ('b', wide, flat), ('c', wide, [*flat[:2], *sharp[2:]])):
        write_clip(tmp_path / 'keeps' / clip, ours)
        write_clip(tmp_path / 'loses' / clip, np.stack(theirs))
    keeps, loses = animevsr.evaluate(
        {name: tmp_path / name for name in ('keeps', 'loses')}, metrics=['line_width'], every=1, device='cpu'
    )
    width = keeps.values['b']['line_width']
    assert width > 5 and math.isnan(loses.values['b']['line_width'])
    assert keeps.values['c']['line_width'] == pytest.approx(width)
    assert keeps.means()['line_width'] == pytest.approx((1 + width) / 2)  # of a and c
    assert loses.means()['line_width'] == pytest.approx(1)
    assert 'line_width: mean of the clips that have a value for every method, without b' in markdown(
        [keeps, loses]
    )


def test_a_method_may_be_named_as_a_root(tmp_path):
    for root, clips in (('gt', 'ab'), ('up/gt', 'a')):
        for clip in clips:
            write_clip(tmp_path / root / clip, moving_frames(1, 40, 48))
    with pytest.raises(MediaError, match="up/gt: has no clip 'b', which .*gt has"):
        animevsr.evaluate({'gt': tmp_path / 'up/gt'}, gt=tmp_path / 'gt', device='cpu')


def test_a_clip_that_is_too_small_costs_no_other(tmp_path):
    write_clip(tmp_path / 'x/a', moving_frames(1, 96, 192))
    write_clip(tmp_path / 'x/z', moving_frames(1, 8, 8))
    metrics = ['niqe', 'psnr', 'ssim_y']
    with pytest.warns(UserWarning) as told:
        (method,) = animevsr.evaluate({'x': tmp_path / 'x'}, None, tmp_path / 'x', metrics, device='cpu')
    assert all(math.isnan(value) for value in method.values['z'].values())
    assert not any(math.isnan(value) for value in method.values['a'].values())
    assert any('x, z: NIQE needs two blocks' in str(w.message) for w in told)
    assert any('x, z: SSIM needs images of 19 pixels each way, not 8x8' in str(w.message) for w in told)


def test_psnr_is_basicsrs():
    from basicsr.metrics import calculate_psnr

    module = sys.modules['animevsr.evaluation.evaluator']
    a, b = moving_frames(2, 40, 48)
    close = a.copy()
    close[20, 20, 1] ^= 1
    for other in (b, close):
        for name, luma in (('psnr', False), ('psnr_y', True)):
            ours = module.FRAME_METRICS[name][0](*(to_tensor(image[None]) for image in (a, other)))
            assert abs(ours - calculate_psnr(a[..., ::-1], other[..., ::-1], 4, test_y_channel=luma)) < 1e-3
    assert module.FRAME_METRICS['psnr'][0](*[to_tensor(a[None])] * 2) == 100


def test_networks_start_anew_at_cuts(tiny_weights, tmp_path):
    """As `upscale` does: its results are measured, not others."""
    frames = np.concatenate([moving_frames(5, 32, 48), 255 - moving_frames(5, 32, 48, seed=3)[:, ::-1]])
    write_clip(tmp_path / 'lq/a', frames)
    (tmp_path / 'up').mkdir()
    animevsr.upscale(tmp_path / 'lq/a', tmp_path / 'up/a', tiny_weights, backend='torch', device='cpu')
    net, images = animevsr.evaluate(
        {'net': tiny_weights, 'images': tmp_path / 'up'},
        tmp_path / 'lq',
        metrics=['line_width', 'flicker'],
        every=1,
        device='cpu',
    )
    assert net.values == images.values
