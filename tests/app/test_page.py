"""The app in a real browser: choose, look, run, pause, come back, take the result."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from conftest import browser, decode, moving_frames, three_shots, write_video

pytest.importorskip('gradio')
from playwright import sync_api
from waiting import wait

from animevsr.app.jobs import DONE, RUNNING, WAITING, Entry
from animevsr.app.page import LARGEST, Page
from animevsr.app.server import make_server
from animevsr.archs.backbones_arch import ClipBasicVSR

HOST = '127.0.0.1'


@pytest.fixture
def served(tmp_path, monkeypatch):
    """(page, its address)."""
    monkeypatch.setenv('GRADIO_TEMP_DIR', str(tmp_path / 'gradio'))
    page = Page(tmp_path / 'app', 'cpu')
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    server = make_server(page, HOST, port, None)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(200):
        if server.started:
            break
        time.sleep(0.05)
    yield page, f'http://{HOST}:{port}'
    server.should_exit = True
    page.close()
    thread.join(10)


@pytest.fixture
def tab(served):
    path = browser()
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=['--no-sandbox', '--disable-gpu'])
        context = chromium.new_context(viewport=dict(width=1100, height=900), accept_downloads=True)
        context.set_default_timeout(60_000)
        elsewhere = []
        own = (served[1], 'data:', 'blob:')
        context.on('request', lambda r: elsewhere.append(r.url) if not r.url.startswith(own) else None)
        tab = context.new_page()
        tab.goto(served[1])
        yield tab
        assert not elsewhere, elsewhere
        chromium.close()


def choose(tab, source, weights):
    tab.locator('#path textarea, #path input').fill(str(source))
    tab.locator('#path textarea, #path input').press('Tab')
    tab.get_by_text('frames a second').wait_for()
    tab.get_by_label('Model').fill(str(weights))
    tab.get_by_label('Model').press('Enter')


def picture(tab, name):
    """A picture for the documentation, where ANIMEVSR_PICTURES names a folder for it."""
    if 'ANIMEVSR_PICTURES' in os.environ:
        tab.screenshot(path=f'{os.environ["ANIMEVSR_PICTURES"]}/{name}.png')


def shown(tab, text):
    """Wait until the table of the queue shows a text."""
    tab.locator('#rows').get_by_text(text).locator('visible=true').first.wait_for()


@pytest.mark.slow
def test_from_a_video_to_its_result(served, tab, tiny_weights, tmp_path):
    page, address = served
    source = write_video(tmp_path / 'old film.mkv', three_shots((60, 60, 60), (64, 96))[0], sound=True)
    choose(tab, source, tiny_weights)
    assert '96x64' in tab.locator('#facts').inner_text()
    assert tab.locator('#output textarea, #output input').input_value() == str(tmp_path / 'old film_x4.mkv')
    # before and after, on a frame of it
    tab.locator('#preview').click()
    size = (
        '[...document.querySelectorAll("#compared img")].map(i => [i.naturalWidth, i.naturalHeight].join())'
    )
    tab.wait_for_function(f'{size}.filter(x => x === "384,256").length >= 2')
    picture(tab, 'app_restore')
    tab.locator('#run').click()
    tab.get_by_text('is in the queue').wait_for()
    entry = page.queue.entries[0]
    assert entry.settings['weights'] == str(tiny_weights) and entry.settings['reuse'] is True
    wait(page.queue, entry.number, RUNNING, DONE)
    # another tab, and the same one loaded anew, see the same queue
    other = tab.context.new_page()
    other.goto(address)
    for view in (tab, other):
        view.reload()
        view.get_by_role('tab', name='Queue').click()
        shown(view, 'old film.mkv')
    other.close()
    wait(page.queue, entry.number, DONE)
    shown(tab, 'done')
    tab.wait_for_function("document.querySelector('#newest img')?.naturalWidth == 384")
    picture(tab, 'app_queue')
    link = tab.locator('#results a[download]').first
    link.wait_for()
    with tab.expect_download() as download:
        link.click()
    download.value.save_as(tmp_path / 'got.mkv')
    assert (tmp_path / 'got.mkv').read_bytes() == (tmp_path / 'old film_x4.mkv').read_bytes()
    assert len(decode(tmp_path / 'got.mkv')[0]) == 180


@pytest.mark.slow
def test_pause_and_resume_by_keyboard(served, tab, tiny_weights, tmp_path):
    page, _ = served
    source = write_video(tmp_path / 'in.mkv', three_shots((90, 90, 90), (96, 128))[0])
    entry = page.queue.add(str(source), str(tmp_path / 'out.mkv'), dict(weights=str(tiny_weights), threads=1))
    wait(page.queue, entry.number, RUNNING)
    tab.get_by_role('tab', name='Queue').focus()
    tab.keyboard.press('Enter')
    tab.locator('#pause').focus()
    tab.keyboard.press('Enter')
    shown(tab, 'paused')
    assert not (tmp_path / 'out.mkv').exists()
    tab.locator('#resume').focus()
    tab.keyboard.press('Enter')
    wait(page.queue, entry.number, DONE)
    assert len(decode(tmp_path / 'out.mkv')[0]) == 270


def test_problems_are_one_line_and_a_narrow_window_scrolls_one_way(tab, tmp_path):
    (tmp_path / 'bad.mkv').write_bytes(b'no video')
    tab.set_viewport_size(dict(width=380, height=700))
    tab.locator('#path textarea, #path input').fill(str(tmp_path / 'bad.mkv'))
    tab.locator('#path textarea, #path input').press('Tab')
    tab.get_by_text('not readable as a video').first.wait_for()
    assert tab.evaluate('document.documentElement.scrollWidth <= window.innerWidth + 1')


def status(address, path):
    try:
        return urllib.request.urlopen(f'{address}{path}').status
    except urllib.error.HTTPError as error:
        return error.code


def test_no_other_file_is_served(served, tmp_path):
    page, address = served
    secret = tmp_path / 'secret.txt'
    secret.write_text('x')
    assert status(address, '/') == 200
    for file in (secret, '/etc/passwd', __file__):
        assert status(address, f'/gradio_api/file={file}') in (403, 404)


def ask(address, number, *values):
    """What the page's handler with this number answers to values as a browser sends them."""
    call = json.dumps(dict(data=values, fn_index=number, session_hash='x')).encode()
    headers = {'Content-Type': 'application/json'}
    request = urllib.request.Request(f'{address}/gradio_api/queue/join', call, headers)
    urllib.request.urlopen(request).read()
    for line in urllib.request.urlopen(f'{address}/gradio_api/queue/data?session_hash=x'):
        event = json.loads(line[6:]) if line.startswith(b'data: ') else {}
        if event.get('msg') == 'process_completed':
            return event
    raise AssertionError('no answer')


