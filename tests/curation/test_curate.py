"""Clips and frames out of raw video: what is planted in it is found, and nothing is done twice."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import decode, run_python, write_video

import animevsr
from animevsr.curation.clips import Candidate, ClipRules, choose, stretches
from animevsr.curation.measures import has_text, measure, quality
from animevsr.curation.survey import survey
from animevsr.data.degraded_clip_dataset import DegradedClipDataset
from animevsr.video.packed import PackedClip, read_manifest

SIZE = 192, 256  # height, width
RULES = dict(frames=12, least_height=100)


def drawing(seed, size=SIZE, scale=1.0):
    """Flat shapes with dark lines, as cartoons are drawn."""
    rng, (h, w) = np.random.default_rng(seed), size
    image = np.full((h, w, 3), rng.integers(90, 220, 3), np.uint8)
    for _ in range(14):
        x, y, r = rng.integers(w), rng.integers(h), int(rng.integers(8, 50) * scale)
        colour = rng.integers(40, 256, 3).tolist()
        cv2.circle(image, (int(x), int(y)), r, colour, -1, cv2.LINE_AA)
        cv2.circle(image, (int(x), int(y)), r, (20, 20, 30), 2, cv2.LINE_AA)
    return image


def pan(seed, count, step=3, size=SIZE):
    """A picture that passes by."""
    big = drawing(seed, (size[0], size[1] + step * count))
    return np.stack([big[:, step * i : step * i + size[1]] for i in range(count)])


def enlarged(frames):
    small = [cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for f in frames]
    return np.stack([cv2.resize(f, SIZE[::-1], interpolation=cv2.INTER_CUBIC) for f in small])


def subtitled(frames):
    out = frames.copy()
    for f in out:
        for width, colour in ((5, (0, 0, 0)), (2, (255, 255, 255))):
            cv2.putText(f, 'Where were you?', (20, 176), 0, 0.8, colour, width, cv2.LINE_AA)
    return out


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    """Videos of 12 frames a shot, each shot with a property of its own."""
    root = tmp_path_factory.mktemp('raw')
    options = dict(codec='libx264rgb', pix_fmt='rgb24', crf=8)
    (root / 'season 1').mkdir()
    shots = [
        pan(0, 12),
        np.zeros((12, *SIZE, 3), np.uint8),
        np.full((12, *SIZE, 3), 128, np.uint8),
        pan(1, 1).repeat(12, 0),
        enlarged(pan(2, 12)),
        subtitled(pan(3, 12)),
        pan(4, 12, step=16),
    ]
    write_video(root / 'season 1/a.mkv', np.concatenate(shots), **options)
    # the opening of the first one, and another picture; between black bars
    barred = np.zeros((24, SIZE[0] + 48, SIZE[1], 3), np.uint8)
    barred[:, 24:-24] = np.concatenate([pan(0, 12), pan(5, 12)])
    write_video(root / 'season 1/b.mkv', barred, **options)
    write_video(root / 'small.mkv', pan(6, 14, size=(64, 96)), **options)
    (root / 'broken.mkv').write_bytes(b'not a video')
    return root


def reasons(output):
    """{(video, number of the first frame): reason} of the page."""
    text = (output / 'report.html').read_text()
    data = json.loads(text.split('const data = ', 1)[1].split(';\nconst $', 1)[0].replace('\\u003c', '<'))
    return {
        (row['source'].split('/')[-1], int(row['name'].split('_')[-1])): row['reason'] for row in data['rows']
    }


def test_subtitles_are_seen_in_clips_that_are_shorter_than_the_measures_are_apart(tmp_path):
    write_video(tmp_path / 'a.mkv', subtitled(pan(3, 24)), codec='libx264', crf=16)
    found = stretches(survey(tmp_path / 'a.mkv'), ClipRules(frames=4, least_height=100))
    assert len(found) > 6 and {c.reason for c in found} == {'subtitles'}


def test_clips_are_chosen_for_their_reasons(raw, tmp_path):
    output = tmp_path / 'clips'
    failed = animevsr.curate_clips(raw, output, jobs=1, **RULES)
    assert {name.split('/')[-1] for name in failed} == {'broken.mkv', 'small.mkv'}
    assert '64 rows' in next(why for name, why in failed.items() if 'small' in name)
    said = reasons(output)
    assert said['a.mkv', 12] == 'black' and said['a.mkv', 24] == 'flat'
    assert said['a.mkv', 36].startswith('stands still')
    assert said['a.mkv', 48].startswith('was made larger')
    assert said['a.mkv', 60] == 'subtitles'
    assert said['a.mkv', 72].startswith('moves too much')
    opening = said['a.mkv', 0], said['b.mkv', 0]
    assert sorted(opening) == ['', 'shows what another clip shows']
    assert said['b.mkv', 12] == ''
    manifest = read_manifest(output)
    assert len(manifest) == 2
    # what is packed is the stretch, without the bars
    entry = next(e for e in manifest.values() if e['first'] == 12)
    assert (entry['width'], entry['height'], entry['frames']) == (SIZE[1], SIZE[0], 12)
    clip = PackedClip(output / entry['clip']).read(list(range(12)))
    truth = decode(raw / 'season 1/b.mkv')[0][12:, 24:-24]
    assert np.abs(clip.astype(int) - truth).max() <= 3
    dataset = DegradedClipDataset(
        dict(dataroot_gt=str(output), num_frame=5, gt_size=64, scale=4, degradation=[{'down': 4}])
    )
    assert dataset[0]['gt'].shape == (5, 3, 64, 64)


def test_a_rerun_does_what_is_new_and_follows_the_page(raw, tmp_path, monkeypatch):
    output = tmp_path / 'clips'
    animevsr.curate_clips(raw, output, jobs=1, **RULES)
    before = {path.name: path.stat().st_mtime_ns for path in output.glob('*.b2nd')}
    monkeypatch.setattr('animevsr.curation.clips.survey', lambda path: pytest.fail(f'{path}: again'))
    (raw / 'broken.mkv').rename(tmp_path / 'broken.mkv')
    try:
        animevsr.curate_clips(raw, output, jobs=1, **RULES)
        assert {path.name: path.stat().st_mtime_ns for path in output.glob('*.b2nd')} == before
        names = {e['first']: e['clip'].removesuffix('.b2nd') for e in read_manifest(output).values()}
        text = (output / 'report.html').read_text()
        subtitled = next(n for n in text.split('"') if n.startswith('a_') and n.endswith('_000060'))
        (output / 'overrules.json').write_text(json.dumps({names[12]: False, subtitled: True}))
        animevsr.curate_clips(raw, output, jobs=1, **RULES)
        assert reasons(output)['b.mkv', 12] == 'dropped by hand' and reasons(output)['a.mkv', 60] == ''
        assert subtitled in {path.stem for path in output.glob('*.b2nd')}
        assert names[12] not in {path.stem for path in output.glob('*.b2nd')}
        (output / 'overrules.json').write_text('{')
        with pytest.raises(ValueError, match='overrules.json: cannot be read'):
            animevsr.curate_clips(raw, output, jobs=1, **RULES)
    finally:
        (tmp_path / 'broken.mkv').rename(raw / 'broken.mkv')


@pytest.mark.slow
def test_on_a_ray_cluster_it_is_the_same(raw, tmp_path):
    ray = pytest.importorskip('ray')
    failed = animevsr.curate_clips(raw, tmp_path / 'here', jobs=2, **RULES)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        assert animevsr.curate_clips(raw, tmp_path / 'there', cluster='auto', **RULES) == failed
    finally:
        ray.shutdown()
    here, there = (read_manifest(tmp_path / name) for name in ('here', 'there'))
    assert here == there and len(here) == 2


def test_what_is_not_its_own_stays(raw, tmp_path):
    output, other = tmp_path / 'clips', tmp_path / 'other'
    for folder in ('one', 'two'):
        (tmp_path / folder).mkdir()
    write_video(tmp_path / 'one/a.mkv', pan(30, 12), codec='libx264rgb', pix_fmt='rgb24', crf=8)
    bad = tmp_path / 'two' / os.fsdecode(b'caf\xe9.mkv')  # a name in Latin-1
    write_video(tmp_path / 'two/b.mkv', pan(31, 12), codec='libx264rgb', pix_fmt='rgb24', crf=8).rename(bad)
    (tmp_path / 'two/gone.mkv').symlink_to(tmp_path / 'nowhere')
    animevsr.pack_clips(tmp_path / 'one', output, jobs=1)  # a set that was packed by hand
    failed = animevsr.curate_clips(tmp_path / 'two', output, jobs=1, **RULES)
    assert [Path(name).name for name in failed] == ['gone.mkv']
    animevsr.curate_clips(tmp_path / 'one', output, jobs=1, **RULES)
    manifest = read_manifest(output)
    assert len(manifest) == 3 and 'a.b2nd' in manifest
    # of its own videos it keeps what the rules now say, at their length
    animevsr.curate_clips(tmp_path / 'one', output, jobs=1, **{**RULES, 'frames': 8})
    assert sorted(e['frames'] for e in read_manifest(output).values()) == [8, 12, 12]
    assert not animevsr.curate_frames(tmp_path / 'one', other, jobs=1)


def test_the_best_of_a_video_and_none_twice():
    rng = np.random.default_rng(0)

    def candidate(video, first, quality, hashes=None):
        hashes = tuple(int(h) for h in rng.integers(0, 2**63, 3)) if hashes is None else hashes
        return Candidate(video, first, first / 24, quality, 1.0, hashes, '0:0:0:0', {}, video)

    best = candidate('a', 0, 90)
    near = tuple(h ^ 0b101 for h in best.hashes)
    others = [
        candidate('a', 6, 80),
        candidate('a', 24, 70),
        candidate('a', 48, 60),
        candidate('b', 0, 50, near),
    ]
    choose([*others, best], ClipRules(per_video=2), {})
    assert [c.reason for c in (best, *others)] == [
        '',
        'overlaps with a better one',
        '',
        '2 better ones of its video',
        'shows what another clip shows',
    ]


def test_a_logo_is_left_out(tmp_path):
    frames = np.concatenate([pan(20 + i, 12) for i in range(9)])
    for f in frames:
        cv2.putText(f, 'TV7', (196, 26), 0, 0.8, (255, 255, 255), 2, cv2.LINE_AA)
        cv2.putText(f, 'TV7', (196, 26), 0, 0.8, (30, 30, 30), 1, cv2.LINE_AA)
    (tmp_path / 'raw').mkdir()
    source = write_video(tmp_path / 'raw/l.mkv', frames, codec='libx264rgb', pix_fmt='rgb24', crf=8)
    found = survey(source, every=0.2)
    assert found.starts == list(range(0, 108, 12))
    ((top, bottom, left, right),) = found.logos
    assert top <= 12 and 24 <= bottom < 50 and 180 <= left <= 200 and right >= 240
    animevsr.curate_clips(source.parent, tmp_path / 'out', jobs=1, **RULES)
    kept = read_manifest(tmp_path / 'out').values()
    assert len(kept) == 9
    for entry in kept:
        assert entry['height'] <= SIZE[0] - 26 and entry['width'] == SIZE[1]


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_measures_find_what_was_put_there(seed):
    y, x = np.mgrid[0:384, 0:512]
    shade = 1 + 0.1 * np.sin(x / 60 + seed) * np.sin(y / 45)  # not all of it is level
    clean = np.clip(drawing(seed, (384, 512), 1.5) * shade[..., None], 0, 255).astype(np.uint8)
    base, rng = measure(clean), np.random.default_rng(seed)
    assert quality(base) > 80 and not has_text(clean)

    def jpeg(image, q):
        return cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, q])[1], 1)

    noisy = np.clip(clean + rng.normal(0, 5, clean.shape), 0, 255).astype(np.uint8)
    assert measure(noisy).noise == pytest.approx(5 * np.sqrt(0.299**2 + 0.587**2 + 0.114**2), rel=0.1)
    coded = measure(jpeg(clean, 15))
    assert coded.blocks > 0.3 + base.blocks and coded.ringing > base.ringing
    assert measure(jpeg(clean, 15)[3:, 5:]).blocks > 0.3  # wherever the blocks begin
    for factor in (0.33, 0.5):
        small = cv2.resize(clean, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        for interpolation in (cv2.INTER_CUBIC, cv2.INTER_LANCZOS4):
            large = cv2.resize(small, clean.shape[1::-1], interpolation=interpolation)
            assert abs(measure(large).resolution - factor) < 0.13
    assert base.resolution > 0.9
    combed = np.roll(clean, 6, 1)
    combed[::2] = clean[::2]
    assert measure(combed).combing > 0.01 > base.combing
    ramp = np.linspace(100, 125, 512).astype(np.float32)[None, :, None] * np.ones((384, 1, 3))
    assert measure(ramp.round().astype(np.uint8)).banding > 0.5
    assert measure(np.clip(ramp + rng.normal(0, 1, ramp.shape), 0, 255).astype(np.uint8)).banding < 0.1
    worse = [quality(measure(jpeg(clean, q))) for q in (95, 50, 10)]
    assert worse == sorted(worse, reverse=True)


def test_frames_differ_and_no_video_prevails(raw, tmp_path):
    output = tmp_path / 'frames'
    failed = animevsr.curate_frames(raw, output, jobs=1, per_video=5)
    assert [Path(name).name for name in failed] == ['broken.mkv']
    folders = sorted(path for path in output.iterdir() if path.is_dir())
    assert [len(list(folder.glob('*.png'))) for folder in folders] == [5, 5, 5]
    for folder in folders:
        frames = [cv2.imread(str(path)) for path in sorted(folder.glob('*.png'))]
        assert all(cv2.absdiff(a, b).mean() > 3 for a, b in zip(frames, frames[1:]))
        assert min(frame.mean() for frame in frames) > 16  # nothing black
    rows = (output / 'damage.csv').read_text().splitlines()
    assert len(rows) == 16 and rows[0].startswith('frame,noise,blocks')
    assert 'Damage of 15 frames' in (output / 'damage.md').read_text()
    # a video whose file was copied is no other one
    (former,) = output.glob('small_*')
    times = (raw / 'small.mkv').stat()
    os.utime(raw / 'small.mkv', (1, 1))
    animevsr.curate_frames(raw, output, jobs=1, per_video=5)
    assert len(list(output.rglob('*.png'))) == 15 and not former.exists()
    os.utime(raw / 'small.mkv', ns=(times.st_atime_ns, times.st_mtime_ns))
    animevsr.curate_frames(raw, output, jobs=1, per_video=5)
    assert len(list(output.rglob('*.png'))) == 15 and former.exists()
    kept = {path: path.stat().st_mtime_ns for path in output.rglob('*.png')}
    done = run_python(
        '-m',
        'animevsr_cli',
        'curate',
        'frames',
        raw,
        '-o',
        output,
        '--per-video',
        '5',
        '--jobs',
        '1',
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1 and done.stdout.count('broken.mkv') == 1, done.stderr
    assert {path: path.stat().st_mtime_ns for path in output.rglob('*.png')} == kept


@pytest.mark.parametrize(
    'arguments, said',
    [
        (['clips', '--change', '3'], '--change is no option of curate clips'),
        (['frames', '--text'], '--text is no option of curate frames'),
        (['frames', '--per-video', '0'], 'per_video must be at least 1'),
    ],
)
def test_what_cannot_be_is_one_line(arguments, said, raw, tmp_path):
    command = ['-m', 'animevsr_cli', 'curate', *arguments, raw, '-o', tmp_path / 'o']
    done = run_python(*command, cwd=tmp_path, check=False)
    assert done.returncode == 1 and said in done.stderr and 'Traceback' not in done.stderr


def test_quality_by_hyperiqa(raw, tmp_path, monkeypatch):
    """Its score takes the place of ours, is kept, and belongs to the weights."""
    import torch
    from facexlib.assessment.hyperiqa_net import HyperIQA

    from animevsr.curation import rating
    from animevsr.metrics.hyperiqa_metric import calculate_hyperiqa_pt

    torch.manual_seed(0)
    weights = str(tmp_path / 'w.pth')
    torch.save(HyperIQA(16, 112, 224, 112, 56, 28, 14, 7).hypernet.state_dict(), weights)
    calls = []
    monkeypatch.setattr(rating, 'CROPS', 1)
    monkeypatch.setattr(
        rating,
        'calculate_hyperiqa_pt',
        lambda image, *a, **k: calls.append(calculate_hyperiqa_pt(image, *a, **k)) or calls[-1],
    )
    rules = dict(RULES, jobs=1, least_quality=-1e4, hyperiqa=weights)
    output = tmp_path / 'out'
    animevsr.curate_clips(raw, output, **rules)
    scores = {round(float(score), 1) for score in calls}
    kept = read_manifest(output).values()
    assert kept and {entry['quality'] for entry in kept} <= scores
    count = len(calls)
    animevsr.curate_clips(raw, output, **{**rules, 'least_quality': 1e4})
    assert len(calls) == count and not read_manifest(output)
    assert 'quality ' in (output / 'report.html').read_text(encoding='utf8')
    other = tmp_path / 'other.pth'
    other.write_bytes(Path(weights).read_bytes())
    animevsr.curate_clips(raw, output, **{**rules, 'hyperiqa': str(other)})
    assert len(calls) == 2 * count
