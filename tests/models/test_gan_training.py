"""Adversarial training: the guard, clipped gradients, checkpointed gradients."""

import copy
import re

import pytest
import torch
from basicsr.models.srgan_model import SRGANModel
from conftest import REPO, run_python

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.models.base_model import clip_gradients
from animevsr.models.collapse import CollapseGuard
from animevsr.models.pdm_model import PDMModel
from animevsr.models.recurrent_vsr_gan_model import RecurrentVSRGANModel
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.utils.overlays import read_options


def problem_after(losses, **options):
    """What the guard says after (l_d_real, l_d_fake, l_g_pix) of each iteration, and when it first said
    so.
    """
    guard = CollapseGuard('lsgan', **{'window': 10, **options})
    for i, (real, fake, pix) in enumerate(losses, 1):
        guard.update(dict(l_d_real=real, l_d_fake=fake, l_g_pix=pix))
        if guard.problem():
            return guard.problem(), i
    return None


HEALTHY = [(0.25, 0.2, 0.05)] * 50


def test_healthy_training_goes_on():
    assert problem_after(HEALTHY) is None
    # a discriminator that wins now and then, and a loss that halves and comes back, are no collapse
    assert problem_after([(0.25, 0.2, 0.05), (0.0, 0.0, 0.03)] * 50) is None
    assert problem_after([(0.001, 0.001, 0.05)] * 9) is None  # too early to say


def test_a_discriminator_without_fail_is_a_collapse():
    said, when = problem_after([*HEALTHY, *[(0.001, 0.001, 0.05)] * 500])
    assert 'discriminator has collapsed' in said and 50 < when < 200
    assert problem_after([(0.001, 0.001, 0.05)] * 500)[1] == 10
    assert problem_after([(0.001, 0.001, 0.05)] * 500, least_d=0.001) is None


def test_a_network_that_drifts_is_a_collapse():
    said, when = problem_after([*HEALTHY, *[(0.25, 0.2, 0.4)] * 500])
    assert 'drifted' in said and '0.05' in said and 50 < when < 100
    assert problem_after([*HEALTHY, *[(0.25, 0.2, 0.4)] * 500], pix_rise=10) is None


def test_a_pixel_loss_that_begins_late_is_judged_by_a_mean():
    """The discriminator alone is trained at first (net_d_init_iters); then one small loss is no mean."""
    guard = CollapseGuard('lsgan', window=10)
    for _ in range(50):
        guard.update(dict(l_d_real=0.2, l_d_fake=0.2))
    for i in range(100):
        guard.update(dict(l_d_real=0.2, l_d_fake=0.2, l_g_pix=0.03 if i else 0.008))
        assert guard.problem() is None


def test_early_signs_are_seen_before_the_collapse_is_said():
    guard = CollapseGuard('lsgan', window=100)
    for i in range(400):
        guard.update(dict(l_d_real=0.2 if i < 300 else 0.0, l_d_fake=0.2 if i < 300 else 0.0, l_g_pix=0.05))
        assert not (i < 300 and guard.problem(recent=True)) and (guard.problem() is None or i > 350)
    assert 'discriminator has collapsed' in guard.problem(recent=True)


def test_losses_of_an_unknown_kind_are_not_judged():
    guard = CollapseGuard('wgan', window=2)
    for _ in range(5):
        guard.update(dict(l_d_real=-3.0, l_d_fake=2.0))
    assert guard.problem() is None


def train(tmp_path, *options, check=True):
    if not (tmp_path / 'assets').exists():
        (tmp_path / 'assets').symlink_to(REPO / 'assets')
    smaller = [
        'path:pretrain_network_g=~',
        'datasets:train:num_frame=2',
        'datasets:train:degrade_on=loader',
        'datasets:val:num_frame=1',
        'val:save_img=false',
        'network_g:num_feat=8',
        'logger:print_freq=1',
        'logger:use_tb_logger=false',
        'train:total_iter=4',
    ]
    return run_python(
        '-m',
        'animevsr.train',
        '-opt',
        'options/tiny/gan.yml',
        '--force_yml',
        *smaller,
        *options,
        cwd=tmp_path,
        CUDA_VISIBLE_DEVICES='',
        check=check,
    )


