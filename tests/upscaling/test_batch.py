"""Folders of videos, and of images."""

import os
import warnings
from fractions import Fraction

import cv2
import numpy as np
import pytest
from conftest import CODEC, decode, moving_frames, run_python, write_clip, write_video

import animevsr
from animevsr.errors import CheckpointError, MediaError
from animevsr.upscaling.batch import Note, choose_targets


def test_a_folder_of_videos(tiny_weights, tmp_path):
    root = tmp_path / 'in'
    (root / 'season 2').mkdir(parents=True)
    for name in ('a.mp4', 'a.avi', 'season 2/b.mkv'):
        write_video(root / name, moving_frames(3, 32, 48))
    (root / 'broken.mp4').write_bytes(b'nothing')
    (root / 'notes.txt').write_text('not a video')
    cv2.imwrite(str(root / 'cover.jpg'), np.zeros((8, 8, 3), np.uint8))  # does not make it a folder of frames
    done = run_python(
        '-m',
        'animevsr_cli',
        'upscale',
        root,
        '-o',
        tmp_path / 'out',
        '-n',
        tiny_weights,
        '--backend',
        'torch',
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1 and '3 done, 1 failed' in done.stdout and 'Traceback' not in done.stderr
    assert 'broken.mp4: failed: ' in done.stdout and 'not readable as a video' in done.stdout
    found = sorted(
        str(p.relative_to(tmp_path / 'out')) for p in (tmp_path / 'out').rglob('[!.]*') if p.is_file()
    )
    assert found == ['a.avi.mkv', 'a.mp4.mkv', 'season 2/b.mkv']
    (root / 'broken.mp4').unlink()
    again = animevsr.upscale_folder(root, tmp_path / 'out', weights=tiny_weights, backend='torch')
    assert set(again.values()) == {'was done already'} and len(again) == 3
    (tmp_path / 'empty').mkdir()
    with pytest.raises(MediaError, match='holds no images and no videos'):
        animevsr.upscale_folder(tmp_path / 'empty', tmp_path / 'out')
    write_clip(tmp_path / 'empty/frames', moving_frames(2, 16, 24))
    with pytest.raises(MediaError, match=r'holds no videos \(images are in .*frames; name that folder\)'):
        animevsr.upscale_folder(tmp_path / 'empty', tmp_path / 'out')


def test_other_options_are_not_done_already(tiny_weights, tmp_path):
    """What is there is kept, and said to be another one."""
    (tmp_path / 'in').mkdir()
    source, options = tmp_path / 'in/[Group] a.avi', dict(weights=tiny_weights, **CODEC)
    write_video(source, moving_frames(3, 32, 48))
    assert animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out', **options) == {
        '[Group] a.avi': 'done, 3 frames'
    }
    before = (tmp_path / 'out/[Group] a.mkv').read_bytes()

    def again(**more):
        (said,) = animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out', **options, **more).values()
        return said

    assert again() == again(jobs=2) == 'was done already'
    assert 'made with different outscale, grain; remove it' in again(outscale=2, grain=5)
    (tmp_path / 'in/queue.toml').write_text('["[Group] a.avi"]\noutscale = 2\n')
    assert 'made with different outscale; remove it' in again()
    (tmp_path / 'in/queue.toml').write_text('["[Group] a.avi"]\nskip = true\n')
    assert again() == 'left out, by queue.toml'
    (tmp_path / 'in/queue.toml').unlink()
    write_video(source, moving_frames(4, 32, 48))
    assert 'made with different source; remove it' in again()
    assert (tmp_path / 'out/[Group] a.mkv').read_bytes() == before
    # of an earlier version, which did not say what was made with what
    (tmp_path / 'out/.animevsr_sources.json').write_text('{"[Group] a.mkv": "[Group] a.avi"}')
    assert again(outscale=2) == 'was done already'


def test_a_video_that_took_the_place_of_another_one(tiny_weights, tmp_path):
    """Of the same length, and after a call that did not see the first one any more."""
    (tmp_path / 'in').mkdir()
    frames, options = moving_frames(3, 32, 48), dict(weights=tiny_weights, **CODEC)
    for name in 'ab':
        write_video(tmp_path / f'in/{name}.avi', frames)
    folders = tmp_path / 'in', tmp_path / 'out'
    animevsr.upscale_folder(*folders, **options)
    old = (tmp_path / 'in/a.avi').read_bytes()
    (tmp_path / 'in/a.avi').unlink()
    animevsr.upscale_folder(*folders, **options)
    (tmp_path / 'in/a.avi').write_bytes(old[:-1] + bytes([old[-1] ^ 1]))
    done = animevsr.upscale_folder(*folders, **options)
    assert 'made with different source; remove it' in done['a.avi'] and done['b.avi'] == 'was done already'


