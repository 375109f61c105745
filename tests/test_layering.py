"""Imports run one way: each module imports from layers below its own (LAYERS, lowest first), never from its
siblings.
"""

import ast
from pathlib import Path

import pytest
from conftest import REPO

LAYERS = [
    {'compat', 'errors', 'version'},
    {'utils'},
    {'zoo'},
    {'archs', 'losses', 'metrics', 'video'},
    {'engine', 'degradations'},
    {'data', 'models', 'upscaling', 'evaluation', 'curation'},
    {'__init__', 'train', 'test', 'reproduce', 'app'},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted((REPO / 'animevsr').rglob('*.py'))


def part(path):
    relative = path.relative_to(REPO / 'animevsr')
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_parts(tree):
    """Names directly below `animevsr` that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'imports are absolute'
            names = [
                f'{node.module}.{alias.name}' if node.module == 'animevsr' else node.module
                for alias in node.names
            ]
        else:
            continue
        for name in names:
            pieces = name.split('.')
            if pieces[0] == 'animevsr' and len(pieces) > 1:
                yield pieces[1]


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(REPO)))
def test_imports_run_one_way(path):
    mine = part(path)
    assert mine in LEVEL, f'{mine} has no place in the layers; give it one here and in DESIGN.md'
    for other in imported_parts(ast.parse(path.read_text())):
        if other == mine or LEVEL.get(other, -1) == len(LAYERS) - 1 == LEVEL[mine]:
            continue
        assert other in LEVEL, f'{path} imports the unknown {other}'
        assert LEVEL[other] < LEVEL[mine], f'{path}: {mine} must not import {other}'


def test_a_breach_is_found():
    tree = ast.parse(
        'def f():\n    from animevsr.models.x import y\nimport animevsr.data.clips\nfrom animevsr import'
        ' train'
    )
    assert sorted(imported_parts(tree)) == ['data', 'models', 'train']


@pytest.mark.parametrize(
    'path',
    [p for p in FILES if p.name not in ('device.py', 'compat.py')],
    ids=lambda p: str(p.relative_to(REPO)),
)
def test_names_no_device(path):
    """Devices follow the data; only the chooser and the mending of upstream name one."""
    strings = [
        n.value
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    assert 'cuda' not in strings
    calls = [n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)]
    assert 'cuda' not in calls


def public_functions(body, prefix=''):
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from public_functions(node.body, f'{prefix}{node.name}.')
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith('_'):
            yield f'{prefix}{node.name}', node


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(REPO)))
def test_public_functions_have_type_hints(path):
    for function, node in public_functions(ast.parse(path.read_text()).body):
        arguments = [a for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ('self', 'cls')]
        assert node.returns is not None and all(a.annotation for a in arguments), function


def test_files_stay_small():
    for path in [*FILES, *Path(REPO / 'recipes').rglob('*.py')]:
        assert len(path.read_text().splitlines()) <= 400, path