def test_second_stage_trains_and_stops_at_a_collapse(tmp_path):
    out = train(tmp_path, 'network_g:checkpointing=true', 'train:grad_clip=0.5').stderr
    assert len(re.findall('l_g_gan', out)) == 4 and re.search(r'# psnr: \d', out)
    assert (tmp_path / 'experiments/tiny_vqd_sr_gan/models/net_g_latest.pth').exists()
    options = [
        'name=collapsed',
        'train:guard:window=2',
        'train:guard:pix_rise=0.5',
        'logger:save_checkpoint_freq=1',
    ]
    done = train(tmp_path, *options, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert (
        done.returncode == 1
        and 'has drifted' in last
        and 'stops at iteration 2, the last checkpoint is kept' in last
    )
    assert sorted(p.name for p in (tmp_path / 'experiments/collapsed/models').iterdir()) == [
        'net_d_1.pth',
        'net_g_1.pth',
    ]
    for i, (option, message) in enumerate(
        (
            ('train:guard:windw=2', "did you mean 'window'"),
            ('train:gan_opt=~', 'gan_opt is missing'),
            ('train:grad_clip=0', 'grad_clip must be above 0'),
        )
    ):
        done = train(tmp_path, f'name=wrong{i}', option, check=False)
        assert done.returncode == 1 and message in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize('model', [RecurrentVSRGANModel, RecurrentVSRModel])
def test_options_stay_as_they_are(model):
    """BasicSR takes the types out of optimisers and schedulers."""
    opt = read_options(REPO / f'options/tiny/{"gan" if model is RecurrentVSRGANModel else "net"}.yml')
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1)
    opt['path']['pretrain_network_g'] = None
    before = copy.deepcopy(opt)
    model(opt)
    assert opt == before


def test_clipped_gradients(device):
    weights = torch.nn.Parameter(torch.zeros(4, device=device))
    optimizer = torch.optim.SGD([weights], lr=1)
    optimizer.register_step_pre_hook(lambda optimizer, *_: clip_gradients(optimizer, 0.5))
    (weights * torch.tensor([3.0, 0, 4, 0], device=device)).sum().backward()
    optimizer.step()
    assert torch.allclose(weights.cpu(), torch.tensor([-0.3, 0, -0.4, 0]), atol=1e-5)
    optimizer.zero_grad()
    (weights * torch.tensor([0.1, 0, 0, 0], device=device)).sum().backward()
    optimizer.step()
    # small ones stay as they are
    assert torch.allclose(weights.cpu(), torch.tensor([-0.4, 0, -0.4, 0]), atol=1e-5)


def model_of(name, **train):
    opt = read_options(REPO / f'options/tiny/{name}.yml')
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1)
    opt['path']['pretrain_network_g'] = None
    opt['network_g']['num_feat'] = 8
    opt['train'].update(train)
    return {'gan': RecurrentVSRGANModel, 'net': RecurrentVSRModel}[name](opt)


def test_a_resumed_run_takes_the_scheduler_of_its_options():
    """Whoever raises total_iter raises its milestones or periods."""

    def start(scheduler):
        return model_of('net', optim_g=dict(type='Adam', lr=1e-3, betas=[0.9, 0.99]), scheduler=scheduler)

    def rates(model, iterations):
        out = []
        for i in iterations:
            model.update_learning_rate(i)
            out.append(model.get_current_learning_rate()[0])
        return out

    for kind, before, after in (
        (dict(type='MultiStepLR', gamma=0.5), dict(milestones=[100]), dict(milestones=[12])),
        (dict(type='MultiStepLR', gamma=0.5), dict(milestones=[4]), dict(milestones=[12])),
        (dict(type='MultiStepLR', gamma=0.5), dict(milestones=[100]), dict(milestones=[4])),
        (
            dict(type='CosineAnnealingRestartLR', restart_weights=[1], eta_min=1e-7),
            dict(periods=[10]),
            dict(periods=[20]),
        ),
    ):
        first, second, whole = start({**kind, **before}), start({**kind, **after}), start({**kind, **after})
        rates(first, range(1, 9))
        expected = rates(whole, range(1, 16))
        second.resume_training(
            dict(
                epoch=0,
                iter=8,
                optimizers=[copy.deepcopy(first.optimizer_g.state_dict())],
                schedulers=[copy.deepcopy(first.schedulers[0].state_dict())],
            )
        )
        assert rates(second, range(9, 16)) == pytest.approx(expected[8:], rel=1e-6)
        assert expected[14] < 0.6e-3


def test_a_warm_up_ends_at_the_full_rate():
    model, rates = model_of('net', optim_g=dict(type='Adam', lr=1e-3, betas=[0.9, 0.99])), []
    for i in range(1, 8):
        model.update_learning_rate(i, warmup_iter=4)
        rates.append(model.get_current_learning_rate()[0])
    assert rates == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3, 1e-3, 1e-3])


