"""A training set of folders of images, or of videos, as packed clips with a manifest."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from animevsr.errors import MediaError
from animevsr.utils.files import make_folder, write_text
from animevsr.utils.interrupts import check
from animevsr.utils.progress import progress_bar
from animevsr.video.clips import clip_name, clips_by_name
from animevsr.video.packed import MANIFEST, SUFFIX, pack, read_manifest
from animevsr.video.reader import VideoReader, open_reader


def pack_clips(
    root: str | Path, output: str | Path, jobs: int | None = None, progress: bool = False
) -> dict[str, str]:
    """Pack every clip of a root; a rerun goes on with those that are missing.

    Args:
        root (str | Path): of clips: folders of frames, and videos.
        output (str | Path): a folder for `NAME.b2nd` of each, and `manifest.jsonl`, a line of JSON for each:
            clip, frames, width, height, bytes, source, and frames a second where the source has them.
        jobs (int | None): threads. Default: the CPUs.

    Returns:
        dict: {clip: why it could not be packed} of those that could not.

    Raises:
        MediaError: there is no clip, or the output cannot be written.
    """
    root, output = Path(root), Path(output)
    if output.exists() and output.resolve() == root.resolve():
        raise MediaError(f'{output}: is the input; name another output')
    clips = clips_by_name(root, 'the root')
    make_folder(output)
    known, failed = read_manifest(output), {}
    # clips of other roots that were packed here before stay
    entries = {file.removesuffix(SUFFIX): entry for file, entry in known.items()}
    todo = [clip for name, clip in clips.items() if name not in entries]
    bar = progress_bar(len(clips), 'clips', progress, done=len(clips) - len(todo))
    with bar, ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        futures = {pool.submit(pack_one, clip, output): clip for clip in todo}
        try:
            for future in as_completed(futures):
                name = clip_name(futures[future])
                try:
                    entries[name] = future.result()
                    write_manifest(output, entries)
                except MediaError as error:
                    failed[name] = str(error)
                bar.update()
                check()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    write_manifest(output, entries)
    return failed


def pack_one(clip: Path, output: Path) -> dict:
    """Pack a clip; its entry in the manifest."""
    target = output / (clip_name(clip) + SUFFIX)
    with open_reader(clip) as reader:
        count, height, width = pack((image for image, _ in reader.frames()), target)
        rate = str(reader.info.fps) if isinstance(reader, VideoReader) else None
    size = target.stat().st_size
    entry = dict(clip=target.name, frames=count, width=width, height=height, bytes=size, source=str(clip))
    return entry if rate is None else dict(entry, fps=rate)


def write_manifest(output: Path, entries: dict[str, dict]) -> None:
    lines = [json.dumps(entries[name], ensure_ascii=True) for name in sorted(entries)]
    write_text(output / MANIFEST, '\n'.join([*lines, '']))
