"""Step 2 of the recipe: turn the fetched packages into drawings that compose.py can place.

    python recipes/open_animation/materials.py --root datasets/open_animation

Writes ROOT/materials/<split>/<kind>/*.png (RGBA) and ROOT/materials/index.json, which records for each
drawing its source package, its licence (file by file where the package says so) and its split. Sources of
the two splits are disjoint: whole packages, or whole avatar styles and rigs.
"""

import argparse
import fnmatch
import io
import json
import random
import re
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import resvg_py
import rigs
from PIL import Image

HERE = Path(__file__).resolve().parent
STYLES = {
    'train': ['adventurer', 'lorelei', 'toonHead', 'bigEars', 'openPeeps', 'notionists', 'personas'],
    'heldout': ['micah', 'miniavs'],
}
# none is held out: saha-side is the man of saha-front and shares his hands and feet
RIGS = ['character-sita/00-sita-front.sif', 'character-sample.male/00-saha-front.sif']
# reading boards, maps, bank notes and the like: flat panels that are no scenes
NOT_A_SCENE = re.compile(
    r'reading|money|braille|sudoku|railroad|number_sequence|explore_farm|target|memory/|photo_hunter'
)
NOT_A_SPRITE = re.compile(r'flag|sign|card|map|logo|icon|text|letter|number|braille|music|money', re.I)
COLOUR_STEP = 24  # quantisation for counting the colours of a thumbnail


def rasterise(path, height):
    """RGBA image of an SVG file at `height` pixels."""
    png = resvg_py.svg_to_bytes(svg_path=str(path), height=int(height), skip_system_fonts=True, dpi=96.0)
    return Image.open(io.BytesIO(bytes(png))).convert('RGBA')


