"""Training sets as packed clips: the same samples as from folders, and no clip is opened at the start."""

import json
import shutil

import numpy as np
import pytest
from conftest import moving_frames, run_warm, write_clip, write_video

import animevsr
from animevsr.data.degraded_clip_dataset import DegradedClipDataset
from animevsr.errors import MediaError
from animevsr.video import packed
from animevsr.video.clips import list_clips, load_clip, stream_clip
from animevsr.video.numbered import count_frames
from animevsr.video.reader import open_reader


@pytest.fixture
def roots(tmp_path):
    for name, seed in (('a', 0), ('b', 1)):
        write_clip(tmp_path / 'png' / name, moving_frames(9, 150, 200, seed))
    assert animevsr.pack_clips(tmp_path / 'png', tmp_path / 'packed', jobs=2) == {}
    return tmp_path / 'png', tmp_path / 'packed'


def options(root, **more):
    steps = ['blur', 'noise', {'down': 2}, {'down': 2}]
    return dict(dataroot_gt=root, num_frame=4, gt_size=64, degradation=steps, interval=[1, 2], seed=3, **more)


@pytest.mark.parametrize('more', [{}, dict(edge_bias=3), dict(hold=[2])])
def test_the_same_samples(more, roots):
    one, other = (DegradedClipDataset(options(root, **more)) for root in roots)
    for i in (0, 1, 0, 1):
        a, b = one[i], other[i]
        assert a['params'] == b['params'] and (a['gt'] == b['gt']).all() and (a['lq'] == b['lq']).all()


def test_clips_of_another_root_stay(roots, tmp_path):
    """As their files do, which are trained on."""
    write_clip(tmp_path / 'more/c', moving_frames(3, 150, 200))
    assert animevsr.pack_clips(tmp_path / 'more', roots[1], jobs=1) == {}
    assert sorted(packed.read_manifest(roots[1])) == sorted(f'{name}{packed.SUFFIX}' for name in 'abc')
    assert [clip.name for clip in list_clips(roots[1])] == sorted(packed.read_manifest(roots[1]))


def test_a_name_that_another_source_has_is_told(roots, tmp_path):
    """Nothing is overwritten, and nothing left out in silence; nor where a clip has grown since."""
    write_clip(tmp_path / 'more/a', moving_frames(9, 150, 200, seed=7))
    failed = animevsr.pack_clips(tmp_path / 'more', roots[1], jobs=1)
    assert list(failed) == ['a'] and 'is there already, of ' in failed['a'] and 'png/a;' in failed['a']
    assert np.array_equal(load_clip(roots[1] / 'a.b2nd', range(9)), moving_frames(9, 150, 200, 0))
    assert animevsr.pack_clips(roots[0], roots[1], jobs=1) == {}
    shutil.copy(roots[0] / 'b/00000008.png', roots[0] / 'b/00000009.png')
    assert list(animevsr.pack_clips(roots[0], roots[1], jobs=1)) == ['b']


def test_a_clip_that_cannot_be_opened_stops_no_other(tmp_path):
    for name in 'abc':
        write_clip(tmp_path / 'in' / name, moving_frames(3, 40, 40))
    link = tmp_path / 'in/a/00000002.png'
    link.unlink()
    link.symlink_to(tmp_path / 'gone.png')
    assert list(animevsr.pack_clips(tmp_path / 'in', tmp_path / 'out', jobs=1)) == ['a']
    assert sorted(packed.read_manifest(tmp_path / 'out')) == ['b.b2nd', 'c.b2nd']


def test_packed_clips_are_read_as_any_others(roots, tmp_path):
    with open_reader(roots[1] / 'a.b2nd') as reader:
        assert (reader.info.size, reader.info.frame_count, reader.info.fps) == ((150, 200), 9, 24)
        assert np.array_equal([image for image, _ in reader.frames()], moving_frames(9, 150, 200, 0))
    (tmp_path / 'in').mkdir()
    write_video(tmp_path / 'in/v.mkv', moving_frames(4, 40, 40), codec='ffv1', pix_fmt='bgr0')
    animevsr.pack_clips(tmp_path / 'in', tmp_path / 'out', jobs=1)
    with open_reader(tmp_path / 'in/v.mkv') as video, open_reader(tmp_path / 'out/v.b2nd') as reader:
        assert reader.info.fps == video.info.fps
    methods = animevsr.evaluate({'same': roots[1]}, gt=roots[0], metrics=['psnr'])
    assert methods[0].means()['psnr'] > 90


