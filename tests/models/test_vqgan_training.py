"""Training of the VQGAN in two stages under BasicSR's runner, and training with the degradation it
learned.
"""

import re

import pytest
import torch
import yaml
from basicsr.data import build_dataset
from conftest import REPO, TINY_CLIPS, TINY_VQGAN, moving_frames, run_python, write_clip

import animevsr
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.models.vqgan_model import VQGANModel, perplexity
from animevsr.utils.overlays import read_options

NETWORK = dict(
    type='MultiScaleVQGAN', **{k: list(v) if isinstance(v, tuple) else v for k, v in TINY_VQGAN.items()}
)


@pytest.fixture
def frames(tmp_path):
    for i in range(4):
        write_clip(tmp_path / f'lq/{i}', moving_frames(2, 40, 48, seed=i))
    return tmp_path / 'lq'


def options(frames, stage='top', name=None, **changes):
    """options/tiny/vqgan_<stage>.yml, smaller still; changes as {'train.total_iter': 4}."""
    opt = read_options(REPO / f'options/tiny/vqgan_{stage}.yml')
    opt['name'] = name or stage
    network = {**NETWORK, **({'branches': ['top']} if stage == 'top' else {})}
    defaults = {
        'datasets.train.dataroot_lq': str(frames),
        'datasets.val.dataroot_lq': str(frames),
        'datasets.train.crop_size': 24,
        'datasets.train.dataset_enlarge_ratio': 1,
        'datasets.train.batch_size_per_gpu': 2,
        'network_g': network,
        'datasets.train.num_worker_per_gpu': 0,
        'train.total_iter': 6,
        'train.warmup_iter': -1,
        'val.val_freq': 100,
        'logger.print_freq': 1,
        'logger.save_checkpoint_freq': 100,
    }
    if stage == 'full':
        defaults.update(
            {
                'train.gan_start': 3,
                'network_d.num_feat': 8,
                'path.pretrain_network_g': 'experiments/top/models/net_g_latest.pth',
            }
        )
    for path, value in {**defaults, **changes}.items():
        *parents, key = path.split('.')
        place = opt
        for parent in parents:
            place = place[parent]
        place[key] = value
    path = frames.parent / f'{opt["name"]}.yml'
    path.write_text(yaml.safe_dump(opt))
    return path


def train(path, *arguments, check=True):
    return run_python(
        '-m',
        'animevsr.train',
        '-opt',
        path,
        *arguments,
        cwd=path.parent,
        check=check,
        CUDA_VISIBLE_DEVICES='',
    )


def logged(output, key):
    """{iteration: value as it was logged}."""
    return {int(i): value for i, value in re.findall(rf'iter:\s*(\d+).*? {key}: (\S+)', output)}


def test_two_stages(frames, tmp_path):
    out = train(options(frames)).stderr
    assert sorted(logged(out, 'l_pix')) == sorted(logged(out, 'perplexity_top')) == [1, 2, 3, 4, 5, 6]
    assert not logged(out, 'perplexity_bottom') and not logged(out, 'l_d') and re.search(r'# psnr: \d', out)
    assert re.search(r'lowquality_heldout codebook: \d+ of 64 entries used; perplexity top \d', out)

    out = train(options(frames, 'full')).stderr
    assert re.search(r'starts fresh: mid \(\d+ tensors\)', out) and re.search(
        r'starts fresh: bot \(\d+ tensors\)', out
    )
    assert 'starts fresh: top' not in out and 'starts fresh: conv' not in out
    # the log shows the learning rates of both groups, the top branch's divided by 4
    rates = re.search(r'lr:\(([^)]*)\)', out)[1].split(',')
    assert sorted(float(r) for r in rates if r) == pytest.approx([2.5e-4, 1e-3])
    for key in ('l_pix', 'l_codebook', 'perplexity_top', 'perplexity_middle', 'perplexity_bottom', 'dead'):
        assert sorted(logged(out, key)) == [1, 2, 3, 4, 5, 6], key
    for key in ('l_g_gan', 'gan_weight', 'l_d'):
        assert sorted(logged(out, key)) == [3, 4, 5, 6], key
    assert re.search(r'perplexity top \d+, middle \d+, bottom \d+', out)
    models = tmp_path / 'experiments/full/models'
    assert (models / 'net_d_latest.pth').exists()
    assert animevsr.load_network(models / 'net_g_latest.pth').branches == ('top', 'middle', 'bottom')


