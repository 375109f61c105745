"""Every YAML file of options/ says something that exists."""

import re

import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from conftest import REPO, run_python
from paper_values import FULL, LBO, OPERATORS, PER_GPU, SCALE, SR1, SR2, STAGE, TOP, VALUES, K

import animevsr  # noqa: F401
from animevsr.archs.pdm_arch import ProbabilisticDegradation
from animevsr.degradations import DegradationPipeline
from animevsr.utils.options import MODELS, check_keys, check_run
from animevsr.utils.overlays import read_options

FILES = sorted((REPO / 'options').rglob('*.yml'))


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(REPO)))
def test_builds(path, tmp_path):
    # what an earlier step would have trained
    text = yaml.safe_dump(read_options(path), default_flow_style=True, width=10**6)
    text = re.sub(r'experiments/[^,}\s]*lbo[^,}\s]*/net_g_latest.pth', 'lbo_disc', text)
    text = re.sub(r'weights: experiments/vqgan_full/[^,}\s]+', 'weights: vqgan_animation', text)
    torch.save(dict(params=ProbabilisticDegradation(num_feat=8).state_dict()), tmp_path / 'pdm.pth')
    text = re.sub(
        r'weights: experiments/[^,}\s]*pdm_degradation/[^,}\s]+', f'weights: {tmp_path}/pdm.pth', text
    )
    text = re.sub(r'spynet_path: experiments[^,}\s]+', 'spynet_path: null', text)  # a download
    opt = yaml.safe_load(text)
    assert opt['model_type'] in MODEL_REGISTRY
    with torch.device('meta'):
        assert sum(p.numel() for p in build_network(opt['network_g']).parameters()) > 0
    for dataset in opt['datasets'].values():
        assert dataset['type'] in DATASET_REGISTRY
        if 'degradation' in dataset:
            DegradationPipeline(dataset['degradation'])
        # an unknown key would be the first complaint; here it is the data that is missing
        roots = {root: 'not here' for root in ('dataroot_lq', 'dataroot_gt') if root in dataset}
        with pytest.raises(ValueError, match='not here: no such folder'):
            DATASET_REGISTRY.get(dataset['type'])({**dataset, 'scale': opt['scale'], **roots})
    for metric in opt['val'].get('metrics', {}).values():
        assert metric['type'] in METRIC_REGISTRY
    if 'train' in opt:
        if opt['model_type'] != 'PDMModel':  # which has no ground truth
            build_loss(opt['train']['pixel_opt'])
        check_keys(opt['train'], MODEL_REGISTRY.get(opt['model_type']).TRAIN_KEYS, 'train')
    if opt.get('train', {}).get('gan_opt'):
        build_loss(opt['train']['gan_opt'])
        build_network(opt['network_d'])


def options_of(file):
    return read_options(REPO / 'options' / file)


@pytest.mark.parametrize('files, key, value, where', VALUES, ids=[f'{v[1]}={v[2]}' for v in VALUES])
def test_the_papers_values(files, key, value, where):
    for file in files:
        found = options_of(file)
        for part in key.split(':'):
            found = found[part]
        found = found * 4 if key.endswith(PER_GPU) else found
        assert found == (pytest.approx(value) if isinstance(value, float) else value), (
            f'{file}: {key} ({where})'
        )


@pytest.mark.parametrize(
    'file',
    [
        'vqd_sr/net.yml',
        'vqd_sr/gan.yml',
        'animesr/step1_net.yml',
        'animesr/step1_gan.yml',
        'animesr/step3_gan.yml',
    ],
)
def test_the_papers_operators(file):
    """Spelt out in the training, by default in the validation: the same."""
    opt = options_of(file)
    basic = [entry for entry in opt['datasets']['train']['degradation'] if 'vq' not in entry]
    expected = [
        LBO if file == 'animesr/step3_gan.yml' and name == 'down' else (name, *rest)
        for name, *rest in OPERATORS
    ]
    for config, operators in ((basic, expected), (opt['datasets']['val']['degradation'], OPERATORS)):
        pipeline = DegradationPipeline(config)
        assert list(pipeline.names) == [name for name, _, _ in operators]
        for operator, (_, arguments, where) in zip(pipeline.operators, operators):
            assert {key: vars(operator)[key] for key in arguments} == arguments, where