def test_the_mean_begins_as_the_network(tmp_path):
    """Also in what the file did not have, and is drawn at random."""
    path = tmp_path / 'plain.pth'
    torch.save(dict(params=MSRBVSR(num_feat=8, num_block=(1, 1, 1)).state_dict()), path)
    opt = read_options(REPO / 'options/tiny/net.yml')
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1)
    opt['network_g'].update(num_feat=8, num_block=[1, 1, 1], sr_feedback=True)
    opt['path'].update(pretrain_network_g=str(path), strict_load_g=False)
    opt['train']['ema_decay'] = 0.999
    model = RecurrentVSRModel(opt)
    for (name, mine), mean in zip(model.net_g.named_parameters(), model.net_g_ema.parameters()):
        assert torch.equal(mine, mean), name


@pytest.mark.parametrize('limit', [None, 0.01])
def test_grad_clip_reaches_both_optimizers(limit):
    model, seen = model_of('gan', **({'grad_clip': limit} if limit else {})), []
    for optimizer, net in ((model.optimizer_g, model.net_g), (model.optimizer_d, model.net_d)):
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, 100)
        optimizer.step()
        seen.append(torch.stack([p.grad.norm() for p in net.parameters()]).norm().item())
    assert all(norm == pytest.approx(limit, rel=1e-3) if limit else norm > 100 for norm in seen)


def test_a_resumed_run_takes_the_learning_rate_of_its_options():
    """The advice that comes with a stop: lower it, and go on with --auto_resume."""
    first = model_of('net')
    state = dict(
        epoch=0,
        iter=5,
        optimizers=[first.optimizer_g.state_dict()],
        schedulers=[first.schedulers[0].state_dict()],
    )
    for lr in (1e-3, 2e-4):
        second = model_of('net', optim_g=dict(type='Adam', lr=lr, betas=[0.9, 0.99]))
        second.resume_training(copy.deepcopy(state))
        second.update_learning_rate(6)
        assert second.get_current_learning_rate() == [pytest.approx(lr)]
        second.schedulers[0].milestones = {2: 1}
        second.update_learning_rate(7)
        assert second.get_current_learning_rate() == [pytest.approx(lr * 0.5)]


def test_a_resumed_run_draws_the_same_noise(tmp_path):
    """That of a degradation model, also where no seed was said: BasicSR draws another one for each start."""

    def start(seed):
        opt = read_options(REPO / 'options/tiny/backbones/pdm_degradation.yml')
        opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1, manual_seed=seed)
        opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
        return PDMModel(opt)

    def train(model, iterations):
        for i in iterations:
            model.feed_data(dict(gt=clean, lq=real))
            model.optimize_parameters(i)
        return model.net_g.last_noise

    clean, real = torch.rand(2, 3, 128, 128), torch.rand(2, 3, 32, 32)
    first, again = start(1), start(2)
    train(first, [1, 2])
    first.save(0, 2)
    for name in ('g', 'd'):
        saved = torch.load(tmp_path / f'net_{name}_2.pth', weights_only=True)
        getattr(again, f'net_{name}').load_state_dict(saved['params'])
    again.resume_training(torch.load(tmp_path / '2.state', weights_only=True))
    assert torch.equal(train(first, [3, 4]), train(again, [3, 4]))
    for mine, other in zip(first.net_g.parameters(), again.net_g.parameters()):
        assert torch.equal(mine, other)
    assert not torch.equal(train(first, [5]), train(again, [6]))


def test_signs_of_a_collapse_are_not_saved(tmp_path, monkeypatch):
    model, saved = model_of('gan', guard=dict(window=10)), []
    monkeypatch.setattr(SRGANModel, 'save', lambda self, epoch, iteration: saved.append(iteration))
    for _ in range(11):
        model.guard.update(dict(l_d_real=0.2, l_d_fake=0.2, l_g_pix=0.05))
    model.save(0, 11)
    for _ in range(3):
        model.guard.update(dict(l_d_real=0.2, l_d_fake=0.2, l_g_pix=0.5))
    model.save(0, 14)
    model.save(0, -1)  # the end of the training
    assert saved == [11, -1]


@pytest.mark.parametrize('sr_feedback', [False, True])
def test_checkpointing_gives_the_same_gradients(sr_feedback, device):
    torch.manual_seed(0)
    plain, saving = (
        MSRBVSR(num_feat=8, num_block=(2, 1, 1), sr_feedback=sr_feedback, checkpointing=c).to(device)
        for c in (False, True)
    )
    saving.load_state_dict(plain.state_dict())
    clip, kept = torch.rand(1, 4, 3, 9, 12, device=device), []
    for net in (plain, saving):
        held = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, held=held: held.append(t.numel()) or t, lambda t: t
        ):
            loss = net(clip).square().mean()
        kept.append(sum(held))
        loss.backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters()):
        assert torch.allclose(a.grad, b.grad, atol=1e-6), name
    assert kept[1] < 0.3 * kept[0]  # what it is for
    with torch.no_grad():
        assert torch.equal(plain(clip), saving(clip))