@pytest.mark.slow
@pytest.mark.parametrize('stage', ['top', 'full'])
def test_resumed_run_continues_exactly(stage, frames, tmp_path):
    """Stopped and resumed, with entries that are revived in every iteration and a discriminator: the same
    losses and weights.
    """
    changes = {'train.total_iter': 8, 'logger.save_checkpoint_freq': 5, 'train.revive_after': 2}
    if stage == 'full':
        torch.save(
            {'params': MultiScaleVQGAN(**TINY_VQGAN, branches=('top',)).state_dict()}, tmp_path / 'top.pth'
        )
        changes['path.pretrain_network_g'] = 'top.pth'
    whole = train(options(frames, stage, 'whole', **changes)).stderr
    train(options(frames, stage, 'halves', **{**changes, 'train.total_iter': 5}))
    second = train(options(frames, stage, 'halves', **changes), '--auto_resume').stderr
    assert logged(second, 'l_pix') == {i: logged(whole, 'l_pix')[i] for i in (6, 7, 8)}
    names = ['net_g_latest.pth', *(['net_d_latest.pth'] if stage == 'full' else [])]
    for name in names:
        nets = [
            torch.load(tmp_path / f'experiments/{run}/models/{name}', weights_only=True)['params']
            for run in ('whole', 'halves')
        ]
        assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0]), name
    state = torch.load(tmp_path / 'experiments/halves/training_states/5.state', weights_only=True)
    last_used = [s['last_used'] for s in state['optimizers'][0]['state'].values() if 'last_used' in s]
    assert len(last_used) == 1 and last_used[0].max() == 5


@pytest.mark.slow
def test_two_processes_train_on_a_cpu(frames, tmp_path):
    """Entries that are revived and the discriminator are the same in both processes: their weights stay
    alike, which each save checks (`check_alike`, and a test of it in test_training.py)."""
    path = options(
        frames,
        'full',
        'two',
        **{
            'train.total_iter': 4,
            'train.revive_after': 1,
            'train.gan_start': 2,
            'path.pretrain_network_g': None,
        },
    )
    done = run_python(
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node',
        2,
        '-m',
        'animevsr.train',
        '-opt',
        path,
        '--launcher',
        'pytorch',
        cwd=tmp_path,
        CUDA_VISIBLE_DEVICES='',
    )
    out = done.stdout + done.stderr
    assert (
        'world_size: 2' in out and sorted(logged(out, 'l_d')) == [2, 3, 4] and re.search(r'# psnr: \d', out)
    )


@pytest.mark.slow
def test_learn_is_one_command(frames, tmp_path):
    smaller = [
        'datasets:train:crop_size=24',
        'datasets:train:batch_size_per_gpu=2',
        'datasets:train:num_worker_per_gpu=0',
        'train:total_iter=3',
    ]
    arguments = ['-m', 'animevsr_cli', 'learn', frames, '--name', 'mine', '--size', 'tiny', '--set', *smaller]
    done = run_python(*arguments, cwd=tmp_path)
    weights = done.stdout.strip().splitlines()[-1]
    assert animevsr.load_network(tmp_path / weights).branches == ('top', 'middle', 'bottom')
    write_clip(tmp_path / 'other/lq', moving_frames(1, 40, 48))
    done = run_python(
        '-m', 'animevsr_cli', 'learn', tmp_path / 'other/lq', '--name', 'mine', cwd=tmp_path, check=False
    )
    assert (
        done.returncode != 0
        and 'choose another --name' in done.stderr
        and len(done.stderr.strip().splitlines()) == 1
    )
    done = run_python('-m', 'animevsr_cli', 'learn', tmp_path / 'gone', cwd=tmp_path, check=False)
    assert done.returncode != 0 and 'gone: no such folder' in done.stderr.strip().splitlines()[-1]


