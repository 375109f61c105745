"""The dataset of low-quality frames: what it finds, how it augments, and what it refuses."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from conftest import moving_frames, write_clip, write_video
from containers import Container, ffmpeg, make

from animevsr.data.sampling import Draw
from animevsr.errors import MediaError
from animevsr.video.numbered import count_decodable, count_frames

PLAIN = dict(rescale_prob=0, use_hflip=False, use_vflip=False, channel_shuffle=0, rgb_shift_prob=0)


def frames_of(root, **options):
    return build_dataset(
        {
            'name': 'lq',
            'type': 'LowQualityFrameDataset',
            'dataroot_lq': str(root),
            'crop_size': 24,
            'phase': 'train',
            'scale': 1,
            **options,
        }
    )


@pytest.fixture
def root(tmp_path):
    """Frames in the root itself, in folders of several sizes, in a video; a hidden and a half-made folder
    beside them.
    """
    write_clip(tmp_path / 'lq', moving_frames(2, 32, 40))
    write_clip(tmp_path / 'lq/b/deep', moving_frames(3, 48, 64, seed=1), suffix='.jpg')
    write_clip(tmp_path / 'lq/a/deep', moving_frames(1, 48, 64, seed=3), suffix='.jpg')
    write_video(
        tmp_path / 'lq/c.mkv', moving_frames(4, 32, 48, seed=2), codec='libx264rgb', pix_fmt='rgb24', crf=0
    )
    for name in ('.hidden', 'half.partial'):
        write_clip(tmp_path / 'lq' / name, moving_frames(1, 8, 8))
    (tmp_path / 'lq/notes.txt').write_text('not a frame')
    return tmp_path / 'lq'


def test_finds_folders_at_any_depth_and_videos(root):
    whole = frames_of(root, phase='val')
    assert len(whole) == 2 + 1 + 3 + 4
    samples = [whole[i] for i in range(len(whole))]
    assert {tuple(s['lq'].shape) for s in samples} == {(3, 32, 40), (3, 48, 64), (3, 32, 48)}
    assert len({s['lq_path'] for s in samples}) == 10
    images = {s['lq_path']: (s['lq'] * 255).round().byte().permute(1, 2, 0).numpy() for s in samples}
    assert np.array_equal(images['00000001.png'], moving_frames(2, 32, 40)[1])
    assert np.array_equal(images['c.mkv_00000003.png'], moving_frames(4, 32, 48, seed=2)[3])


def test_without_augmentation_a_crop_is_a_part_of_the_frame(root):
    dataset = frames_of(root, **PLAIN)
    for number in range(20):
        index = number % len(dataset)
        crop = dataset[Draw(index, number)]['lq']
        frame = frames_of(root, phase='val')[index]['lq']
        assert crop.shape == (3, 24, 24)
        windows = frame.unfold(1, 24, 1).unfold(2, 24, 1).permute(1, 2, 0, 3, 4)
        assert (windows == crop).all((2, 3, 4)).sum() >= 1


def test_draws_depend_on_their_number_alone(root):
    one, two, other = frames_of(root), frames_of(root), frames_of(root, seed=1)
    for number in range(6):
        assert torch.equal(one[Draw(3, number)]['lq'], two[Draw(3, number)]['lq'])
    assert not torch.equal(one[Draw(3, 0)]['lq'], one[Draw(3, 1)]['lq'])
    assert not torch.equal(one[Draw(3, 0)]['lq'], other[Draw(3, 0)]['lq'])


@pytest.fixture
def gradient(tmp_path):
    """One frame: red grows to the right by 2 a pixel, green downwards by 3, blue is 100."""
    y, x = np.mgrid[0:64, 0:64]
    write_clip(
        tmp_path / 'g', np.stack([2 * x + 40, 3 * y + 40, np.full_like(x, 100)], -1).astype(np.uint8)[None]
    )
    return tmp_path / 'g'


def slopes(crop):
    """Mean change per pixel of each channel to the right and downwards, in levels."""
    return (crop.diff(dim=2).mean((1, 2)) * 255).tolist(), (crop.diff(dim=1).mean((1, 2)) * 255).tolist()


def test_flips_and_channels(gradient):
    seen = set()
    dataset = frames_of(
        gradient, **{**PLAIN, 'use_hflip': True, 'use_vflip': True, 'use_rot': True, 'channel_shuffle': 0.5}
    )
    for number in range(400):
        right, down = slopes(dataset[Draw(0, number)]['lq'])
        seen.add(tuple(round(v) for v in (*right, *down)))
    # 8 orientations times 6 orders of the channels
    assert len(seen) == 48


def test_rescaling(gradient):
    """Of the published code: -20 % to +100 %, of three frames in ten."""
    dataset = frames_of(gradient, **{key: value for key, value in PLAIN.items() if key != 'rescale_prob'})
    factors = np.array([2 / slopes(dataset[Draw(0, number)]['lq'])[0][0] for number in range(400)])
    changed = factors[np.abs(factors - 1) > 0.02]
    assert 0.2 < len(changed) / 400 < 0.4
    assert 0.76 < changed.min() < 0.95 and 1.7 < changed.max() < 2.2


def test_rgb_shift(gradient):
    """Of the published code: each channel by up to 20 levels, of three frames in ten."""
    dataset = frames_of(gradient, **{key: value for key, value in PLAIN.items() if key != 'rgb_shift_prob'})
    blue = np.array([dataset[Draw(0, number)]['lq'][2].mean().item() * 255 - 100 for number in range(400)])
    shifted = blue[np.abs(blue) > 0.4]
    assert 0.2 < len(shifted) / 400 < 0.4
    assert (
        np.abs(blue).max() <= 20.5 and shifted.max() > 15 and shifted.min() < -15 and abs(shifted.mean()) < 4
    )


def test_frames_are_never_shrunk_below_the_crop(tmp_path):
    write_clip(tmp_path / 'small', moving_frames(1, 24, 30))
    dataset = frames_of(tmp_path / 'small', rescale=[0.25, 0.5], rescale_prob=1)
    assert all(dataset[Draw(0, n)]['lq'].shape == (3, 24, 24) for n in range(20))


def test_bad_folders_are_named(tmp_path):
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(MediaError, match='empty: holds no images and no videos'):
        frames_of(empty)
    with pytest.raises(MediaError, match='gone: no such folder'):
        frames_of(tmp_path / 'gone')
    mixed = write_clip(tmp_path / 'mixed', moving_frames(2, 32, 40))
    cv2.imwrite(str(mixed / '00000002.png'), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(MediaError, match='00000002.png: is 40x40, but 00000000.png beside it 40x32'):
        frames_of(mixed)
    small = write_clip(tmp_path / 'small', moving_frames(1, 20, 40))
    with pytest.raises(
        MediaError, match=r'00000000.png: is 40x20, smaller than the crop of 24 \(crop_size\)'
    ):
        frames_of(small)
    assert len(frames_of(small, phase='val')) == 1
    (small / '00000001.png').write_bytes(b'no image')
    with pytest.raises(MediaError, match='00000001.png: cannot be read as an image'):
        frames_of(small, phase='val')
    with pytest.raises(ValueError, match="unknown key 'crop'"):
        frames_of(tmp_path, crop=3)


def test_a_large_folder_is_listed_once(tmp_path, monkeypatch):
    write_clip(tmp_path / 'f', moving_frames(3, 32, 32))
    dataset = frames_of(tmp_path / 'f')
    monkeypatch.setattr('animevsr.data.low_quality_frame_dataset.list_images', None)
    assert dataset[2]['lq'].shape == (3, 24, 24)


@pytest.mark.parametrize(
    'suffix, codec, options',
    [
        ('mkv', 'libx264', dict(bf=3, g=12)),
        ('mp4', 'libx264', dict(bf=2, g=250)),
        ('avi', 'mpeg4', dict(g=12)),
        ('mpg', 'mpeg2video', dict(bf=2, g=8)),
    ],
)
def test_frames_of_a_video_are_found_by_seeking(suffix, codec, options, tmp_path):
    from animevsr.video.numbered import read_frames, seek_frame

    path = write_video(tmp_path / f'v.{suffix}', moving_frames(40, 48, 64), codec=codec, **options)
    frames = read_frames(path, range(40))
    for index in (0, 1, 11, 12, 25, 39):
        found = seek_frame(path, index)
        near = [i for i in range(40) if np.array_equal(frames[i], found)]
        assert index in near, (index, near)
    assert np.array_equal(seek_frame(path, 60), frames[39])  # the length was an estimate


def test_frames_that_only_the_header_counts_are_none(tmp_path):
    """An edit list hides the first of them; a truncated file has lost the last ones."""
    whole = make(tmp_path, Container('whole.mp4', '-c:v libx264 -g 50'), 5.0)
    (tmp_path / 'cut').mkdir()
    ffmpeg('-ss', 2.6, '-i', whole, '-c', 'copy', tmp_path / 'cut/cut.mp4')
    avi = make(tmp_path, Container('whole.avi', '-c:v mpeg4'), 5.0)
    (tmp_path / 'cut/short.avi').write_bytes(avi.read_bytes()[: avi.stat().st_size * 6 // 10])
    for name in ('cut.mp4', 'short.avi'):
        path = tmp_path / 'cut' / name
        assert count_frames(path) == count_decodable(path) < 125
    frames = frames_of(tmp_path / 'cut', crop_size=16, max_frames=None)
    found = Counter(path.name for path, _ in frames.frames)
    assert found['short.avi'] == count_decodable(tmp_path / 'cut/short.avi')
    assert found['cut.mp4'] <= count_decodable(tmp_path / 'cut/cut.mp4') + 25


def test_max_frames_are_spread_evenly(tmp_path):
    write_clip(tmp_path / 'f', moving_frames(10, 32, 32))
    dataset = frames_of(tmp_path / 'f', phase='val', max_frames=3)
    assert [dataset[i]['lq_path'] for i in range(len(dataset))] == [f'{i:08d}.png' for i in (0, 3, 6)]
    assert len(frames_of(tmp_path / 'f', max_frames=50)) == 10