def test_no_file_can_be_smuggled_in_as_an_upload(served, tmp_path):
    _, address = served
    secret = tmp_path / 'secret.mkv'
    secret.write_text('x')
    for path in (str(secret), '/etc/passwd'):
        answer = ask(address, 0, dict(path=path, meta={'_type': 'gradio.FileData'}))
        assert not answer['success'] and path not in str(answer['output'].get('data'))


def upload(address, path, **headers):
    """Send a file as the page does; where it lies then."""
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + path.name.encode()
    body += b'"\r\nContent-Type: video/x-matroska\r\n\r\n' + path.read_bytes() + b'\r\n--x--\r\n'
    headers = {'Content-Type': 'multipart/form-data; boundary=x', **headers}
    request = urllib.request.Request(f'{address}/gradio_api/upload', body, headers)
    return json.loads(urllib.request.urlopen(request).read())[0]


def test_uploads_come_from_this_page_alone(served, tmp_path):
    _, address = served
    source = write_video(tmp_path / 'in.mkv', moving_frames(4, 32, 48))
    with pytest.raises(urllib.error.HTTPError, match='403'):
        upload(address, source, Origin='https://evil.example')
    path = upload(address, source, Origin=address)
    answer = ask(address, 0, dict(path=path, meta={'_type': 'gradio.FileData'}))
    assert answer['success'] and path in str(answer['output']['data'])


def test_a_name_of_elsewhere_is_not_answered(served):
    _, address = served
    request = urllib.request.Request(address, headers={'Host': 'evil.example'})
    with pytest.raises(urllib.error.HTTPError, match='400'):
        urllib.request.urlopen(request)


def test_what_is_dropped_is_described_and_its_result_goes_where_the_app_was_started(served, tab, tmp_path):
    source = write_video(tmp_path / 'dropped film.mkv', moving_frames(4, 32, 48))
    tab.locator('#upload input[type=file]').set_input_files(str(source))
    tab.get_by_text('frames a second').wait_for()
    assert '48x32' in tab.locator('#facts').inner_text()
    output = tab.locator('#output textarea, #output input').input_value()
    assert output == str(Path.cwd() / 'dropped film_x4.mkv')