def model_of(stage='top', **train_options):
    opt = read_options(REPO / f'options/tiny/vqgan_{stage}.yml')
    opt.update(
        num_gpu=0, dist=False, is_train=True, rank=0, world_size=1, network_g=dict(NETWORK, branches=['top'])
    )
    if stage == 'full':
        opt['network_g'], opt['path']['pretrain_network_g'] = dict(NETWORK), None
    opt['train'].update(train_options)
    torch.manual_seed(0)
    return VQGANModel(opt)


def batch(b=4, seed=0):
    import numpy as np

    return dict(
        lq=torch.from_numpy(
            np.concatenate([moving_frames(1, 32, 32, seed=seed + i) for i in range(b)])
        ).permute(0, 3, 1, 2)
        / 255
    )


def test_codebook_starts_from_the_data_and_dead_entries_revive():
    model = model_of(revive_after=3)
    net = model.net_g
    before = net.codebook.detach().clone()
    model.feed_data(batch())
    with torch.no_grad():
        z = net.encode(model.lq * 2 - 1)['top'].permute(0, 2, 3, 1).flatten(0, 2)
    model.optimize_parameters(1)
    assert not torch.allclose(net.codebook, before, atol=0.01)
    # each entry is near a vector of the first batch: one step of Adam and a thousandth of noise away
    assert torch.cdist(net.codebook.detach(), z).min(1).values.max() < 0.05
    far = torch.full_like(net.codebook[:5], 100.0)
    net.codebook.data[:5] = far
    for iteration in range(2, 7):
        model.feed_data(batch(seed=iteration))
        model.optimize_parameters(iteration)
    assert net.codebook[:5].abs().max() < 50


@pytest.mark.slow
def test_dead_entries_are_counted():
    model = model_of(revive_after=None)
    model.net_g.codebook.data[:7] = 100.0
    for iteration in range(1, 103):
        model.feed_data(batch(1))
        model.optimize_parameters(iteration)
        if iteration == 50:
            assert model.log_dict['dead'] == 0
    assert model.log_dict['dead'] >= 7


def test_validation_keeps_nothing_of_its_frames():
    model = model_of()
    model.usage = {}
    for seed in range(3):
        model.feed_data(batch(1, seed))
        model.test()
    assert model.lookups == [] and int(sum(model.usage.values()).sum()) == 3 * 16


