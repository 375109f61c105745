"""The open-data recipe: clips depend on their number alone, and the two splits share no source."""

import json
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from conftest import REPO, moving_frames, write_clip

from animevsr.video.packed import PackedClip, pack

pytest.importorskip('resvg_py')
sys.path.insert(0, str(REPO / 'recipes/open_animation'))
import compose  # noqa: E402
import drawings  # noqa: E402
import lbo_sets  # noqa: E402
import lowquality  # noqa: E402
import materials  # noqa: E402
import rigs  # noqa: E402
from jobs import run_jobs  # noqa: E402


@pytest.fixture
def root(tmp_path):
    """A few drawings of our own in place of the fetched ones."""
    index, folder = [], tmp_path / 'materials'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, (kind, size) in enumerate(
        [('backdrop', (300, 420)), ('anime', (200, 120)), ('face', (150, 150)), ('sprite', (90, 90))]
    ):
        files = []
        for j in range(1 if kind == 'backdrop' else 5):
            image = cv2.resize(
                rng.integers(0, 255, (6, 6, 4), np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST
            )
            image[..., 3] = (
                255
                if kind == 'backdrop'
                else cv2.circle(np.zeros(size, np.uint8), (size[1] // 2, size[0] // 2), 40, 255, -1)
            )
            cv2.imwrite(str(folder / f'{i}_{j}.png'), image)
            files.append(f'{i}_{j}.png')
        index.append(dict(kind=kind, split='train', files=files, source=f'source {i}', licence='CC0'))
    (folder / 'index.json').write_text(json.dumps(index))
    return tmp_path


def clip(root, number):
    return np.stack([cv2.imread(str(p)) for p in sorted((root / 'train' / f'{number:04d}').glob('*.png'))])


def test_clips_are_reproducible_and_moving(root, tmp_path):
    moving = 0
    for number in range(6):
        compose.make_clip(root, 'train', number, 1, (96, 64), 8, False)
        first = clip(root, number)
        assert first.shape == (8, 64, 96, 3)
        credits = json.loads((root / f'train/{number:04d}/credits.json').read_text())
        assert credits and all(c['source'].startswith('source') for c in credits)
        moving += np.abs(np.diff(first.astype(int), axis=0)).mean() > 0.5
        (root / f'train/{number:04d}').rename(root / f'old{number}')
        compose.make_clip(root, 'train', number, 1, (96, 64), 8, False)
        assert np.array_equal(first, clip(root, number))
        compose.make_clip(root, 'train', number, 1, (96, 64), 8, True)
        packed = PackedClip(root / f'train/{number:04d}.b2nd').read(list(range(8)))
        assert np.array_equal(packed[..., ::-1], first)
        assert json.loads((root / f'train/{number:04d}.credits.json').read_text()) == credits
    assert moving >= 3
    assert not np.array_equal(clip(root, 0), clip(root, 1))


def test_place_composites_exactly():
    canvas = np.full((40, 60, 3), 0.5, np.float32)
    image = np.zeros((10, 10, 4), np.float32)
    image[...] = (1, 0, 0, 1)
    drawings.place(canvas, image, 30, 20, 1, 0)
    assert (
        np.allclose(canvas[18:22, 28:32], (1, 0, 0))
        and np.allclose(canvas[:10], 0.5)
        and np.allclose(canvas[:, :20], 0.5)
    )
    drawings.place(canvas, image, -100, 20, 1, 0)  # outside: nothing, and no error


def test_splits_are_disjoint():
    """No source of the bundled held-out clips is one of the training set's (weights/CREDITS.md lists
    those).
    """
    assert not set(materials.STYLES['train']) & set(materials.STYLES['heldout'])
    sources = [
        {
            line.split('|')[1].strip()
            for line in (REPO / name).read_text().splitlines()
            if line.startswith('| ')
        }
        - {'source', '---'}
        for name in ('weights/CREDITS.md', 'assets/heldout/CREDITS.md')
    ]
    assert len(sources[0]) > 20 and len(sources[1]) >= 4 and not sources[0] & sources[1]


def test_debian_licences_by_file(tmp_path):
    (tmp_path / 'copyright').write_text(
        'Format: x\n\nFiles: *\nCopyright: A\nLicense: GPL-3+\n\n'
        'Files: art/*.svg\n art/sub/b.png\nCopyright: B\nLicense: CC0\n'
    )
    licence = [
        materials.debian_licence(tmp_path / 'copyright', name)
        for name in ('code.c', 'art/a.svg', 'art/sub/b.png')
    ]
    assert licence == ['GPL-3+', 'CC0', 'CC0']


def test_heldout_clips_are_bundled():
    from animevsr.video.numbered import count_frames

    clips = sorted((REPO / 'assets/heldout').glob('*.mkv'))
    assert len(clips) == 12 and all(count_frames(c) == 6 for c in clips)
    text = (REPO / 'assets/heldout/CREDITS.md').read_text()
    assert all(c.stem in text for c in clips)


@pytest.mark.parametrize('chain', list(lowquality.CHAINS))
def test_low_quality_files(chain, tmp_path, monkeypatch):
    """Every chain of codecs gives frames that are worse than the clip, the same ones again, and never half a
    folder.
    """
    write_clip(tmp_path / 'train/0000', np.repeat(moving_frames(6, 192, 320), 2, 0))
    monkeypatch.setattr(lowquality, 'CHAINS', {chain: lowquality.CHAINS[chain]})
    out = tmp_path / 'lowquality/train'
    folder = lowquality.degrade_file([tmp_path / 'train/0000'], out, 'train', 5, 1)
    frames = [cv2.imread(str(p)) for p in sorted(folder.glob('*.png'))]
    assert folder.name.startswith(f'00005_{chain}') and 1 <= len(frames) <= lowquality.KEEP
    assert len({f.shape for f in frames}) == 1 and frames[0].shape[0] % 16 == frames[0].shape[1] % 16 == 0
    assert 64 <= frames[0].shape[0] <= 128
    for a, b in zip(frames, frames[1:]):
        assert np.abs(a.astype(int) - b).mean() > 0.5  # repeated pictures are not kept
    assert json.loads((folder / 'source.json').read_text())['clip'] == '0000'
    folder.rename(tmp_path / 'first')
    again = lowquality.degrade_file([tmp_path / 'train/0000'], out, 'train', 5, 1)
    assert all(np.array_equal(a, cv2.imread(str(p))) for a, p in zip(frames, sorted(again.glob('*.png'))))
    assert not list(out.glob('*.partial'))


def test_low_quality_files_of_packed_clips(tmp_path):
    """Which compose.py --packed makes: the same frames come of them."""
    frames, made = np.repeat(moving_frames(6, 192, 320), 2, 0), []
    write_clip(tmp_path / 'folders/train/0000', frames)
    (tmp_path / 'packed/train').mkdir(parents=True)
    pack(frames, tmp_path / 'packed/train/0000.b2nd')
    for root in ('folders', 'packed'):
        lowquality.degrade(tmp_path / root, 'train', 1, jobs=1)
        (folder,) = (tmp_path / root / 'lowquality/train').iterdir()
        made.append([cv2.imread(str(p)) for p in sorted(folder.glob('*.png'))])
        assert json.loads((folder / 'source.json').read_text())['clip'] == '0000'
    assert len(made[0]) == len(made[1]) > 0 and all(map(np.array_equal, *made))
    lbo_sets.main(tmp_path / 'packed', 1, jobs=1)
    assert all(len(list(p.glob('*.png'))) == 12 for p in (tmp_path / 'packed/lbo').iterdir())


def slow_or_failing(number, folder):
    if number == 0:
        raise ValueError('the first one')
    time.sleep(0.2)
    (folder / str(number)).touch()


def test_the_first_error_stops_the_work(tmp_path):
    with pytest.raises(ValueError, match='the first one'):
        run_jobs(slow_or_failing, [(n, tmp_path) for n in range(40)], 'x', 1)
    assert len(list(tmp_path.iterdir())) < 20


def test_a_rendering_that_failed_is_not_there(tmp_path, monkeypatch):
    (tmp_path / 'rig.sif').write_text('<canvas><defs></defs></canvas>')
    monkeypatch.setenv('PATH', '')
    with pytest.raises(SystemExit, match='the program synfig is missing'):
        rigs.render(tmp_path / 'rig.sif', tmp_path / 'out', 1, 3)
    failing = tmp_path / 'bin/synfig'
    failing.parent.mkdir()
    failing.write_text('#!/bin/sh\nexit 1\n')
    failing.chmod(0o755)
    monkeypatch.setenv('PATH', str(failing.parent))
    with pytest.raises(subprocess.CalledProcessError):
        rigs.render(tmp_path / 'rig.sif', tmp_path / 'out', 1, 3)
    assert not (tmp_path / 'out').exists()


def test_heldout_low_quality_frames_are_bundled():
    folders = sorted(p for p in (REPO / 'assets/heldout_lowquality').iterdir() if p.is_dir())
    assert len(folders) == 24 and all(len(list(p.glob('*.png'))) == 1 for p in folders)
    assert len({p.name.split('_')[1] for p in folders}) >= 8  # codecs
