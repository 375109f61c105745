"""Right on a GPU, without one: tensors that only pretend to be there (FakeTensorMode), and streams that only
note what is asked of them.

A fake tensor has shape, type and device, and no values. Mixing in a tensor of another device raises, as it
would on the machine; what needs a value (`.item()`, `.tolist()`, `.numpy()`, shapes that depend on data)
raises, too: on a GPU that is where the host would wait.
"""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from basicsr.data.prefetch_dataloader import CUDAPrefetcher
from conftest import REPO, TINY_CLIPS
from torch._subclasses.fake_tensor import FakeTensorMode

from animevsr.archs.backbones_arch import ClipBasicVSR, ClipRRDBNet, RealBasicVSR
from animevsr.archs.discriminator_arch import ClipUNetDiscriminatorSN, MultiScalePatchDiscriminator
from animevsr.archs.lbo_arch import LearnableBasicOperator
from animevsr.archs.pdm_arch import ProbabilisticDegradation
from animevsr.archs.vq_lookup import kth_nearest
from animevsr.archs.vqgan_arch import MultiScaleVQGAN
from animevsr.archs.vsr_arch import MSRBVSR
from animevsr.data.sampling import LookAhead
from animevsr.degradations import BatchDegrader, DegradationPipeline
from animevsr.degradations import functional as D
from animevsr.losses.pixel_loss import EdgeCharbonnierLoss
from animevsr.losses.steady import SteadyLoss
from animevsr.models import recurrent_vsr_model
from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
from animevsr.models.teacher import Teacher
from animevsr.utils import device as devices
from animevsr.utils.overlays import read_options

GPU = 'cuda'
CLIP = (2, 3, 3, 64, 64)
NETWORKS = {
    'MSRBVSR': (MSRBVSR, CLIP),
    'MSRBVSR with feedback': (lambda: MSRBVSR(sr_feedback=True), CLIP),
    'MultiScaleVQGAN': (MultiScaleVQGAN, (1, 3, 64, 48)),
    'LearnableBasicOperator': (LearnableBasicOperator, (1, 3, 65, 64)),
    'ClipRRDBNet': (lambda: ClipRRDBNet(3, 3), CLIP),
    'ClipBasicVSR': (ClipBasicVSR, CLIP),
    'RealBasicVSR': (RealBasicVSR, CLIP),
    'ProbabilisticDegradation': (ProbabilisticDegradation, (2, 3, 64, 64)),
    'MultiScalePatchDiscriminator': (MultiScalePatchDiscriminator, (1, 2, 3, 96, 96)),
    'ClipUNetDiscriminatorSN': (lambda: ClipUNetDiscriminatorSN(3, 8), (1, 2, 3, 64, 64)),
    "taming's discriminator": (
        lambda: MultiScalePatchDiscriminator(num_layers=[3], use_sn=False, use_bn=True),
        (2, 3, 64, 64),
    ),
}
# the operators that compute on the device of the clip
OPERATORS = [
    'blur',
    'noise',
    {'noise': {'per_frame': True}},
    {'down': 2},
    {'resize_to': {'modes': ['matlab']}},
    'mixed_blur',
    'sinc',
    'random_resize',
    'mixed_noise',
    {'contrast': {}},
    {'down_or_lbo': {'prob': 1.0}},
    {'vq': {'k': [7, 7]}},
    {'shuffle': ['blur', {'down': 2}, [{'noise': {}}, 'sinc']]},
    {'choice': [{'prob': 0.5, 'degradation': ['blur']}, {'prob': 0.5, 'degradation': [{'down': 2}]}]},
    {'mixed_blur': {'walk': True}},
    {'random_resize': {'walk': 0.02}},
    {'mixed_noise': {'walk': True}},
    {'mixed_noise': {'gaussian_prob': 0.0}},
    {'mixed_noise': {'gaussian_prob': 0.0, 'walk': True}},
    {'pdm': {'weights': 'pdm.pth'}},
]
# those that take the pixels to the host and back, because their work is a codec's: they wait for the device,
# in threads and on a stream of their own (see BatchDegrader)
ON_THE_HOST = ['jpeg', 'codec', {'ffmpeg': {'options': {'vcodec': 'mpeg4'}}}]


@pytest.fixture
def pretended(monkeypatch):
    """Within, new tensors are on a GPU that is not there."""
    monkeypatch.setattr(D, 'generator_on', lambda device, seed: None)  # a generator would need the driver
    torch.set_default_device(GPU)
    try:
        # cuDNN's sampler of the optical flow has no fake
        with (
            FakeTensorMode(allow_non_fake_inputs=False),
            torch.no_grad(),
            torch.backends.cudnn.flags(enabled=False),
        ):
            yield
    finally:
        torch.set_default_device(None)


