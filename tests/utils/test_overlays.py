"""YAML files that say only how they differ from another one."""

import pytest
import yaml
from conftest import REPO, TINY_CLIPS, run_python

from animevsr.utils.overlays import merged, plain_file, read_options


def test_changes_are_merged():
    base = dict(a=1, b=dict(c=2, d=[3, 4], e=dict(f=5)), g=dict(h=6))
    found = merged(base, dict(a=7, b=dict(_delete_=['c'], d=[8], e=dict(i=9)), g=None, j=10), 'x.yml')
    assert found == dict(a=7, b=dict(d=[8], e=dict(f=5, i=9)), g=None, j=10)
    assert base == dict(a=1, b=dict(c=2, d=[3, 4], e=dict(f=5)), g=dict(h=6))
    with pytest.raises(ValueError, match='x.yml: _delete_ names z, which the base does not have'):
        merged(base, dict(_delete_=['z']), 'x.yml')


def test_bases_of_bases_beside_the_file(tmp_path):
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'a.yml').write_text('x: 1\ny: {z: 2}\n')
    (tmp_path / 'deep/b.yml').write_text('_base_: ../a.yml\ny: {w: 3}\n')
    (tmp_path / 'c.yml').write_text('_base_: deep/b.yml\nx: 4\n')
    assert read_options(tmp_path / 'c.yml') == dict(x=4, y=dict(z=2, w=3))
    assert plain_file(tmp_path / 'a.yml', tmp_path / 'deep') == tmp_path / 'a.yml'
    whole = plain_file(tmp_path / 'c.yml', tmp_path / 'deep')
    assert whole == tmp_path / 'deep/c.yml' and yaml.safe_load(whole.read_text()) == dict(
        x=4, y=dict(z=2, w=3)
    )
    (tmp_path / 'a.yml').write_text('_base_: c.yml\n')
    with pytest.raises(ValueError, match='is its own base'):
        read_options(tmp_path / 'c.yml')
    (tmp_path / 'a.yml').write_text('_base_: gone.yml\n')
    with pytest.raises(ValueError, match='gone.yml does not exist'):
        read_options(tmp_path / 'c.yml')


def test_the_experiment_keeps_the_merged_file(tmp_path):
    """BasicSR alone reads it; and a base that is missing is one line."""
    changes = dict(
        _base_=f'{REPO}/options/tiny/net.yml',
        name='mine',
        network_g=dict(num_feat=8, num_block=[1, 1, 1]),
        datasets=dict(
            train=dict(dataroot_gt=str(TINY_CLIPS)), val=dict(dataroot_gt=str(TINY_CLIPS), num_frame=1)
        ),
        train=dict(total_iter=1),
        logger=dict(use_tb_logger=False),
    )
    (tmp_path / 'mine.yml').write_text(yaml.safe_dump(changes))
    run_python('-m', 'animevsr.train', '-opt', 'mine.yml', cwd=tmp_path, CUDA_VISIBLE_DEVICES='')
    kept = (tmp_path / 'experiments/mine/mine.yml').read_text()
    assert '_base_' not in kept and yaml.safe_load(kept) == read_options(tmp_path / 'mine.yml')
    (tmp_path / 'broken.yml').write_text('_base_: gone.yml\n')
    done = run_python('-m', 'animevsr.train', '-opt', 'broken.yml', cwd=tmp_path, check=False)
    assert (
        done.returncode == 1
        and 'gone.yml does not exist' in done.stderr.strip().splitlines()[-1]
        and 'Traceback' not in done.stderr
    )