def test_weights_of_one_video_that_are_not_there(tiny_weights, tmp_path):
    (tmp_path / 'in').mkdir()
    for name in 'abc':
        write_video(tmp_path / f'in/{name}.avi', moving_frames(3, 32, 48))
    (tmp_path / 'in/queue.toml').write_text('["b.avi"]\nweights = "animesr_v9"\n')
    options = dict(weights=tiny_weights, **CODEC)
    found = dict(animevsr.upscaling.estimate_folder(tmp_path / 'in', tmp_path / 'out', **options))
    assert 'animesr_v9' in found[tmp_path / 'in/b.avi'] and len(found) == 3
    done = animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out', **options)
    assert 'animesr_v9' in done.pop('b.avi') and set(done.values()) == {'done, 3 frames'}
    with pytest.raises(CheckpointError):
        animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'new', **options | dict(weights='animesr_v9'))


def test_results_of_another_call_are_no_input(tiny_weights, tmp_path):
    write_video(tmp_path / 'a.avi', moving_frames(3, 32, 48))
    for name in ('first', 'second'):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            done = animevsr.upscale_folder(tmp_path, tmp_path / name, weights=tiny_weights, **CODEC)
        assert done == {'a.avi': 'done, 3 frames'}
    assert any('first is left out: it holds results of another call' in str(w.message) for w in said)
    refused = run_python('-m', 'animevsr_cli', 'upscale', '.', '-o', '-', cwd=tmp_path, check=False)
    assert refused.returncode == 1 and 'a folder of videos cannot go into a pipe' in refused.stderr


def test_names_that_some_disks_hold_for_one(tmp_path):
    videos = [tmp_path / name for name in ('A.avi', 'a.mp4', 'b.avi')]
    targets = choose_targets(videos, tmp_path, tmp_path / 'out', '.mkv', Note(tmp_path / 'out'))
    assert [target.name for _, target in targets] == ['A.avi.mkv', 'a.mp4.mkv', 'b.mkv']


def test_images_keep_their_rate(tiny_weights, tmp_path):
    source = write_clip(tmp_path / 'in', moving_frames(4, 16, 24))
    animevsr.upscale(source, tmp_path / 'o.mp4', tiny_weights, fps='23.976', backend='torch')
    assert list(decode(tmp_path / 'o.mp4')[1]) == [Fraction(1001 * i, 24000) for i in range(4)]
    animevsr.upscale(source, tmp_path / 'frames', tiny_weights, backend='torch')
    assert len(list((tmp_path / 'frames').iterdir())) == 4 and cv2.imread(
        str(tmp_path / 'frames/00000003.png')
    ).shape == (64, 96, 3)


def test_a_folder_keeps_the_names_that_it_gave(tiny_weights, tmp_path):
    """A video that comes later does not take the result of another for its own."""
    (tmp_path / 'in').mkdir()
    write_video(tmp_path / 'in/a.mp4', moving_frames(3, 32, 48))
    assert animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out', weights=tiny_weights, **CODEC) == {
        'a.mp4': 'done, 3 frames'
    }
    write_video(tmp_path / 'in/a.avi', moving_frames(4, 32, 48))
    for expected in (
        {'a.avi': 'done, 4 frames', 'a.mp4': 'was done already'},
        {'a.avi': 'was done already', 'a.mp4': 'was done already'},
    ):
        assert (
            animevsr.upscale_folder(tmp_path / 'in', tmp_path / 'out', weights=tiny_weights, **CODEC)
            == expected
        )
    assert len(decode(tmp_path / 'out/a.mkv')[0]) == 3 and len(decode(tmp_path / 'out/a.avi.mkv')[0]) == 4


def test_what_of_a_folder_is_not_upscaled_is_told(tiny_weights, tmp_path):
    write_clip(tmp_path / 'in', moving_frames(2, 32, 48))
    (tmp_path / 'in/season').mkdir()
    write_video(tmp_path / 'in/season/a.mkv', moving_frames(2, 32, 48))
    with pytest.warns(
        UserWarning, match='holds images, which are upscaled, and videos in folders, which are not'
    ):
        assert not animevsr.upscaling.is_batch(tmp_path / 'in')
    (tmp_path / 'linked').mkdir()
    os.symlink(tmp_path / 'in/season', tmp_path / 'linked/there')
    os.symlink(tmp_path / 'linked', tmp_path / 'linked/itself')
    assert list(
        animevsr.upscale_folder(tmp_path / 'linked', tmp_path / 'out', weights=tiny_weights, **CODEC)
    ) == ['there/a.mkv']
    with pytest.raises(MediaError, match='is the name of a video, but .* is a folder of videos'):
        animevsr.upscale_folder(tmp_path / 'linked', tmp_path / 'out.mkv', weights=tiny_weights, **CODEC)
