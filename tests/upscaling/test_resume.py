"""The shot is the unit: where cuts are, what does not depend on how the work was divided or stopped."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
import warnings

import av
import numpy as np
import pytest
import torch
from conftest import CODEC, REPO, decode, interrupt_when, moving_frames, three_shots, write_clip, write_video

import animevsr
from animevsr.errors import MediaError
from animevsr.upscaling import joining, worker
from animevsr.upscaling.job import Job
from animevsr.upscaling.options import UpscaleOptions
from animevsr.upscaling.workdir import WorkFolder, hash_model
from animevsr.utils.interrupts import at_checks, check
from animevsr.video.clips import load_clip
from animevsr.zoo import find_weights, hash_weights

module = sys.modules['animevsr.upscaling.run']


@pytest.fixture(autouse=True)
def interruptible():
    """What a shell starts in the background is deaf to Ctrl-C, and so would these tests be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_state_starts_anew_at_a_cut(tiny_weights, tmp_path):
    """Bit-identical output after a cut, whatever came before."""
    frames, starts = three_shots()
    outputs = []
    for name, before in (('a', frames[: starts[1]]), ('b', moving_frames(6, 32, 48, seed=9) // 2 + 120)):
        source = write_video(
            tmp_path / f'{name}.mkv',
            np.concatenate([before, frames[starts[1] : starts[2]]]),
            codec='ffv1',
            pix_fmt='bgr0',
        )
        done = animevsr.upscale(source, tmp_path / f'{name}_x4.mkv', tiny_weights, **CODEC)
        assert done.shots == 2
        outputs.append(decode(tmp_path / f'{name}_x4.mkv')[0][len(before) :])
    assert len(outputs[0]) == 3 and np.array_equal(*outputs)
    whole = animevsr.upscale(source, tmp_path / 'whole.mkv', tiny_weights, cuts=False, **CODEC)
    assert whole.shots == 1 and not np.array_equal(decode(tmp_path / 'whole.mkv')[0][6:], outputs[0])


@pytest.mark.slow
def test_killed_at_ten_moments_and_run_again(tiny_weights, tmp_path):
    frames = np.concatenate([three_shots((7, 6, 8), (64, 96))[0]] * 3)
    source = write_video(tmp_path / 'in.mkv', frames, codec='ffv1', pix_fmt='bgr0', sound=True)
    options = dict(codec='h264', backend='torch', threads=1)
    whole = animevsr.upscale(source, tmp_path / 'whole.mkv', tiny_weights, **options)
    assert whole.shots >= 6 and whole.resumed == 0
    (tmp_path / 'z').mkdir()
    output = tmp_path / 'z/out.mkv'
    rng = np.random.default_rng(0)
    moments = np.sort(rng.uniform(0.02, max(0.3, whole.seconds), 10))
    killer = REPO / 'tests/upscaling/killed_and_run_again.py'
    done = subprocess.run(
        [sys.executable, killer, str(source), str(output), str(tiny_weights), *map(str, moments)],
        env={**os.environ, 'PYTHONPATH': str(REPO)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 10, done.stderr[-2000:]
    if sorted(os.listdir(tmp_path / 'z')) != ['out.mkv']:
        summary = animevsr.upscale(source, output, tiny_weights, **options)
        assert summary.frames == len(frames)
    assert sorted(os.listdir(tmp_path / 'z')) == ['out.mkv']  # nothing is left beside it
    for ours, theirs in zip(decode(output), decode(tmp_path / 'whole.mkv')):
        assert np.array_equal(ours, theirs)
    # the network is not trained
    assert all(check.ok for check in animevsr.verify(source, output) if check.name != 'picture')


def interrupted(monkeypatch, after, *arguments, **options):
    """Call `upscale` and stop it in front of shot number `after`."""
    real = module.work

    def stopping(job, plan, shots, upscaler, progress):
        def some():
            for i, shot in enumerate(shots):
                if i == after:
                    raise KeyboardInterrupt
                yield shot

        real(job, plan, some(), upscaler, progress)

    with monkeypatch.context() as patch:
        patch.setattr(module, 'work', stopping)
        with pytest.raises(KeyboardInterrupt):
            animevsr.upscale(*arguments, **options)


@pytest.mark.parametrize('name', ['out.mkv', 'out'])
def test_finished_shots_are_kept(name, tiny_weights, tmp_path, monkeypatch):
    frames, starts = three_shots()
    source = write_clip(tmp_path / 'in', frames)
    animevsr.upscale(source, tmp_path / f'whole_{name}', tiny_weights, **CODEC)
    interrupted(monkeypatch, 2, source, tmp_path / name, tiny_weights, **CODEC)
    assert not (tmp_path / name).exists() and (tmp_path / f'.{name}.work').is_dir()
    done = animevsr.upscale(source, tmp_path / name, tiny_weights, **CODEC)
    assert (done.shots, done.resumed) == (3, 2) and not (tmp_path / f'.{name}.work').exists()

    def read(path):
        return decode(path)[0] if path.suffix else load_clip(path, range(len(frames)))

    assert np.array_equal(read(tmp_path / name), read(tmp_path / f'whole_{name}'))


def test_a_damaged_segment_is_made_anew(tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', three_shots()[0], codec='ffv1', pix_fmt='bgr0')
    interrupted(monkeypatch, 2, source, tmp_path / 'out.mkv', tiny_weights, **CODEC)
    segment = WorkFolder(tmp_path / 'out.mkv').segment(0, True)
    segment.write_bytes(segment.read_bytes()[:500])
    assert animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **CODEC).resumed == 1
    assert len(decode(tmp_path / 'out.mkv')[0]) == 12


@pytest.mark.parametrize('change', ['input', 'weights', 'codec', 'outscale'])
def test_what_was_begun_with_something_else_is_no_part_of_the_result(
    change, tiny_weights, tmp_path, monkeypatch
):
    frames, _ = three_shots()
    source = write_video(tmp_path / 'in.mkv', frames, codec='ffv1', pix_fmt='bgr0')
    interrupted(monkeypatch, 2, source, tmp_path / 'out.mkv', tiny_weights, **CODEC)
    options, weights = dict(CODEC), tiny_weights
    if change == 'input':
        write_video(source, 255 - frames, codec='ffv1', pix_fmt='bgr0')
    elif change == 'weights':
        import torch

        state = torch.load(tiny_weights, weights_only=True)
        state['params']['recurrent_cell.fusion.2.bias'] += 0.1
        torch.save(state, tiny_weights)
    elif change == 'codec':
        options['codec'] = 'h264'
    else:
        options['outscale'] = 2
    with pytest.warns(
        UserWarning, match='out.mkv: was begun with different (input|weights|options); it starts anew'
    ):
        done = animevsr.upscale(source, tmp_path / 'out.mkv', weights, **options)
    assert done.resumed == 0
    animevsr.upscale(source, tmp_path / 'again.mkv', weights, **options)
    assert np.array_equal(decode(tmp_path / 'out.mkv')[0], decode(tmp_path / 'again.mkv')[0])


def test_a_slip_in_the_options_does_not_cost_what_is_done(tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', three_shots()[0], codec='ffv1', pix_fmt='bgr0')
    interrupted(monkeypatch, 2, source, tmp_path / 'out.mkv', tiny_weights, **CODEC)
    for wrong in (dict(outscale=9), dict(device='warp'), dict(weights='nothing')):
        with warnings.catch_warnings(), pytest.raises(ValueError):
            warnings.simplefilter('ignore')
            animevsr.upscale(source, tmp_path / 'out.mkv', **{'weights': tiny_weights, **CODEC, **wrong})
    assert animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **CODEC).resumed == 2


def without(monkeypatch, *names):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name in names else real(name))


def test_sound_can_be_left_out_later(tiny_weights, tmp_path, monkeypatch):
    """Where it was the sound that could not be written, nothing is computed again."""
    frames, _ = three_shots()
    source = write_video(tmp_path / 'in.mkv', frames, codec='ffv1', pix_fmt='bgr0', sound=True)
    real = joining.join

    def fails(*arguments):
        raise MediaError('no sound')

    monkeypatch.setattr(joining, 'join', fails)
    with pytest.raises(MediaError, match='no sound'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **CODEC)
    monkeypatch.setattr(joining, 'join', real)
    done = animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, audio='none', **CODEC)
    assert done.resumed == done.shots == 3
    with av.open(str(tmp_path / 'out.mkv')) as file:
        assert not file.streams.audio


def test_what_computed_the_first_shots_computes_the_others(tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', three_shots()[0], codec='ffv1', pix_fmt='bgr0')
    with monkeypatch.context() as patch:
        without(patch, 'ncnn', 'MNN', 'openvino')
        interrupted(patch, 2, source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1')
    assert WorkFolder(tmp_path / 'out.mkv').read().backend_id['backend'] == 'torch'
    assert animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1').resumed == 2
    animevsr.upscale(source, tmp_path / 'torch.mkv', tiny_weights, **CODEC)
    assert np.array_equal(decode(tmp_path / 'out.mkv')[0], decode(tmp_path / 'torch.mkv')[0])


@pytest.mark.parametrize('name', ['mnn', 'torch'])
def test_where_exact_was_as_fast_the_others_are_exact_too(name, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(
        'animevsr.engine.backends.sort_by_speed', lambda *_: [name, 'int8'] if name == 'mnn' else []
    )
    source = write_video(tmp_path / 'in.mkv', three_shots()[0], codec='ffv1', pix_fmt='bgr0')
    with monkeypatch.context() as patch:
        interrupted(patch, 2, source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1', fast=True)
    assert WorkFolder(tmp_path / 'out.mkv').read().backend_id['backend'] == name
    assert animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1', fast=True).resumed == 2


def test_where_it_is_gone_what_is_done_is_kept(tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', three_shots()[0], codec='ffv1', pix_fmt='bgr0')
    interrupted(monkeypatch, 2, source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1')
    assert WorkFolder(tmp_path / 'out.mkv').read().backend_id['backend'] == 'ncnn'
    without(monkeypatch, 'ncnn', 'MNN', 'openvino')
    with pytest.raises(MediaError, match='2 of 3 shots are done, and .*ncnn: not installed.*to start anew'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1')
    monkeypatch.undo()
    assert animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1').resumed == 2


def test_where_it_is_gone_and_nothing_is_done_it_starts_anew(tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', three_shots()[0], codec='ffv1', pix_fmt='bgr0')
    interrupted(monkeypatch, 0, source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1')
    without(monkeypatch, 'ncnn', 'MNN', 'openvino')
    with pytest.warns(UserWarning, match='starts anew: backend ncnn: not installed'):
        assert animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1').resumed == 0


def test_a_plan_of_the_processor_goes_on_beside_a_gpu(tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', three_shots()[0], codec='ffv1', pix_fmt='bgr0')
    interrupted(monkeypatch, 1, source, tmp_path / 'out.mkv', tiny_weights, codec='ffv1')
    plan = WorkFolder(tmp_path / 'out.mkv').read()
    assert plan.backend_id['backend'] == 'ncnn'
    job = Job(str(source), str(tmp_path / 'out.mkv'), UpscaleOptions.of(weights=str(tiny_weights)))
    loaded = job.load()[0], torch.device('meta')  # stands for what `auto` finds there
    assert job.open_same_upscaler(plan, loaded=loaded).device == torch.device('cpu')


def test_the_faithful_twin_counts_where_there_is_a_strength():
    alone, both = (hash_model('animevsr_x4', strength) for strength in (None, 0.5))
    assert both == f'{alone} {hash_weights(find_weights("animevsr_x4_faithful"))}'


@pytest.mark.parametrize('moment', ['first image', 'fifth image', 'last move', 'removal'])
def test_images_that_were_being_brought_together(moment, tiny_weights, tmp_path, monkeypatch):
    """A run that is killed after all shots are done computes none of them again."""
    source = write_clip(tmp_path / 'in', three_shots()[0])
    real, moves = os.replace, []

    def replace(a, b):
        moves.append(str(b))
        images = [move for move in moves if move.endswith('.png')]
        if (moment, len(images)) in (('first image', 1), ('fifth image', 5)) or (
            moment == 'last move' and str(b).endswith('/out')
        ):
            raise KeyboardInterrupt
        real(a, b)

    with monkeypatch.context() as patch:
        patch.setattr(joining.os, 'replace', replace)
        if moment == 'removal':
            patch.setattr(WorkFolder, 'remove', stop)
        with pytest.raises(KeyboardInterrupt):
            animevsr.upscale(source, tmp_path / 'out', tiny_weights, backend='torch')
    assert (tmp_path / '.out.work').exists() and (tmp_path / 'out').exists() == (moment == 'removal')
    done = animevsr.upscale(source, tmp_path / 'out', tiny_weights, backend='torch')
    assert done.resumed == done.shots == 3 and len(list((tmp_path / 'out').iterdir())) == 12
    assert not (tmp_path / '.out.work').exists()


def stop(*_):
    raise KeyboardInterrupt


def test_both_files_of_an_ncnn_model_are_signed(tmp_path):
    (tmp_path / 'a.param').write_text('graph')
    (tmp_path / 'a.bin').write_bytes(b'weights')
    before = hash_weights(tmp_path / 'a.param')
    (tmp_path / 'a.bin').write_bytes(b'other weights')
    assert hash_weights(tmp_path / 'a.param') != before and hash_weights(tmp_path / 'ncnn:name') == str(
        tmp_path / 'ncnn:name'
    )


def test_two_runs_on_one_output(tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mkv', three_shots()[0])
    other = WorkFolder(tmp_path / 'out.mkv')
    other.lock()
    with pytest.raises(MediaError, match='another run is at work on it'):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **CODEC)
    other.remove()
    assert animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **CODEC).frames == 12


@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_keeps_what_is_done(number, code, tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mp4', np.concatenate([three_shots((20, 20, 20), (48, 64))[0]] * 20))
    command = ['upscale', source, '-o', 'out.mp4', '-n', tiny_weights, '--backend', 'torch']
    errors = interrupt_when(tmp_path / '.out.mp4.work/shot_000002.mkv', command, tmp_path, number, code)
    assert {p.name for p in tmp_path.iterdir()} == {'in.mp4', 'tiny.pth', '.out.mp4.work'}
    assert not list(tmp_path.glob('.out.mp4.work/*partial*'))
    if code == 130:
        assert 'rerun the command to resume' in errors


def test_an_interrupt_while_frames_are_skipped(tiny_weights, tmp_path, monkeypatch):
    """A resumed run decodes up to its shot; Ctrl-C does not wait for that."""
    skipped = []

    class Endless(worker.Source):
        def take(self, numbers):
            while len(skipped) < 10000:
                if len(skipped) == 5:
                    os.kill(os.getpid(), signal.SIGINT)
                skipped.append(1)
                time.sleep(0.005)
                yield None

    monkeypatch.setattr(worker, 'Source', Endless)
    source = write_video(tmp_path / 'in.mkv', three_shots()[0])
    with pytest.raises(KeyboardInterrupt):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **CODEC)
    assert len(skipped) < 5000


class Doomed:
    """Its end is where Ctrl-C comes: Python drops what is raised there."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        for _ in range(100):  # the handler is called between two steps of the interpreter
            pass


def test_an_interrupt_is_not_dropped(tiny_weights, tmp_path, monkeypatch):
    source = write_video(tmp_path / 'in.mkv', three_shots()[0])
    real = worker.fit

    def fit(image, size):
        Doomed()
        return real(image, size)

    monkeypatch.setattr(worker, 'fit', fit)
    with pytest.raises(KeyboardInterrupt):
        animevsr.upscale(source, tmp_path / 'out.mkv', tiny_weights, **CODEC)
    assert not (tmp_path / 'out.mkv').exists() and not list(tmp_path.glob('.out.mkv.work/*partial*'))


def test_signals_wait_for_a_check(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), at_checks():
        signal.raise_signal(signal.SIGINT)
        waited = True
        check()
        waited = False
    assert waited and signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt), at_checks(), at_checks():  # at the end, if nobody checks
        signal.raise_signal(signal.SIGINT)
        waited = 'to the end'
    assert waited == 'to the end'
    with pytest.raises(KeyboardInterrupt), at_checks():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # somebody insists
        waited = 'after two'
    assert waited == 'to the end' and signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match='another error'), at_checks():
        signal.raise_signal(signal.SIGINT)
        raise ValueError('another error')
    with at_checks():
        check()  # nothing is left of it


def test_a_handler_that_lets_a_signal_pass():
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(1))
    try:
        with at_checks():
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
                assert not came
                check()
                check()
                assert came.pop() and not came
        assert not came
    finally:
        signal.signal(signal.SIGTERM, before)
