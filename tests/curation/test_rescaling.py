"""Input rescaling: the artefact score on cases whose order is known, the study, the page in a real browser,
the pairs.
"""

import json
import shlex

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from conftest import REPO, browser, interrupt_when, moving_frames, run_python, write_clip, write_video
from torch.nn import functional as F

import animevsr
import animevsr_cli
from animevsr.curation.artefacts import artefact_score, rank
from animevsr.curation.input_rescaling import (
    FACTORS,
    choose_patches,
    edge_rich_patches,
    edge_rich_places,
    look_at_factors,
)
from animevsr.curation.pseudo_hr import pseudo_hr_frames, resize, spread_runs
from animevsr.errors import MediaError
from animevsr.utils.tensors import to_tensor
from animevsr.video.shots import is_cut

# --- the score


def drawing(busy=False):
    """(160, 160, 3) uint8: flat fills between dark lines; busy: many of them."""
    image = np.full((160, 160, 3), (230, 200, 170), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(60 if busy else 3):
        a, b = rng.integers(0, 160, (2, 2))
        cv2.line(image, a.tolist(), b.tolist(), (30, 20, 40), 3, cv2.LINE_AA)
    return image


def noisy(image, sigma, seed=0):
    return (image + np.random.default_rng(seed).normal(0, sigma, image.shape)).clip(0, 255).astype(np.uint8)


def blurred(image, sigma):
    return cv2.GaussianBlur(image, (0, 0), sigma)


def ringing(image):
    return (
        (2.5 * image - 1.5 * cv2.GaussianBlur(image.astype(float), (0, 0), 4)).clip(0, 255).astype(np.uint8)
    )


def blocky(image):
    steps = np.random.default_rng(0).normal(0, 4, (20, 20, 3))
    return (image + np.kron(steps, np.ones((8, 8, 1)))).clip(0, 255).astype(np.uint8)


FLAT = np.full((160, 160, 3), 128, np.uint8)


@pytest.mark.parametrize('clean', [drawing(), drawing(busy=True), FLAT], ids=['lines', 'busy', 'flat'])
def test_damage_raises_the_score(clean):
    source = noisy(blurred(clean, 1), 6)
    good = artefact_score(clean, source)
    assert 0 <= good < artefact_score(noisy(clean, 2), source) < artefact_score(noisy(clean, 6), source) <= 5
    assert good < artefact_score(blocky(clean), source)
    if clean is not FLAT:
        assert good < artefact_score(ringing(clean), source)
        # a result that lost its lines has no artefacts, but is not good
        assert (
            good
            < artefact_score(blurred(clean, 3), source)
            < artefact_score(np.full_like(clean, 180), source)
        )


def test_on_a_flat_patch_only_unrest_counts():
    assert artefact_score(FLAT, FLAT) == 0
    assert artefact_score(FLAT, noisy(FLAT, 4)) < 0.2 * artefact_score(noisy(FLAT, 4), noisy(FLAT, 4))


def test_a_patch_full_of_lines_has_a_finite_score():
    stripes = np.tile(np.array([0, 255], np.uint8).repeat(2), 40)[None, :, None].repeat(160, 0).repeat(3, 2)
    assert 0 <= artefact_score(stripes, stripes) < 0.05


def test_a_busy_patch_does_not_outvote_a_quiet_one():
    # the first factor is best on two quiet patches, the second on one whose scores are ten times as high
    order, relative = rank([[0.1, 0.1, 3.0], [0.2, 0.2, 2.0]])
    assert list(order) == [0, 1] and relative[0] < 1 < relative[1]
    order, relative = rank([[0, 0.2], [0, 0.1]])  # nothing to see in the first patch
    assert list(order) == [1, 0] and np.isfinite(relative).all()


# --- the study


class Enlarge(torch.nn.Module):
    """A network of which it is known what it does: plain enlargement by 4."""

    scale = 4

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def step(self, prev, cur, nxt, state):
        return F.interpolate(cur, scale_factor=4, mode='bicubic'), None


def test_patches_have_edges_and_differ():
    frame = np.full((60, 100, 3), 200, np.uint8)
    frame[10:30, 60:80] = 0
    places = edge_rich_places(frame, 24)
    assert places[0][0] > 0 and places[0][1] <= 10 + 8 and 48 <= places[0][2] <= 76
    assert all(
        abs(t1 - t2) >= 24 or abs(l1 - l2) >= 24
        for i, (_, t1, l1) in enumerate(places)
        for _, t2, l2 in places[:i]
    )


def test_patches_of_held_frames_are_taken_once(tmp_path):
    """Two drawings, each held for ten frames; more patches than that come from other places."""
    drawings = moving_frames(2, 80, 120) // 2, 255 - moving_frames(2, 80, 120, seed=3)
    write_clip(tmp_path / 'v', np.concatenate([drawings[0][:1].repeat(10, 0), drawings[1][:1].repeat(10, 0)]))
    found = edge_rich_patches(tmp_path / 'v', 20, 6, 32)
    assert all(patch.clip.shape == (5, 32, 32, 3) for patch in found)
    assert {patch.frame < 10 for patch in choose_patches(found, 2)} == {True, False}
    chosen = choose_patches(found, 6)
    assert len(chosen) == 6 and len({(patch.frame < 10, patch.top, patch.left) for patch in chosen}) >= 4


def test_the_frames_around_a_patch_are_its_neighbours(tmp_path):
    frames = np.stack([np.full((20, 20, 3), i, np.uint8) for i in range(7)])
    write_clip(tmp_path / 'v', frames)
    for patch in edge_rich_patches(tmp_path / 'v', 7, 2, 16):
        expected = [min(max(patch.frame + d, 0), 6) for d in (-2, -1, 0, 1, 2)]
        assert patch.clip[:, 0, 0, 0].tolist() == expected


def test_each_factor_is_applied(tmp_path):
    write_clip(tmp_path / 'v', moving_frames(6, 48, 64))
    study = look_at_factors(tmp_path / 'v', 6, Enlarge(), 2, 40)
    assert list(study.results) == list(FACTORS) and study.scores.shape == (10, 2)
    assert all(
        image.shape == (80, 80, 3) for images in (study.sources, *study.results.values()) for image in images
    )
    # enlarging alone loses more, the smaller the picture was made
    errors = [np.abs(study.results[f][0].astype(int) - study.sources[0]).mean() for f in FACTORS]
    assert errors == sorted(errors, reverse=True) and errors[0] > 5 * errors[-1]
    assert sorted(f for f, _ in study.ranking) == list(FACTORS)
    assert [r for _, r in study.ranking] == sorted(r for _, r in study.ranking) and study.ranking[-1][
        0
    ] == 0.1


def test_runs_are_spread():
    assert spread_runs(25, 300) == [range(10), range(10, 20), range(20, 25)]
    runs = spread_runs(1000, 35)
    assert [len(run) for run in runs] == [10, 10, 10, 5] and [run.start for run in runs] == [0, 250, 500, 750]
    assert spread_runs(100, 4) == [range(4)]


# --- the commands


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / 'old video.mp4', moving_frames(24, 48, 64), crf=28)


