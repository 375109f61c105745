"""The pictures from which a person chooses the rescaling factor: a contact sheet, and a self-contained HTML
page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from animevsr.utils.drawing import caption, titled
from animevsr.utils.report import data_url
from animevsr.video.images import write_image

TEMPLATE = Path(__file__).with_name('choose.html')


def write(study: Any, folder: Any, video: Path, command: Any) -> None:
    """Write `contact_sheet.png`, `choose.html` and `scores.json` of a `Study` into a folder.

    `command` (str) makes the pairs; the page shows it, with the chosen factor at its end.
    """
    write_image(folder / 'contact_sheet.png', contact_sheet(study))
    content = page_content(study, video, command)
    numbers = dict(
        content,
        rows=[{key: value for key, value in row.items() if key != 'images'} for row in content['rows']],
    )
    del numbers['sources']
    (folder / 'scores.json').write_text(json.dumps(numbers, indent=1))
    # '<' must not end the script element that holds the data
    data = json.dumps(content).replace('<', '\\u003c')
    (folder / 'choose.html').write_text(
        TEMPLATE.read_text(encoding='utf8').replace('"DATA"', data), encoding='utf8'
    )


def contact_sheet(study: Any) -> Any:
    """One row for each factor, best rank first, below the source; (h, w, 3) uint8 RGB."""
    titles = [f'frame {patch.frame}, {patch.left},{patch.top}' for patch in study.patches]
    rows = [np.hstack([titled(title, image) for title, image in zip(titles, study.sources)])]
    rows.insert(0, caption('source, enlarged 2x by bicubic interpolation', rows[0].shape[1]))
    for place, (factor, relative) in enumerate(study.ranking, 1):
        scores = study.scores[list(study.results).index(factor)]
        tiles = [titled(f'{score:.3f}', image) for score, image in zip(scores, study.results[factor])]
        rows += [
            caption(f'rank {place}: factor {factor:g}, relative score {relative:.3f}', rows[1].shape[1]),
            np.hstack(tiles),
        ]
    return np.vstack(rows)


def page_content(study: Any, video: Path, command: Any) -> Any:
    """What the page shows, for JSON; images as data URLs."""
    rows = []
    for place, (factor, relative) in enumerate(study.ranking, 1):
        scores = study.scores[list(study.results).index(factor)]
        rows.append(
            dict(
                factor=factor,
                rank=place,
                relative=round(relative, 4),
                scores=[round(float(s), 4) for s in scores],
                images=[data_url(image) for image in study.results[factor]],
            )
        )
    places = [
        {key: getattr(patch, key) for key in ('frame', 'top', 'left', 'size')} for patch in study.patches
    ]
    sources = [data_url(image) for image in study.sources]
    return dict(video=str(video), name=video.stem, command=command, places=places, sources=sources, rows=rows)
