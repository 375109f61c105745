"""The queue of the app: each video is one `animevsr upscale` in a process of its own, which can be paused and
goes on after a crash.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from animevsr.errors import MediaError
from animevsr.upscaling import UpscaleOptions, WorkFolder
from animevsr.upscaling.options import check_output_for, size_for
from animevsr.utils.files import write_text
from animevsr.video.reader import VideoReader
from animevsr.zoo import MODELS, check_name, faithful_twin

if TYPE_CHECKING:
    import numpy as np

WAITING, RUNNING, PAUSED, DONE, FAILED = 'waiting', 'running', 'paused', 'done', 'failed'
# exit codes of a command that Ctrl+C or SIGTERM has ended; the last one is that of Windows
INTERRUPTED = 130, 143, -signal.SIGINT, -signal.SIGTERM, 0xC000013A
CLOSING = 10  # seconds in which an app that was interrupted, too, closes
PROGRESS = re.compile(r'(\d+)/(\d+) frames \[[^<\]]*<([^,\]]+)')


@dataclass
class Entry:
    """A video of the queue.

    Attributes:
        number (int): its name. input, output (str): paths. settings (dict): options of `upscale`.
        state (str): waiting, running, paused, done or failed.
        done, total (int): frames. left (str): time left. message (str): the last line that was said.
    """

    number: int
    input: str
    output: str
    settings: dict[str, Any] = field(default_factory=dict)
    state: str = WAITING
    done: int = 0
    total: int = 0
    left: str = ''
    message: str = ''

    def command(self) -> list[str]:
        """What is run, as it would be typed."""
        command = ['upscale', self.input, '-o', self.output]
        for name, value in self.settings.items():
            flag = f'--{name.replace("_", "-")}'
            if value is True:
                command.append(flag)
            elif value is not None and value is not False:
                command += [flag, str(value)]
        return command


class JobQueue:
    """Runs one entry after the other, in a thread; it is kept in a file, and what ran when the app was
    stopped waits again.

    Args:
        folder (Path): for `queue.json`.

    Raises:
        MediaError: another process runs the queue of this folder.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / 'queue.json'
        folder.mkdir(parents=True, exist_ok=True)
        self.alone = FileLock(folder / 'queue.lock')
        try:
            self.alone.acquire(timeout=0)
        except Timeout:
            raise MediaError(f'{folder}: another app runs this queue; close it first') from None
        self.lock = threading.RLock()
        self.entries: list[Entry] = []
        self.process = None
        self.closed = threading.Event()
        with contextlib.suppress(OSError, ValueError, TypeError):
            self.entries = [Entry(**values) for values in json.loads(self.file.read_text(encoding='utf8'))]
        for entry in self.entries:
            if entry.state == RUNNING:
                entry.state = WAITING
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def add(self, input: str, output: str, settings: dict[str, Any]) -> Entry:
        """Put a video at the end.

        Raises:
            ValueError, MediaError: an option or the input cannot be; the output is there, or in the queue.
        """
        options = UpscaleOptions.of(**settings)
        check_name(options.weights)
        if options.strength is not None:
            faithful_twin(options.weights)
        scale = MODELS[options.weights].scale if options.weights in MODELS else None
        with VideoReader(input) as reader:
            total = reader.info.expected_frames or 0
            check_output_for(Path(output), reader.info, options)
            if scale:
                size_for(reader.info, Path(output), options, scale, options.encode.codec)
        if Path(output).exists():
            raise MediaError(f'{output}: is there already; name another output')
        with self.lock:
            if any(e.output == output and e.state not in (DONE, FAILED) for e in self.entries):
                raise MediaError(f'{output}: is in the queue already')
            number = max((e.number for e in self.entries), default=0) + 1
            entry = Entry(number, input, output, settings, total=total)
            self.entries.append(entry)
            self._save()
        return entry

    def find(self, number: int) -> Entry | None:
        return next((entry for entry in self.entries if entry.number == number), None)

    def pause(self, number: int) -> None:
        """Stop an entry; every shot that is finished is kept."""
        with self.lock:
            entry = self.find(number)
            if entry and entry.state in (WAITING, RUNNING):
                running, entry.state = entry.state == RUNNING, PAUSED
                if running and self.process:
                    self.process.send_signal(signal.SIGTERM)
                self._save()

    def resume(self, number: int) -> None:
        """Let an entry that is paused or has failed go on when it is its turn."""
        with self.lock:
            entry = self.find(number)
            if entry and entry.state in (PAUSED, FAILED):
                entry.state, entry.message = WAITING, ''
                self._save()

    def remove(self, number: int) -> None:
        """Take an entry out; its output, or what is finished of it, stays on the disk."""
        with self.lock:
            self.pause(number)
            self.entries = [entry for entry in self.entries if entry.number != number]
            self._save()

    def close(self) -> None:
        """Stop what runs; it goes on with the next start of the app."""
        self.closed.set()
        with self.lock:
            if self.process:
                self.process.send_signal(signal.SIGTERM)
        self.thread.join(30)
        self.alone.release()

    def _save(self):
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.file, json.dumps([asdict(entry) for entry in self.entries], indent=1))

    def _work(self):
        while not self.closed.wait(0.2):
            entry = next((e for e in self.entries if e.state == WAITING), None)
            if entry is None:
                continue
            try:
                with self.lock:
                    if entry.state != WAITING:
                        continue
                    entry.state = RUNNING
                    self._save()
                    self.process = start(entry)
                self._follow(entry)
            except OSError as error:  # a full disk, say; the others go on
                if self.process:
                    self.process.terminate()
                    self.process.wait()
                self.process = None
                if entry.state != PAUSED:
                    entry.state, entry.message = FAILED, str(error)

    def _follow(self, entry):
        for line in lines(self.process.stderr):
            found = PROGRESS.search(line)
            if found:
                entry.done, entry.total, entry.left = int(found[1]), int(found[2]), found[3]
            elif line.startswith('animevsr: '):
                entry.message = line.removeprefix('animevsr: ')
        code = self.process.wait()
        if code in INTERRUPTED and entry.state == RUNNING:  # perhaps this process is to end, too
            self.closed.wait(CLOSING)
        with self.lock:
            self.process = None
            if entry.state == RUNNING:  # else it was paused
                if code == 0:
                    entry.state, entry.done, entry.left = DONE, entry.total, ''
                elif self.closed.is_set():
                    entry.state, entry.message = WAITING, ''
                else:
                    entry.state = FAILED
                    if code in INTERRUPTED:
                        entry.message = 'was ended by a signal'
            self._save()


