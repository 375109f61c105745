"""Learnable basic operators: the network against the published one, the pairs it learns from, and its place
in a degradation.
"""

import json
import pickle
import re
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.data import build_dataset
from conftest import REPO, golden, moving_frames, run_python, write_clip
from torch.nn import functional as F

import animevsr
from animevsr.archs.lbo_arch import LearnableBasicOperator
from animevsr.data.sampling import Draw
from animevsr.degradations import DegradationPipeline
from animevsr.errors import CheckpointError, MediaError
from animevsr.losses.pixel_loss import L1L2Loss
from animevsr.models.lbo_model import LBOModel
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.utils.overlays import read_options
from animevsr.utils.tensors import to_tensor
from animevsr.video.clips import list_clips, load_clip

DRAWS = 4000


def test_matches_the_published_network(device):
    arguments, state, x, expected = golden('lbo')
    net = LearnableBasicOperator(**arguments).to(device).eval()
    net.load_state_dict(state)
    assert sum(p.numel() for p in net.parameters()) == 45_635
    with torch.no_grad():
        out = net(x.to(device)).cpu()
    assert (out - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    'arguments', [dict(), dict(num_feat=8), dict(downscale=4, num_feat=8), dict(num_in_ch=1, num_out_ch=1)]
)
def test_arguments_are_read_off_a_file(arguments, tmp_path):
    net = LearnableBasicOperator(**arguments)
    torch.save({'params': net.state_dict()}, tmp_path / 'w.pth')
    x = torch.rand(2, arguments.get('num_in_ch', 3), 8, 12)
    with torch.no_grad():
        assert torch.equal(animevsr.load_network(tmp_path / 'w.pth')(x), net(x))


def test_any_size_is_halved_and_rounded_up(device):
    net = LearnableBasicOperator(num_feat=8).to(device)
    x = torch.rand(1, 3, 9, 13, device=device)
    with torch.no_grad():
        assert net(x).shape == (1, 3, 5, 7)
        assert torch.equal(net(x), net(F.pad(x, (0, 1, 0, 1), mode='replicate')))


def test_l1_and_l2():
    x, y = torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.0])
    assert L1L2Loss()(x, y).item() == pytest.approx(0.75 + 0.625)
    assert L1L2Loss(l1_weight=2, l2_weight=0)(x, y).item() == pytest.approx(1.5)


# --- in a degradation


@pytest.fixture
def pool(tmp_path):
    """Three small operators: their files."""
    torch.manual_seed(0)
    files = [str(tmp_path / f'{name}.pth') for name in 'abc']
    for file in files:
        torch.save({'params': LearnableBasicOperator(num_feat=8).state_dict()}, file)
    return files


def draws(config):
    """Params of the two `down_or_lbo` of many clips."""
    pipeline, rng = DegradationPipeline(['noise', config, config, 'codec']), np.random.default_rng(0)
    return [pipeline.sample(rng, 5)[1:3] for _ in range(DRAWS)]


def near(share, expected):
    """Whether a share of DRAWS is within four standard deviations of its probability."""
    return abs(share - expected) < 4 * (expected * (1 - expected) / DRAWS) ** 0.5


def test_the_supplements_statistics(pool):
    """Sec. 3: each LBO with probability 0.5, a pool of 3 chosen from at random, both uses share one
    weight.
    """
    drawn = draws({'down_or_lbo': {'pool': pool}})
    both = Counter((first['lbo'], second['lbo']) for first, second in drawn)
    assert len(both) == 4 and all(near(count / DRAWS, 0.25) for count in both.values())
    weights = Counter(first['weights'] for first, _ in drawn)
    assert sorted(weights) == pool and all(near(count / DRAWS, 1 / 3) for count in weights.values())
    assert all(first['weights'] == second['weights'] for first, second in drawn)
    modes = Counter(p['mode'] for clip in drawn for p in clip)
    assert sorted(modes) == ['area', 'bicubic', 'bilinear'] and all(
        near(count / DRAWS / 2, 1 / 3) for count in modes.values()
    )


def test_weights_are_shared_across_a_choice_and_within_a_shuffle(pool):
    lbo = {'down_or_lbo': {'pool': pool}}
    parts = [{'prob': 0.5, 'degradation': ['blur', lbo]}, {'prob': 0.5, 'degradation': [lbo]}]
    pipeline, rng = (
        DegradationPipeline([{'choice': parts}, {'shuffle': [lbo, [lbo]]}]),
        np.random.default_rng(0),
    )
    for _ in range(30):
        chosen, shuffled = pipeline.sample(rng, 2)
        used = [chosen['params'][-1], *(part[0] for part in shuffled['params'])]
        assert len({p['weights'] for p in used}) == 1


