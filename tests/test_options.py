"""Every YAML file of options/ says something that exists."""
import pytest
import yaml
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.utils.options import ordered_yaml
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from conftest import REPO

import animevsr  # noqa: F401
from animevsr.degradations import DegradationPipeline

FILES = sorted((REPO / 'options').rglob('*.yml'))


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(REPO)))
def test_builds(path):
    opt = yaml.load(path.read_text(), Loader=ordered_yaml()[0])
    assert opt['model_type'] in MODEL_REGISTRY
    assert sum(p.numel() for p in build_network(opt['network_g']).parameters()) > 0
    for dataset in opt['datasets'].values():
        assert dataset['type'] in DATASET_REGISTRY
        DegradationPipeline(dataset['degradation'])
        # an unknown key would be the first complaint; here it is the data that is missing
        with pytest.raises(ValueError, match='not here: no such folder'):
            DATASET_REGISTRY.get(dataset['type'])({**dataset, 'scale': opt['scale'], 'dataroot_gt': 'not here'})
    for metric in opt['val']['metrics'].values():
        assert metric['type'] in METRIC_REGISTRY
    if 'train' in opt:
        build_loss(opt['train']['pixel_opt'])


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
