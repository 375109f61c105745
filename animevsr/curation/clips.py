"""High-quality clips out of raw video, as the AVC set was made (AnimeSR Sec. 4.1; VQD-SR Sec. 4.1): shots
with motion, of good quality, the best few of each video.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from animevsr.curation.measures import differing_bits, quality
from animevsr.curation.pack import write_manifest
from animevsr.curation.rating import rate
from animevsr.curation.report import Shown, read_overrules, write_report
from animevsr.curation.survey import Survey, survey
from animevsr.errors import MediaError
from animevsr.utils.files import make_folder, write_text
from animevsr.utils.images import as_bytes
from animevsr.utils.progress import progress_bar
from animevsr.utils.tasks import run_tasks
from animevsr.video.frame_reader import FrameReader
from animevsr.video.listing import list_videos
from animevsr.video.packed import SUFFIX, pack, read_manifest
from animevsr.video.reader import open_reader
from animevsr.video.selection import Crop

VERSION = 4  # of what a survey holds
SURVEYS = '.surveys'  # folder in the output
STILL = 0.35  # change, in levels, up to which a frame is the one before
LEAST_LEFT = 0.7  # of a side, when what has logos on it is cut away
JUST = Fraction(1, 2000)  # seconds by which times may be rounded
LEEWAY = Fraction(1)  # seconds before a clip at which reading begins: by the key frames


@dataclass(frozen=True)
class ClipRules:
    """Which stretches become clips.

    Attributes:
        frames (int): of a clip. per_video (int): clips of a video at most.
        least_height (int): of a video, without black bars. least_rate (float): bits a second, over pixels and
            frames a second; 0 asks for nothing.
        least_quality (float): from 0 to 100, see `measures.quality`.
        motion (tuple): pixels a frame of what moves, over the height in hundreds: the least and the most.
        held (float): the share of frames that may be the one before.
        text (bool): keep stretches with subtitles.
        alike (int): bits of 64 in which two clips may differ and still count as the same.
        hyperiqa (str | None): weights of hyperIQA, by which quality is then told; see `rate`.
    """

    frames: int = 24
    per_video: int = 10
    least_height: int = 360
    least_rate: float = 0.0
    least_quality: float = 35.0
    motion: tuple[float, float] = (0.05, 6.0)
    held: float = 0.75
    text: bool = False
    alike: int = 6
    hyperiqa: str | None = None


@dataclass
class Candidate:
    """A stretch of a video; `key`: of the video as it is, see `key_of`. `reason`: why it was dropped; ''
    where it is kept.
    """

    video: str
    first: int
    start: float
    quality: float
    motion: float
    hashes: tuple[int, ...]
    crop: str
    damage: dict
    key: str = ''
    reason: str = ''

    @property
    def name(self) -> str:
        return f'{plain(Path(self.video).stem)[:40]}_{self.key[:8]}_{self.first:06d}'


def curate_clips(
    root: str | Path,
    output: str | Path,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: bool = False,
    **rules: object,
) -> dict[str, str]:
    """Choose clips of all videos below a folder and pack them, with a manifest and a page that shows what was
    kept and what was dropped, and why. A rerun looks only at what is new, and follows the page's overrules.

    Args:
        root, output (str | Path): folders.
        jobs (int | None), cluster (str | None): see `run_tasks`.
        rules: of `ClipRules`.

    Returns:
        dict: {video: why it could not be used} of those that are unreadable or too small.

    Raises:
        MediaError: there is no video, or the output cannot be written. ValueError: a rule does not exist.
    """
    root, output = Path(root).resolve(), Path(output).resolve()
    if unknown := sorted(set(rules) - {f.name for f in fields(ClipRules)}):
        raise ValueError(f'{unknown[0]} is no rule; there are {", ".join(f.name for f in fields(ClipRules))}')
    rules = ClipRules(**rules)
    if rules.frames < 2 or rules.per_video < 1:
        raise ValueError(
            f'frames must be at least 2, per_video at least 1; got {rules.frames} and {rules.per_video}'
        )
    read_manifest(output)  # a damaged one is told now, not after hours
    surveys, failed = survey_all(root, output, jobs, cluster, progress)
    candidates = []
    for found in surveys:
        problem = unfit(found, rules)
        if problem:
            failed[found.path] = problem
        else:
            candidates += stretches(found, rules)
    if rules.hyperiqa is not None:
        rate(candidates, rules, output / SURVEYS, progress)
    overrules = read_overrules(output)
    choose(candidates, rules, overrules)
    kept = [c for c in candidates if not c.reason]
    looked_at = {found.path for found in surveys}
    failed |= extract_all(kept, looked_at, output, rules.frames, jobs, cluster, progress)
    write_report(output, [show(c) for c in candidates], failed, overrules)
    return failed


def survey_all(
    root: Path, output: Path, jobs: int | None, cluster: str | None, progress: bool
) -> tuple[list[Survey], dict[str, str]]:
    """([Survey], {video: why it could not be read}); those that were made before are read."""
    folder = output / SURVEYS
    make_folder(folder)
    videos = list_videos(root, output)
    surveys, failed, todo = [], {}, []
    for video in videos:
        try:
            note = folder / f'{key_of(video)}.json'
        except OSError as error:
            failed[str(video)] = f'cannot be read ({error.strerror})'
            continue
        known = read_survey(str(video), note)
        if known is None:
            todo.append((str(video), str(note)))
        else:
            surveys.append(known)
    with progress_bar(len(videos), 'videos', progress, done=len(surveys)) as bar:
        for (video, note), _, problem in run_tasks(survey_one, todo, jobs, cluster):
            found = None if problem else read_survey(video, Path(note))
            if found is None:
                failed[video] = problem or f'{note}: cannot be read'
            else:
                surveys.append(found)
            bar.update()
    return sorted(surveys, key=lambda found: found.path), failed


def read_survey(video: str, note: Path) -> Survey | None:
    """What was noted of a video, wherever it lay then; None where nothing was."""
    try:
        found = Survey.from_json(json.loads(note.read_text(encoding='utf8')))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    found.path, found.key = video, note.stem
    return found


def survey_one(paths: tuple[str, str]) -> None:
    """Write the survey of a video."""
    video, note = paths
    cv2.setNumThreads(1)
    write_text(Path(note), json.dumps(survey(video).to_json()))


def key_of(video: Path) -> str:
    """Of a video as it is now."""
    stat = video.stat()
    text = f'{video.resolve()} {stat.st_size} {stat.st_mtime_ns} {VERSION}'
    return hashlib.sha256(text.encode('utf8', 'surrogateescape')).hexdigest()[:16]


def plain(name: str) -> str:
    """A name that is UTF-8: of others libraries make what they like."""
    return name.encode('utf8', 'replace').decode().replace('?', '_')


def unfit(found: Survey, rules: ClipRules) -> str:
    """Why no clip of a video can be used."""
    if found.height < rules.least_height:
        return f'{found.height} rows, {rules.least_height} are asked for'
    if len(found.times) < rules.frames:
        return f'{len(found.times)} frames, {rules.frames} are asked for'
    pixels = found.width * found.height * max(len(found.times), 1)
    path = Path(found.path)
    rate = path.stat().st_size * 8 / pixels if path.is_file() else 0
    if rules.least_rate and rate < rules.least_rate:
        return f'{rate:.3f} bits a pixel, {rules.least_rate} are asked for'
    return ''


def stretches(found: Survey, rules: ClipRules) -> list[Candidate]:
    """All stretches of a video, half of their length apart, each within a shot; those that cannot be used
    have a reason.
    """
    out, m = [], rules.frames
    crop, in_the_way = crop_of(found)
    for first, end in found.shots():
        for at in range(first, end - m + 1, max(1, m // 2)):
            damage = found.damage_of(at, at + m)
            moving = [found.motion[i] for i in range(at + 1, at + m) if found.change[i] > STILL]
            motion = float(np.mean(moving)) / found.height * 100 if moving else 0.0
            out.append(
                Candidate(
                    found.path,
                    at,
                    found.times[at],
                    round(quality(damage), 1),
                    round(motion, 2),
                    tuple(found.hashes[i] for i in (at, at + m // 2, at + m - 1)),
                    crop,
                    damage.to_json(),
                    found.key,
                )
            )
            out[-1].reason = in_the_way or problem_of(found, out[-1], rules)
    return out


def problem_of(found: Survey, candidate: Candidate, rules: ClipRules) -> str:
    """What is wrong with a stretch by itself."""
    at, m = candidate.first, rules.frames
    span = slice(at, at + m)
    still = np.mean([change <= STILL for change in found.change[at + 1 : at + m]] or [1])
    if np.mean(found.light[span]) < 20:
        return 'black'
    if np.mean(found.contrast[span]) < 10:
        return 'flat'
    if still > rules.held:
        return f'stands still ({still:.0%} of the frames)'
    if candidate.motion < rules.motion[0]:
        return 'hardly moves'
    if candidate.motion > rules.motion[1]:
        return f'moves too much ({candidate.motion:.1f} % of the height a frame)'
    if not rules.text and not set(found.texts).isdisjoint(found.measured(at, at + m)):
        return 'subtitles'
    if candidate.damage['resolution'] < 0.66:
        return f'was made larger (detail up to {candidate.damage["resolution"]:.0%})'
    if rules.hyperiqa is None and candidate.quality < rules.least_quality:
        return f'quality {candidate.quality:.0f}'
    return ''


def crop_of(found: Survey) -> tuple[str, str]:
    """(crop, why the video cannot be used): black bars, and the rows or columns that logos are in, each so
    that the most is left.
    """
    off = dict(top=0, bottom=0, left=0, right=0)
    for top, bottom, left, right in found.logos:
        # what to leave out on one side, as a share of that side
        sides = {
            'top': bottom / found.height,
            'bottom': 1 - top / found.height,
            'left': right / found.width,
            'right': 1 - left / found.width,
        }
        side = min(sides, key=sides.get)
        length = found.height if side in ('top', 'bottom') else found.width
        off[side] = max(off[side], round(sides[side] * length / 2 + 1) * 2)
    crop = Crop.parse(found.crop)
    left = found.height - off['top'] - off['bottom'], found.width - off['left'] - off['right']
    if left[0] < LEAST_LEFT * found.height or left[1] < LEAST_LEFT * found.width:
        return str(crop), 'logos are all over it'
    return str(Crop(**{side: getattr(crop, side) + more for side, more in off.items()})), ''


def choose(candidates: list[Candidate], rules: ClipRules, overrules: dict[str, bool]) -> None:
    """Give a reason to those that are not among the best of their video, or that show what a better one shows
    already; what a person has said goes before.
    """
    taken, per_video, places = np.empty((0, 3), np.uint64), {}, {}
    order = sorted(
        candidates, key=lambda c: (not overrules.get(c.name, False), bool(c.reason), -c.quality, c.name)
    )
    for c in order:
        said = overrules.get(c.name)
        if said is False:
            c.reason = 'dropped by hand'
        if c.reason and not said:
            continue
        hashes = np.array(c.hashes, np.uint64)
        if said:
            c.reason = ''
        elif per_video.get(c.video, 0) >= rules.per_video:
            c.reason = f'{rules.per_video} better ones of its video'
        elif any(abs(c.first - other) < rules.frames for other in places.get(c.video, ())):
            c.reason = 'overlaps with a better one'
        elif len(taken) and (differing_bits(taken ^ hashes).max(1) <= rules.alike).any():
            c.reason = 'shows what another clip shows'
        if not c.reason:
            taken = np.vstack([taken, hashes])
            per_video[c.video] = per_video.get(c.video, 0) + 1
            places.setdefault(c.video, []).append(c.first)


def extract_all(
    kept: list[Candidate],
    looked_at: set[str],
    output: Path,
    frames: int,
    jobs: int | None,
    cluster: str | None,
    progress: bool,
) -> dict[str, str]:
    """Pack the chosen clips that are not there yet, remove those of videos that were `looked_at` that are no
    longer chosen (others, from elsewhere, stay), write the manifest; {clip: why it could not be packed}.
    """
    failed, entries, chosen = {}, {}, {c.name: c for c in kept}
    for file, entry in read_manifest(output).items():
        name = file.removesuffix(SUFFIX)
        own = 'first' in entry and entry.get('source') in looked_at
        same = name in chosen and (entry['frames'], entry.get('crop')) == (frames, chosen[name].crop)
        if same or not own:
            entries[name] = {**entry, 'quality': chosen[name].quality} if own else entry
        else:
            (output / file).unlink(missing_ok=True)
    todo = [(c, str(output), frames) for c in kept if c.name not in entries]
    with progress_bar(len(kept), 'clips', progress, done=len(kept) - len(todo)) as bar:
        try:
            for (candidate, *_), entry, problem in run_tasks(extract_one, todo, jobs, cluster):
                if problem:
                    failed[candidate.name] = problem
                else:
                    entries[candidate.name] = entry
                bar.update()
        finally:
            write_manifest(output, entries)
    return failed


def extract_one(task: tuple[Candidate, str, int]) -> dict:
    """Pack a clip; its entry in the manifest."""
    candidate, output, frames = task
    target = Path(output) / (candidate.name + SUFFIX)
    count, height, width, rate = pack_stretch(candidate, frames, target)
    entry = dict(clip=target.name, frames=count, width=width, height=height, bytes=target.stat().st_size)
    entry.update(source=candidate.video, start=round(candidate.start, 4), first=candidate.first, fps=rate)
    entry.update(crop=candidate.crop, quality=candidate.quality, motion=candidate.motion)
    entry.update(hashes=[f'{h:016x}' for h in candidate.hashes], damage=candidate.damage)
    return entry


def pack_stretch(candidate: Candidate, frames: int, target: Path) -> tuple[int, int, int, str]:
    """(frames, height, width, rate) of the packed clip."""
    crop, start = Crop.parse(candidate.crop), Fraction(candidate.start).limit_denominator(90_000)
    with open_reader(candidate.video, crop=crop) as reader:
        rate = reader.info.fps
        reader.skip_to(start - LEEWAY)
        images = stretch(reader, start - JUST, frames)
        return *pack(images, target), str(rate)


def stretch(reader: FrameReader, start: Fraction, frames: int) -> Iterator[np.ndarray]:
    """`frames` images from a time on, in seconds from the first frame of the video."""
    given = 0
    for number, (frame, time) in enumerate(reader.timed()):
        if reader.since_first(number, time) >= start:
            yield as_bytes(reader.image(frame))
            given += 1
            if given == frames:
                return
    raise MediaError(f'{reader.path}: ends {frames - given} frames before the clip does')


def show(candidate: Candidate) -> Shown:
    """What the page shows of a stretch."""
    return Shown(
        name=candidate.name,
        source=candidate.video,
        seconds=candidate.start,
        crop=candidate.crop,
        reason=candidate.reason,
        numbers=dict(quality=candidate.quality, motion=candidate.motion, **candidate.damage),
    )
