"""Vector quantization by the nearest or the k-th nearest entry of a learned codebook (VQD-SR eq. 1, 2 and
4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


CHUNK = 4096  # vectors whose distances are in memory at one time: 16 MiB at 1024 entries


class VectorQuantizer(nn.Module):
    """A codebook and its losses.

    Args:
        n_embed, embed_dim (int): number of entries and their channels.
        beta (float): weight of the term that `beta_on` names; the other one has weight 1.
        beta_on (str): 'commitment', the term that holds the encoder to the entries (VQ-VAE), or 'codebook',
            the one that moves the entries: eq. 4 as printed, and the released code, which has it from
                taming-transformers' default, whose authors call it a bug.
    """

    def __init__(self, n_embed: int, embed_dim: int, beta: float = 0.25, beta_on: str = 'commitment') -> None:
        super().__init__()
        if beta_on not in ('codebook', 'commitment'):
            raise ValueError(f"beta_on must be 'codebook' or 'commitment', got {beta_on!r}")
        self.weights = (beta, 1.0) if beta_on == 'codebook' else (1.0, beta)
        self.embedding = nn.Embedding(n_embed, embed_dim)
        nn.init.uniform_(self.embedding.weight, -1 / n_embed, 1 / n_embed)

    def forward(self, z: Tensor, k: int | list | Tensor = 1) -> tuple:
        """Replace every vector by an entry of the codebook; gradients pass straight through.

        Args:
            z (Tensor): (b, embed_dim, h, w).
            k (int | list | Tensor): the k-th nearest entry is taken; one number, or one per sample.

        Returns:
            quantized (Tensor): (b, embed_dim, h, w).
            loss (Tensor): codebook term + commitment term, means over all elements, one of them times beta.
            indices (Tensor): (b, h, w), int64.
        """
        b, c, h, w = z.shape
        vectors = z.permute(0, 2, 3, 1).reshape(b, h * w, c)
        indices = kth_nearest(vectors.detach(), self.embedding.weight.detach(), k)
        entries = self.embedding(indices).reshape(b, h, w, c).permute(0, 3, 1, 2)
        codebook, commitment = self.weights
        loss = codebook * F.mse_loss(entries, z.detach()) + commitment * F.mse_loss(entries.detach(), z)
        return z + (entries - z).detach(), loss, indices.reshape(b, h, w)


def kth_nearest(vectors: Tensor, codebook: Tensor, k: int | list | Tensor = 1) -> Tensor:
    """Index of the k-th nearest entry (Euclidean) of each vector; exact.

    Args:
        vectors (Tensor): (b, n, c).
        codebook (Tensor): (entries, c).
        k (int | list | Tensor): one number, or one per sample (b,); 1 is the nearest.

    Returns:
        Tensor: (b, n), int64.

    Raises:
        ValueError: a k below 1 or above the number of entries, or another number of them than samples.
    """
    b, n, _ = vectors.shape
    # a tensor on a GPU is waited for here; the degradations give plain numbers
    ks = [k] if isinstance(k, int) else k.reshape(-1).tolist() if isinstance(k, torch.Tensor) else list(k)
    ks = ks * b if len(ks) == 1 else ks
    if len(ks) != b:
        raise ValueError(f'k must be one number or one per sample; got {len(ks)} for {b} samples')
    if min(ks) < 1 or max(ks) > len(codebook):
        raise ValueError(f'k must be in [1, {len(codebook)}], the number of entries of the codebook; got {k}')
    half_norm = codebook.square().sum(1) / 2
    indices = torch.empty(b, n, dtype=torch.long, device=vectors.device)
    for sample, kth in enumerate(ks):
        for at in range(0, n, CHUNK):
            # half of the squared distance, less the vector's own norm, which does not change the order
            distance = torch.addmm(half_norm, vectors[sample, at : at + CHUNK], codebook.T, alpha=-1)
            found = distance.argmin(1) if kth == 1 else kth_smallest(distance, kth)
            indices[sample, at : at + CHUNK] = found
    return indices


def kth_smallest(rows: Tensor, k: int) -> Tensor:
    """Index of the k-th smallest number of each row (n, entries), k >= 1: (n, ), int64."""
    if rows.device.type == 'cpu' and rows.dtype == torch.float32:
        # numpy's selection is three times as fast as torch.topk and five times as fast as torch.kthvalue
        # (benchmarks/quantizer.py)
        return torch.from_numpy(np.argpartition(rows.numpy(), k - 1, 1)[:, k - 1])
    return rows.topk(k, 1, largest=False).indices[:, -1]
