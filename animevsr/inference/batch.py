"""All videos of a folder."""
import os
import shutil
import warnings
from pathlib import Path

from animevsr.inference.plan import WorkFolder
from animevsr.inference.upscale import upscale
from animevsr.inference.workers import in_cluster
from animevsr.utils.checkpoint import CheckpointError
from animevsr.video.reader import VIDEO_SUFFIXES, MediaError


def upscale_folder(input, output, suffix='.mkv', progress=False, **options):
    """Upscale all videos below a folder into another one, with the folders that they are in. What is done already is left alone, and
    one bad file does not stop the others.

    Args:
        input, output (str | Path): folders; the output is made where it is missing.
        suffix (str): of the outputs.
        options: of `upscale`.

    Returns:
        dict: {path of a video below the input: 'done ...', 'was done already' or 'failed: ...'}

    Raises:
        MediaError: there are no videos. ValueError, CheckpointError: an option or the weights cannot be used, for none of them.
    """
    if in_cluster():
        raise ValueError('a folder of videos is not divided among the processes of torchrun or slurm; start one for each video')
    input, output = Path(input), Path(output)
    videos = list_videos(input, output)
    results, targets = {}, {}
    for video in videos:
        name = video.relative_to(input)
        target = output / name.with_suffix(suffix)
        if target in targets:  # a.avi beside a.mp4
            target = output / f'{name}{suffix}'
        targets[target] = video
    for number, (target, video) in enumerate(targets.items(), 1):
        name = str(video.relative_to(input))
        if target.exists():
            shutil.rmtree(WorkFolder(target).path, ignore_errors=True)  # of a run that was killed between the last two steps
            results[name] = 'was done already'
            continue
        if progress:
            warnings.warn(f'{number} of {len(targets)}: {name}', stacklevel=2)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            done = upscale(video, target, progress=progress, **options)
            results[name] = f'done, {done.frames} frames' if done else 'done'
        except CheckpointError:
            raise
        except (MediaError, OSError, RuntimeError) as error:
            results[name] = f'failed: {error}'
            if progress:
                warnings.warn(f'{name} failed: {error}', stacklevel=2)
    return results


def list_videos(root, output):
    """Video files below a folder, sorted, without those of the output.

    Raises:
        MediaError: there is none.
    """
    if output.exists() and not output.is_dir():
        raise MediaError(f'{output}: is a file; name a folder for the videos of {root}')
    if output.resolve() == root.resolve():
        raise MediaError(f'{output}: is the input; name another output')
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith('.') and (Path(folder) / f).resolve() != output.resolve())
        found += [Path(folder) / file for file in sorted(files) if Path(file).suffix.lower() in VIDEO_SUFFIXES and not file.startswith('.')]
    if not found:
        raise MediaError(f'{root}: holds no images and no videos')
    return found
