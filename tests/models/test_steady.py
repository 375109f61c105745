"""What trains the default model beyond the papers: steadiness, the teacher, edges, bfloat16."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import REPO, moving_frames

from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.losses.pixel_loss import EdgeCharbonnierLoss
from animevsr.losses.steady import SteadyLoss
from animevsr.models.burn_in import BurnIn
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.models.teacher import Teacher
from animevsr.models.vqgan_model import VQGANModel
from animevsr.utils.matlab_resize import matlab_resize
from animevsr.utils.overlays import read_options
from animevsr.utils.windows import triples


def test_steadiness_counts_where_the_truth_is_held(device):
    truth = torch.rand(1, 3, 3, 4, 6, device=device)
    truth[:, 1, :, :, :3] = truth[:, 0, :, :, :3]  # the left half is held from the first frame to the second
    pred = torch.rand_like(truth)
    loss = SteadyLoss(lambda a, b: (a - b).abs().mean(), weight=2.0)
    loss.watch(truth)
    expected = (pred - truth).abs().mean() + 2 * (pred[:, 1, :, :, :3] - pred[:, 0, :, :, :3]).abs().mean()
    assert loss(pred, truth).item() == pytest.approx(expected.item(), rel=1e-5)
    loss.watch(torch.rand_like(truth))  # nothing is held
    assert loss(pred, truth).item() == pytest.approx((pred - truth).abs().mean().item(), rel=1e-5)


def test_a_change_counts_more_the_longer_a_drawing_is_held():
    truth = torch.rand(1, 1, 3, 4, 6).repeat(1, 5, 1, 1, 1)
    truth[:, 3:] = torch.rand(3, 4, 6)  # two drawings, of three and two frames
    pred = torch.rand_like(truth)
    loss = SteadyLoss(lambda a, b: (a - b).abs().mean(), weight=2.0, ramp=4)
    loss.watch(truth)
    change = (pred[:, 1:] - pred[:, :-1]).abs().mean((0, 2, 3, 4))
    expected = 2 * (change[0] / 4 + change[1] / 2 + change[3] / 4) / 3
    assert (loss(pred, truth) - (pred - truth).abs().mean()).item() == pytest.approx(
        expected.item(), rel=1e-5
    )
    with pytest.raises(ValueError, match='steady_ramp'):
        SteadyLoss(loss.pixel, 1.0, ramp=0)


def test_a_teacher_wins_where_it_is_near_the_truth(tiny_weights):
    teacher = Teacher(tiny_weights, share=0.5, tolerance=12)
    gt = torch.from_numpy(moving_frames(2, 48, 64)).permute(0, 3, 1, 2)[None] / 255
    near, far = gt + 2 / 255, gt + 60 / 255
    for lines, share in ((near, 0.5 * math.exp(-((2 / 12) ** 2))), (far, 0.5 * math.exp(-25))):
        seen = []
        teacher.net = lambda small, lines=lines, seen=seen: seen.append(small) or lines
        teacher.net.scale = 4
        inside = (lines <= 1).all(2, keepdim=True)
        damaged = torch.rand(1, 2, 3, 12, 16)
        target = teacher.target(gt, damaged)
        assert torch.equal(seen[0], matlab_resize(gt, 12, 16).clamp(0, 1))  # the undamaged frames
        teacher.sees = 'degraded'
        assert torch.equal(teacher.target(gt, damaged), target) and seen[1] is damaged
        teacher.sees = 'clean'
        moved = ((target - gt) / (lines.clamp(0, 1) - gt).clamp_min(1e-6))[inside.expand_as(gt)]
        # near white, where the lines are clamped, the departure of the neighbourhood is smaller
        assert (
            moved.median().item() == pytest.approx(share, abs=0.02)
            and moved.min() >= -1e-4
            and moved.max() <= 0.5 + 1e-3
        )
    with pytest.raises(ValueError, match=r'share must be in \[0, 1\]'):
        Teacher(tiny_weights, share=2)
    with pytest.raises(ValueError, match="sees must be 'clean' or 'degraded'"):
        Teacher(tiny_weights, sees='both')


def test_edges_count_more(device):
    target = torch.zeros(1, 1, 3, 8, 8, device=device)
    target[..., 4:] = 1
    flat, edge = target.clone(), target.clone()
    flat[..., 3, 1] += 0.1
    edge[..., 3, 3] += 0.1  # beside the step
    loss = EdgeCharbonnierLoss(edge_weight=2.0, eps=1e-3)
    rest = loss(target, target).item()
    assert (loss(edge, target).item() - rest) == pytest.approx(
        3 * (loss(flat, target).item() - rest), rel=1e-3
    )
    assert loss(flat, target).item() - rest == pytest.approx((math.hypot(0.1, 1e-3) - 1e-3) / 64, rel=1e-3)


def tiny_model(**train):
    opt = read_options(REPO / 'options/tiny/net.yml')
    opt.update(
        num_gpu=0,
        dist=False,
        is_train=True,
        rank=0,
        world_size=1,
        network_g=dict(type='MSRBVSR', num_feat=8, num_block=[1, 1, 1]),
    )
    opt['train'].update(dict(gt_usm=None, optim_g=dict(type='Adam', lr=2e-3), warmup_iter=-1), **train)
    torch.manual_seed(0)
    return RecurrentVSRModel(opt)


def test_all_of_it_trains(tiny_weights):
    """In bfloat16, with parameters and their averages in float32; the loss falls, and about as it does in
    float32.
    """
    # held for two
    gt = torch.from_numpy(np.repeat(moving_frames(2, 32, 32), 2, 0)).permute(0, 3, 1, 2)[None] / 255
    lq, last = matlab_resize(gt, 8, 8).clamp(0, 1), {}
    for amp in ('bf16', None):
        model = tiny_model(
            amp=amp,
            burn_in=[0, 1],
            steady_weight=0.5,
            teacher_opt=dict(weights=str(tiny_weights)),
            pixel_opt=dict(type='EdgeCharbonnierLoss'),
        )
        seen = []
        model.net_g.recurrent_cell.fusion[-1].register_forward_hook(
            lambda m, i, o, seen=seen: seen.append(o.dtype)
        )
        losses = []
        for i in range(30):
            model.feed_data(dict(lq=lq, gt=gt))
            model.optimize_parameters(i + 1)
            losses.append(model.get_current_log()['l_pix'])
        assert set(seen) == {torch.bfloat16 if amp else torch.float32} and model.output.dtype == torch.float32
        assert (
            all(p.dtype == torch.float32 for p in model.net_g.parameters()) and losses[-1] < 0.85 * losses[0]
        )
        last[amp] = losses[-1]
    assert last['bf16'] == pytest.approx(last[None], rel=0.1)
    with pytest.raises(ValueError, match="amp must be 'bf16'"):
        tiny_model(amp='fp16')


def test_training_begins_with_an_old_state():
    """There and back without gradients, then the pass that is trained: one long shot."""
    clip = torch.from_numpy(moving_frames(3, 8, 8)).permute(0, 3, 1, 2)[None] / 255
    model = tiny_model(burn_in=[2])
    shot = clip[:, [0, 1, 2, 2, 1, 0, 0, 1, 2]]
    net, state, expected = model.net_g, None, []
    for part in shot.split(3, 1):
        expected.clear()
        for prev, cur, nxt in triples(part.unbind(1)):
            sr, state = net.step(prev, cur, nxt, state)
            expected.append(sr)
    result = net(clip)
    assert torch.equal(result, torch.stack(expected, 1)) and result.requires_grad
    fresh = net.eval()(clip)  # validation begins as ever
    assert not torch.allclose(fresh[:, 0], result[:, 0]) and torch.equal(fresh, net.train()(clip, None))
    model.net_g.recurrent_cell.fusion[-1].weight.grad = None
    model.feed_data(dict(lq=clip, gt=torch.rand(1, 3, 3, 32, 32)))
    before = model.net_g.recurrent_cell.conv_s1_first[0].weight.clone()
    model.optimize_parameters(1)
    assert not torch.equal(before, model.net_g.recurrent_cell.conv_s1_first[0].weight)
    mixed, same = tiny_model(burn_in=[0, 2]), []
    for mixed.burn_in.seed in map(str, range(20)):  # the choice depends on the iteration alone
        results = [mixed.net_g(clip) for _ in range(2)]
        assert torch.equal(*results)
        same.append(torch.equal(results[0], mixed.net_g(clip, None)))
    assert 4 < sum(same) < 16
    with pytest.raises(ValueError, match=r'burn_in must be a list of numbers of passes >= 0, e.g. \[0, 2\]'):
        tiny_model(burn_in=2)
    with pytest.raises(ValueError, match='a Linear cannot begin with a state'):
        BurnIn(torch.nn.Linear(2, 2), [2])


def test_a_vqgan_is_trained_in_float32():
    opt = read_options(REPO / 'options/tiny/vqgan_top.yml')
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1)
    opt['train']['amp'] = 'bf16'
    with pytest.raises(ValueError, match='amp: a VQGAN is trained in float32'):
        VQGANModel(opt)


def test_the_start_of_the_default_model_is_its_parent_without_feedback(monkeypatch):
    """The columns that are left out are those of the last result: with zeros there, the parent gives the
    same.
    """
    monkeypatch.syspath_prepend(REPO / 'recipes/open_animation')
    from start import without_feedback

    torch.manual_seed(0)
    parent = MSRBVSR(8, (2, 1, 1), sr_feedback=True, fusion_factor=1).eval()
    child = without_feedback(copy.deepcopy(parent)).eval()
    assert not child.sr_feedback
    parent.recurrent_cell.conv_s1_first[0].weight.data[:, 9 : 9 + 48] = 0
    clip = torch.rand(1, 3, 3, 16, 20)
    with torch.no_grad():
        assert torch.allclose(parent(clip), child(clip), atol=1e-6)


def test_a_wider_network_starts_where_the_narrow_one_ended(monkeypatch):
    """`recipes/open_animation/widen.py`: the same results, and what leads from the new channels to the old
    ones can learn.
    """
    monkeypatch.syspath_prepend(REPO / 'recipes/open_animation')
    from widen import widen

    torch.manual_seed(0)
    narrow = MSRBVSR(num_feat=8, num_block=(2, 1, 1), fusion_factor=1)
    wide, clip = widen(narrow, 12), torch.rand(1, 3, 3, 16, 20)
    assert wide.num_feat == 12
    assert (wide(clip) - narrow(clip)).abs().max() < 1e-6
    wide(clip).square().mean().backward()
    grown = wide.recurrent_cell.body_s1_first[0].conv1.weight.grad[:8, 8:]
    assert grown.abs().max() > 0
    with pytest.raises(ValueError, match='at most 4 channels'):
        widen(narrow, 4)