def test_what_the_stages_are_made_of():
    top, full, single_stage, single_scale, net, gan = (
        options_of(file) for file in (TOP, FULL, STAGE, SCALE, SR1, SR2)
    )
    assert sum(p.numel() for p in build_network(net['network_g']).parameters()) == 1_467_728
    assert list(top['network_g']['branches']) == ['top'] and 'gan_opt' not in top['train']
    with torch.device('meta'):
        assert sum(p.numel() for p in build_network(full['network_g']).parameters()) == 121_208_451
    assert 'vqgan_top' in full['path']['pretrain_network_g'] and full['path']['strict_load_g'] is False
    # the ablations differ in what they are about
    assert (
        single_stage['network_g'] == full['network_g'] and single_stage['path']['pretrain_network_g'] is None
    )
    assert (
        list(single_scale['network_g']['branches']) == ['top']
        and single_scale['path']['pretrain_network_g'] is None
    )
    for ablation in (single_stage, single_scale):
        assert {k: v for k, v in full['train'].items() if k != 'lr_factors'} == ablation[
            'train'
        ] and 'lr_factors' not in ablation['train']
    # the second stage goes on from the first one, with the learned degradation between resizes and codec (V
    # 139)
    assert gan['network_g'] == net['network_g'] and gan['path']['pretrain_network_g'].endswith(
        'vqd_sr_net/models/net_g_300000.pth'
    )
    assert 'gt_usm' not in gan['train']
    basic = net['datasets']['train']['degradation']
    vq = {'vq': dict(weights='experiments/vqgan_full/models/net_g_latest.pth', k=K)}
    assert gan['datasets']['train']['degradation'] == [*basic[:-1], vq, basic[-1]]
    # the choice of K changes k alone
    for k in (1, 10, 50, 100):
        other = options_of(f'vqgan/ablation/k_{k}.yml')
        found = other['datasets']['train'].pop('degradation')
        assert found == [*basic[:-1], {'vq': dict(vq['vq'], k=[1, k])}, basic[-1]]
        assert {key: value for key, value in other.items() if key not in ('name', 'datasets')} == {
            key: value for key, value in gan.items() if key not in ('name', 'datasets')
        }


def test_what_a_file_starts_from_is_what_another_one_makes():
    """Weights below experiments/ are the result of a YAML here, or one of the released files that
    docs/released_weights.md lists.
    """
    made = {read_options(path)['name'] for path in FILES}
    listed = (REPO / 'docs/released_weights.md').read_text()
    for path in FILES:
        for folder, rest in re.findall(
            r'experiments/([^/\s,}\']+)/([^\s,}\']+\.pth)', yaml.safe_dump(read_options(path), width=10**6)
        ):
            if folder == 'pretrained_models':
                assert rest in listed, f'{path}: {rest}'
            else:
                assert folder in made, f'{path}: nothing trains {folder}'


def test_other_projects_read_what_they_like():
    """Only what models of this package read is known here."""
    options = dict(name='x', model_type='GFPGANModel', num_gpu=0, datasets={}, logger={}, train={})
    options['path'] = dict(pretrain_network_d_left_eye=None, strict_load_hq=True)
    check_run({**options, 'network_hq': {}}, 'x.yml', training=True)
    with pytest.raises(ValueError, match="x.yml: 'train: total_iter' is missing"):
        check_run({**options, 'model_type': 'RecurrentVSRModel'}, 'x.yml', training=True)
    with pytest.raises(ValueError, match="x.yml: 'logger' is missing"):
        check_run({key: options[key] for key in options if key != 'logger'}, 'x.yml', training=True)


def test_models_whose_options_are_known_are_all_of_ours():
    assert set(MODELS) == {name for name, kind in MODEL_REGISTRY if kind.__module__.startswith('animevsr.')}


def test_a_file_that_is_no_run_is_one_line_and_moves_nothing(tmp_path):
    (tmp_path / 'experiments/run').mkdir(parents=True)
    for text, said in (
        ('name: run\nval: [1\nb: }\n', 'run.yml, line 3: not YAML'),
        ('name: run\nmodel_type: x\nnum_gpu: 0\ndatasets: {}\npath: {}\n', "run.yml: 'train' is missing"),
    ):
        (tmp_path / 'run.yml').write_text(text)
        done = run_python('-m', 'animevsr.train', '-opt', 'run.yml', cwd=tmp_path, check=False)
        assert done.returncode == 1 and said in done.stderr.strip().splitlines()[-1], done.stderr
    assert [path.name for path in (tmp_path / 'experiments').iterdir()] == ['run']