def placed(net):
    """A network made on the pretended device, with what upstream makes on the CPU whatever the default
    (`torch.Tensor([...])`) moved.
    """
    for module in net.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return net


@pytest.mark.parametrize('name', NETWORKS)
def test_networks_stay_on_their_device(name, pretended):
    make, shape = NETWORKS[name]
    net = placed(make())
    out = net(torch.rand(shape))
    out = out[0] if isinstance(out, tuple) else out
    assert all(tensor.device.type == GPU for tensor in (out if isinstance(out, list) else [out]))


def test_a_tensor_left_on_the_host_is_noticed(pretended):
    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1))
    net._initial_state = lambda frames: (torch.zeros(2, 8, 64, 64, device='cpu'),)
    with pytest.raises(RuntimeError, match='same device|two different devices'):
        net(torch.rand(CLIP))


@pytest.mark.parametrize('operator', OPERATORS, ids=str)
@pytest.mark.parametrize('seed', [1, 2, 3])  # several draws, of several kinds
def test_operators_do_not_wait(seed, operator, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(params=ProbabilisticDegradation(num_feat=8).state_dict()), 'pdm.pth')
    # its networks are real, and copied to the pretended device there
    pipeline = DegradationPipeline([operator])
    params = pipeline.sample(np.random.default_rng(seed), 3)
    for trained in networks_in(pipeline):
        monkeypatch.setattr(trained, 'on', faked(trained.cpu))
    monkeypatch.setattr(D, 'generator_on', lambda device, seed: None)
    torch.set_default_device(GPU)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            trained = [mode.from_tensor(torch.empty(0, device='cpu'))]  # the mode is alive
            out = pipeline.apply(torch.rand(3, 3, 64, 64), params)
            assert out.device.type == GPU and trained
    finally:
        torch.set_default_device(None)


def networks_in(pipeline):
    for operator in pipeline.operators:
        for value in vars(operator).values():
            yield from (
                n
                for n in (value.values() if isinstance(value, dict) else [value])
                if hasattr(n, 'on') and hasattr(n, 'cpu')
            )


def faked(net):
    """`FrozenNetwork.on` that builds the same network on the pretended device."""
    arguments = type(net).read_arguments(net.state_dict())
    return lambda device: placed(type(net)(**arguments))


@pytest.mark.parametrize('operator', ON_THE_HOST, ids=lambda o: o if isinstance(o, str) else next(iter(o)))
def test_codecs_are_the_only_ones_that_do(operator, pretended):
    pipeline = DegradationPipeline([operator])
    with pytest.raises((RuntimeError, TypeError), match='numpy|subclass'):
        pipeline.apply(torch.rand(3, 3, 64, 64), pipeline.sample(np.random.default_rng(1), 3))


@pytest.mark.parametrize('k', [1, 9, [1, 9]])
def test_the_search_of_the_codebook_does_not_wait(k, pretended):
    assert kth_nearest(torch.rand(2, 5000, 16), torch.rand(64, 16), k).device.type == GPU


def test_losses_do_not_wait(pretended):
    out, gt = torch.rand(1, 3, 3, 32, 32), torch.rand(1, 3, 3, 32, 32)
    loss = SteadyLoss(EdgeCharbonnierLoss(), 0.5)
    loss.watch(gt)
    assert loss(out, gt).device.type == GPU
    teacher = Teacher.__new__(Teacher)
    teacher.net, teacher.share, teacher.tolerance = MSRBVSR(8, (1, 1, 1)), 0.5, 0.05
    teacher.sees = 'clean'
    assert teacher.target(gt, gt).device.type == GPU


# --- streams


class Stream:
    """Notes what it is asked."""

    def __init__(self, *_):
        self.said = []

    def wait_stream(self, other):
        self.said.append(('wait', other))

    def wait_event(self, event):
        self.said.append(('event', event))

    def record_event(self):
        self.said.append(('mark',))
        return f'mark {len(self.said)}'


@pytest.fixture
def streams(monkeypatch):
    """(the current stream, [streams that were entered])."""
    current, entered = Stream(), []

    @contextlib.contextmanager
    def stream(which):
        entered.append(which)
        yield

    monkeypatch.setattr(torch.cuda, 'Stream', Stream)
    monkeypatch.setattr(torch.cuda, 'stream', stream)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda *_: current)
    return current, entered


def test_the_prefetcher_and_look_ahead_give_each_batch_once_with_the_next(streams):
    """BasicSR's prefetcher changes the batches that it is given while they are used; `next` must not be the
    one that it changes.
    """
    batches = [dict(gt=torch.full((1,), float(i)), params=[str(i)]) for i in range(4)]
    prefetcher = CUDAPrefetcher(LookAhead(batches), dict(num_gpu=0))
    seen = []
    while (batch := prefetcher.next()) is not None:
        following = batch['next']
        seen.append((batch['gt'].item(), None if following is None else following['gt'].item()))
        if following is not None:
            # by which the degrader knows it again
            assert following['params'] is batches[int(following['gt'].item())]['params']
    assert seen == [(0, 1), (1, 2), (2, 3), (3, None)]
    assert len(streams[0].said) == 5  # each batch is waited for


