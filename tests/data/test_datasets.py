"""The datasets: windows, reproducibility, and errors that name the culprit."""

import gc
import os
import re
import shutil
import weakref

import cv2
import numpy as np
import psutil
import pytest
import torch
from basicsr.data import build_dataset
from conftest import moving_frames, write_clip, write_video

from animevsr.data.echo import EchoPool
from animevsr.data.sampling import ResumableSampler
from animevsr.utils.windows import triples

PIPELINE = ['blur', 'noise', {'down': 2}, {'down': 2}, {'codec': 'h264'}]


def train_set(root, **options):
    return build_dataset(
        {
            'name': 'train',
            'type': 'DegradedClipDataset',
            'dataroot_gt': str(root),
            'num_frame': 3,
            'gt_size': 32,
            'scale': 4,
            'phase': 'train',
            'degradation': PIPELINE,
            **options,
        }
    )


def val_set(**options):
    return build_dataset({'name': 'val', 'type': 'ClipPairDataset', 'scale': 4, 'phase': 'val', **options})


def numbered_frames(t=20, h=40, w=48):
    """Flat frames whose level is their number: a window can be read off its pixels."""
    return np.stack([np.full((h, w, 3), 10 * i, np.uint8) for i in range(t)])


@pytest.fixture
def root(tmp_path):
    """Folders of png, jpg and bmp frames numbered from different starts, and a lossless video."""
    for i, suffix in enumerate(['.png', '.jpg', '.bmp']):
        write_clip(tmp_path / f'gt/clip{i}', numbered_frames(), start=7 * i, suffix=suffix)
    write_video(tmp_path / 'gt/clip3.mkv', numbered_frames(), codec='libx264rgb', pix_fmt='rgb24', crf=0)
    return tmp_path / 'gt'


def sample_of(dataset, index, number):
    from animevsr.data.sampling import Draw

    return dataset[Draw(index, number)]


def test_windows_have_interval_and_reversal(root):
    plain = train_set(root, degradation=[{'down': 4}], interval=[1, 2, 3])
    steps = []
    for index in range(4):
        for number in range(60):
            levels = (sample_of(plain, index, number)['gt'].mean((1, 2, 3)) * 25.5).round()
            step = (levels[1] - levels[0]).item()
            assert (levels[2] - levels[1]).item() == step and levels.min() >= 0 and levels.max() <= 19
            steps.append(int(step))
    assert set(steps) == {-3, -2, -1, 1, 2, 3}
    assert abs(sum(s < 0 for s in steps) / len(steps) - 0.5) < 0.15
    forward = train_set(root, degradation=[{'down': 4}], interval=[2], random_reverse=False)
    levels = (forward[0]['gt'].mean((1, 2, 3)) * 25.5).round()
    assert torch.equal(levels[1:] - levels[:-1], torch.full((2,), 2.0))


