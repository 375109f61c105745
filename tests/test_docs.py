"""The documentation: its links lead somewhere, and the front page stays one page."""

import re

import pytest
from conftest import REPO

PAGES = [
    *REPO.glob('*.md'),
    *REPO.glob('docs/*.md'),
    *REPO.glob('weights/*.md'),
    *REPO.glob('recipes/*/*.md'),
]


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_links_lead_somewhere(page):
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.S)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if not re.match(r'https?:|mailto:', target):
            file, _, anchor = target.partition('#')
            found = (page.parent / file) if file else page
            assert found.exists(), f'{page}: {target}'
            if anchor:
                heads = [
                    re.sub(r'[^a-z0-9 -]', '', h.lower()).replace(' ', '-')
                    for h in re.findall(r'^#+ (.*)', found.read_text(), re.M)
                ]
                assert anchor in heads, f'{page}: {target}'


def test_the_front_page_is_one_page():
    assert len((REPO / 'README.md').read_text().splitlines()) <= 130