@pytest.mark.parametrize('name', ['net_g', 'net_d'])
def test_weights_that_are_not_finite_are_not_saved(name, tmp_path):
    model = model_of('full')
    model.opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    model.save(0, 1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert set(before) == {'net_g_1.pth', 'net_d_1.pth', '1.state'}
    next(getattr(model, name).parameters()).data.fill_(float('nan'))
    for iteration in (1, 2):
        with pytest.raises(ValueError, match=f'not finite at iteration {iteration}: nothing is saved'):
            model.save(0, iteration)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_several_gpus_need_torchrun():
    opt = read_options(REPO / 'options/tiny/vqgan_top.yml')
    with pytest.raises(ValueError, match='2 GPUs need one process each: torchrun'):
        VQGANModel({**opt, 'num_gpu': 2, 'dist': False, 'is_train': True, 'rank': 0, 'world_size': 1})


def test_perplexity():
    assert perplexity(torch.tensor([4.0, 4, 4, 4])).item() == pytest.approx(4)
    assert perplexity(torch.tensor([9.0, 0, 0])).item() == pytest.approx(1)
    assert perplexity(torch.tensor([1.0, 3])).item() == pytest.approx(
        (1 / 4) ** (-1 / 4) * (3 / 4) ** (-3 / 4)
    )


def test_adaptive_weight_balances_the_gradients():
    model = model_of('full', gan_start=1)
    model.feed_data(batch(2))
    x = model.lq * 2 - 1
    output, _ = model.net_g(x)
    reconstruction, l_gan = (
        model.cri_pix(output, x),
        sum(model.cri_gan(s, True, is_disc=False) for s in model.net_d(output)),
    )
    weight = model._adaptive_weight(reconstruction, l_gan)
    of_reconstruction, of_gan = (
        torch.autograd.grad(loss, model.net_g.conv_out.weight, retain_graph=True)[0].norm()
        for loss in (reconstruction, weight * l_gan)
    )
    assert of_gan.item() == pytest.approx(0.8 * of_reconstruction.item(), rel=0.02)


def test_discriminator_learns_and_the_generator_does_not_move_it():
    model = model_of('full', gan_start=2)
    before = [p.detach().clone() for p in model.net_d.parameters()]
    model.feed_data(batch(2))
    model.optimize_parameters(1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.net_d.parameters()))
    model.optimize_parameters(2)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.net_d.parameters()))
    assert 0 < model.log_dict['l_d'] < 4


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'datasets.train.dataroot_lq': 'nowhere'}, 'nowhere: no such folder'),
        ({'datasets.train.crop_size': 64}, 'smaller than the crop of 64'),
        ({'train.gan_strat': 1}, "unknown key 'gan_strat' in train; did you mean 'gan_start'"),
        ({'train.lr_factors': {'tpo': 0.25}}, "no parameter begins with 'tpo'"),
        (
            {
                'network_g': {**NETWORK, 'branches': ['top'], 'norm_groups': 4},
                'path.pretrain_network_g': 'top.pth',
            },
            'it has norm_groups',
        ),
        ({'train.ema_decay': 0.9}, 'ema_decay and revive_after exclude each other'),
        ({'path.pretrain_network_g': 'vsr.pth'}, 'vsr.pth: not the weights of this MultiScaleVQGAN'),
        (
            {'train.perceptual_opt': {'type': 'VGGPerceptualLoss', 'weights': 'gone.pth'}},
            'gone.pth: no such weights file',
        ),
    ],
)
def test_bad_options_are_named(changes, message, frames, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_weights.rename(tmp_path / 'vsr.pth')
    torch.save(
        {'params': MultiScaleVQGAN(**TINY_VQGAN, branches=('top',)).state_dict()}, tmp_path / 'top.pth'
    )
    opt = yaml.safe_load(options(frames, **changes).read_text())
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        build_dataset({**opt['datasets']['train'], 'scale': 1, 'phase': 'train'})
        VQGANModel(opt)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'datasets.train.dataroot_lq': 'nowhere'}, 'nowhere: no such folder'),
        (
            {'train.optim_g': {'type': 'Adam', 'lr': 1e18}, 'logger.save_checkpoint_freq': 1},
            'training stops, the last checkpoint is kept',
        ),
    ],
)
def test_bad_input_ends_training_with_one_line(changes, message, frames, tmp_path):
    done = train(options(frames, **changes), check=False)
    assert done.returncode != 0 and 'Traceback' not in done.stderr
    assert message in done.stderr.strip().splitlines()[-1], done.stderr[-600:]
    for path in tmp_path.glob('experiments/top/models/*.pth'):  # what was saved can be used
        state = animevsr.load_network(path).state_dict()
        assert all(torch.isfinite(v).all() for v in state.values()), path


@pytest.mark.slow
def test_network_trains_on_the_learned_degradation(tmp_path, tiny_vqgan):
    """options/tiny/net_vq.yml, degraded in the loader and on the device: the same losses."""
    opt = read_options(REPO / 'options/tiny/net_vq.yml')
    vq = {'vq': {'weights': str(tiny_vqgan), 'k': [1, 50]}}
    for phase in ('train', 'val'):
        steps = opt['datasets'][phase]['degradation']
        opt['datasets'][phase]['degradation'] = [
            vq if isinstance(s, dict) and 'vq' in s else s for s in steps
        ]
        opt['datasets'][phase]['dataroot_gt'] = str(TINY_CLIPS)
    assert vq in opt['datasets']['train']['degradation']
    opt['datasets']['train'].update(num_frame=2, gt_size=64, dataset_enlarge_ratio=4)
    opt['datasets']['val']['num_frame'] = 1
    opt['network_g'].update(num_feat=8, num_block=[1, 1, 1])
    opt['train']['total_iter'], opt['val']['save_img'] = 8, False
    opt['logger'].update(print_freq=1, use_tb_logger=False)
    losses = {}
    for place in ('loader', 'device'):
        opt['datasets']['train']['degrade_on'], opt['name'] = place, place
        (tmp_path / f'{place}.yml').write_text(yaml.safe_dump(opt))
        out = train(tmp_path / f'{place}.yml').stderr
        assert re.search(r'# psnr: \d', out)
        losses[place] = logged(out, 'l_pix')
    assert sorted(losses['loader']) == list(range(1, 9)) and losses['loader'] == losses['device']