def test_weights_may_differ_and_the_probability_may(pool):
    drawn = draws({'down_or_lbo': {'pool': pool, 'share': False, 'prob': 0.2}})
    assert near(sum(first['weights'] == second['weights'] for first, second in drawn) / DRAWS, 1 / 3)
    assert near(sum(first['lbo'] for first, _ in drawn) / DRAWS, 0.2)
    drawn = draws({'down_or_lbo': {'pool': pool[:1], 'prob': 1}})
    assert all(p['lbo'] and p['weights'] == pool[0] for clip in drawn for p in clip)


def test_the_operator_replaces_the_downscaling(pool, device):
    pipeline = DegradationPipeline([{'down_or_lbo': {'pool': pool}}])
    clip = torch.rand(3, 3, 17, 26, device=device)
    net = animevsr.load_network(pool[1], device)
    out = pipeline.apply(clip, [dict(op='down_or_lbo', lbo=True, weights=pool[1], factor=2, mode='area')])
    with torch.no_grad():
        assert torch.allclose(out, net(clip).clamp(0, 1), atol=1e-6)
    assert out.device == clip.device and not out.requires_grad
    down = pipeline.apply(clip, [dict(op='down_or_lbo', lbo=False, weights=pool[1], factor=2, mode='area')])
    assert torch.equal(
        down, DegradationPipeline([{'down': 2}]).apply(clip, [dict(op='down', factor=2, mode='area')])
    )
    sent = pickle.loads(pickle.dumps(pipeline)).apply(
        clip, [dict(op='down_or_lbo', lbo=True, weights=pool[1], factor=2, mode='area')]
    )
    assert torch.equal(sent, out)


def test_a_pool_that_does_not_fit_is_refused(pool, tiny_weights, tmp_path):
    for arguments, message in (
        (dict(pool=[]), 'one or more'),
        (dict(pool=[pool[0], pool[0]]), 'each once'),
        (dict(pool=pool, prob=2), 'prob'),
        (dict(pools=pool), "did you mean 'pool'"),
        (dict(pool=5), 'a list of'),
        (dict(pool=['lbo_tape', 'weights/lbo_tape.pth']), 'each once'),
        (dict(pool=pool, modes=[]), 'modes must name at least one'),
        (dict(pool=pool, factor=4), 'divides the size by 2, but factor is 4'),
        (dict(pool=[str(tiny_weights)]), 'holds a MSRBVSR, but degradation needs a LearnableBasicOperator'),
        (dict(pool=[str(tmp_path / 'gone.pth')]), 'no such weights file'),
    ):
        with pytest.raises(ValueError, match=message):
            DegradationPipeline([{'down_or_lbo': arguments}])


def test_bundled_operators_are_nearer_to_their_damage_than_bicubic(monkeypatch):
    """Than both kinds of bicubic downscaling, on held-out clips; `python benchmarks/lbo.py` measures all of
    them.
    """
    monkeypatch.syspath_prepend(REPO / 'recipes/open_animation')
    from lbo_sets import degrade, read_sets

    operator = DegradationPipeline([{'down_or_lbo': 2}]).operators[0]
    assert list(operator.pool) == ['lbo_tape', 'lbo_disc', 'lbo_web']
    clips = [to_tensor(load_clip(path, range(2))) for path in list_clips(REPO / 'assets/heldout')[1:4]]
    for name, config in read_sets().items():
        assert (REPO / f'weights/lbo_{name}.pth').stat().st_size < 500_000
        errors = np.zeros(3)
        for clip in clips:
            results = [
                operator.apply(clip, dict(lbo=True, weights=f'lbo_{name}', factor=2, mode='area')),
                *(
                    F.interpolate(clip, scale_factor=0.5, mode='bicubic', antialias=a).clamp(0, 1)
                    for a in (True, False)
                ),
            ]
            target = degrade(clip, config)
            errors += [F.mse_loss(result, target).item() for result in results]
        assert errors[0] < 0.8 * min(errors[1:]), name  # by 1 dB


