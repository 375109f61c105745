"""hyperIQA of stretches, in place of our own score, where its weights can be had (AnimeSR Sec. 4.1)."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from animevsr.errors import MediaError
from animevsr.metrics.hyperiqa_metric import calculate_hyperiqa_pt
from animevsr.utils.device import select_device
from animevsr.utils.files import write_text
from animevsr.utils.images import as_bytes
from animevsr.utils.interrupts import check
from animevsr.utils.progress import progress_bar
from animevsr.utils.tensors import to_tensor
from animevsr.video.reader import VideoReader
from animevsr.video.selection import Crop

if TYPE_CHECKING:
    import torch

    from animevsr.curation.clips import Candidate, ClipRules

CROPS = 8  # of 224x224, of a frame


def rate(candidates: list[Candidate], rules: ClipRules, folder: Path, progress: bool = False) -> None:
    """Give `Candidate.quality` of those without a `reason` anew: hyperIQA of the frame in their middle. Those
    below `rules.least_quality` have a reason then.

    What was rated by these weights is kept in `folder`, and not rated again.

    Args:
        rules: `hyperiqa` names the file of the weights; '' is facexlib's, which are downloaded once.

    Raises:
        CheckpointError: there are no weights.
    """
    device, wanted = select_device('auto'), [c for c in candidates if not c.reason]
    weights, half = identify(rules.hyperiqa), rules.frames // 2
    with progress_bar(len(wanted), 'stretches', progress, 'hyperIQA') as bar:
        for video, of_video in groupby(wanted, key=lambda c: c.video):
            group = list(of_video)
            note = folder / f'{group[0].key}.hyperiqa.json'
            known = read_note(note, weights)
            todo = [c for c in group if str(c.first + half) not in known]
            try:
                problems = rate_video(video, todo, known, rules, device)
            finally:
                write_text(note, json.dumps(dict(weights=weights, scores=known)))
            for candidate in group:
                if candidate.first in problems:
                    candidate.reason = problems[candidate.first]
                    continue
                candidate.quality = score = known[str(candidate.first + half)]
                if score < rules.least_quality:
                    candidate.reason = f'quality {score:.0f}'
            bar.update(len(group))


def rate_video(
    video: str, todo: list[Candidate], known: dict[str, float], rules: ClipRules, device: torch.device
) -> dict[int, str]:
    """Put the scores of stretches of one video into `known`, by the frames in their middle; {first frame: why
    it cannot be read}.
    """
    problems, half = {}, rules.frames // 2
    for candidate in todo:
        check()
        try:
            with VideoReader(video) as reader:
                reader.crop_to(Crop.parse(candidate.crop))
                middle = reader.seek(candidate.start + half / float(reader.info.fps))
                image = to_tensor(as_bytes(reader.image(middle))[None]).to(device)
        except MediaError as error:
            problems[candidate.first] = str(error)
            continue
        score = calculate_hyperiqa_pt(image, CROPS, weights=rules.hyperiqa or None)
        known[str(candidate.first + half)] = round(float(score), 1)
    return problems


def identify(weights: str) -> str:
    """Which file of weights it is: another one of the same name is another network."""
    file = Path(weights)
    if not weights or not file.is_file():
        return weights
    stat = file.stat()
    return f'{file.resolve()} {stat.st_size} {stat.st_mtime_ns}'


def read_note(note: Path, weights: str) -> dict[str, float]:
    """{first frame: score} of what these weights have rated before."""
    try:
        found = json.loads(note.read_text(encoding='utf8'))
        return found['scores'] if found['weights'] == weights else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
