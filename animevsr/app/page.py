"""The page of the app, by Gradio."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from animevsr.app.describe import describe
from animevsr.app.jobs import DONE, RUNNING, JobQueue, newest_file, newest_frame
from animevsr.app.paths import beside, clean, tail
from animevsr.archs.interfaces import FrameNetwork, RecurrentNetwork
from animevsr.archs.loading import load_mixed, load_upscaler
from animevsr.engine.backends import open_backend, place
from animevsr.engine.sizes import choose_tile
from animevsr.engine.upscaler import Upscaler
from animevsr.errors import MediaError
from animevsr.evaluation.preview import deinterlacing, shot_before
from animevsr.upscaling.options import UpscaleOptions
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.zoo import MODELS

LARGEST = 4  # times as large, at most
HEADS = ['number', 'video', 'state', 'frames', 'time left', 'result', 'message']
TEACH = """Two ways to learn how *your* video was damaged, both by commands that can also be typed:

- **Pairs from one video** (AnimeSR): patches of it are made smaller by ten factors and restored; open the
  page that comes of it and click the one that looks best.
- **A degradation from many frames** (VQD-SR): a network learns the damage of a folder of images or videos.
  Hours on a CPU; it goes on where it was stopped."""


def problems(function: Any) -> Any:
    """A handler whose problems with the input are one line on the page."""

    @functools.wraps(function)
    def handler(*arguments):
        try:
            return function(*arguments)
        except (MediaError, ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    return handler


class Page:
    """What the handlers of the page share, whatever tab of the browser they are called from.

    Args:
        folder (Path): for the queue, and for what is uploaded.
        device (str): see `ComputeOptions`.
    """

    def __init__(self, folder: Path, device: str = 'auto') -> None:
        self.folder = folder
        self.asked = device
        self.device, self.runtime = place(device)
        self.queue = JobQueue(folder)
        self.upscalers = {}
        self.blocks = None
        self.teaching = None
        self.looking = threading.Lock()
        self.newest = None, None  # (file, when it was written), its last frame
        self.lock = threading.RLock()

    # --- restore

    def choose(self, path: str) -> tuple:
        """A video was chosen: what it is, where the result would go, suggested settings."""
        path = clean(path)
        if not path:
            return '', '', None, 0, gr.update(maximum=1, value=0)
        found = describe(path)
        facts = '\n'.join(f'- {line}' for line in found.lines)
        advice = '\n'.join(f'- {line}' for line in found.advice)
        output = beside(path) / f'{Path(path).stem}_x4.mkv'
        middle = round(found.seconds / 2, 1)
        return (
            f'{facts}\n\n**Suggested**\n\n{advice}',
            str(output),
            found.settings.get('crop', ''),
            found.settings.get('height', 0),
            gr.update(maximum=max(0.1, found.seconds), value=middle),
        )

    def preview(
        self, path: str, model: str, moment: float, strength: float = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """(bicubic, result) of a frame, with the frames before it as warm-up."""
        path = clean(path)
        if not path:
            raise MediaError('choose a video first')
        shot = shot_before(Path(path), float(moment), deinterlacing(Path(path)))
        upscaler = self.upscaler(model, strength)
        if upscaler.clips is None and upscaler.backend.reach is not None:
            upscaler.tile = choose_tile('auto', shot[-1].shape[:2], self.device, 1, self.runtime)
        *_, result = upscaler(shot)
        size = result.shape[1], result.shape[0]
        return cv2.resize(shot[-1], size, interpolation=cv2.INTER_CUBIC), result

    def upscaler(self, model: str, strength: float = 1) -> Upscaler:
        if not model:
            raise MediaError('choose a model')
        with self.lock:
            if (model, strength) not in self.upscalers:
                options = UpscaleOptions.of(weights=model, strength=None if strength == 1 else strength)
                net = load_mixed(model, options.strength, self.device, clips=True)
                by_frame = isinstance(net, FrameNetwork)
                backend = open_backend(net, self.device, self.runtime) if by_frame else net
                made = Upscaler(backend, self.device, steady=options.averages)
                self.upscalers = {(model, strength): made}  # one at a time
            return self.upscalers[model, strength]

    def enqueue(self, path: str, output: str, strength: float, *values: Any) -> None:
        """Put a video into the queue."""
        path, output = clean(path), clean(output)
        if not path or not output:
            raise MediaError('choose a video, and say where the result goes')
        names = 'weights', 'outscale', 'height', 'crop', 'grain', 'square_pixels', 'reuse', 'fast', 'crf'
        given = dict(zip(names, values))
        settings = {name: v for name, v in given.items() if v or name == 'crf' and v == 0}  # 0 is a quality
        if 'weights' not in settings:
            raise MediaError('choose a model')
        if settings.get('reuse') and not isinstance(
            load_upscaler(settings['weights'], clips=True), RecurrentNetwork
        ):
            del settings['reuse']  # it has no state that could be held
        if strength is not None and strength < 1:  # else it is the model itself
            settings['strength'] = strength
        if settings.get('outscale') == LARGEST:  # the slider's end: whatever the model's scale is
            del settings['outscale']
        if 'height' in settings:
            settings.pop('outscale', None)
            settings['height'] = int(settings['height'])
        if self.asked != 'auto':
            settings['device'] = self.asked
        # the queue may go on from another folder
        self.queue.add(os.path.abspath(path), os.path.abspath(output), settings)
        gr.Info(f'{Path(path).name} is in the queue')

    # --- queue

    def rows(self) -> list:
        return [
            [
                e.number,
                Path(e.input).name,
                e.state,
                f'{e.done} of {e.total}' if e.total else '',
                e.left,
                e.output,
                e.message,
            ]
            for e in self.queue.entries
        ]

    def refresh(self, seen: list | None = None) -> tuple:
        """(rows, how far it is, the newest frame, files that are done, the same for `seen` of the next call).

        Args:
            seen: the files that this view of the page shows already.
        """
        entries = list(self.queue.entries)
        running = next((e for e in entries if e.state == RUNNING), None)
        said = 'Nothing runs.'
        if running:
            share = running.done / max(1, running.total)
            said = f'**{Path(running.input).name}**: {share:.0%}, {running.done} of {running.total} frames'
            said += f', {running.left} left' if running.left else ''
        last = running or next((e for e in reversed(entries) if e.state == DONE), None)
        frame = self.newest_frame(last.output) if last else None
        done = [e.output for e in entries if e.state == DONE and Path(e.output).is_file()]
        for file in done:  # no other file of this machine is served
            if file not in self.blocks.allowed_paths:
                self.blocks.allowed_paths.append(file)
                gr.set_static_paths([file])  # else Gradio copies all of it
        shown = gr.skip() if done == seen else done or None
        return self.rows(), said, frame, shown, done

    def newest_frame(self, output: str) -> np.ndarray | None:
        """As the function of this name; decoded once for all views of the page."""
        with self.looking:
            mark = newest_file(output)
            if mark != self.newest[0]:
                self.newest = mark, newest_frame(output)
            return self.newest[1]

    def act(self, action: str, number: float | None, seen: list | None) -> tuple:
        """Pause, resume or remove an entry; see `refresh`."""
        if self.queue.find(int(number or 0)) is None:
            raise MediaError('say the number of a video of the queue')
        getattr(self.queue, action)(int(number))
        return self.refresh(seen)

    # --- teach

    def teach(self, action: str, path: str) -> Any:
        """Run `animevsr rescale` or `animevsr learn`, and show what it says."""
        path = clean(path)
        if not path or not Path(path).exists():
            raise MediaError(f'{path or "choose a video or a folder"}: no such file or folder')
        arguments = [action, os.path.abspath(path)]
        if action == 'rescale':
            arguments += ['-o', str(beside(path) / f'{Path(path).stem}_rescaled'), '--device']
            arguments += [self.asked if self.runtime == 'auto' else str(self.device)]
        shown = f'in {Path.cwd()}\n$ animevsr {" ".join(arguments)}\n'
        yield shown
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / 'teach.log'
        hidden = {'CUDA_VISIBLE_DEVICES': ''} if self.device.type == 'cpu' else {}
        with self.lock:
            if self.teaching and self.teaching.poll() is None:
                raise MediaError('something is being learned already; stop it first')
            with log.open('wb') as file:
                process = self.teaching = subprocess.Popen(
                    [sys.executable, '-m', 'animevsr_cli', *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=os.environ | hidden,
                )
        while process.poll() is None:
            time.sleep(0.5)
            yield shown + tail(log)
        yield shown + tail(log) + f'\nended with {process.returncode}'

    def stop_teaching(self) -> None:
        if self.teaching and self.teaching.poll() is None:
            self.teaching.terminate()

    def close(self) -> None:
        self.stop_teaching()
        self.queue.close()


def build(page: Page) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title='animevsr', analytics_enabled=False) as blocks:
        page.blocks = blocks
        blocks.allowed_paths = []
        gr.Markdown('# animevsr\nOld cartoons at four times the size. Everything stays on this machine.')
        with gr.Tab('Restore'):
            restore_tab(page)
        with gr.Tab('Queue'):
            queue_tab(page)
        with gr.Tab('Teach'):
            teach_tab(page)
    return blocks


def restore_tab(page: Page) -> None:
    with gr.Row():
        with gr.Column():
            path = gr.Textbox(label='Path of a video on this machine', elem_id='path')
            upload = gr.File(
                label='or drop one here', file_types=list(VIDEO_SUFFIXES), type='filepath', elem_id='upload'
            )
            facts = gr.Markdown(elem_id='facts')
        with gr.Column():
            model = gr.Dropdown(list(MODELS), value='animevsr_x4', label='Model', allow_custom_value=True)
            moment = gr.Slider(0, 1, 0, step=0.1, label='Moment to preview, in seconds')
            look = gr.Button('Preview', elem_id='preview')
            compared = gr.ImageSlider(label='bicubic | result', type='numpy', elem_id='compared')
    with gr.Accordion('Settings', open=False), gr.Row():
        outscale = gr.Slider(1, LARGEST, LARGEST, step=0.5, label='Times as large, at most')
        height = gr.Number(0, label='or a height in pixels (0: by the factor)', precision=0)
        crop = gr.Textbox('', label='Crop TOP:BOTTOM:LEFT:RIGHT, or auto')
        strength = gr.Slider(0, 1, 1, step=0.05, label='Strength: 0 keeps grain and texture (animevsr_x4)')
        grain = gr.Slider(0, 10, 0, step=0.5, label='Film grain')
        crf = gr.Slider(0, 35, 18, step=1, label='Quality (crf, lower is better)')
        square = gr.Checkbox(False, label='Square pixels')
        reuse = gr.Checkbox(True, label='Compute only what changes (much faster on held drawings)')
        fast = gr.Checkbox(False, label='8-bit integers (faster, nearly the same)')
    output = gr.Textbox(label='Result', elem_id='output')
    run = gr.Button('Add to the queue', variant='primary', elem_id='run')
    upload.change(lambda file: file or '', upload, path)
    path.change(problems(page.choose), path, [facts, output, crop, height, moment])
    look.click(problems(page.preview), [path, model, moment, strength], compared, concurrency_limit=1)
    settings = [model, outscale, height, crop, grain, square, reuse, fast, crf]
    run.click(problems(page.enqueue), [path, output, strength, *settings])


def queue_tab(page: Page) -> None:
    said = gr.Markdown(elem_id='said')
    rows = gr.Dataframe(headers=HEADS, interactive=False, elem_id='rows', wrap=True)
    with gr.Row():
        number = gr.Number(1, label='Number', precision=0, elem_id='number')
        buttons = {name: gr.Button(name.capitalize(), elem_id=name) for name in ('pause', 'resume', 'remove')}
    with gr.Row():
        frame = gr.Image(label='Newest frame', interactive=False, elem_id='newest', buttons=['fullscreen'])
        files = gr.File(label='Results', interactive=False, file_count='multiple', elem_id='results')
    seen = gr.State()
    shown = [rows, said, frame, files, seen]
    for name, button in buttons.items():
        button.click(problems(functools.partial(page.act, name)), [number, seen], shown)
    gr.Timer(2).tick(page.refresh, seen, shown, show_progress='hidden')


def teach_tab(page: Page) -> None:
    gr.Markdown(TEACH)
    path = gr.Textbox(label='A video, or a folder of images and videos', elem_id='lesson')
    with gr.Row():
        pairs, learn, stop = (
            gr.Button('Pairs from a video'),
            gr.Button('Learn from a folder'),
            gr.Button('Stop'),
        )
    log = gr.Textbox(label='What is run, and what it says', lines=16, interactive=False, elem_id='log')
    pairs.click(teaching(page, 'rescale'), path, log)
    learn.click(teaching(page, 'learn'), path, log)
    stop.click(page.stop_teaching)


def teaching(page: Page, action: str) -> Any:
    def handler(path):
        try:
            yield from page.teach(action, path)
        except (MediaError, ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    return handler