@pytest.mark.parametrize('place', ['loader', 'device'])
def test_degrades_in_the_loader_and_on_the_device(place, pool):
    """The same draws and pixels in both places."""
    from conftest import TINY_CLIPS

    from animevsr.degradations import BatchDegrader

    config = ['noise', {'down_or_lbo': {'pool': pool}}, {'down_or_lbo': {'pool': pool}}, {'codec': 'h264'}]
    opt = dict(
        name='t',
        type='DegradedClipDataset',
        dataroot_gt=str(TINY_CLIPS),
        num_frame=2,
        gt_size=64,
        scale=4,
        phase='train',
    )
    loaded = [build_dataset(dict(opt, degradation=config))[Draw(0, i)] for i in range(8)]
    uses = [[p['lbo'] for p in json.loads(sample['params']) if p['op'] == 'down_or_lbo'] for sample in loaded]
    assert {True, False} == set(sum(uses, [])) and all(s['lq'].shape == (2, 3, 16, 16) for s in loaded)
    if place == 'device':
        samples = [
            build_dataset(dict(opt, degradation=config, degrade_on='device'))[Draw(0, i)] for i in range(8)
        ]
        model = RecurrentVSRModel.__new__(RecurrentVSRModel)
        model.opt, model.usm, model.degrader = (
            dict(scale=4),
            None,
            BatchDegrader(config, torch.device('cpu'), threads=2),
        )
        model.feed_data(
            dict(gt=torch.stack([s['gt'] for s in samples]), params=[s['params'] for s in samples])
        )
        lq = model.lq
    else:  # as a loader's workers do
        lq = torch.cat(
            [
                b['lq']
                for b in torch.utils.data.DataLoader(
                    build_dataset(dict(opt, degradation=config)),
                    sampler=[Draw(0, i) for i in range(8)],
                    batch_size=4,
                    num_workers=2,
                )
            ]
        )
    assert torch.equal(lq, torch.stack([s['lq'] for s in loaded]))


# --- pairs


@pytest.fixture
def pairs(tmp_path):
    """Three pairs of which the smaller one is the larger one shrunk by area."""
    gt = moving_frames(3, 40, 56)
    lq = np.stack([cv2.resize(f, (28, 20), interpolation=cv2.INTER_AREA) for f in gt])
    write_clip(tmp_path / 'gt', gt)
    write_clip(tmp_path / 'lq', lq, suffix='.bmp')
    return dict(
        name='pairs',
        type='PairedFrameDataset',
        dataroot_gt=str(tmp_path / 'gt'),
        dataroot_lq=str(tmp_path / 'lq'),
        gt_size=24,
    )


def test_pairs_stay_pairs(pairs):
    dataset = build_dataset(dict(pairs, phase='train'))
    seen = set()
    for i in range(40):
        sample = dataset[Draw(i % 3, i)]
        assert sample['gt'].shape == (3, 24, 24) and sample['lq'].shape == (3, 12, 12)
        # the same crop, flips and turn: shrinking one gives the other, up to rounding
        assert (F.avg_pool2d(sample['gt'], 2) - sample['lq']).abs().max() <= 0.51 / 255 + 1e-6
        seen.add(sample['lq'].numpy().tobytes())
    assert len(seen) == 40
    assert torch.equal(dataset[Draw(1, 7)]['gt'], dataset[Draw(1, 7)]['gt'])
    whole = build_dataset(dict(pairs, phase='val', max_frames=2))
    assert len(whole) == 2 and whole[0]['gt'].shape == (3, 40, 56) and whole[0]['lq_path'] == '00000000.png'
    straight = build_dataset(dict(pairs, phase='train', use_hflip=False, use_rot=False))
    frame = to_tensor(moving_frames(1, 40, 56))[0]
    windows = frame.unfold(1, 24, 2).unfold(2, 24, 2).flatten(1, 2).transpose(0, 1)
    # cut out, and no more
    assert all((windows == straight[Draw(0, i)]['gt']).flatten(1).all(1).any() for i in range(10))


def test_pairs_of_several_folders_keep_their_names_apart(pairs, tmp_path):
    """BasicSR saves what it validates under the last part of the path."""
    for side, size in (('gt', (8, 12)), ('lq', (4, 6))):
        for folder in 'ab':
            write_clip(tmp_path / 'two' / side / folder, moving_frames(1, *size))
    dataset = build_dataset(
        dict(
            pairs, phase='val', **{f'dataroot_{side}': str(tmp_path / 'two' / side) for side in ('gt', 'lq')}
        )
    )
    assert [sample['lq_path'] for sample in dataset] == ['a_00000000.png', 'b_00000000.png']