def survey(path):
    """(path, opaque share, number of colours, is wide) of an SVG thumbnail, or None where it does not
    render.
    """
    try:
        image = rasterise(path, 120)
    except BaseException:  # resvg panics (not an Exception) on a few broken files; such a file is left out
        return None
    pixels = np.asarray(image)
    opaque = pixels[..., 3] > 250
    colours = (
        np.unique((pixels[..., :3][opaque] // COLOUR_STEP).reshape(-1, 3), axis=0) if opaque.any() else []
    )
    return path, float(opaque.mean()), len(colours), image.width >= image.height * 0.95


def debian_licence(copyright_file, relative):
    """Licence of a file by Debian's machine-readable copyright file: the last stanza that matches wins."""
    licence = 'unknown'
    for stanza in copyright_file.read_text(encoding='utf8').split('\n\n'):
        files = re.search(r'^Files:(.*?)(?=^\S)', stanza + '\nEnd:', re.S | re.M)
        name = re.search(r'^License:\s*(.+)$', stanza, re.M)
        if files and name and any(fnmatch.fnmatch(relative, pattern) for pattern in files[1].split()):
            licence = name[1].strip()
    return licence


class Materials:
    """Collects drawings: writes the pixels, remembers where they come from."""

    def __init__(self, root):
        self.sources, self.out, self.index = Path(root) / 'sources', Path(root) / 'materials', []

    def add(self, split, kind, name, images, source, licence):
        folder = self.out / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, image in enumerate(images):
            path = folder / f'{name}_{number}.png'
            image.save(path, compress_level=1)
            files.append(str(path.relative_to(self.out)))
        self.index.append(dict(kind=kind, split=split, files=files, source=source, licence=licence))

    def faces(self, split, count):
        target = self.out / 'svg' / split
        subprocess.run(
            ['node', str(HERE / 'faces.mjs'), str(target.resolve()), str(count), ','.join(STYLES[split])],
            cwd=self.sources / 'npm',
            check=True,
        )
        credit = json.loads((target / 'credit.json').read_text())
        people = sorted({path.name.rsplit('_', 1)[0] for path in target.glob('*.svg')})
        with ProcessPoolExecutor(2) as pool:
            for person in people:
                style = credit[person.split('_')[0]]
                drawings = pool.map(rasterise, [target / f'{person}_{i}.svg' for i in range(5)], [900] * 5)
                self.add(
                    split,
                    'face',
                    person,
                    drawings,
                    f'@dicebear/collection: {style["title"]} by {style["creator"]}',
                    style['licence'],
                )

    def rigs(self, split, seeds, frames):
        for rig in RIGS:
            for seed in seeds:
                folder = self.out / 'rigs' / f'{Path(rig).stem}_{seed}'
                if not folder.exists():
                    rigs.render(self.sources / 'rigs' / rig, folder, seed, frames)
                images = [Image.open(path).convert('RGBA') for path in sorted(folder.glob('*.png'))]
                boxes = np.array([image.getbbox() for image in images])
                box = (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))
                images = [image.crop(box) for image in images]
                self.add(
                    split, 'rig', f'{Path(rig).stem}_{seed}', images, 'morevnaproject/characters', 'CC0-1.0'
                )

    def sprites(self, split, package, folder, pattern, source):
        """The drawings of a visual novel: expressions of one pose are one character."""
        poses = {}
        for path in sorted((self.sources / package / folder).glob(pattern)):
            poses.setdefault(' '.join(path.stem.split()[:-1]), []).append(Image.open(path).convert('RGBA'))
        for pose, images in poses.items():
            self.add(split, 'anime', pose.replace(' ', '_'), images, source, 'Expat')

    def backdrops(self, split, package, paths, size, licence):
        for path in paths:
            image = Image.open(path).convert('RGBA')
            scale = size / image.height
            image = image.resize((round(image.width * scale), size), Image.Resampling.LANCZOS)
            name = re.sub(r'\W+', '_', str(path.relative_to(self.sources / package).with_suffix('')))[-60:]
            self.add(split, 'backdrop', name, [image], package, licence)

    def vector_art(self, rng):
        """Scenes and sprites among the SVG files of gcompris, Open Clip Art and OpenMoji, sorted by a look at
        each.
        """
        gcompris = self.sources / 'gcompris-qt-data'
        copyright_file = gcompris / 'usr/share/doc/gcompris-qt-data/copyright'
        paths = [p for p in sorted((gcompris / 'rcc').rglob('*.svg')) if p.stat().st_size > 3000]
        clipart = [
            p
            for p in sorted((self.sources / 'openclipart-svg').rglob('*.svg'))
            if 15_000 < p.stat().st_size < 400_000
            and not NOT_A_SPRITE.search(str(p.relative_to(self.sources)))
        ]
        clipart = rng.sample(clipart, 260)
        moji = rng.sample(sorted((self.sources / 'npm/node_modules/openmoji/color/svg').glob('1F*.svg')), 120)
        with ProcessPoolExecutor(2) as pool:
            looks = [look for look in pool.map(survey, paths + clipart, chunksize=16) if look]
            scenes = [
                p
                for p, opaque, colours, wide in looks
                if opaque > 0.985 and wide and colours > 25 and not NOT_A_SCENE.search(str(p))
            ]
            figures = [p for p, opaque, colours, _ in looks if 0.15 < opaque < 0.9 and colours > 12]
            figures = rng.sample(figures, min(300, len(figures))) + moji
            for kind, chosen, height in (('backdrop', scenes, 1100), ('sprite', figures, 620)):
                images = pool.map(rasterise, chosen, [height] * len(chosen), chunksize=4)
                for number, (path, image) in enumerate(zip(chosen, images)):
                    source, licence = 'openmoji', 'CC-BY-SA-4.0'
                    if gcompris in path.parents:
                        relative = str(path.relative_to(gcompris / 'rcc')).removeprefix('gcompris/')
                        source, licence = (
                            f'gcompris-qt-data: {relative}',
                            debian_licence(copyright_file, relative),
                        )
                    elif 'openclipart' in str(path):
                        source, licence = f'openclipart-svg: {path.name}', 'public domain'
                    self.add('train', kind, f'{number:03d}', [image], source, licence)


def build(root, seed=20):
    materials = Materials(root)
    if (materials.out / 'index.json').exists():
        return
    sources, games = materials.sources, 'usr/share/games/renpy'
    question, demo = f'{games}/the_question/game/images', f'{games}/demo/game/images'
    materials.sprites('train', 'renpy-thequestion', question, 'sylvie*.png', 'renpy-thequestion')
    materials.sprites('heldout', 'renpy-demo', demo, 'eileen*.png', 'renpy-demo')
    materials.sprites('heldout', 'renpy-demo', demo, 'lucy*.png', 'renpy-demo')
    # 1280x720 JPEG, shrunk to half so that the blocks go
    materials.backdrops(
        'train',
        'renpy-thequestion',
        sorted((sources / 'renpy-thequestion' / question).glob('bg*.jpg')),
        400,
        'Expat',
    )
    materials.backdrops(
        'heldout', 'renpy-demo', [sources / 'renpy-demo' / demo / 'bg panorama.webp'], 480, 'Expat'
    )
    wallpapers = sources / 'plasma-workspace-wallpapers/usr/share/wallpapers'
    materials.backdrops(
        'heldout',
        'plasma-workspace-wallpapers',
        [
            next((wallpapers / name / 'contents/images').glob(pattern))
            for name, pattern in [
                ('Altai', '5120*'),
                ('Kay', '5120*'),
                ('Patak', '5120*'),
                ('Canopee', '*'),
                ('Cascade', '*'),
            ]
        ],
        1100,
        'GPL-2+',
    )
    materials.vector_art(random.Random(seed))
    materials.faces('train', 84)
    materials.faces('heldout', 8)
    materials.rigs('train', seeds=[1, 2], frames=14)
    (materials.out / 'index.json').write_text(json.dumps(materials.index, indent=1))
    print(f'{len(materials.index)} drawings in {materials.out}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default='datasets/open_animation')
    build(parser.parse_args().root)