def rescale(*arguments, cwd, **options):
    return run_python('-m', 'animevsr_cli', 'rescale', *arguments, '--device', 'cpu', cwd=cwd, **options)


def test_the_page_in_a_browser_and_its_answer(video, tiny_weights, tmp_path):
    """From the video to the pairs as a person goes: open the page, click a factor, save, hand the answer
    back.
    """
    path = browser()
    from playwright import sync_api

    done = rescale(
        video, '-o', 'out', '--weights', tiny_weights, '--patches', 3, '--patch-size', 32, cwd=tmp_path
    )
    assert (
        len([line for line in done.stdout.splitlines() if 'relative score' in line]) == 10
        and 'choose.html' in done.stdout
    )
    ranked = [row['factor'] for row in json.loads((tmp_path / 'out/scores.json').read_text())['rows']]
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=['--no-sandbox'])
        page = chromium.new_page()
        problems = []
        page.on('pageerror', lambda error: problems.append(error))
        page.on(
            'request',
            lambda request: problems.append(request.url) if request.url.startswith('http') else None,
        )
        page.goto((tmp_path / 'out/choose.html').as_uri())
        rows = page.locator('tr.factor')
        assert [float(rows.nth(i).get_attribute('data-factor')) for i in range(10)] == ranked
        assert page.locator('img').count() == 3 * 11
        widths = page.eval_on_selector_all('img', 'images => images.map(image => image.naturalWidth)')
        assert set(widths) == {64}  # every picture is there
        assert page.locator('#save').is_disabled() and page.locator('#chosen').inner_text() == 'none'

        page.click('tr.factor[data-factor="0.4"] img >> nth=1')
        assert (
            page.locator('#chosen').inner_text() == '0.4'
            and page.locator('tr.chosen').get_attribute('data-factor') == '0.4'
        )
        command = shlex.split(page.locator('#command').inner_text())

        page.check('#by-factor')
        assert [float(rows.nth(i).get_attribute('data-factor')) for i in range(10)] == list(FACTORS)
        page.keyboard.press('ArrowDown')
        assert page.locator('#chosen').inner_text() == '0.5'
        with page.expect_download() as download:
            page.click('#save')
        download.value.save_as(tmp_path / 'factor.json')
        assert download.value.suggested_filename == 'old video_factor.json'
        page.reload()  # the choice is kept
        assert page.locator('#chosen').inner_text() == '0.5'
        chromium.close()
    assert not problems
    answer = json.loads((tmp_path / 'factor.json').read_text())
    assert (
        answer['factor'] == 0.5 and answer['video'] == str(video) and answer['rank'] == ranked.index(0.5) + 1
    )
    done = rescale(video, '-o', 'out', '--weights', tiny_weights, '--factor', 'factor.json', cwd=tmp_path)
    assert '24 pairs' in done.stdout
    # the command that the page shows does the same for the factor that was chosen when it was read
    assert command[:2] == ['animevsr', 'rescale'] and command[-2:] == ['--factor', '0.4']
    assert (
        '24 pairs' in rescale(*command[2:], cwd=tmp_path).stdout
        and (tmp_path / 'out/factor_0.4/gt/00000023.png').exists()
    )
    with pytest.raises(
        ValueError,
        match='was saved for .*old video.mp4, not for .*other.mp4; if it is meant, write --factor 0.5',
    ):
        animevsr.rescale(
            tmp_path / 'other.mp4', tmp_path / 'out', tiny_weights, factor=tmp_path / 'factor.json'
        )
    pairs = dict(
        name='p',
        type='PairedFrameDataset',
        phase='train',
        dataroot_gt=str(tmp_path / 'out/factor_0.5/gt'),
        dataroot_lq=str(tmp_path / 'out/factor_0.5/lq'),
        gt_size=64,
    )
    assert len(build_dataset(pairs)) == 24 and build_dataset(pairs)[0]['gt'].shape == (3, 64, 64)


