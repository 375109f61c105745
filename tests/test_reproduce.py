"""The trainings behind the paper's tables: what they are made of, and one of them from end to end."""
import os
import re
import subprocess
import sys
import time

import pytest
from conftest import REPO

from animevsr import reproduce as module
from animevsr.reproduce import TABLES, Enhanced, Row, Stage, in_order, reproduce
from animevsr.video.clips import list_clips
from animevsr.video.images import MediaError

ALL = [row for _, rows in TABLES.values() for row in rows]


def test_the_papers_numbers_stand_in_the_tables():
    """VQD-SR, tables 1 to 5: MANIQA of every row, in order."""
    values = {name: [row.paper['maniqa'] for row in rows] for name, (_, rows) in TABLES.items()}
    assert values == dict(table1=[0.2829, 0.2574, 0.3825, 0.3836, 0.3504, 0.3832, 0.4096], table2=[0.3857, 0.3768, 0.3466, 0.3430, 0.3770],
                          table3=[0.3825, 0.3967, 0.3504, 0.3849, 0.3832, 0.3857], table4=[0.3857, 0.4146, 0.4211, 0.4096],
                          table5=[0.3504, 0.3855, 0.3832, 0.4079, 0.3857, 0.4096])


@pytest.mark.parametrize('row', ALL, ids=lambda row: row.name)
def test_every_row_is_a_yaml(row):
    stages = in_order([row.stage])
    for stage in stages:
        if isinstance(stage, Enhanced):
            continue
        assert (REPO / 'options' / stage.paper).is_file() and (REPO / 'options' / stage.tiny).is_file()
        needed = set(re.findall(r'\{(\w+)\}', ' '.join(stage.options)))
        assert needed == {other.name for other in stage.after}  # what comes before is used, and what is used comes before
        assert all(stages.index(other) < stages.index(stage) for other in stage.after)


def test_stages_are_shared_and_names_are_unique():
    stages = in_order(row.stage for row in ALL)
    assert len({stage.name for stage in stages}) == len(stages)
    assert len(in_order([TABLES['table3'][1][4].stage, TABLES['table1'][1][5].stage])) == 2  # AnimeSR, and what it starts from


@pytest.mark.slow
def test_a_row_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(REPO))
    monkeypatch.setattr(module, 'METRICS', ('psnr_y', ))
    monkeypatch.setattr(module, 'list_clips', lambda root: list_clips(root)[:8])  # two are measured
    text = reproduce('table3', rows=['AnimeSR, VQ'], iterations=1, device='cpu')
    found = re.search(r'\| AnimeSR, VQ \| 1.5 \| 0.3857 \| 1.50 \| (\d+\.\d+) \|', text)
    assert found and 15 < float(found[1]) < 40 and 'not which method is better' in text
    assert (tmp_path / 'experiments/reproduce_tiny/table3.md').read_text() == text
    log = (tmp_path / 'experiments/reproduce_tiny/animesr_vq.log').read_text()
    assert 'Loading MSRBVSR from experiments/reproduce_tiny_animesr_net/models/net_g_latest.pth' in log and 'l_g_gan' in log
    # the second time nothing is trained, and a training of another length is not taken for this one
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('experiments/*/models/*.pth')}
    assert len(before) == 3 and reproduce('table3', rows=['AnimeSR, VQ'], iterations=1, device='cpu') == text
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob('experiments/*/models/*.pth')} == before
    with pytest.raises(MediaError, match='trained with other options; move it'):
        reproduce('table3', rows=['AnimeSR, VQ'], iterations=2, device='cpu')


def test_a_training_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(REPO))
    broken = Stage('broken', 'vqd_sr/net.yml', 'tiny/net.yml', ('datasets:train:dataroot_gt=nowhere', ))
    monkeypatch.setitem(TABLES, 'table3', ('', (Row('x', dict(maniqa=0), broken), )))
    with pytest.raises(MediaError, match='broken: MediaError: dataroot_gt: nowhere: no such folder.*broken.log'):
        reproduce('table3', device='cpu')
    with pytest.raises(ValueError, match='table3 has no row y; its rows: x'):
        reproduce('table3', rows=['y'])
    with pytest.raises(ValueError, match='table1, table2'):
        reproduce('table9')


@pytest.mark.slow
def test_its_training_ends_with_it(tmp_path):
    """Else the next call would train beside it, in the same folder."""
    command = ['reproduce', 'table4', '--rows', 'No Enhancement', '--iterations', '3000']
    run = subprocess.Popen([sys.executable, '-m', 'animevsr_cli', *command], cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(REPO)},
                           stderr=subprocess.DEVNULL, start_new_session=True)
    log = tmp_path / 'experiments/reproduce_tiny/net.log'
    for _ in range(900):
        if log.exists() and 'epoch:' in log.read_text():
            break
        time.sleep(0.1)
    run.terminate()
    assert run.wait(60) == 143
    with pytest.raises(ProcessLookupError):  # nobody is left of its group
        for _ in range(150):
            os.killpg(run.pid, 0)
            time.sleep(0.1)
