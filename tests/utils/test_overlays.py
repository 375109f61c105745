"""YAML files that say only how they differ from another one."""

import pytest
import yaml
from conftest import REPO, TINY_CLIPS, run_python

from animevsr.train import take_forced
from animevsr.utils.overlays import force, merged, plain_file, read_options, read_value


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
    (tmp_path / 'd.yml').write_text('lr: 6e-5\nsteps: [1e3, -2.5E-1]\nname: e5\n')
    assert yaml.safe_load(plain_file(tmp_path / 'd.yml', tmp_path / 'deep').read_text()) == dict(
        lr=6e-5, steps=[1000.0, -0.25], name='e5'
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


@pytest.mark.parametrize(
    'text, value',
    [
        ('6e-5', 6e-5),
        ('-1', -1),
        ('7', 7),
        ('1e-4', 1e-4),
        ('.5', 0.5),
        ('!!float 2', 2.0),
        ('!!float1E3', 1000.0),
        ('~', None),
        ('None', None),
        ('True', True),
        ('[1, 2e-3, "a"]', [1, 2e-3, 'a']),
        ('[a, b]', ['a', 'b']),
        ('{sigma: [0, 3]}', dict(sigma=[0, 3])),
        ('2024_11', '2024_11'),
        ('yes', 'yes'),
        ('weights/a=b.pth', 'weights/a=b.pth'),
    ],
)
def test_values_of_a_command_line(text, value):
    found = read_value(text)
    assert found == value and type(found) is type(value)


def test_options_are_forced():
    options = dict(name='a', train=dict(optim_g=dict(lr=1)), damage=[dict(noise=2), 'blur'])
    entries = [
        'train:optim_g:lr=6e-5',
        'train:warmup_iter=-1',
        'name = b',
        'damage:0:noise=[1, 3]',
        'damage:1=down',
    ]
    for entry in entries:
        force(options, entry)
    assert options == dict(
        name='b', train=dict(optim_g=dict(lr=6e-5), warmup_iter=-1), damage=[dict(noise=[1, 3]), 'down']
    )
    for entry, said in (
        ('train:optm_g:lr=1', "there is no 'optm_g'; known there: optim_g, warmup_iter"),
        ('damage:2=blur', "there is no '2'; known there: 0, 1"),
        ('name:x=1', 'write KEY:KEY=VALUE'),
        ('train', 'write KEY:KEY=VALUE'),
    ):
        with pytest.raises(ValueError, match=f'--force_yml {entry}: {said}'):
            force(options, entry)


def test_forced_options_are_taken_out_of_a_command_line():
    arguments = [
        'train.py',
        '--force_yml',
        'a=1',
        'b:c=-2',
        '-opt',
        'x.yml',
        '--force_yml',
        'd=3',
        '--auto_resume',
    ]
    assert take_forced(arguments) == ['a=1', 'b:c=-2', 'd=3']
    assert arguments == ['train.py', '-opt', 'x.yml', '--auto_resume']
