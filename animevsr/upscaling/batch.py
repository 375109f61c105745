"""All videos of a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animevsr.errors import CheckpointError, MediaError
from animevsr.upscaling.api import estimate, upscale
from animevsr.upscaling.options import UpscaleOptions, option_names
from animevsr.upscaling.workdir import WorkFolder, hash_model
from animevsr.utils.files import read_toml, write_text
from animevsr.utils.options import read_settings
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.images import IMAGE_SUFFIXES
from animevsr.video.listing import NOTE, list_videos

if TYPE_CHECKING:
    from collections.abc import Iterator

    from animevsr.upscaling.estimate import Estimate


QUEUE = 'queue.toml'  # in the input folder: settings of single videos
END = 2**20  # bytes at the beginning and at the end of a video by which it is known again


def upscale_folder(
    input: str | Path, output: str | Path, suffix: str = '.mkv', progress: bool = False, **options: Any
) -> dict[str, str]:
    """Upscale all videos below a folder into another one, with the folders that they are in. What is done
    already is left alone (where it was made of another file, or with other weights or options, it counts as
    failed), and one bad file does not stop the others.

    A file `queue.toml` in the input folder gives single videos settings of their own: tables that are named
    by a file or a pattern (`["season 1/*.mkv"]`), with options of this function; `skip = true` leaves a video
    out.

    Args:
        input, output (str | Path): folders; the output is made where it is missing.
        suffix (str): of the outputs.
        options: of `upscale`.

    Returns:
        dict: {path of a video below the input: 'done ...', 'was done already' or 'failed: ...'}.

    Raises:
        MediaError: there are no videos. ValueError, CheckpointError: an option or the weights cannot be used,
            for none of them.
    """
    input, output = Path(input), Path(output)
    note = Note(output)
    targets = choose_targets(list_videos(input, output), input, output, suffix, note)
    queue = Queue(input, options)
    queue.check_names([str(video.relative_to(input)) for video, _ in targets])
    output.mkdir(parents=True, exist_ok=True)
    note.name({str(target.relative_to(output)): str(video.relative_to(input)) for video, target in targets})
    results = {}
    for number, (video, target) in enumerate(targets, 1):
        name = str(video.relative_to(input))
        settings = queue.settings(name)
        if settings is None:
            results[name] = f'left out, by {QUEUE}'
            continue
        if progress and not target.exists():
            warnings.warn(f'{number} of {len(targets)}: {name}', stacklevel=2)
        try:
            made, place = made_of(video, settings), str(target.relative_to(output))
            if target.exists():
                clean(target)
                if differs := note.what_differs(place, made):
                    raise MediaError(
                        f'{target} is there already, made with different {", ".join(differs)}; remove it, or'
                        ' name another folder'
                    )
                results[name] = 'was done already'
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            summary = upscale(video, target, progress=progress, **settings)
            note.done(place, made)
            results[name] = (
                f'part done, {summary.missing} of {summary.shots} shots left'
                if summary.missing
                else f'done, {summary.frames} frames'
            )
        # a size, say, that one cannot have
        except (CheckpointError, MediaError, ValueError, OSError, RuntimeError, MemoryError) as error:
            if isinstance(error, CheckpointError) and not queue.has_own_weights(settings):
                raise
            results[name] = f'failed: {error}'
            if progress:
                warnings.warn(f'{name} failed: {error}', stacklevel=2)
    return results


def made_of(video: Path, settings: dict[str, Any]) -> dict:
    """What a result depends on, of its source and the options of `upscale`, as `Note` keeps it."""
    options = UpscaleOptions.of(**settings)
    weights = hash_model(options.weights, options.strength)
    size, digest = video.stat().st_size, hashlib.sha256()
    with video.open('rb') as file:  # its ends are quickly read, also over a network
        digest.update(file.read(END))
        file.seek(max(0, size - END))
        digest.update(file.read(END))
    return dict(source=size, content=digest.hexdigest()[:16], weights=weights, **options.pixels())


def estimate_folder(
    input: str | Path, output: str | Path, suffix: str = '.mkv', **options: Any
) -> Iterator[tuple[Path, Estimate | str]]:
    """(video, what it would take, or why it cannot be done) of each video that `upscale_folder` would still
    upscale; nothing is written.
    """
    input, output = Path(input), Path(output)
    queue = Queue(input, options)
    for video, target in choose_targets(list_videos(input, output), input, output, suffix, Note(output)):
        settings = queue.settings(str(video.relative_to(input)))
        if settings is not None and not target.exists():
            try:
                place = output if output.is_dir() else Path.cwd()
                yield video, estimate(video, place / target.name, **settings)
            except CheckpointError as error:
                if not queue.has_own_weights(settings):
                    raise
                yield video, str(error)
            except (MediaError, ValueError) as error:
                yield video, str(error)


class Queue:
    """The settings of each video of a folder: those of the call, and those that `queue.toml` has for it.

    Raises:
        ValueError: the file is not TOML, or a table in it has an option that does not exist or is out of
            range.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        UpscaleOptions.of(**options)  # what cannot be used for any of them is said once
        self.options = options
        self.tables = {}
        file = folder / QUEUE
        if not file.is_file():
            return
        tables = read_toml(file)
        for pattern, table in tables.items():
            if not isinstance(table, dict):
                raise ValueError(f'{file}: {pattern} must be a table that is named by a video or a pattern')
            own = read_settings(table, [*option_names(), 'skip'], f'{file}: ["{pattern}"]')
            try:
                UpscaleOptions.of(**{**options, **{k: v for k, v in own.items() if k != 'skip'}})
            except ValueError as error:
                raise ValueError(f'{file}: ["{pattern}"]: {error}') from None
            self.tables[pattern] = own

    def settings(self, name: str) -> dict[str, Any] | None:
        """The options of the video with this path below the folder; None where it is left out. Later tables
        go before earlier ones.
        """
        found = dict(self.options)
        for pattern, table in self.tables.items():
            if is_named(name, pattern):
                found.update(table)
        return None if found.pop('skip', False) else found

    def has_own_weights(self, settings: dict[str, Any]) -> bool:
        """Whether settings of a video name other weights than the call does."""
        names = 'weights', 'strength'
        return any(settings.get(name) != self.options.get(name) for name in names)

    def check_names(self, names: list[str]) -> None:
        """Warn of tables that are for none of the videos."""
        for pattern in self.tables:
            if not any(is_named(name, pattern) for name in names):
                warnings.warn(f'{QUEUE}: no video is named ["{pattern}"]', stacklevel=3)


