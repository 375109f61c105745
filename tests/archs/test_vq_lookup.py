"""The k-th nearest search against a sort of all distances."""

import pytest
import torch

from animevsr.archs.vq_lookup import CHUNK, kth_nearest


def by_sorting(vectors, codebook, k):
    """Brute force in double precision: (distances sorted, their order)."""
    distance = (vectors.double()[:, :, None] - codebook.double()).square().sum(-1)
    return distance.sort(-1)


@pytest.mark.parametrize('k', [1, 2, 7, 50, 199, 200])
@pytest.mark.parametrize('channels', [3, 64])
def test_is_exact(k, channels, device):
    generator = torch.Generator().manual_seed(k)
    vectors, codebook = (
        torch.randn(*shape, channels, generator=generator).to(device) for shape in ((3, 70), (200,))
    )
    found = kth_nearest(vectors, codebook, k)
    sorted_distance, order = by_sorting(vectors, codebook, k)
    distance = (vectors.double() - codebook.double()[found]).square().sum(-1)
    assert torch.allclose(distance, sorted_distance[..., k - 1], rtol=1e-5, atol=1e-5)
    # another entry only where two are as near as makes no difference in single precision
    assert (found == order[..., k - 1]).float().mean() > 0.98


def test_more_vectors_than_fit_one_piece(device):
    vectors, codebook = torch.randn(2, CHUNK + 100, 4, device=device), torch.randn(32, 4, device=device)
    found = kth_nearest(vectors, codebook, 3)
    alone = kth_nearest(vectors[1:, CHUNK - 50 :], codebook, 3)
    assert torch.equal(found[1:, CHUNK - 50 :], alone)


def test_one_k_for_each_sample(device):
    vectors, codebook = torch.randn(3, 40, 8, device=device), torch.randn(60, 8, device=device)
    mixed = kth_nearest(vectors, codebook, torch.tensor([1, 30, 60]))
    for i, k in enumerate((1, 30, 60)):
        assert torch.equal(mixed[i], kth_nearest(vectors[i : i + 1], codebook, k)[0])


def test_ranks_of_one_vector_are_all_entries():
    vector, codebook = torch.randn(1, 1, 5), torch.randn(20, 5)
    ranks = [kth_nearest(vector, codebook, k).item() for k in range(1, 21)]
    assert sorted(ranks) == list(range(20))
    distance = (codebook - vector[0]).square().sum(1)[ranks]
    assert torch.equal(distance, distance.sort().values)


def test_entries_that_are_alike():
    """With ties any of the tied entries is right, and k still counts them all."""
    codebook = torch.tensor([[0.0], [0.0], [1.0], [1.0], [5.0]])
    vector = torch.zeros(1, 1, 1)
    assert {kth_nearest(vector, codebook, k).item() for k in (1, 2)} <= {0, 1}
    assert {kth_nearest(vector, codebook, k).item() for k in (3, 4)} <= {2, 3}
    assert kth_nearest(vector, codebook, 5).item() == 4


@pytest.mark.parametrize(
    'k, message',
    [
        (0, r'k must be in \[1, 6\]'),
        (7, r'k must be in \[1, 6\].*got 7'),
        ([1, 9], 'k must be in'),
        ([1, 2, 3], 'got 3 for 2 samples'),
    ],
)
def test_wrong_k_is_named(k, message):
    with pytest.raises(ValueError, match=message):
        kth_nearest(torch.zeros(2, 4, 3), torch.zeros(6, 3), k)