def test_crop_and_flips_are_the_same_for_all_frames(tmp_path):
    still = np.repeat(np.random.default_rng(0).integers(0, 255, (1, 48, 56, 3), np.uint8), 8, 0)
    write_clip(tmp_path / 'gt/a', still)
    dataset = train_set(tmp_path / 'gt', degradation=[{'down': 4}])
    seen = set()
    for number in range(60):
        gt = sample_of(dataset, 0, number)['gt']
        assert torch.equal(gt[0], gt[1]) and torch.equal(gt[0], gt[2])
        crop = (gt[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        found = [
            (flip, turn)
            for flip in (0, 1)
            for turn in range(4)
            if contains(still[0], np.rot90(crop[:, ::-1] if flip else crop, turn))
        ]
        assert found  # it is a crop of the picture, flipped or turned and not otherwise changed
        seen.add(found[0])
    assert len(seen) == 8  # as BasicSR's augment


def test_drawings_are_held(root):
    dataset = train_set(root, degradation=[{'down': 4}], hold=[1, 2, 3], interval=[1])
    seen = set()
    for number in range(60):
        gt = sample_of(dataset, 0, number)['gt']
        seen.add(tuple(torch.equal(gt[i], gt[i + 1]) for i in range(len(gt) - 1)))
    # held for 1, for 2 in both phases, for 3 in all three
    assert seen == {(False, False), (True, False), (False, True), (True, True)}
    with pytest.raises(ValueError, match='hold must be a list of whole numbers'):
        train_set(root, degradation=[{'down': 4}], hold=[0])


def contains(image, crop):
    score = cv2.matchTemplate(image, np.ascontiguousarray(crop), cv2.TM_SQDIFF_NORMED)
    return score.min() < 1e-4


def test_gt_and_lq_show_the_same_place(root):
    write_clip(root / 'shapes', moving_frames(8, 64, 80))
    dataset = train_set(root, degradation=[{'down': {'factor': 4, 'modes': ['area']}}])
    sample = sample_of(dataset, len(dataset) - 1, 3)
    area = torch.nn.functional.avg_pool2d(sample['gt'], 4)
    assert (sample['lq'] - area).abs().max() < 1e-5
    assert sample['gt'].shape == (3, 3, 32, 32) and sample['lq'].shape == (3, 3, 8, 8)


def epoch(dataset, number, workers, batch=2, skip=None):
    """What the loader gives in an epoch: list of (key, params)."""
    sampler = ResumableSampler(dataset, 1, 0, ratio=3)
    sampler.set_epoch(number)
    if skip is not None:
        sampler.skip = (number, skip)
    loader = torch.utils.data.DataLoader(dataset, batch, sampler=sampler, num_workers=workers)
    return [item for b in loader for item in zip(b['key'], b['params'])]


def test_draws_depend_on_seed_and_epoch_and_not_on_workers(root):
    dataset = train_set(root, seed=1)
    first = epoch(dataset, 0, 0)
    # a clip drawn again is another draw
    assert len(first) == 12 and len({params for _, params in first}) == 12
    assert first == epoch(dataset, 0, 0) == epoch(dataset, 0, 2) == epoch(dataset, 0, 3, batch=4)
    second = epoch(dataset, 1, 2)
    assert not {p for _, p in first} & {p for _, p in second}
    assert not {p for _, p in first} & {p for _, p in epoch(train_set(root, seed=2), 0, 0)}
    assert epoch(dataset, 1, 2, skip=6) == second[6:]  # a resumed run goes on where it stopped


def test_other_samplers_get_fresh_draws_in_every_epoch_and_worker(root):
    dataset = train_set(root)
    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(dataset, 1, sampler=[0] * 8, num_workers=2)
    draws = [b['params'][0] for _ in range(2) for b in loader]
    assert len(set(draws)) == 16


def test_workers_run_after_their_parent_used_the_codec_and_a_video(root):
    """Threads of the parent do not survive the fork: a converter shared with it would hang."""
    dataset = train_set(root)
    in_parent = [sample_of(dataset, i, i)['lq'] for i in range(4)]
    loader = torch.utils.data.DataLoader(dataset, 1, num_workers=2, timeout=60)
    assert len([b['lq'] for b in loader]) == len(in_parent)


def test_edge_bias_prefers_edges(tmp_path):
    frames = np.zeros((4, 64, 256, 3), np.uint8)
    frames[:, :, 200:] = np.random.default_rng(0).integers(0, 255, (64, 56, 3), np.uint8)
    write_clip(tmp_path / 'gt/a', frames)

    def busy(bias):
        dataset = train_set(tmp_path / 'gt', degradation=[{'down': 4}], edge_bias=bias)
        return np.mean([sample_of(dataset, 0, n)['gt'].std().item() > 0.05 for n in range(40)])

    assert busy(6) > busy(1) + 0.2


def test_echoed_windows_are_those_that_were_made_before(root, tmp_path):
    echo = dict(folder=str(tmp_path / 'pool'), size=3, fresh=0.2)
    dataset = train_set(root, echo=echo)
    samples = [sample_of(dataset, n % 4, n) for n in range(40)]
    made = {sample['params'] for sample in samples}
    assert 3 <= len(made) < 30  # each of 40 without an echo
    assert len(list((tmp_path / 'pool').glob('*/*.npz'))) == 3
    other = train_set(root, echo=dict(echo, fresh=1e-9))  # another run: all of its windows come from the pool
    shared = [sample_of(other, 0, n) for n in range(20)]
    assert {sample['params'] for sample in shared} <= made
    assert {str(sample['key']) for sample in shared} <= {path.stem for path in root.iterdir()}
    first = shared[0]
    same = [s for s in samples if s['params'] == first['params']]
    assert first['gt'].shape == (3, 3, 32, 32) and first['lq'].shape == (3, 3, 8, 8)
    assert first['gt'].dtype == first['lq'].dtype == torch.uint8
    assert any(s['gt'].sum() == first['gt'].sum() for s in same)
    # another degradation, another pool
    harder = train_set(root, echo=dict(echo, fresh=1e-9), degradation=['noise', *PIPELINE])
    assert sample_of(harder, 0, 0)['params'] not in made
    # clips that were changed since, too
    os.utime(root / 'clip0', (1, 1))
    newer = train_set(root, echo=dict(echo, fresh=1e-9))
    assert newer.echo.folder != other.echo.folder and not list(newer.echo.folder.iterdir())


def test_a_full_pool_is_told_once(root, tmp_path, monkeypatch):
    dataset = train_set(root, echo=dict(folder=str(tmp_path / 'pool'), size=3, fresh=1))

    def full(file, **window):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'savez', full)
    with pytest.warns(UserWarning, match='pool/.* takes no more windows .No space left on device') as said:
        for n in range(3):
            sample_of(dataset, n, n)
    assert len(said) == 1 and not list((tmp_path / 'pool').glob('*/*'))


def test_weights_that_a_degradation_names_are_told_apart_by_their_contents(tmp_path):
    weights = tmp_path / 'net.pth'
    weights.write_bytes(b'old')
    settings = dict(degradation=[{'down_or_lbo': {'pool': [str(weights)]}}], gt_size=32)
    options = dict(folder=str(tmp_path / 'pool'), size=3, fresh=0.5)
    before, same = (EchoPool(options, settings).folder for _ in range(2))
    weights.write_bytes(b'newer')
    assert before == same != EchoPool(options, settings).folder


def test_echoed_pairs_are_turned_together(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    write_clip(tmp_path / 'gt/clip', [image] * 3)
    echo = dict(folder=str(tmp_path / 'pool'), size=1, fresh=0.1)
    small = [{'resize_to': {'factor': 4, 'modes': ['area']}}]
    dataset = train_set(tmp_path / 'gt', gt_size=64, degradation=small, echo=echo)
    seen = set()
    for n in range(30):
        sample = sample_of(dataset, 0, n)
        assert (sample['gt'][..., ::4, ::4].int() - sample['lq'].int()).abs().max() <= 1
        seen.add(sample['gt'].numpy().tobytes())
    assert len(seen) > 4


@pytest.mark.slow
def test_workers_leak_nothing(tmp_path):
    """What a worker holds does not grow with the samples that it has made, whatever the degradation."""
    write_clip(tmp_path / 'gt/clip', moving_frames(8, 160, 160))
    choice = [
        {'prob': 0.5, 'degradation': PIPELINE},
        {'prob': 0.5, 'degradation': ['blur', {'down': 4}, {'ffmpeg': {'options': {'vcodec': 'mpeg4'}}}]},
    ]
    dataset = train_set(tmp_path / 'gt', gt_size=128, degradation=[{'choice': choice}], num_frame=5)
    worker = psutil.Process()
    sizes = []
    for number in range(400):
        sample_of(dataset, 0, number)
        if number % 100 == 99:
            gc.collect()
            sizes.append((worker.memory_info().rss / 2**20, worker.num_fds(), worker.num_threads()))
    first, *_, last = sizes
    assert last[0] < first[0] + 8 and last[1:] == first[1:], sizes


def test_training_set_errors_name_the_culprit(root, tmp_path):
    (tmp_path / 'empty').mkdir()
    cases = [
        (dict(dataroot_gt=str(tmp_path / 'empty')), 'empty: holds no clips'),
        (dict(dataroot_gt=str(tmp_path / 'gone')), 'gone: no such folder'),
        (dict(num_frame=30), r'clip0: has 20 frames.*needs 30'),
        (dict(gt_size=30), 'gt_size must be a multiple'),
        (dict(gt_sise=32), "unknown key 'gt_sise' .* did you mean 'gt_size'"),
        (dict(degradation=['blur', {'nois': 1}]), "'nois'"),
        (dict(edge_bias=0), 'edge_bias must be a whole number >= 1, got 0'),
        (dict(echo={'folder': str(tmp_path)}), 'echo: size, fresh missing'),
        (dict(echo={'folder': str(tmp_path), 'size': 0, 'fresh': 1}), 'size must be a whole number >= 1'),
        (dict(echo={'folder': str(tmp_path), 'size': 1, 'fresh': 0}), 'fresh must be above 0'),
        (dict(echo={'folder': str(tmp_path), 'size': 1, 'fresh': 1}, degrade_on='device'), 'echo: needs'),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            train_set(
                **(
                    {'root': root, **options}
                    if 'dataroot_gt' not in options
                    else {'root': options['dataroot_gt']}
                )
            )
    with pytest.raises(ValueError, match=r'clip0: frames are 48x40, smaller than the crop of 64'):
        train_set(root, gt_size=64)[0]
    with pytest.raises(ValueError, match=r'gives 16 pixels for a GT of 32, but scale is 4'):
        train_set(root, degradation=[{'down': 2}])[0]
    (root / 'clip0/00000003.png').write_bytes(b'not a picture')
    dataset = train_set(root, interval=[1], num_frame=20)
    with pytest.raises(ValueError, match=r'clip0/00000003.png: cannot be read'):
        dataset[0]
    (root / 'clip4.mp4').write_bytes(b'not a video')
    with pytest.raises(ValueError, match=r'clip4.mp4: not readable'):
        train_set(root)
    (root / 'clip4.mp4').unlink()
    (root / 'clip5').mkdir()
    with pytest.raises(ValueError, match=r'clip5: holds no images'):
        train_set(root)


def test_frames_of_another_size_are_named(tmp_path):
    write_clip(tmp_path / 'gt/a', moving_frames(3, 40, 48))
    cv2.imwrite(str(tmp_path / 'gt/a/00000001.png'), np.zeros((44, 48, 3), np.uint8))
    with pytest.raises(ValueError, match='frame 1 is 48x44, frame 0 is 48x40'):
        train_set(tmp_path / 'gt', interval=[1])[0]


def test_validation_from_gt_is_fixed(root):
    options = dict(dataroot_gt=str(root), degradation=PIPELINE, seed=5, num_frame=4)
    first, again, other = val_set(**options)[1], val_set(**options)[1], val_set(**{**options, 'seed': 6})[1]
    assert (
        first['key'] == 'clip1'
        and first['gt'].shape == (4, 3, 40, 48)
        and first['lq'].shape == (4, 3, 10, 12)
    )
    assert torch.equal(first['lq'], again['lq']) and not torch.equal(first['lq'], other['lq'])


def test_validation_crops_to_the_scale(tmp_path):
    write_clip(tmp_path / 'gt/a', moving_frames(2, 43, 50))
    sample = val_set(dataroot_gt=str(tmp_path / 'gt'), degradation=PIPELINE)[0]
    assert sample['gt'].shape == (2, 3, 40, 48) and sample['lq'].shape == (2, 3, 10, 12)


def test_validation_pairs(root, tmp_path):
    for i in range(4):
        write_clip(tmp_path / f'lq/clip{i}', numbered_frames(h=10, w=12))
    pairs = val_set(dataroot_gt=str(root), dataroot_lq=str(tmp_path / 'lq'))
    assert len(pairs) == 4 and pairs[3]['lq'].shape == (20, 3, 10, 12)
    assert 'gt' not in val_set(dataroot_lq=str(tmp_path / 'lq'))[0]
    write_clip(tmp_path / 'lq/clip9', numbered_frames(h=10, w=12))
    with pytest.raises(ValueError, match="dataroot_gt: has no clip 'clip9', which dataroot_lq has"):
        val_set(dataroot_gt=str(root), dataroot_lq=str(tmp_path / 'lq'))
    write_video(tmp_path / 'lq/clip0.mkv', moving_frames(20, 12, 16))
    with pytest.raises(ValueError, match='clip0.mkv: has the name of .*clip0; a clip is known by its name'):
        val_set(dataroot_gt=str(root), dataroot_lq=str(tmp_path / 'lq'))
    (tmp_path / 'lq/clip0.mkv').unlink()
    with pytest.raises(ValueError, match='clip0 is 48x40, not 4 times as large'):
        val_set(dataroot_gt=str(root), dataroot_lq=str(root))[0]
    (tmp_path / 'lq/clip9').rename(tmp_path / 'clip9')
    write_clip(tmp_path / 'lq/clip3 longer', numbered_frames(t=21, h=10, w=12))
    shutil.rmtree(tmp_path / 'lq/clip3')
    (tmp_path / 'lq/clip3 longer').rename(tmp_path / 'lq/clip3')
    with pytest.raises(ValueError, match='clip3: has 21 frames, its partner in dataroot_gt 20'):
        val_set(dataroot_gt=str(root), dataroot_lq=str(tmp_path / 'lq'))
    with pytest.raises(ValueError, match='needs dataroot_lq, or dataroot_gt and degradation'):
        val_set(dataroot_gt=str(root))
    with pytest.raises(ValueError, match=re.escape("unknown key 'dataroot_hr'")):
        val_set(dataroot_hr=str(root))


def test_pairs_stream_frame_by_frame(tmp_path):
    """The same frames as the whole sample, of which no more are alive than the loop holds."""
    write_clip(tmp_path / 'gt/a', moving_frames(12, 64, 96))
    write_clip(tmp_path / 'lq/a', moving_frames(12, 16, 24))
    dataset = val_set(dataroot_gt=str(tmp_path / 'gt'), dataroot_lq=str(tmp_path / 'lq'))
    whole, alive, most = dataset[0], [], 0
    for _, _, nxt in triples(dataset.stream(0)):
        alive = [ref for ref in [*alive, weakref.ref(nxt['gt'])] if ref() is not None]
        most = max(most, len(set(map(id, (ref() for ref in alive)))))
    assert most <= 3 and len(whole['gt']) == 12
    for i, frame in enumerate(dataset.stream(0)):
        assert torch.equal(frame['lq'], whole['lq'][i]) and torch.equal(frame['gt'], whole['gt'][i])


@pytest.mark.parametrize('count', [0, 1, 2, 5])
def test_triples(count):
    clamped = [(max(i - 1, 0), i, min(i + 1, count - 1)) for i in range(count)]
    assert list(triples(range(count))) == clamped