def test_settings_are_those_of_the_page(served, tiny_weights, tmp_path):
    page, _ = served
    source = write_video(tmp_path / 'in.mkv', moving_frames(4, 32, 48))
    page.queue.closed.set()  # nothing is run
    usual = (2, 0, '', 0, False, True, False)
    relative = os.path.relpath(source), os.path.relpath(tmp_path / 'a.mkv')
    page.enqueue(*relative, 1, str(tiny_weights), *usual, 0)
    assert page.queue.entries[0].input == str(source)  # the next start may be in another folder
    assert page.queue.entries[0].output == str(tmp_path / 'a.mkv')
    single = tmp_path / 'single.pth'
    torch.save(RRDBNet(3, 3, num_feat=16, num_block=1, num_grow_ch=32).state_dict(), single)
    page.enqueue(str(source), str(tmp_path / 'b.mkv'), 1, str(single), *usual, 18)
    page.enqueue(str(source), str(tmp_path / 'c.mkv'), 0, 'animevsr_x4', LARGEST, *usual[1:], 18)
    first, second, third = (entry.settings for entry in page.queue.entries)
    assert first == dict(weights=str(tiny_weights), outscale=2, reuse=True, crf=0, device='cpu')
    assert second == dict(weights=str(single), outscale=2, crf=18, device='cpu')
    assert third == dict(weights='animevsr_x4', reuse=True, crf=18, strength=0, device='cpu')
    assert not page.upscalers  # to queue a video opens no backend
    for output, strength, model, scale, said in [
        ('d.mkv', 0, str(single), 2, 'has no faithful twin'),
        ('gone/d.mkv', 1, 'animevsr_x4', 2, 'its folder does not exist'),
        ('d.webm', 1, 'animevsr_x4', 2, 'd.webm'),
        ('d.mkv', 1, 'waifu2x-cunet', 3, 'at most 2 times'),
    ]:
        with pytest.raises(ValueError, match=said):  # now, not at night
            page.queue.add(
                str(source),
                str(tmp_path / output),
                dict(weights=model, outscale=scale) | (dict(strength=strength) if strength < 1 else {}),
            )
    assert len(page.queue.entries) == 3


def test_networks_over_whole_clips_are_shown_and_queued(served, tmp_path):
    page, _ = served
    page.queue.closed.set()  # nothing is run
    source, net = write_video(tmp_path / 'in.mkv', moving_frames(4, 64, 64)), ClipBasicVSR(8, 2)
    torch.save(dict(params=net.state_dict()), tmp_path / 'clip.pth')
    bicubic, result = page.preview(str(source), str(tmp_path / 'clip.pth'), 0.1)
    assert result.shape == bicubic.shape == (256, 256, 3)
    usual = (2, 0, '', 0, False, True, False, 18)
    page.enqueue(str(source), str(tmp_path / 'a.mkv'), 1, str(tmp_path / 'clip.pth'), *usual)
    assert page.queue.entries[-1].settings == dict(
        weights=str(tmp_path / 'clip.pth'), outscale=2, crf=18, device='cpu'
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name != 'posix', reason='Ctrl+C is sent to a group of processes')
@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_it_stops_at_once_though_a_tab_is_open_and_goes_on_with_the_next_start(sign, tiny_weights, tmp_path):
    source = write_video(tmp_path / 'in.mkv', three_shots((400, 400, 400), (96, 128))[0])
    settings = dict(weights=str(tiny_weights), threads=1)
    entry = Entry(1, str(source), str(tmp_path / 'out.mkv'), settings)
    queue = tmp_path / 'cache/app/queue.json'
    queue.parent.mkdir(parents=True)
    queue.write_text(json.dumps([asdict(entry)]))
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'animevsr_cli', 'app', '--port', str(port), '--device', 'cpu']
    places = dict(ANIMEVSR_CACHE=str(tmp_path / 'cache'), GRADIO_TEMP_DIR=str(tmp_path / 'gradio'))
    app = subprocess.Popen(
        command, env=os.environ | places, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert 'Ctrl+C stops' in app.stderr.readline()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            tab = urllib.request.urlopen(f'http://{HOST}:{port}/gradio_api/heartbeat/x')
            break
        time.sleep(0.1)
    assert tab.read1()  # it stays open
    while json.loads(queue.read_text())[0]['state'] != RUNNING and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(app.pid, sign)
    app.wait(30)
    assert 'Traceback' not in app.stderr.read()
    assert json.loads(queue.read_text())[0]['state'] in (WAITING, RUNNING), queue.read_text()


def test_others_need_a_password(tmp_path):
    page = Page(tmp_path / 'app', 'cpu')
    try:
        with pytest.raises(ValueError, match='host 0.0.0.0: others could reach it; give a --password'):
            make_server(page, '0.0.0.0', 7999, None)
        make_server(page, '0.0.0.0', 7999, 'word')
    finally:
        page.close()
