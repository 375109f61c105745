"""The videos of a folder."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from animevsr.errors import MediaError
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.images import IMAGE_SUFFIXES

NOTE = '.animevsr_sources.json'  # in a folder of results: see `upscaling.batch.Note`


def list_videos(root: str | Path, output: Path) -> list[Path]:
    """Video files below a folder, sorted, without those of the output and of other results (which is said).

    Raises:
        MediaError: there is none.
    """
    if output.exists() and not output.is_dir():
        raise MediaError(f'{output}: is a file; name a folder for the videos of {root}')
    if output.resolve() == root.resolve():
        raise MediaError(f'{output}: is the input; name another output')
    found, images = [], None
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in seen:  # a link to what is in the tree already
            folders[:] = []
            continue
        seen.add(os.path.realpath(folder))
        below = [f for f in folders if not f.startswith('.')]
        below = [f for f in below if (Path(folder) / f).resolve() != output.resolve()]
        results = {f for f in below if (Path(folder) / f / NOTE).is_file()}
        for name in sorted(results):
            warnings.warn(
                f'{Path(folder) / name} is left out: it holds results of another call', stacklevel=3
            )
        folders[:] = sorted(set(below) - results)
        if images is None and any(Path(file).suffix.lower() in IMAGE_SUFFIXES for file in files):
            images = folder
        found += [
            Path(folder) / file
            for file in sorted(files)
            if Path(file).suffix.lower() in VIDEO_SUFFIXES and not file.startswith('.')
        ]
    if not found:
        what = (
            f'no videos (images are in {images}; name that folder)' if images else 'no images and no videos'
        )
        raise MediaError(f'{root}: holds {what}')
    if output.suffix.lower() in VIDEO_SUFFIXES and not output.is_dir():
        raise MediaError(f'{output}: is the name of a video, but {root} is a folder of videos; name a folder')
    return found