def test_pairs_that_do_not_match_are_refused(pairs, tmp_path):
    def refused(message, **changes):
        with pytest.raises(ValueError, match=message) as caught:
            build_dataset(dict(pairs, phase='train', **changes))
        assert len(str(caught.value).splitlines()) == 1

    refused("unknown key 'gtsize'", gtsize=3)
    refused('multiple of scale', gt_size=25)
    refused('multiple of scale', gt_size=0)
    refused('max_frames must be at least 1', max_frames=-1)
    refused('smaller than the crop of 48', gt_size=48)
    refused('dataroot_lq: .*gone: no such folder', dataroot_lq=str(tmp_path / 'gone'))
    (tmp_path / 'empty').mkdir()
    refused('holds no images', dataroot_lq=str(tmp_path / 'empty'))
    extra = moving_frames(1, 20, 28)
    write_clip(tmp_path / 'lq/more', extra)
    refused(r'00000000.png: has no partner .*\(3 frames in dataroot_gt, 4 in dataroot_lq\)')
    (tmp_path / 'lq/more/00000000.png').rename(tmp_path / 'lq/00000001.png')
    refused('has the same name')
    (tmp_path / 'lq/00000001.png').unlink()
    cv2.imwrite(str(tmp_path / 'lq/00000001.bmp'), extra[0][:18])
    with pytest.raises(MediaError, match='is 28x18, but .* is 56x40, not 2 times as large'):
        build_dataset(dict(pairs, phase='train'))


def test_the_model_exchanges_the_sides():
    model = LBOModel.__new__(LBOModel)
    model.device = torch.device('cpu')
    model.feed_data(dict(gt=torch.ones(1, 3, 4, 4), lq=torch.zeros(1, 3, 2, 2)))
    assert model.lq.shape == (1, 3, 4, 4) and model.gt.shape == (1, 3, 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize('step', ['net', 'gan'])
def test_resumed_run_continues_exactly(step, tmp_path):
    """Also the adversarial one, with its discriminator; and the validation maps the large frame to the small
    one.
    """
    opt = read_options(REPO / f'options/tiny/animesr/step2_lbo_{step}.yml')
    for side, size in (('gt', (56, 72)), ('lq', (28, 36))):
        write_clip(tmp_path / 'larger' / side, moving_frames(3, *size))
    for name, dataset in opt['datasets'].items():
        dataset.update(
            {f'dataroot_{side}': str(tmp_path / 'larger' / side) for side in ('gt', 'lq')},
            num_worker_per_gpu=0,
        )
        if name == 'train':
            dataset.update(gt_size=48, batch_size_per_gpu=2, dataset_enlarge_ratio=2)
    opt['network_g']['num_feat'] = 8
    opt['path']['pretrain_network_g'] = None
    opt['train'].update(total_iter=8)
    opt['val']['val_freq'] = 100
    opt['logger'].update(print_freq=1, save_checkpoint_freq=5, use_tb_logger=False)

    def train(name, iterations, *arguments):
        opt['name'], opt['train']['total_iter'] = name, iterations
        (tmp_path / 'o.yml').write_text(yaml.safe_dump(opt))
        return run_python(
            '-m', 'animevsr.train', '-opt', 'o.yml', *arguments, cwd=tmp_path, CUDA_VISIBLE_DEVICES=''
        ).stderr

    out = train('whole', 8)
    assert re.search(r'# psnr: \d', out)
    train('halves', 5)
    train('halves', 8, '--auto_resume')
    for file in ('net_g_latest.pth', *(['net_d_latest.pth'] if step == 'gan' else [])):
        nets = [
            torch.load(tmp_path / f'experiments/{name}/models/{file}', weights_only=True)['params']
            for name in ('whole', 'halves')
        ]
        assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0]), file
    assert cv2.imread(str(next((tmp_path / 'experiments/whole/visualization').rglob('*.png')))).shape == (
        28,
        36,
        3,
    )


def test_bad_weights_in_a_pool_are_one_line(pool, tmp_path):
    torch.save(
        {'params': {k: v for k, v in torch.load(pool[0])['params'].items() if 'bias' not in k}},
        tmp_path / 'cut.pth',
    )
    with pytest.raises(CheckpointError, match='cut.pth: weights of a network that is not known here'):
        DegradationPipeline([{'down_or_lbo': {'pool': [str(tmp_path / 'cut.pth')]}}])
