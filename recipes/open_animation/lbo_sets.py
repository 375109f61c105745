"""Step 5 of the recipe: three "old videos", each with a damage of its own, to train learnable basic operators
on.

    python recipes/open_animation/lbo_sets.py --root datasets/open_animation --clips 36

Each set of `lbo_sets.yml` becomes one folder of frames, ROOT/lbo/<set>/, of half the size of the clips:
composed clips, one after the other, all with the same damage. Their clean originals are not kept: `animevsr
rescale` finds its own pairs, as for any old video.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import yaml
from jobs import run_jobs

from animevsr.degradations import DegradationPipeline
from animevsr.utils.tensors import to_images, to_tensor
from animevsr.video.clips import list_clips, load_clip
from animevsr.video.images import write_image
from animevsr.video.numbered import count_frames


def read_sets():
    """{name: degradation}."""
    return yaml.safe_load((Path(__file__).parent / 'lbo_sets.yml').read_text())


def degrade(clip, config):
    """(t, 3, h, w) in [0, 1] -> (t, 3, h/2, w/2): the damage of a set, which leaves nothing to chance."""
    pipeline = DegradationPipeline(config)
    return pipeline.apply(clip, pipeline.sample(np.random.default_rng(0), len(clip)))


def damage_clip(path, config, out, first):
    """Degrade one clip and write it as frames from number `first` on; a clip that is there is skipped."""
    cv2.setNumThreads(1)
    count = count_frames(path)
    if (out / f'{first + count - 1:08d}.png').exists():
        return
    damaged = degrade(to_tensor(load_clip(path, range(count))), config)
    for i, frame in enumerate(to_images(damaged), first):
        write_image(out / f'{i:08d}.png', frame)


def main(root, clips, jobs=2):
    chosen, calls = list_clips(Path(root) / 'train')[:clips], []
    starts = np.cumsum([0, *(count_frames(path) for path in chosen)]).tolist()
    for name, config in read_sets().items():
        out = Path(root) / 'lbo' / name
        out.mkdir(parents=True, exist_ok=True)
        (out / 'source.json').write_text(json.dumps([path.name for path in chosen]))
        calls += [(path, config, out, start) for path, start in zip(chosen, starts)]
    run_jobs(damage_clip, calls, 'old videos', jobs)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default='datasets/open_animation')
    parser.add_argument('--clips', type=int, default=36)
    parser.add_argument('--jobs', type=int, default=2)
    main(**vars(parser.parse_args()))