def start(entry: Entry) -> subprocess.Popen:
    """The process of an entry; it says how far it is on its standard error, twice a second."""
    environment = {**os.environ, 'ANIMEVSR_PROGRESS': '0.5', 'PYTHONIOENCODING': 'utf8'}
    return subprocess.Popen(
        [sys.executable, '-m', 'animevsr_cli', *entry.command()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )


def lines(stream: Any) -> Any:
    """What a stream of bytes says, by lines that end with a new line or go back to the beginning."""
    waiting = b''
    while piece := stream.read1():
        *whole, waiting = re.split(rb'[\r\n]', waiting + piece)
        yield from (line.decode('utf8', 'replace') for line in whole if line)
    if waiting:
        yield waiting.decode('utf8', 'replace')


def newest_frame(output: str | Path) -> np.ndarray | None:
    """The last frame of the shot that was finished last, (h, w, 3) uint8 RGB; None where there is none."""
    for file in reversed(finished_files(output)):
        try:
            with VideoReader(file) as reader:
                return reader.image(reader.seek((reader.info.expected_frames or 1) / reader.info.fps))
        except (MediaError, OSError):  # joined and removed in between
            continue
    return None


def newest_file(output: str | Path) -> tuple[str, float] | None:
    """(file, when it was written) of the shot that was finished last, or of the whole result."""
    files = finished_files(output)
    return (str(files[-1]), changed(files[-1])) if files else None


def finished_files(output: str | Path) -> list[Path]:
    """The result where it is there, else the shots that are, in the order in which they were finished."""
    folder = WorkFolder(Path(output)).path
    return [Path(output)] if Path(output).is_file() else sorted(folder.glob('shot_*[0-9].mkv'), key=changed)


def changed(path: Path) -> float:
    """When a file was written; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