def test_names_cannot_leave_the_data_of_the_page(tiny_weights, tmp_path):
    write_clip(tmp_path / '</script><b>', moving_frames(2, 32, 32))
    animevsr.rescale(
        tmp_path / '</script><b>', tmp_path / 'out', tiny_weights, patches=1, patch_size=32, device='cpu'
    )
    page = (tmp_path / 'out/choose.html').read_text()
    assert page.count('</script>') == 1 and '<b>"' not in page
    assert cv2.imread(str(tmp_path / 'out/contact_sheet.png')).shape[1] == 64


def test_pairs_are_the_frames_and_what_the_network_makes_of_them(tiny_weights, tmp_path):
    """Two shots; each starts anew, and a run is warmed up by the frames before it."""
    frames = np.concatenate([moving_frames(12, 33, 46), 255 - moving_frames(4, 33, 46, seed=5)])
    write_clip(tmp_path / 'v', frames, start=5)
    folder = animevsr.rescale(tmp_path / 'v', tmp_path / 'out', tiny_weights, factor=0.5, device='cpu')
    net, expected = animevsr.load_network(tiny_weights), {}
    small = F.interpolate(to_tensor(frames), (16, 23), mode='bicubic', antialias=True).clamp(0, 1)
    with torch.no_grad():
        for first, shot, kept in ((0, small[0:11], 10), (8, small[8:12], 4), (12, small[12:16], 4)):
            large = net(shot[None])[0].clamp(0, 1)
            for i in range(first, first + kept):
                frame = large[i - first : i - first + 1]
                expected.setdefault(
                    i, F.interpolate(frame, (66, 92), mode='bicubic', antialias=True)[0].clamp(0, 1)
                )
    for i in range(16):
        assert (cv2.imread(str(folder / f'lq/{i:08d}.png'))[..., ::-1] == frames[i]).all()
        gt = cv2.imread(str(folder / f'gt/{i:08d}.png'))[..., ::-1]
        assert (
            gt.shape == (66, 92, 3) and np.abs(gt - expected[i].permute(1, 2, 0).numpy() * 255).max() < 0.6
        ), i
    made = {path: path.stat().st_mtime_ns for path in folder.rglob('*.png')}
    (folder / 'gt/00000011.png').unlink()  # as after an interrupt
    assert (
        animevsr.rescale(tmp_path / 'v', tmp_path / 'out', tiny_weights, factor=0.5, device='cpu') == folder
    )
    assert {int(p.stem) for p in folder.rglob('*.png') if p.stat().st_mtime_ns != made[p]} == set(
        range(10, 16)
    )

    def refused(**changes):
        with pytest.raises(
            MediaError, match='holds pairs of another video or network, or made in another way'
        ):
            animevsr.rescale(
                tmp_path / 'v', tmp_path / 'out', tiny_weights, factor=0.5, device='cpu', **changes
            )

    refused(max_frames=3)
    # another network of the same name
    torch.save({'params': {k: v + 0.01 for k, v in net.state_dict().items()}}, tiny_weights)
    refused()
    (folder / 'pairs.json').write_text('')  # half written
    refused()


