"""The whole recipe: fetch, draw, compose, degrade, and the list of credits.

    python recipes/open_animation/build.py --root datasets/open_animation --clips 640

Takes about 25 minutes on two cores and 5 GB; what is there already is not made again. The held-out clips of
assets/heldout are those that this recipe made before its drawings got other lines, shades and effects; they
are kept as they are, so that figures stay comparable.
"""

import argparse
import json
from pathlib import Path

from compose import compose
from fetch import fetch
from lowquality import degrade
from materials import build


def write_credits(root, split):
    """ROOT/<split>/CREDITS.md: every source and licence that the clips of a split were composed from."""
    folder, clips_of = Path(root) / split, {}
    for path in sorted([*folder.glob('*/credits.json'), *folder.glob('*.credits.json')]):
        clip = path.parent.name if path.name == 'credits.json' else path.name.split('.')[0]
        for used in json.loads(path.read_text()):
            clips_of.setdefault((used['source'], used['licence']), set()).add(clip)
    lines = ['# Credits', '', '| source | licence | clips |', '| --- | --- | --- |']
    lines += [
        f'| {source} | {licence} | {len(clips)} |' for (source, licence), clips in sorted(clips_of.items())
    ]
    (folder / 'CREDITS.md').write_text('\n'.join(lines) + '\n', encoding='utf8')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default='datasets/open_animation')
    parser.add_argument('--clips', type=int, default=640, help='training clips')
    parser.add_argument('--files', type=int, default=840, help='low-quality training files')
    parser.add_argument('--jobs', type=int, default=2)
    args = parser.parse_args()
    fetch(args.root)
    build(args.root)
    compose(args.root, 'heldout', 12, length=15, jobs=args.jobs)
    compose(args.root, 'train', args.clips, seed=2, length=24, jobs=args.jobs)
    for split in ('heldout', 'train'):
        write_credits(args.root, split)
    degrade(args.root, 'heldout', 24, jobs=args.jobs)
    degrade(args.root, 'train', args.files, jobs=args.jobs)
