"""A training that goes on where it was stopped, and the files from which it does."""

import math
from types import SimpleNamespace

import basicsr.train
import pytest
import torch
from conftest import run_python
from small_run import losses, options, weights_of

from animevsr.compat import _load_resume_state
from animevsr.data.sampling import resumable_loaders
from animevsr.models.base_model import BaseSRModel


@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])
def test_resumed_run_continues_exactly(workers, tmp_path):
    """Stopped in the middle of the second epoch (three iterations each) and resumed: the same losses and
    weights.
    """
    changes = {
        'logger.save_checkpoint_freq': 5,
        'train.total_iter': 8,
        'datasets.train.num_worker_per_gpu': workers,
        'train.scheduler.milestones': [6],
    }

    def train(name, *arguments, **more):
        path = options(tmp_path, name, **{**changes, **more})
        return run_python(
            '-m', 'animevsr.train', '-opt', path, *arguments, cwd=tmp_path, CUDA_VISIBLE_DEVICES=''
        )

    whole = losses(train('whole').stderr)
    train('halves', **{'train.total_iter': 5})
    for name in ('7.state', '.9.partial.state'):  # a kill while it was written leaves the second
        (tmp_path / f'experiments/halves/training_states/{name}').write_bytes(b'half-written')
    resumed = train('halves', '--auto_resume')
    assert 'Passing over' in resumed.stdout and '7.state' in resumed.stdout
    second = losses(resumed.stderr)
    assert sorted(second) == [6, 7, 8] and second == {i: whole[i] for i in (6, 7, 8)}
    nets = [weights_of(tmp_path, name) for name in ('whole', 'halves')]
    for key in ('params', 'params_ema'):
        assert all(torch.equal(nets[0][key][k], nets[1][key][k]) for k in nets[0][key])


@pytest.mark.slow
def test_a_resume_may_change_the_number_of_processes(tmp_path):
    """Two processes begin, one with the batch of both goes on, and sees what it would have seen alone."""
    changes = {'datasets.train.dataset_enlarge_ratio': 16, 'logger.save_checkpoint_freq': 3}
    four = {'datasets.train.batch_size_per_gpu': 4}
    command = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', 2, '-m', 'animevsr.train']
    first = options(tmp_path, 'changed', **changes, **{'train.total_iter': 3})
    run_python(*command, '-opt', first, '--launcher', 'pytorch', cwd=tmp_path, CUDA_VISIBLE_DEVICES='')
    rest = options(tmp_path, 'changed', **changes, **four)
    resumed = run_python('-m', 'animevsr.train', '-opt', rest, '--auto_resume', cwd=tmp_path)
    alone = run_python(
        '-m', 'animevsr.train', '-opt', options(tmp_path, 'one', **changes, **four), cwd=tmp_path
    )
    assert sorted(losses(resumed.stderr)) == [4, 5, 6]
    one, changed = losses(alone.stderr), losses(resumed.stderr)
    for i, loss in changed.items():
        assert float(loss) == pytest.approx(float(one[i]), rel=1e-4)
    one, changed = (weights_of(tmp_path, name)['params'] for name in ('one', 'changed'))
    assert all(torch.allclose(changed[k], one[k], atol=1e-5) for k in one)


def test_a_resume_may_make_epochs_longer(monkeypatch):
    """Upstream counts all epochs as long as they are now, and would end at once."""
    sampler, loader = SimpleNamespace(), type('Loader', (list,), dict(batch_size=2))(range(24))
    state = dict(epoch=3, iter=12)
    monkeypatch.setattr(basicsr.train, 'load_resume_state', lambda opt: state)
    monkeypatch.setattr(
        basicsr.train, 'create_train_val_dataloader', lambda *_: (loader, sampler, [], math.ceil(40 / 24), 40)
    )
    with resumable_loaders():
        basicsr.train.load_resume_state({})
        *_, epochs, total = basicsr.train.create_train_val_dataloader(dict(datasets=dict(train={})), None)
    iterations = sum(len(loader) for epoch in range(state['epoch'], epochs + 1))
    assert total == 40 and state['iter'] + iterations >= 40


@pytest.mark.parametrize('numbers', [[5, 5], [5, None]])
def test_processes_that_see_other_folders_do_not_wait_for_one_another(numbers, monkeypatch, tmp_path):
    group = torch.distributed
    monkeypatch.setattr(group, 'is_initialized', lambda: True)
    monkeypatch.setattr(group, 'get_world_size', lambda: 2)
    monkeypatch.setattr(group, 'all_gather_object', lambda found, mine: found.__setitem__(slice(2), numbers))
    (tmp_path / 'states').mkdir()
    torch.save(dict(iter=5, epoch=0), tmp_path / 'states/5.state')
    paths = dict(experiments_root='experiments/run', models='m', training_states=str(tmp_path / 'states'))
    opt = dict(auto_resume=True, path=paths, network_g={})
    if len(set(numbers)) == 1:
        assert _load_resume_state(opt)['iter'] == 5
    else:
        with pytest.raises(
            ValueError, match=r'iterations \(5, none\); all must see the folder experiments/run'
        ):
            _load_resume_state(opt)


def test_damaged_states_never_restart_a_run(tmp_path):
    states = tmp_path / 'experiments/run/training_states'
    states.mkdir(parents=True)
    (states / '5.state').write_bytes(b'damaged')
    done = run_python(
        '-m', 'animevsr.train', '-opt', options(tmp_path), '--auto_resume', cwd=tmp_path, check=False
    )
    assert done.returncode != 0 and 'none of the training states can be read' in done.stderr
    assert (states / '5.state').exists()


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    """BasicSR would leave a part of it, and go on."""
    model = SimpleNamespace(
        opt=dict(path=dict(models=str(tmp_path), training_states=str(tmp_path))),
        optimizers=[],
        schedulers=[],
        seed=0,
        get_bare_model=lambda net: net,
    )
    net, save = torch.nn.Linear(2, 2), torch.save
    BaseSRModel.save_network(model, [net, net], 'net_g', -1, ['params', 'params_ema'])
    saved = torch.load(tmp_path / 'net_g_latest.pth')
    assert set(saved) == {'params', 'params_ema'} and torch.equal(saved['params']['weight'], net.weight)

    def full(state, path):
        save(state, path)
        raise RuntimeError('No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    for write in (
        lambda: BaseSRModel.save_network(model, net, 'net_g', 5),
        lambda: BaseSRModel.save_training_state(model, 0, 5),
    ):
        with pytest.raises(RuntimeError, match='No space left'):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ['net_g_latest.pth']
