"""Every YAML file of options/ says something that exists."""
import re

import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.utils.options import ordered_yaml
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from conftest import REPO

import animevsr  # noqa: F401
from animevsr.archs.pdm_arch import ProbabilisticDegradation
from animevsr.degradations import DegradationPipeline
from animevsr.utils.options import check_keys

FILES = sorted((REPO / 'options').rglob('*.yml'))


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(REPO)))
def test_builds(path, tmp_path):
    # what an earlier step would have trained
    text = re.sub(r'experiments/\S*lbo\S*/net_g_latest.pth(?=,)', 'lbo_disc', path.read_text())
    text = re.sub(r'weights: experiments/vqgan_full/\S+?(?=,)', 'weights: vqgan_animation', text)
    torch.save(dict(params=ProbabilisticDegradation(num_feat=8).state_dict()), tmp_path / 'pdm.pth')
    text = re.sub(r'weights: experiments/\S*pdm_degradation/\S+?(?=})', f'weights: {tmp_path}/pdm.pth', text)
    text = re.sub(r'spynet_path: experiments\S+', 'spynet_path: ~', text)  # a download
    opt = yaml.load(text, Loader=ordered_yaml()[0])
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


def test_the_papers_values():
    """VQD-SR Sec. 3.4 and the supplement of AnimeSR, as they stand in DESIGN's table."""
    opt = yaml.load((REPO / 'options/vqd_sr/net.yml').read_text(), Loader=ordered_yaml()[0])
    data, train = opt['datasets']['train'], opt['train']
    assert (data['num_frame'], data['gt_size'], data['interval'], data['batch_size_per_gpu'] * 4) == (15, 256, [1, 2, 3], 16)
    assert (train['total_iter'], train['optim_g']['lr'], train['ema_decay']) == (300000, 1e-4, 0.999)
    assert train['gt_usm'] == dict(weight=0.3, radius=50) and train['pixel_opt']['type'] == 'L1Loss'
    spelt_out = DegradationPipeline(data['degradation'])
    by_default = DegradationPipeline(opt['datasets']['val']['degradation'])
    assert [vars(o) for o in spelt_out.operators] == [vars(o) for o in by_default.operators]
    assert sum(p.numel() for p in build_network(opt['network_g']).parameters()) == 1_467_728


def test_the_papers_values_of_the_vqgan():
    """VQD-SR Sec. 3.4: branches, codebook, crops, learning rates and batches of the two stages, what each loss needs, the ablations."""
    top, full, single_stage, single_scale = (yaml.load((REPO / f'options/vqgan/{name}.yml').read_text(), Loader=ordered_yaml()[0])
                                             for name in ('top', 'full', 'single_stage', 'single_scale'))
    for opt, batch in ((top, 32), (full, 24), (single_stage, 24), (single_scale, 24)):
        data, net = opt['datasets']['train'], opt['network_g']
        assert (data['crop_size'], data['batch_size_per_gpu'] * 4) == (256, batch)
        assert opt['train']['optim_g']['lr'] == pytest.approx(4.5e-6 * batch) and opt['train']['optim_g']['type'] == 'Adam'
        assert (net['n_embed'], net['embed_dim'], net['beta']) == (1024, 256, 0.25)
        assert opt['train']['perceptual_opt']['type'] == 'LPIPSLoss' and net['beta_on'] == 'codebook'
    assert list(top['network_g']['branches']) == ['top'] and 'gan_opt' not in top['train']
    with torch.device('meta'):
        assert sum(p.numel() for p in build_network(full['network_g']).parameters()) == 121_208_451
    train = full['train']
    assert train['lr_factors'] == {'top': 0.25} and (train['gan_start'], train['gan_adaptive']) == (10000, True)
    assert (train['gan_opt']['gan_type'], train['gan_opt']['loss_weight']) == ('hinge', 0.8)
    assert 'vqgan_top' in full['path']['pretrain_network_g'] and full['path']['strict_load_g'] is False
    # the ablations differ in what they are about
    assert single_stage['network_g'] == full['network_g'] and single_stage['path']['pretrain_network_g'] is None
    assert list(single_scale['network_g']['branches']) == ['top'] and single_scale['path']['pretrain_network_g'] is None
    for ablation in (single_stage, single_scale):
        assert {k: v for k, v in train.items() if k != 'lr_factors'} == ablation['train'] and 'lr_factors' not in ablation['train']


def test_the_papers_values_of_the_second_stage():
    """VQD-SR Sec. 3.4: from the first stage, at half its learning rate, with the learned degradation between resizes and codec."""
    net, gan = (yaml.load((REPO / f'options/vqd_sr/{name}.yml').read_text(), Loader=ordered_yaml()[0]) for name in ('net', 'gan'))
    assert gan['network_g'] == net['network_g'] and gan['path']['pretrain_network_g'].endswith('vqd_sr_net/models/net_g_300000.pth')
    train, basic = gan['train'], net['datasets']['train']['degradation']
    assert (train['total_iter'], train['optim_g']['lr'], train['optim_d']['lr'], train['ema_decay']) == (300000, 5e-5, 5e-5, 0.999)
    assert 'gt_usm' not in train and train['gan_opt']['gan_type'] == 'lsgan'
    vq = {'vq': dict(weights='experiments/vqgan_full/models/net_g_latest.pth', k=[1, 50])}
    assert gan['datasets']['train']['degradation'] == [*basic[:-1], vq, basic[-1]]
    assert gan['datasets']['train']['batch_size_per_gpu'] * 4 == 16
