"""The page that compares, clicked through in a real browser."""

import json

import numpy as np
import pytest
from conftest import browser, moving_frames, write_clip
from playwright import sync_api

import animevsr
import animevsr_cli
from animevsr.evaluation.votes import votes


@pytest.fixture
def results(tmp_path):
    """Two clips of three methods: the picture, the picture with a bright left half, the inverted picture."""
    for name in 'ab':
        frames = moving_frames(6, 160, 240, seed=ord(name))
        brighter = frames.copy()
        brighter[:, :, :120] = 255
        for method, images in dict(plain=frames, half=brighter, inverse=255 - frames).items():
            write_clip(tmp_path / method / name, images)
    return tmp_path


@pytest.fixture
def page(results):
    roots = {name: results / name for name in ('plain', 'half', 'inverse')}
    animevsr.compare(roots, results / 'page.html', frames=3, quality=101, device='cpu')
    path = browser()
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=['--no-sandbox'])
        page = chromium.new_page(viewport=dict(width=800, height=600))
        problems = []
        page.on('pageerror', lambda error: problems.append(error))
        page.on(
            'request',
            lambda request: problems.append(request.url) if request.url.startswith('http') else None,
        )
        page.goto((results / 'page.html').as_uri())
        yield page
        assert not problems
        chromium.close()


def pixels(page):
    """What the stage shows, (h, w, 3) uint8 RGB."""
    import cv2

    page.wait_for_function('[...document.images].every(image => image.complete)')
    image = cv2.imdecode(np.frombuffer(page.locator('#stage').screenshot(), np.uint8), cv2.IMREAD_COLOR)[
        ..., ::-1
    ]
    return image[1:161, 1:241].astype(int)  # without the border


def near(shown, expected, left, right):
    """Whether both are the same from column `left` to `right`, below the labels."""
    return np.abs(shown[60:, left:right] - expected[60:, left:right]).mean() < 3


def test_slider_frames_clips_zoom_and_difference(page):
    frames = {name: moving_frames(6, 160, 240, seed=ord(name)).astype(int) for name in 'ab'}
    # left of the divider `plain`, right of it `half`, of which only the left half differs
    shown = pixels(page)
    assert near(shown, frames['a'][0], 0, 116) and near(shown, frames['a'][0], 124, 240)
    page.select_option('#right', label='inverse')
    shown = pixels(page)
    assert near(shown, frames['a'][0], 0, 116) and near(shown, 255 - frames['a'][0], 124, 240)
    box = page.locator('#stage').bounding_box()
    page.mouse.move(box['x'] + 120, box['y'] + 80)
    page.mouse.down()
    page.mouse.move(box['x'] + 40, box['y'] + 80)  # drag the divider to the left
    page.mouse.up()
    shown = pixels(page)
    assert near(shown, frames['a'][0], 0, 36) and near(shown, 255 - frames['a'][0], 46, 240)

    page.evaluate('document.activeElement.blur()')
    page.keyboard.press('ArrowRight')
    assert page.locator('#number').inner_text() == '2' and near(pixels(page), 255 - frames['a'][2], 46, 240)
    page.keyboard.press('ArrowDown')
    assert page.locator('#clip').input_value() == '1' and near(pixels(page), 255 - frames['b'][2], 46, 240)
    page.keyboard.press('x')  # exchanged
    assert page.locator('#right-label').inner_text() == 'plain' and near(
        pixels(page), frames['b'][2], 46, 240
    )
    page.keyboard.press('+')
    assert page.locator('#zoom-value').inner_text() == '2'
    assert near(pixels(page), frames['b'][2, 40:120, 60:180].repeat(2, 0).repeat(2, 1), 46, 240)
    page.keyboard.down('Shift')
    page.mouse.move(box['x'] + 120, box['y'] + 80)
    page.mouse.down()
    page.mouse.move(box['x'] + 100, box['y'] + 80)  # move what is seen by 10 of its pixels
    page.mouse.up()
    page.keyboard.up('Shift')
    assert near(pixels(page), frames['b'][2, 40:120, 70:190].repeat(2, 0).repeat(2, 1), 46, 240)
    page.keyboard.press('-')
    page.select_option('#left', label='plain')
    page.check('#difference')  # nothing differs from itself
    assert pixels(page)[60:].max() < 3
    page.select_option('#left', label='half')
    assert pixels(page)[60:, 8:112].mean() > 100 and pixels(page)[60:, 128:].max() < 12
    page.evaluate('document.activeElement.blur()')
    page.keyboard.press('d')
    assert not page.locator('#difference').is_checked()


def test_values_are_shown(page, results):
    rows = page.locator('#values tr').all_inner_texts()
    assert rows[0].split() == ['a', 'line_width', 'flicker'] and [row.split()[0] for row in rows[1:]] == [
        'plain',
        'half',
        'inverse',
    ]
    expected = animevsr.evaluate(
        {'plain': results / 'plain'}, metrics=['line_width', 'flicker'], every=1, device='cpu'
    )[0].values['a']
    assert [float(v) for v in rows[1].split()[1:]] == pytest.approx(list(expected.values()), abs=6e-4)


