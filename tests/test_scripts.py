"""Scripts beside the package (demo, benchmarks, recipe, examples) find in it what they import."""

import ast
import importlib
import subprocess
import sys

import cv2
import pytest
from conftest import REPO, moving_frames, write_video

SCRIPTS = sorted(
    path
    for folder in ('assets', 'benchmarks', 'recipes', 'examples', 'docs')
    for path in (REPO / folder).rglob('*.py')
)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: str(path.relative_to(REPO)))
def test_what_a_script_imports_is_there(script):
    for node in ast.walk(ast.parse(script.read_text(encoding='utf8'))):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('animevsr'):
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f'{node.module}.{name.name}')


def test_the_picture_of_the_demo(tmp_path):
    """What `make demo` draws at its end."""
    before = write_video(tmp_path / 'in.mkv', moving_frames(22, 48, 64))
    after = write_video(tmp_path / 'out.mkv', moving_frames(22, 192, 256))
    command = [sys.executable, REPO / 'assets/demo/compare.py', before, after, tmp_path / 'x.png']
    subprocess.run([*map(str, command), '--zoom', '4', '4', '20'], check=True, capture_output=True)
    assert cv2.imread(str(tmp_path / 'x.png')).shape[1] == 3 * 80 + 2 * 8