def test_a_video_that_ends_before_its_header_says(tiny_weights, tmp_path):
    whole = (REPO / 'assets/demo/cartoon.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(whole[: len(whole) * 6 // 10])
    folder = animevsr.rescale(tmp_path / 'cut.avi', tmp_path / 'out', tiny_weights, factor=0.2, device='cpu')
    count = len(list((folder / 'gt').iterdir()))
    assert 20 <= count < 48 and count == len(list((folder / 'lq').iterdir()))
    study = animevsr.rescale(
        tmp_path / 'cut.avi', tmp_path / 'out', tiny_weights, patches=1, patch_size=32, device='cpu'
    )
    assert len(study.patches) == 1


def test_frames_of_several_sizes_are_named(tiny_weights, tmp_path):
    write_clip(tmp_path / 'v', moving_frames(3, 32, 40))
    cv2.imwrite(str(tmp_path / 'v/00000001.png'), moving_frames(1, 30, 40)[0])
    for factor in (None, 0.5):
        with pytest.raises(MediaError, match='00000001.png: is 40x30, but the first frame is 40x32'):
            animevsr.rescale(
                tmp_path / 'v', tmp_path / 'out', tiny_weights, factor=factor, patch_size=16, device='cpu'
            )


def test_no_pair_is_lost_whatever_the_length(tiny_weights, tmp_path):
    """The last run of ten frames ends where one of a single frame begins."""
    video = write_video(tmp_path / 'v.mkv', moving_frames(21, 32, 48))
    folder = animevsr.rescale(video, tmp_path / 'out', tiny_weights, factor=0.5, device='cpu')
    assert [p.stem for p in sorted((folder / 'gt').iterdir())] == [f'{i:08d}' for i in range(21)]


def test_cuts():
    a, b = moving_frames(2, 40, 60)
    assert not is_cut(a, b) and is_cut(a, 255 - a) and is_cut(np.zeros_like(a), np.full_like(a, 200))
    assert not is_cut(a, np.roll(a, 3, 1))


@pytest.mark.slow
def test_interrupted_pairs_go_on(tiny_weights, tmp_path):
    write_clip(tmp_path / 'v', moving_frames(200, 64, 64))
    command = ['rescale', 'v', '-o', 'out', '--weights', tiny_weights, '--factor', 1]
    assert 'interrupted, rerun the command to resume' in interrupt_when(
        tmp_path / 'out/factor_1/gt/00000012.png', command, tmp_path
    )
    before = len(list((tmp_path / 'out/factor_1/gt').glob('0*.png')))
    assert 12 < before < 200
    done = rescale('v', '-o', 'out', '--weights', tiny_weights, '--factor', 1, cwd=tmp_path)
    assert '200 pairs' in done.stdout and not list((tmp_path / 'out').rglob('.*.png'))


def test_bad_input_is_one_line(video, tiny_weights, tiny_vqgan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'bad.json').write_text('{"fact": 1}')
    write_clip(tmp_path / 'small', moving_frames(2, 8, 20))
    (tmp_path / 'file').write_text('')
    usual = ('-o', 'out', '--weights', tiny_weights)
    for arguments, message in (
        ((tmp_path / 'gone.avi', *usual), 'no such file'),
        ((video, *usual, '--factor', 1.5), 'factor must be above 0'),
        ((video, *usual, '--factor', 'bad.json'), 'neither a number nor a file that choose.html saved'),
        ((video, *usual, '--patch-size', 4), 'patch_size at least 16'),
        (('small', *usual), 'at least 16 pixels'),
        ((video, '-o', 'file', '--weights', tiny_weights), 'is not a folder for results'),
        ((video, '-o', 'out', '--weights', tiny_vqgan), 'holds a MultiScaleVQGAN, which does not upscale'),
    ):
        with pytest.raises(SystemExit) as stopped:
            animevsr_cli.main(['rescale', *map(str, arguments)])
        assert str(stopped.value).startswith('animevsr: ') and message in str(stopped.value), arguments
        assert len(str(stopped.value).splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_pseudo_hr_frames_are_what_the_network_makes(tiny_weights):
    """The engine against a loop over the whole clip, in float."""
    net = animevsr.load_network(tiny_weights)
    clip = torch.rand(3, 3, 30, 42)
    with torch.inference_mode():
        small = resize(clip, 15, 21)
        expected = resize(net(small[None])[0].clamp(0, 1), 60, 84)
    found = torch.cat(list(pseudo_hr_frames(net, clip, 0.5)))
    assert found.shape == expected.shape and (found - expected).abs().max() < 1e-4
