"""Shots computed as parts of an array job: always the same frames."""

import errno
import threading

import pytest
from conftest import ONE_THREAD, run_python, same_video

import animevsr
from animevsr.errors import MediaError
from animevsr.upscaling import run, workdir
from animevsr.upscaling.joining import join_parts
from animevsr.upscaling.workdir import WorkFolder


def test_parts_share_the_shots_and_the_last_one_joins(six_shots, six_shots_upscaled, tiny_weights, tmp_path):
    out, options = tmp_path / 'out.mkv', dict(weights=tiny_weights, **ONE_THREAD)
    first = animevsr.upscale(six_shots, out, part=(2, 3), **options)
    assert (first.missing, first.shots) == (4, 6) and not out.exists()
    with pytest.raises(MediaError, match='4 of 6 shots missing, the first is number 0'):
        join_parts(out)
    with pytest.raises(
        ValueError, match='was begun with different options; all parts must be given the same ones'
    ):
        animevsr.upscale(six_shots, out, part=(1, 3), **{**options, 'codec': 'h264'})
    said = run_python(
        '-m',
        'animevsr_cli',
        'upscale',
        six_shots,
        '-o',
        out,
        '-n',
        tiny_weights,
        '--codec',
        'ffv1',
        '--backend',
        'torch',
        '--threads',
        1,
        '--part',
        '3/3',
        cwd=tmp_path,
    ).stdout
    assert 'this part is done, 2 of 6 shots left to other parts' in said
    last = animevsr.upscale(six_shots, out, part=(1, 3), **options)
    assert last.missing == 0 and last.resumed == 4 and same_video(out, six_shots_upscaled)
    with pytest.raises(MediaError, match='nothing of it has been begun'):
        join_parts(out)


def test_parts_side_by_side(six_shots, six_shots_upscaled, tiny_weights, tmp_path):
    """All begin at once: one makes the plan, the others wait for it."""
    out, missing = tmp_path / 'out.mkv', []

    def run(number):
        missing.append(animevsr.upscale(six_shots, out, tiny_weights, part=(number, 3), **ONE_THREAD).missing)

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(missing) == 3 and missing.count(0) >= 1 and same_video(out, six_shots_upscaled)


def test_join_after_the_last_part_was_stopped(
    six_shots, six_shots_upscaled, tiny_weights, tmp_path, monkeypatch
):
    out = tmp_path / 'out.mkv'

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, 'join_segments', stop)
        with pytest.raises(KeyboardInterrupt):
            animevsr.upscale(six_shots, out, tiny_weights, part=(1, 1), **ONE_THREAD)
    assert not out.exists()
    assert 'out.mkv' in run_python('-m', 'animevsr_cli', 'join', out, cwd=tmp_path).stdout and same_video(
        out, six_shots_upscaled
    )


def test_a_part_that_comes_after_the_join(six_shots, six_shots_upscaled, tiny_weights, tmp_path):
    """Begun again, or one of more parts than there are shots: there is nothing to do, and nothing is left
    behind.
    """
    out = tmp_path / 'out.mkv'
    for number in (1, 2):
        animevsr.upscale(six_shots, out, tiny_weights, part=(number, 2), **ONE_THREAD)
    with pytest.warns(UserWarning, match='is there already, and kept; remove it to make it anew'):
        done = animevsr.upscale(six_shots, out, tiny_weights, part=(2, 2), outscale=2, **ONE_THREAD)
    assert (done.missing, done.frames) == (0, 24) and same_video(out, six_shots_upscaled)
    for number in (1, 2):
        animevsr.upscale(six_shots, tmp_path / 'images', tiny_weights, part=(number, 2), **ONE_THREAD)
    with pytest.warns(UserWarning, match='images is there already, and kept'):
        done = animevsr.upscale(six_shots, tmp_path / 'images', tiny_weights, part=(2, 2), **ONE_THREAD)
    assert (done.missing, done.frames) == (0, 24) and not list(tmp_path.glob('.*'))


def test_parts_and_other_runs_keep_apart(six_shots, tiny_weights, tmp_path):
    out = tmp_path / 'out.mkv'
    animevsr.upscale(six_shots, out, tiny_weights, part=(1, 2), **ONE_THREAD)
    with WorkFolder(out).lock_part((1, 2)):
        with pytest.raises(MediaError, match='part 1 of 2 is at work on it'):
            animevsr.upscale(six_shots, out, tiny_weights, **ONE_THREAD)
        with pytest.raises(MediaError, match='part 1/2 is at work on it already'):
            animevsr.upscale(six_shots, out, tiny_weights, part=(1, 2), **ONE_THREAD)
    # when nobody is at work, any run may go on
    assert animevsr.upscale(six_shots, out, tiny_weights, **ONE_THREAD).resumed == 3


def test_a_plan_of_another_version_is_one_line(six_shots, tiny_weights, tmp_path):
    out = tmp_path / 'out.mkv'
    animevsr.upscale(six_shots, out, tiny_weights, part=(1, 2), **ONE_THREAD)
    WorkFolder(out).plan_file.write_text('{"made_of": {}}')
    with pytest.raises(MediaError, match='was begun by another version of animevsr; remove'):
        join_parts(out)


def test_a_folder_without_locks(six_shots, six_shots_upscaled, tiny_weights, tmp_path, monkeypatch):
    """Some network folders know none: one run alone goes on, parts do not."""

    def acquire(self, *_, **__):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(workdir.FileLock, 'acquire', acquire)
    with pytest.raises(MediaError, match='knows no locks, which parts need'):
        animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, part=(1, 2), **ONE_THREAD)
    with pytest.warns(UserWarning, match='knows no locks'):
        animevsr.upscale(six_shots, tmp_path / 'out.mkv', tiny_weights, **ONE_THREAD)
    assert same_video(tmp_path / 'out.mkv', six_shots_upscaled)
