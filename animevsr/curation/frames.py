"""Low-quality frames out of raw video, as the RAL set was made (VQD-SR Sec. 4.1): of each video frames that
differ from the last one kept, and what damage they show.
"""

from __future__ import annotations

import contextlib
import csv
import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from animevsr.curation.clips import key_of, plain
from animevsr.curation.measures import Damage, measure
from animevsr.curation.survey import glance_at, timed
from animevsr.errors import MediaError
from animevsr.utils.files import make_folder, write_text
from animevsr.utils.images import as_bytes
from animevsr.utils.progress import progress_bar
from animevsr.utils.report import markdown_table
from animevsr.utils.tasks import run_tasks
from animevsr.video.images import write_image
from animevsr.video.listing import list_videos
from animevsr.video.reader import open_reader

NOTE = 'frames.json'  # in the folder of a video: what was kept of it
TABLE, HISTOGRAM = 'damage.csv', 'damage.md'
DARK = 16  # mean brightness up to which a frame shows nothing
BINS = 6


def curate_frames(
    root: str | Path,
    output: str | Path,
    per_video: int = 20,
    change: float = 4.0,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: bool = False,
) -> dict[str, str]:
    """Keep frames of all videos below a folder, as PNG in a folder for each video, for
    `LowQualityFrameDataset`; measure their damage into `damage.csv`, and count it in `damage.md`.

    Args:
        root, output (str | Path): folders.
        per_video (int): frames of a video at most, so that none prevails; from all over it.
        change (float): mean absolute difference to the last frame kept, in levels of 255, from which a frame
            is another one.
        jobs (int | None), cluster (str | None): see `run_tasks`.

    Returns:
        dict: {video: why nothing was kept of it}.

    Raises:
        MediaError: there is no video, or the output cannot be written. ValueError: a number is out of range.
    """
    if per_video < 1 or change < 0:
        raise ValueError('per_video must be at least 1, and change not below 0')
    root, output = Path(root).resolve(), Path(output).resolve()
    make_folder(output)
    todo, failed = [], {}
    for video in list_videos(root, output):
        name = plain('_'.join(video.relative_to(root).with_suffix('').parts))[-60:]
        try:
            todo.append((str(video), str(output / f'{name}_{key_of(video)[:8]}'), per_video, change))
        except OSError as error:
            failed[str(video)] = f'cannot be read ({error.strerror})'
    with progress_bar(len(todo), 'videos', progress) as bar:
        for (video, *_), _, problem in run_tasks(keep_of, todo, jobs, cluster):
            if problem:
                failed[video] = problem
            bar.update()
    remove_former(output, {video: Path(folder) for video, folder, *_ in todo if video not in failed})
    write_damage(output, [Path(folder) for _, folder, *_ in todo])
    return failed


def remove_former(output: Path, kept: dict[str, Path]) -> None:
    """Remove the frames of earlier states of videos: whose files were copied, or are others now."""
    for note in output.glob(f'*/{NOTE}'):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            source = json.loads(note.read_text(encoding='utf8'))['source']
            if source in kept and note.parent != kept[source]:
                for old in (*note.parent.glob('*.png'), note):
                    old.unlink()
                note.parent.rmdir()


def keep_of(task: tuple[str, str, int, float]) -> None:
    """Keep frames of a video, unless that has been done with the same numbers.

    Raises:
        MediaError: it cannot be read, or shows nothing.
    """
    video, folder, per_video, change = task
    folder, numbers = Path(folder), dict(per_video=per_video, change=change)
    cv2.setNumThreads(1)
    try:
        if json.loads((folder / NOTE).read_text(encoding='utf8'))['numbers'] == numbers:
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass
    chosen, damage = choose(video, per_video, change), {}
    if not chosen:
        raise MediaError(f'{video}: no frame shows anything')
    last = max(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTE).unlink(missing_ok=True)  # from here on it would be wrong
    for old in folder.glob('*.png'):
        old.unlink()
    with open_reader(video) as reader:
        for number, (frame, _) in enumerate(timed(reader)):
            if number in chosen:
                image, name = as_bytes(reader.image(frame)), f'{number:08d}.png'
                write_image(folder / name, image)
                damage[name] = measure(image).to_json()
            if number == last:
                break
    write_text(folder / NOTE, json.dumps(dict(source=video, numbers=numbers, damage=damage), indent=1))


def choose(video: str, per_video: int, change: float) -> set[int]:
    """Numbers of the frames of a video that differ from the one before among them, `per_video` at most."""
    found, last = [], None
    with open_reader(video) as reader:
        for number, (frame, _) in enumerate(timed(reader)):
            small = glance_at(reader, frame)
            if small.mean() > DARK and (last is None or cv2.absdiff(small, last).mean() > change):
                last = small
                found.append(number)
    places = np.unique(np.linspace(0, len(found) - 1, min(per_video, len(found))).round().astype(int))
    return {found[place] for place in places} if found else set()


def write_damage(output: Path, folders: list[Path]) -> None:
    """`damage.csv`, a line for each frame, and `damage.md`, how many frames show how much of what."""
    rows = []
    for folder in folders:
        if (folder / NOTE).is_file():
            note = json.loads((folder / NOTE).read_text(encoding='utf8'))
            rows += [(f'{folder.name}/{name}', values) for name, values in note['damage'].items()]
    names = [f.name for f in fields(Damage)]
    with (output / TABLE).open('w', newline='', encoding='utf8', errors='surrogateescape') as file:
        writer = csv.writer(file)
        writer.writerow(['frame', *names])
        writer.writerows([frame, *(values[name] for name in names)] for frame, values in rows)
    table = [['measure', *(f'{i + 1}' for i in range(BINS)), 'from', 'to', 'median']]
    for name in names:
        values = np.array([values[name] for _, values in rows] or [0.0])
        counts, edges = np.histogram(values, BINS)
        table.append(
            [name, *map(str, counts), f'{edges[0]:.3g}', f'{edges[-1]:.3g}', f'{np.median(values):.3g}']
        )
    head = (
        f'# Damage of {len(rows)} frames\n\nHow many frames lie in each of {BINS} equal parts of a range.\n\n'
    )
    write_text(output / HISTOGRAM, head + markdown_table(table) + '\n')