def test_clips_are_what_they_were(roots):
    for clip, source in zip(list_clips(roots[1]), list_clips(roots[0])):
        frames = load_clip(source, range(9))
        assert count_frames(clip) == 9 and np.array_equal(load_clip(clip, range(9)), frames)
        assert np.array_equal(list(stream_clip(clip, 5)), frames[:5])
        found = packed.PackedClip(clip).read([6, 2, 2], (slice(30, 70), slice(100, 190)))
        assert np.array_equal(found, frames[[6, 2, 2], 30:70, 100:190])


def test_nothing_is_opened_at_the_start(roots, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(packed.PackedClip, '__init__', None)
        patch.setattr('animevsr.video.clips.count_frames', None)
        dataset = DegradedClipDataset(options(roots[1]))
    assert dataset.lengths == [9, 9]
    lines = [json.loads(line) for line in (roots[1] / 'manifest.jsonl').read_text().splitlines()]
    assert [(e['clip'], e['frames'], e['width'], e['height']) for e in lines] == [
        ('a.b2nd', 9, 200, 150),
        ('b.b2nd', 9, 200, 150),
    ]
    (roots[1] / 'manifest.jsonl').write_text('{"clip"')
    with pytest.raises(MediaError, match='line 1 is damaged; remove that line, or the file'):
        DegradedClipDataset(options(roots[1]))
    (roots[1] / 'manifest.jsonl').unlink()
    assert DegradedClipDataset(options(roots[1])).lengths == [9, 9]  # they are counted


def test_the_command_resumes_and_says_what_failed(tmp_path):
    write_clip(tmp_path / 'in/a', moving_frames(3, 40, 40))
    write_video(tmp_path / 'in/b.mkv', moving_frames(4, 40, 40), codec='ffv1', pix_fmt='bgr0')
    (tmp_path / 'in/broken.mp4').write_bytes(b'nothing')
    command = ['-m', 'animevsr_cli', 'pack', 'in', '-o', 'out']
    done = run_warm(command, tmp_path, {}, 60)
    assert done.returncode == 1 and 'broken: failed: ' in done.stdout and 'Traceback' not in done.stderr
    before = (tmp_path / 'out/b.b2nd').stat().st_mtime_ns
    (tmp_path / 'out/a.b2nd').unlink()
    (tmp_path / 'in/broken.mp4').unlink()
    done = run_warm(command, tmp_path, {}, 60)
    assert done.returncode == 0 and 'out: packed' in done.stdout
    assert (tmp_path / 'out/b.b2nd').stat().st_mtime_ns == before
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['a.b2nd', 'b.b2nd', 'manifest.jsonl']
    assert np.array_equal(load_clip(tmp_path / 'out/b.b2nd', range(4)), moving_frames(4, 40, 40))


def test_what_cannot_be_read(roots, tmp_path, monkeypatch):
    clip = roots[1] / 'a.b2nd'
    with pytest.raises(MediaError, match='has 9 frames, frame 9 was asked for'):
        packed.PackedClip(clip).read([9])
    bad = tmp_path / 'bad.b2nd'
    bad.write_bytes(clip.read_bytes()[:500])
    with pytest.raises(MediaError, match='bad.b2nd: is no packed clip, or damaged'):
        packed.PackedClip(bad)
    frames = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)]
    with pytest.raises(MediaError, match='frame 1 is 9x8, frame 0 is 8x8'):
        packed.pack(frames, tmp_path / 'x.b2nd')
    assert not (tmp_path / 'x.b2nd').exists()

    def missing(name):
        raise ImportError

    monkeypatch.setattr(packed.importlib, 'import_module', missing)
    with pytest.raises(MediaError, match=r"need the package blosc2; run: pip install '.\[pack\]'"):
        packed.PackedClip(clip)
