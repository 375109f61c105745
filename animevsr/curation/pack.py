"""A training set of folders of images, or of videos, as packed clips with a manifest."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from animevsr.errors import MediaError
from animevsr.utils.files import make_folder, write_text
from animevsr.utils.interrupts import check
from animevsr.utils.progress import progress_bar
from animevsr.utils.threads import usable_cores
from animevsr.video.clips import clip_name, clips_by_name
from animevsr.video.images import list_images
from animevsr.video.packed import MANIFEST, SUFFIX, PackedReader, pack, read_manifest
from animevsr.video.reader import VideoReader, open_reader

SECONDS = 5  # between two writings of the manifest


def pack_clips(
    root: str | Path, output: str | Path, jobs: int | None = None, progress: bool = False
) -> dict[str, str]:
    """Pack every clip of a root; a rerun goes on with those that are missing. One whose name another source
    has already is not packed, and told.

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
    todo = []
    for name, clip in clips.items():
        if name not in entries:
            todo.append(clip)
        elif not is_of(entries[name], clip):
            failed[name] = (
                f'{output / name}{SUFFIX}: is there already, of {entries[name].get("source")}; name another'
                ' output, or remove it'
            )
    bar = progress_bar(len(clips), 'clips', progress, done=len(clips) - len(todo))
    with bar, ThreadPoolExecutor(jobs or usable_cores()) as pool:
        futures = {pool.submit(pack_one, clip, output): clip for clip in todo}
        due = time.monotonic() + SECONDS
        try:
            for future in as_completed(futures):
                name = clip_name(futures[future])
                try:
                    entries[name] = future.result()
                except (MediaError, OSError) as error:
                    failed[name] = str(error)
                bar.update()
                check()
                if time.monotonic() > due:
                    write_manifest(output, entries)
                    due = time.monotonic() + SECONDS
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            write_manifest(output, entries)
    return failed


def is_of(entry: dict, clip: Path) -> bool:
    """Whether an entry of a manifest is of this clip: of the same source and, for a folder, as long."""
    source = Path(entry.get('source', ''))
    if source.is_absolute() and source.resolve() != clip.resolve():  # older ones are relative, to any folder
        return False
    try:
        return not clip.is_dir() or len(list_images(clip)) == entry['frames']
    except MediaError:  # its images were removed since
        return True


def pack_one(clip: Path, output: Path) -> dict:
    """Pack a clip; its entry in the manifest."""
    target = output / (clip_name(clip) + SUFFIX)
    with open_reader(clip) as reader:
        count, height, width = pack((image for image, _ in reader.frames()), target)
        rate = str(reader.info.fps) if isinstance(reader, VideoReader | PackedReader) else None
    size = target.stat().st_size
    entry = dict(
        clip=target.name, frames=count, width=width, height=height, bytes=size, source=str(clip.resolve())
    )
    return entry if rate is None else dict(entry, fps=rate)


def write_manifest(output: Path, entries: dict[str, dict]) -> None:
    lines = [json.dumps(entries[name], ensure_ascii=True) for name in sorted(entries)]
    write_text(output / MANIFEST, '\n'.join([*lines, '']))
