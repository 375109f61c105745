"""The multi-scale VQGAN that learns how animation was degraded (VQD-SR Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from animevsr.archs.vq_lookup import VectorQuantizer
from animevsr.utils.registry import ARCH_REGISTRY

if TYPE_CHECKING:
    from torch import Tensor


BRANCHES = ('top', 'middle', 'bottom')  # compression factors 8, 4, 2
FACTOR = 8  # height and width inside are multiples of it
EPS, PUBLISHED_GROUPS = 1e-6, 32  # of the normalisation


@ARCH_REGISTRY.register()
class MultiScaleVQGAN(nn.Module):
    """Autoencoder with up to three quantized branches over shared shallow features and one shared codebook.

    The branches compress by 8, 4 and 2. The top one carries structure and colours, the others what it leaves
    over; looking up the k-th nearest entries of the bottom branch degrades details and keeps the structure.

    Args:
        ch (int): channels at full size, a multiple of `norm_groups`.
        ch_mult (tuple[int]): channels of the five encoding stages, in multiples of `ch`; the first is 1.
        num_res_blocks (int): residual blocks of each stage.
        embed_dim, n_embed (int): channels of an entry of the codebook, number of entries.
        beta (float), beta_on (str): weight of a term of the codebook loss, and of which, see
            `VectorQuantizer`.
        branches (tuple[str]): those of 'top', 'middle', 'bottom' that exist. `('top',)` is the network of
            training stage 1; one branch alone is a single-scale VQGAN.
        norm_groups (int): groups of every normalisation. With `ch` of 32 and the published 32 groups each
            channel is normalised alone, and the colour of a whole image gets lost; 8 keep the published four
            channels to a group.
        legacy_no_output_act (bool): leave out the activation before the last convolution, as the published
            multi-scale weights were trained (their top-only stage has it).

    With the default sizes the network has 121,208,451 parameters.
    """

    def __init__(
        self,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 1, 2, 2, 4),
        num_res_blocks: int = 2,
        embed_dim: int = 256,
        n_embed: int = 1024,
        beta: float = 0.25,
        branches: Sequence[str] = BRANCHES,
        norm_groups: int = PUBLISHED_GROUPS,
        legacy_no_output_act: bool = False,
        beta_on: str = 'commitment',
    ) -> None:
        super().__init__()
        unknown = set(branches) - set(BRANCHES)
        if unknown or not branches:
            raise ValueError(f'branches must be some of {", ".join(BRANCHES)}; got {branches}')
        if ch < 1 or ch % norm_groups or len(ch_mult) != 5 or ch_mult[0] != 1:
            raise ValueError(
                f'ch must be a multiple of norm_groups, ch_mult 1 and four more numbers; got {ch},'
                f' {norm_groups}, {ch_mult}'
            )
        self.branches = tuple(name for name in BRANCHES if name in branches)
        self.legacy_no_output_act = legacy_no_output_act
        if norm_groups != PUBLISHED_GROUPS:  # no tensor's shape tells it, so it stands in the file
            self.register_buffer('norm_groups', torch.tensor(norm_groups))
        widths = [ch * m for m in ch_mult]
        self.conv_in = conv(3, ch)
        # "top" also holds what the branches share: the first stages, the last ones and the codebook
        self.top = TopBranch(
            widths,
            num_res_blocks,
            embed_dim,
            norm_groups,
            VectorQuantizer(n_embed, embed_dim, beta, beta_on),
            self.branches,
        )
        if 'middle' in branches:
            self.mid = SideBranch(widths, num_res_blocks, embed_dim, norm_groups, first=3)
        if 'bottom' in branches:
            self.bot = SideBranch(widths, num_res_blocks, embed_dim, norm_groups, first=2)
        self.norm_out = nn.GroupNorm(norm_groups, widths[0], EPS)
        self.conv_out = conv(widths[0], 3)

    @property
    def codebook(self) -> Tensor:
        """(n_embed, embed_dim), the parameter."""
        return self.top.quantize.embedding.weight

    def forward(self, x: Tensor, k: int | Tensor | tuple = (1, 1, 1)) -> tuple:
        """Reconstruct images by what the codebook holds.

        Args:
            x (Tensor): (b, 3, h, w), RGB in [-1, 1]; any h and w.
            k (int | Tensor | tuple): of top, middle and bottom, each an int or one per sample (list or int
                tensor (b,)): every vector is replaced by the k-th nearest entry of the codebook. 1 is the
                nearest.

        Returns:
            reconstruction (Tensor): (b, 3, h, w), not clamped.
            codebook_loss (Tensor): eq. 4's codebook and commitment terms, the mean over the branches, as
                published.

        Raises:
            ValueError: a k below 1 or above the number of entries.
        """
        z = self.encode(x)
        quantized, losses, _ = self.quantize(z, k)
        return self.decode(quantized, x.shape[-2:]), sum(losses) / len(losses)

    def encode(self, x: Tensor) -> dict:
        """(b, 3, h, w) in [-1, 1] -> {branch: (b, embed_dim, h'/f, w'/f)}; h' and w' are h and w rounded up
        to multiples of 8.
        """
        h, w = x.shape[-2:]
        top, z = self.top, {}
        shared = top.encode_0(self.conv_in(F.pad(x, (0, -w % FACTOR, 0, -h % FACTOR), mode='replicate')))
        shared = top.encode_1(shared)
        if 'bottom' in self.branches:
            z['bottom'] = self.bot.encode(shared)
        if self.branches != ('bottom',):
            shared = top.encode_2(shared)
        if 'middle' in self.branches:
            z['middle'] = self.mid.encode(shared)
        if 'top' in self.branches:
            z['top'] = top.encode(shared)
        return {name: z[name] for name in self.branches}

    def quantize(
        self, z: dict[str, Tensor], k: tuple[int, int, int] = (1, 1, 1)
    ) -> tuple[dict[str, Tensor], list[Tensor], dict[str, Tensor]]:
        """{branch: (b, c, h, w)} -> the same with entries of the codebook, [codebook loss of each branch],
        {branch: indices (b, h, w)}.
        """
        quantized, losses, indices = {}, [], {}
        for name, k_branch in zip(BRANCHES, k):
            if name in self.branches:
                quantized[name], loss, indices[name] = self.top.quantize(z[name], k_branch)
                losses.append(loss)
        return quantized, losses, indices

    def decode(self, quantized: dict[str, Tensor], size: torch.Size | tuple[int, int]) -> Tensor:
        """{branch: (b, embed_dim, h/f, w/f)} -> (b, 3, *size). A branch that is missing adds nothing; at
        least one must be there.
        """
        top, out = self.top, None
        if 'top' in quantized:
            out = top.decode_1(top.decode(quantized['top']))
        if 'middle' in quantized:
            out = add(out, self.mid.decode(quantized['middle']))
        if out is not None:
            out = top.decode_2(out)
        if 'bottom' in quantized:
            out = add(out, self.bot.decode(quantized['bottom']))
        out = self.norm_out(top.decode_4(top.decode_3(out)))
        out = self.conv_out(out if self.legacy_no_output_act else F.silu(out))
        return out[..., : size[0], : size[1]]

    @staticmethod
    def read_arguments(state: dict[str, Tensor]) -> dict[str, int | tuple] | None:
        """Constructor arguments read off the tensors {name: Tensor} of a checkpoint, or None if it is another
        network.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        codebook, first = shapes.get('top.quantize.embedding.weight'), shapes.get('conv_in.weight')
        if codebook is None or first is None:
            return None
        prefixes = dict(top='top.encode_out.', middle='mid.encode_out.', bottom='bot.encode_out.')
        branches = tuple(name for name in BRANCHES if any(n.startswith(prefixes[name]) for n in shapes))
        ch = first[0]
        longest = next(
            p for p in ('bot', 'mid', 'top') if any(n.startswith(f'{p}.encode_4.') for n in shapes)
        )
        owner = {
            i: longest if f'{longest}.encode_{i}.1.blocks.0.norm1.weight' in shapes else 'top'
            for i in range(1, 5)
        }
        mult = (1, *(shapes[f'{owner[i]}.encode_{i}.1.blocks.0.norm1.weight'][0] // ch for i in range(1, 5)))
        blocks = len({n.split('.')[3] for n in shapes if n.startswith('top.encode_0.blocks.')})
        return dict(
            ch=ch,
            ch_mult=mult,
            num_res_blocks=blocks,
            embed_dim=codebook[1],
            n_embed=codebook[0],
            branches=branches,
            norm_groups=int(state.get('norm_groups', PUBLISHED_GROUPS)),
        )


class TopBranch(nn.Module):
    """The branch that compresses by 8, and the stages and the codebook that all branches share (`branches`:
    those that exist).
    """

    def __init__(
        self,
        widths: list[int],
        num_res_blocks: int,
        embed_dim: int,
        groups: int,
        quantize: VectorQuantizer,
        branches: tuple,
    ) -> None:
        super().__init__()
        w0, w1, w2, w3, w4 = widths
        n, g = num_res_blocks, groups
        self.encode_0 = ResidualStage(w0, n, g)
        self.encode_1 = nn.Sequential(Downsample(w0, w1), ResidualStage(w1, n, g))
        if branches != ('bottom',):
            self.encode_2 = nn.Sequential(Downsample(w1, w2), ResidualStage(w2, n, g))
        self.quantize = quantize
        if 'top' in branches:
            self.encode_3 = nn.Sequential(Downsample(w2, w3), ResidualStage(w3, n, g))
            self.encode_4 = nn.Sequential(conv(w3, w4), ResidualStage(w4, n, g))
            self.encode_attn_1 = nn.Sequential(SpatialAttention(w4, g), ResidualBlock(w4, g))
            self.encode_attn_2 = nn.Sequential(SpatialAttention(w4, g), ResidualBlock(w4, g))
            self.encode_out = nn.Sequential(nn.GroupNorm(g, w4, EPS), conv(w4, embed_dim))
            self.decode_convin = conv(embed_dim, w4)
            self.decode_atten_1 = nn.Sequential(SpatialAttention(w4, g), ResidualBlock(w4, g))
            self.decode_atten_2 = nn.Sequential(SpatialAttention(w4, g), ResidualBlock(w4, g))
            self.decode_0 = nn.Sequential(conv(w4, w3), ResidualStage(w3, n, g))
            self.decode_1 = nn.Sequential(ResidualStage(w3, n, g), Upsample(w3, w2))
        if branches != ('bottom',):
            self.decode_2 = nn.Sequential(ResidualStage(w2, n, g), Upsample(w2, w1))
        self.decode_3 = nn.Sequential(ResidualStage(w1, n, g), Upsample(w1, w0))
        self.decode_4 = ResidualStage(w0, n, g)

    def encode(self, shared: Tensor) -> Tensor:
        """Shared features (b, c, h/4, w/4) -> (b, embed_dim, h/8, w/8)."""
        out = self.encode_attn_2(self.encode_attn_1(self.encode_4(self.encode_3(shared))))
        return self.encode_out(out)

    def decode(self, z: Tensor) -> Tensor:
        """(b, embed_dim, h/8, w/8) -> (b, c, h/8, w/8)."""
        return self.decode_0(self.decode_atten_2(self.decode_atten_1(self.decode_convin(z))))


class SideBranch(nn.Module):
    """The middle (`first` = 3) or bottom (`first` = 2) branch: it goes on from the shared features without
    further compression.
    """

    def __init__(
        self, widths: list[int], num_res_blocks: int, embed_dim: int, groups: int, first: int
    ) -> None:
        super().__init__()
        self.stages = range(first, 5)
        for i in self.stages:
            self.add_module(
                f'encode_{i}',
                nn.Sequential(
                    conv(widths[i - 1], widths[i]), ResidualStage(widths[i], num_res_blocks, groups)
                ),
            )
        self.encode_out = nn.Sequential(nn.GroupNorm(groups, widths[4], EPS), conv(widths[4], embed_dim))
        self.decode_convin = conv(embed_dim, widths[4])
        for i, stage in enumerate(reversed(self.stages)):  # the mirror image of the encoder
            self.add_module(
                f'decode_{i}',
                nn.Sequential(
                    ResidualStage(widths[stage], num_res_blocks, groups),
                    conv(widths[stage], widths[stage - 1]),
                ),
            )

    def encode(self, shared: Tensor) -> Tensor:
        """Shared features (b, c, h/f, w/f) -> (b, embed_dim, h/f, w/f)."""
        for i in self.stages:
            shared = getattr(self, f'encode_{i}')(shared)
        return self.encode_out(shared)

    def decode(self, z: Tensor) -> Tensor:
        """(b, embed_dim, h/f, w/f) -> (b, c, h/f, w/f)."""
        out = self.decode_convin(z)
        for i in range(len(self.stages)):
            out = getattr(self, f'decode_{i}')(out)
        return out


class ResidualStage(nn.Module):
    """Residual blocks in a row."""

    def __init__(self, width: int, num_blocks: int, groups: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(width, groups) for _ in range(num_blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """(b, width, h, w) -> the same."""
        return self.blocks(x)


class ResidualBlock(nn.Module):
    """Two times normalisation, activation, convolution."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width, EPS)
        self.conv1 = conv(width, width)
        self.norm2 = nn.GroupNorm(groups, width, EPS)
        self.conv2 = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, width, h, w) -> the same."""
        out = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(out)))


class SpatialAttention(nn.Module):
    """Self-attention over all positions, one head."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, EPS)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(b, width, h, w) -> the same."""
        y = self.norm(x)
        # (b, h*w, width); copied, because the kernels of a GPU want rows that are aligned, and with one
        # position those of a transposed view are not ("cutlassF: no kernel found to launch", seen on an H100)
        q, k, v = (
            layer(y).flatten(2).transpose(1, 2).clone(memory_format=torch.contiguous_format)
            for layer in (self.q, self.k, self.v)
        )
        out = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.proj_out(out.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Half the size by a strided convolution, padded at the right and the bottom only."""

    def __init__(self, in_ch: int, out_ch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_ch, out_ch, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_ch, h, w) -> (b, out_ch, h/2, w/2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the size by pixel shuffle."""

    def __init__(self, in_ch: int, out_ch: int) -> None:
        super().__init__()
        self.conv = conv(in_ch, 4 * out_ch)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_ch, h, w) -> (b, out_ch, 2h, 2w)."""
        return F.pixel_shuffle(self.conv(x), 2)


def conv(in_ch: int, out_ch: int) -> nn.Module:
    return nn.Conv2d(in_ch, out_ch, 3, 1, 1)


def add(x: Tensor | None, y: Tensor) -> Tensor:
    """Sum; `x` may be None."""
    return y if x is None else x + y