def is_batch(input: str | Path) -> bool:
    """Whether an input is a folder of videos, and not one of frames; one that holds both is reported.

    Raises:
        MediaError: it cannot be read.
    """
    input = Path(input)
    if not input.is_dir():
        return False
    try:
        suffixes = {path.suffix.lower() for path in input.iterdir() if not path.name.startswith('.')}
    except OSError as error:
        raise MediaError(f'{input}: cannot be read ({error.strerror})') from None
    images, videos = suffixes & set(IMAGE_SUFFIXES), suffixes & set(VIDEO_SUFFIXES)
    if images and videos:
        warnings.warn(
            f'{input} holds videos and images; the videos are upscaled, the images are not', stacklevel=2
        )
    if images and not videos:
        below = next(
            (
                Path(folder) / file
                for folder, _, files in os.walk(input)
                for file in files
                if Path(file).suffix.lower() in VIDEO_SUFFIXES and not file.startswith('.')
            ),
            None,
        )
        if below is not None:
            warnings.warn(
                f'{input} holds images, which are upscaled, and videos in folders, which are not ({below});'
                ' name their folder',
                stacklevel=2,
            )
    return bool(videos) or not images


class Note:
    """What is written down in an output folder of the results in it: of which source each is, and what it was
    made with. Calls on several machines may share the folder.

    Args:
        folder (Path): it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / NOTE
        self.entries = self._read()

    def _read(self) -> dict[str, dict]:
        try:
            found = json.loads(self.file.read_text(encoding='utf8'))
        except (OSError, ValueError):
            return {}
        # those of earlier versions are names of sources alone
        return {name: entry if isinstance(entry, dict) else {'of': entry} for name, entry in found.items()}

    def name(self, sources: dict[str, str]) -> None:
        """Keep {result: its source}, and what is known of other results that are there."""
        known = self._read()
        kept = {name: entry for name, entry in known.items() if (self.file.parent / name).exists()}
        self.entries = kept | {name: known.get(name, {}) | {'of': of} for name, of in sources.items()}
        self._write()

    def done(self, name: str, made: dict) -> None:
        """A result was made, with what `made_of` says."""
        self.entries = self._read()
        self.entries.setdefault(name, {})['made'] = made
        self._write()

    def what_differs(self, name: str, made: dict) -> list[str]:
        """By which options a result that is there is another one; none where that is not known."""
        before = self.entries.get(name, {}).get('made', {})
        now = json.loads(json.dumps(made))
        keys = [key for key in now if key in before and before[key] != now[key]]
        return list(dict.fromkeys('source' if key == 'content' else key for key in keys))

    def _write(self) -> None:
        write_text(self.file, json.dumps(self.entries, indent=1))


def choose_targets(
    videos: list[Path], input: Path, output: Path, suffix: str, note: Note
) -> list[tuple[Path, Path]]:
    """[(video, where its result goes)]. A name that an earlier call gave to a video stays that video's; of
    several that differ by their suffixes alone (a.avi, a.mp4), the results keep them (a.avi.mkv, a.mp4.mkv).
    """
    given = {entry['of']: name for name, entry in note.entries.items() if 'of' in entry}
    names = [video.relative_to(input) for video in videos]
    # whether or not the disk tells small letters from capital ones
    plain = Counter(str(name.with_suffix('')).casefold() for name in names)
    taken = {name.casefold() for name in note.entries}
    targets = []
    for video, name in zip(videos, names):
        target = str(name.with_suffix(suffix))
        if plain[str(name.with_suffix('')).casefold()] > 1 or target.casefold() in taken:
            target = f'{name}{suffix}'
        targets.append((video, output / given.get(str(name), target)))
    return targets


def is_named(video: str, pattern: str) -> bool:
    """Whether a path is meant by a name, or by a pattern; names of videos often have brackets."""
    name = Path(video).as_posix()
    return name == pattern or fnmatch(name, pattern)


def clean(target: Path) -> None:
    """Remove the work folder of a video that is done, which a run left that was stopped between its last two
    steps.
    """
    folder = WorkFolder(target)
    if folder.path.exists():
        with contextlib.suppress(MediaError, OSError):  # another run is at work on it
            folder.lock()
            folder.remove()