def test_the_blind_study(page, tmp_path):
    """The first method beside each other one, on all frames, blind and in random order; always for `plain`
    but once.
    """
    # a generator of known numbers
    page.evaluate('let seed = 7; Math.random = () => (seed = seed * 16807 % 2147483647) / 2147483647; 0')
    page.click('#mode')
    sources = page.evaluate('data.clips.map(clip => clip.images)')
    total, seen, shown_names, clips = 2 * 3 * 2, [], [], []
    for i in range(total):
        assert page.locator('#progress').inner_text() == f'{i + 1} of {total}'
        assert not any(name in page.locator('#study').inner_text() for name in ('plain', 'half', 'inverse'))
        shown = [page.locator(f'#{side} img').get_attribute('src') for side in ('first', 'second')]
        names = [next(m for images in sources for m, urls in images.items() if url in urls) for url in shown]
        seen.append((shown[0], shown[1]))
        shown_names.append(names)
        clips.append(
            next(c for c, images in enumerate(sources) for urls in images.values() if shown[0] in urls)
        )
        if i == 5:  # a look at the comparison loses no vote
            page.click('#mode')
            page.click('#mode')
            assert page.locator('#progress').inner_text() == f'6 of {total}'
        wish = 'plain' if 'plain' in names else 'inverse'
        if i == 0:
            page.keyboard.press('0')  # there are two choices
            assert page.locator('#progress').inner_text() == f'1 of {total}'
            page.keyboard.press(str(2 - names.index(wish)))
            lost = names
        elif i % 2:
            page.keyboard.press(str(1 + names.index(wish)))
        else:
            page.click(f'#{("first", "second")[names.index(wish)]}')
    assert len({frozenset(pair) for pair in seen}) == total
    # each method stands on both sides of each other one, and the clips do not come in their order
    sides = {tuple(names) for names in shown_names}
    assert all((b, a) in sides for a, b in sides) and clips != sorted(clips)
    rows = [row.split('\t') for row in page.locator('#shares tr').all_inner_texts()]
    assert [row[0] for row in rows[1:]] == ['plain : half', 'plain : inverse'] and all(
        row[1] == '6' for row in rows[1:]
    )
    whole = next(row for row in rows[1:] if set(row[0].split(' : ')) != set(lost))
    assert '100.0 % (6)' in whole
    with page.expect_download() as download:
        page.click('#save')
    download.value.save_as(tmp_path / 'votes.json')
    saved = json.loads((tmp_path / 'votes.json').read_text())
    assert len(saved['votes']) == total and saved['votes'][0]['vote'] != 'plain'
    assert all(v['vote'] == 'plain' for v in saved['votes'][1:]) and {v['clip'] for v in saved['votes']} == {
        'a',
        'b',
    }
    shares = {(s.a, s.b): (s.votes, s.for_a) for s in votes([tmp_path / 'votes.json'])}
    other = next(name for name in lost if name != 'plain')
    assert shares == {('plain', name): (6, 5 if name == other else 6) for name in ('half', 'inverse')}
    page.click('#again')
    assert page.locator('#progress').inner_text() == f'1 of {total}'
    page.click('#mode')
    assert page.locator('#stage').is_visible()


def test_bad_input_is_one_line(results, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / 'short/a', moving_frames(2, 40, 60))
    write_clip(tmp_path / 'short/b', moving_frames(6, 160, 240))
    write_clip(tmp_path / 'small/a', moving_frames(6, 40, 50))
    write_clip(tmp_path / 'small/b', moving_frames(6, 160, 240))
    write_clip(tmp_path / 'one/a', moving_frames(6, 160, 240))
    for arguments, message in (
        (('plain',), 'two or more methods'),
        (('plain', 'gone'), 'gone: no such folder'),
        (('plain', 'short'), 'has 2 frames'),
        (('plain', 'small'), 'is 50x40'),
        (('plain', 'one'), "one: has no clip 'b', which"),
        (('plain', 'half', '--gt', 'one', '--metrics', 'psnr'), "one: has no clip 'b', which"),
        (('plain', 'half', '-o', 'x.png'), 'name it e.g. x.html'),
        (('plain', 'half', '--metrics', 'psnr'), 'compares with a ground truth'),
    ):
        with pytest.raises(SystemExit) as stopped:
            animevsr_cli.main(['compare', *arguments, '--device', 'cpu'])
        assert message in str(stopped.value) and len(str(stopped.value).splitlines()) == 1, arguments
    assert not (tmp_path / 'compare.html').exists()


def test_votes_of_several_people(tmp_path, capsys):
    """The paper's figure: shares, here with Wilson's intervals (values from the formula in Wilson 1927, for 8
    of 10 and 15 of 30).
    """

    def person(name, *found):
        text = json.dumps(
            dict(methods=['ours', 'a', 'b'], votes=[dict(first=f, second=s, vote=v) for f, s, v in found])
        )
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    one = person('1.json', *[('ours', 'a', 'ours')] * 5, ('a', 'ours', 'a'), *[('b', 'ours', 'ours')] * 15)
    two = person('2.json', *[('a', 'ours', 'ours')] * 3, ('ours', 'a', 'a'), *[('ours', 'b', 'b')] * 15)
    animevsr_cli.main(['votes', one, two])
    assert capsys.readouterr().out.splitlines() == [
        'ours : a  80.0% of 10 votes for ours, 95 % interval 49.0% to 94.3%',
        'ours : b  50.0% of 30 votes for ours, 95 % interval 33.2% to 66.8%',
    ]
    for files, message in (
        ([one, one], 'holds the same votes as'),
        ([str(tmp_path / 'gone.json')], 'holds no votes'),
        ([person('3.json', ('ours', 'a', 'c'))], 'a vote for c between ours and a is none'),
    ):
        with pytest.raises(SystemExit, match=message):
            animevsr_cli.main(['votes', *files])
