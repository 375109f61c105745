"""The end of an upscaling: the segments of all shots become the output."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

from animevsr.errors import MediaError
from animevsr.upscaling.plan import Plan
from animevsr.upscaling.workdir import WorkFolder
from animevsr.video.images import image_name
from animevsr.video.remux import join


def join_parts(output: str | Path) -> Path:
    """Write the output of an upscaling whose parts (`part`) have done all shots, as the last one does by
    itself.

    Raises:
        MediaError: nothing was begun at that name, or shots are missing; says which.
    """
    folder = WorkFolder(Path(output))
    folder.read()
    folder.lock()
    try:
        plan = folder.read()
        missing = folder.pending_shots(plan)
        if missing:
            raise MediaError(
                f'{output}: {len(missing)} of {len(plan.shots)} shots missing, the first is number'
                f' {missing[0]}; run their parts'
            )
        join_segments(folder, plan)
        return Path(output)
    finally:
        folder.unlock()


def join_segments(folder: WorkFolder, plan: Plan) -> None:
    """Make the output of the segments of all shots, and remove the work folder."""
    segments = [folder.segment(shot, plan.encoding is not None) for shot in range(len(plan.shots))]
    if plan.encoding is not None:
        base = Fraction(plan.time_base)
        start = plan.ticks[0] * base
        length = plan.ticks[-1] * base - start + 1 / Fraction(plan.rate)
        join(
            segments,
            plan.ticks,
            base,
            folder.output,
            Path(plan.source) if plan.source else None,
            plan.media_info().stream_index,
            (start, start + length) if plan.is_part else None,
            plan.audio,
        )
    else:
        folder.joined.mkdir(exist_ok=True)
        for segment in segments:
            # it is not where an earlier run moved them
            for image in segment.iterdir() if segment.exists() else ():
                os.replace(image, folder.joined / image.name)
        missing = [
            number for number in range(len(plan.ticks)) if not (folder.joined / image_name(number)).exists()
        ]
        if missing:
            raise MediaError(
                f'{folder.output}: the image of frame {missing[0]} is missing; run the command again'
            )
        if folder.output.is_dir():
            folder.output.rmdir()  # an empty folder of that name gives way
        os.replace(folder.joined, folder.output)
    folder.remove()