def test_degraded_clips_are_handed_over_between_streams(streams, monkeypatch):
    current, entered = streams
    degrader = BatchDegrader([{'down': 4}], torch.device('cpu'), threads=1)
    handed = []
    degrader.side = devices.SideStream(SimpleNamespace(type=GPU))
    degrader.side.copy = lambda tensor: tensor
    monkeypatch.setattr(
        torch.Tensor, 'record_stream', lambda tensor, stream: handed.append((tuple(tensor.shape), stream))
    )
    gt = torch.rand(2, 3, 3, 16, 16)
    params = ['[{"op": "down", "factor": 4, "mode": "area"}]'] * 2
    lq, same = degrader(dict(gt=gt, params=params))
    assert torch.equal(same, gt) and lq.shape == (2, 3, 3, 4, 4)
    assert entered == [degrader.side.stream] * 2 and degrader.side.stream.said == [('mark',)] * 2
    # the training stream waits, the host does not
    assert current.said == [('event', 'mark 1'), ('event', 'mark 2')]
    assert handed == [((3, 3, 4, 4), current), ((3, 3, 16, 16), current)] * 2


def test_what_is_on_the_device_already_is_waited_for(streams, monkeypatch):
    """A prefetcher's copy may not have ended, for which its caller's stream waits, and no other one."""
    monkeypatch.setattr(torch.cuda, 'default_stream', lambda device: 'the main one')
    side = devices.SideStream(SimpleNamespace(type=GPU))
    there = SimpleNamespace(device=SimpleNamespace(type=GPU), to=lambda device: 'the same')
    assert side.copy(there) == 'the same' and side.stream.said == [('wait', 'the main one')]


def test_several_gpus_in_one_process_are_refused_where_a_model_cannot():
    from animevsr.models.pdm_model import PDMModel
    from animevsr.models.recurrent_vsr_model import RecurrentVSRModel
    from animevsr.models.vqgan_model import VQGANModel

    opt = dict(dist=False, num_gpu=4, train=dict(cleaning_opt=dict(type='L1Loss')))
    for kind in (PDMModel, VQGANModel, RecurrentVSRModel):
        with pytest.raises(
            ValueError, match=f'{kind.__name__}: 4 GPUs need one process each: torchrun --nproc_per_node 4'
        ):
            kind(dict(opt))
    # each thread of DataParallel would compute in float16
    with pytest.raises(ValueError, match='RecurrentVSRModel: 4 GPUs need one process each'):
        RecurrentVSRModel(dict(dist=False, num_gpu=4, train=dict(amp='bf16')))


def test_exact_float32_where_it_is_not_said_otherwise(monkeypatch):
    from animevsr.engine.backends import open_backend

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    open_backend(MSRBVSR(8, (1, 1, 1)).eval(), torch.device('cpu'), 'torch')
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def test_validation_divided_among_processes(monkeypatch, tmp_path):
    """Each process measures its clips; their sum is what one process measures alone."""
    monkeypatch.chdir(tmp_path)
    opt = read_options(REPO / 'options/tiny/net.yml')
    opt.update(num_gpu=0, dist=False, is_train=True, rank=0, world_size=1)
    opt['network_g'].update(num_feat=8, num_block=[1, 1, 1])
    opt['val'].update(save_img=False)
    model = RecurrentVSRModel(opt)
    loader = SimpleNamespace(
        dataset=build_dataset(
            dict(opt['datasets']['val'], dataroot_gt=str(TINY_CLIPS), num_frame=1, scale=4, phase='val')
        )
    )
    model.nondist_validation(loader, 1, None, False)
    alone, sums = dict(model.metric_results), []
    monkeypatch.setattr(
        recurrent_vsr_model.distributed,
        'all_reduce',
        lambda scores: scores.add_(sum(sums)) if sums else sums.append(scores),
    )
    for rank in (1, 0):
        model.opt.update(dist=True, rank=rank, world_size=2)
        model.dist_validation(loader, 1, None, False)
    assert len(loader.dataset) > 1 and model.metric_results == pytest.approx(alone)


def test_processes_are_divided_among_devices(monkeypatch):
    monkeypatch.setattr(devices, 'count', lambda: 4)
    one, all_of_them = torch.device(GPU, 2), torch.device(GPU)
    assert [devices.sharing(all_of_them, jobs) for jobs in (1, 4, 5, 9)] == [1, 1, 2, 3]
    assert devices.sharing(one, 3) == 3 and devices.share(all_of_them, 5) == torch.device(GPU, 1)
