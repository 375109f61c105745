"""The recurrent network against the published ones, and its contract."""

import pytest
import torch
from conftest import golden

from animevsr.archs.vsr_arch import MSRBVSR


@pytest.mark.parametrize('name, count', [('animesr_vsr', 1_495_376), ('vqdsr_vsr', 1_467_728)])
def test_matches_the_published_network(name, count, device):
    arguments, state, clip, expected = golden(name)
    net = (
        MSRBVSR(
            num_feat=arguments['num_feat'],
            num_block=arguments['num_block'],
            scale=arguments['netscale'],
            sr_feedback=arguments['sr_feedback'],
        )
        .to(device)
        .eval()
    )
    net.load_state_dict(state)
    assert sum(p.numel() for p in net.parameters()) == count
    with torch.no_grad():
        out = net(clip.to(device)).cpu()
    assert (out - expected).abs().max() < (1e-5 if device == 'cpu' else 1e-3)


@pytest.mark.parametrize('sr_feedback', [False, True])
@pytest.mark.parametrize('t, h, w', [(1, 8, 8), (3, 9, 14), (2, 1, 3)])
def test_step_loop_equals_forward_at_any_size(sr_feedback, t, h, w, device):
    torch.manual_seed(0)
    net = MSRBVSR(num_feat=8, num_block=(2, 1, 1), sr_feedback=sr_feedback).to(device).eval()
    clip = torch.rand(2, t, 3, h, w, device=device)
    state, frames = None, []
    with torch.no_grad():
        whole = net(clip)
        for i in range(t):
            sr, state = net.step(clip[:, max(i - 1, 0)], clip[:, i], clip[:, min(i + 1, t - 1)], state)
            frames.append(sr)
    assert whole.shape == (2, t, 3, 4 * h, 4 * w)
    assert torch.equal(whole, torch.stack(frames, 1))


def test_state_carries_information_and_starts_fresh():
    torch.manual_seed(0)
    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1)).eval()
    a, b = torch.rand(2, 1, 3, 8, 8)
    with torch.no_grad():
        _, state = net.step(a, a, a)
        with_history, fresh = net.step(b, b, b, state)[0], net.step(b, b, b)[0]
        again = net.step(b, b, b, None)[0]
    assert not torch.allclose(with_history, fresh)
    assert torch.equal(fresh, again)


def test_padding_does_not_change_whole_sizes():
    """Content in a picture whose size is a multiple of 4 must not depend on the padding code."""
    torch.manual_seed(0)
    net = MSRBVSR(num_feat=8, num_block=(1, 1, 1)).eval()
    x = torch.rand(1, 1, 3, 10, 10)
    padded = torch.nn.functional.pad(x[0], (0, 2, 0, 2), mode='replicate')[None]
    with torch.no_grad():
        assert torch.equal(net(x), net(padded)[..., :40, :40])


def test_refuses_block_counts_that_grow():
    with pytest.raises(ValueError, match='num_block'):
        MSRBVSR(num_block=(1, 2, 1))


def test_strength_mixes_a_model_and_its_twin():
    from animevsr.archs.loading import load_mixed, load_upscaler
    from animevsr.errors import CheckpointError

    clean, faithful = (load_upscaler(name) for name in ('animevsr_x4', 'animevsr_x4_faithful'))
    frame = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        results = [
            net.step(frame, frame, frame)[0]
            for net in (faithful, load_mixed('animevsr_x4', 0.0), load_mixed('animevsr_x4', 0.5), clean)
        ]
    assert torch.equal(results[0], results[1])
    apart = (results[0] - results[3]).abs().mean()
    between = [(results[2] - results[i]).abs().mean() for i in (0, 3)]
    assert 0 < max(between) < apart  # one start, so that what lies between is between
    assert torch.equal(load_mixed('animevsr_x4', 1.0).step(frame, frame, frame)[0], results[3])
    with pytest.raises(CheckpointError, match='animesr_v2: has no faithful twin.*known: animevsr_x4$'):
        load_mixed('animesr_v2', 0.5)
