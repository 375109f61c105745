"""The page of a curation: what was kept and what was dropped, with the reason, and overrules by click."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2

from animevsr.errors import MediaError
from animevsr.utils.files import atomic_file, write_text
from animevsr.utils.images import as_bytes
from animevsr.video.reader import open_reader
from animevsr.video.selection import Crop

TEMPLATE = Path(__file__).with_name('curate.html')
OVERRULES, REPORT, THUMBNAILS = 'overrules.json', 'report.html', '.thumbnails'
WIDTH = 200  # of a picture, in pixels
PICTURES = 400  # the most that the page shows of what was dropped


@dataclass
class Shown:
    """A stretch or a frame on the page. `reason`: why it was dropped; '' where it is kept."""

    name: str
    source: str
    seconds: float
    crop: str
    reason: str
    numbers: dict[str, float] = field(default_factory=dict)


def read_overrules(output: Path) -> dict[str, bool]:
    """{name: keep it} as the page has saved it into the output.

    Raises:
        ValueError: the file is damaged.
    """
    file = output / OVERRULES
    if not file.exists():
        return {}
    try:
        said = json.loads(file.read_text(encoding='utf8'))
        return {str(name): bool(keep) for name, keep in said.items()}
    except (OSError, ValueError, AttributeError):
        raise ValueError(f'{file}: cannot be read; save it once more from the page, or remove it') from None


def write_report(
    output: Path, shown: list[Shown], failed: dict[str, str], overrules: dict[str, bool]
) -> None:
    """Write `report.html`; pictures are kept for the next time."""
    kept = [s for s in shown if not s.reason]
    dropped = sorted((s for s in shown if s.reason), key=lambda s: -s.numbers.get('quality', 0))
    folder = output / THUMBNAILS
    folder.mkdir(parents=True, exist_ok=True)
    rows = [dict(asdict(s), picture=thumbnail(s, folder)) for s in [*kept, *dropped[:PICTURES]]]
    counts = {}
    for s in dropped:
        counts[kind(s.reason)] = counts.get(kind(s.reason), 0) + 1
    data = dict(
        output=str(output),
        rows=rows,
        failed=failed,
        counts=counts,
        kept=len(kept),
        dropped=len(dropped),
        overrules=overrules,
    )
    # '<' must not end the script element that holds the data
    text = json.dumps(data).replace('<', '\\u003c')
    write_text(output / REPORT, TEMPLATE.read_text(encoding='utf8').replace('"DATA"', text))


def kind(reason: str) -> str:
    """A reason without its numbers."""
    return reason.split(' (')[0].rstrip('0123456789. %').strip()


def thumbnail(shown: Shown, folder: Path) -> str:
    """A small picture as data URL; '' where its place cannot be read any more."""
    file = folder / f'{shown.name}.jpg'
    if not file.exists():
        with contextlib.suppress(MediaError, OSError, ValueError, RuntimeError):
            with open_reader(shown.source, crop=Crop.parse(shown.crop)) as reader:
                moment = Fraction(shown.seconds).limit_denominator(1000)
                reader.skip_to(moment)
                later = (
                    frame
                    for n, (frame, time) in enumerate(reader.timed())
                    if reader.since_first(n, time) >= moment
                )
                frame = next(later, None)
                if frame is None:
                    return ''
                image = as_bytes(reader.image(frame))
            size = WIDTH, max(1, round(image.shape[0] * WIDTH / image.shape[1]))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            # not `imwrite`, which crashes at names that are not UTF-8
            data = cv2.imencode('.jpg', small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
            with atomic_file(file) as partial:
                partial.write_bytes(data)
    if not file.exists():
        return ''
    return f'data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}'
