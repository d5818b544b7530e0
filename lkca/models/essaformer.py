"""ESSAformer: attention that is linear in pixels, on the LR and the HR grid in turn.

Source: Zhang et al., "ESSAformer: Efficient Transformer for Hyperspectral Image Super-resolution", ICCV 2023. Written
from a description; sizes are those printed in all six rows. Readings: docs/explanation/networks.md.
"""

from math import log2, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.models.layers import Conv3x3, apply_in_strips, make_doubling_upsampler, parts_per_batch

DROP = 0.2  # share of channels that training drops
LEAK = 0.2  # slope of the activations below zero


class SpectralCorrelationAttention(nn.Module):
    """Layer norm and ESSA: attention between channels by the correlation of spectra, (n, c, h, w) -> (n, c, h, w).

    Args:
        width: Channels c.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        of_q, of_k, of_v = zip(self.project.weight.chunk(3), self.project.bias.chunk(3), strict=True)
        of_q, of_k = _centred(*of_q), _centred(*of_k)
        queries, values, products, squares = [], [], 0, 0
        for rows in x.split(parts_per_batch(w), 2):
            tokens = self.norm(rows.movedim(1, -1).flatten(1, 2))  # (n, pixels, c)
            k = F.linear(tokens, *of_k).square()
            k = k / (k.sum(-1, keepdim=True) + 1e-7)
            values.append(F.linear(tokens, *of_v))
            products, squares = products + k.mT @ values[-1], squares + k.square().sum(1)
            queries.append(F.normalize(F.linear(tokens, *of_q).square(), dim=-1))  # which undoes a division by the sum
        lengths = squares.clamp_min(1e-24).sqrt()  # of k's channels over the image, (n, c)
        keys = products / (lengths[..., None] * sqrt(h * w))  # (n, c of k, c of v)
        made = [self.out((q @ keys).add_(v)).unflatten(1, (-1, w)) for q, v in zip(queries, values, strict=True)]
        return torch.cat(made, 1).movedim(-1, 1)


def _centred(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A linear layer whose outputs are the deviations of the given one's from their mean."""
    return weight - weight.mean(0), bias - bias.mean()


class Block(nn.Module):
    """ESSA, and convolutions of what it made together with what it read, (n, c, h, w) -> (n, c, h, w).

    Args:
        width: Channels c.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(SpectralCorrelationAttention(width), nn.Dropout2d(DROP, inplace=True))
        # Dropping channels before or after the activation is the same; before, no image need be kept for the gradient.
        self.join = nn.Conv2d(2 * width, 2 * width, 1)
        self.merge = nn.Sequential(
            nn.Dropout2d(DROP, inplace=True),
            nn.LeakyReLU(LEAK, inplace=True),
            Conv3x3(2 * width, 2 * width),
            nn.Dropout2d(DROP, inplace=True),
            nn.LeakyReLU(LEAK, inplace=True),
            nn.Conv2d(2 * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.training:  # dropping is for the whole image
            return self.merged(self.attention(x), x)
        return apply_in_strips(self.merged, 1, self.attention(x), x)

    def merged(self, attended: Tensor, x: Tensor) -> Tensor:
        return self.merge(self.join(torch.cat([attended, x], 1))) + x


class ESSAformer(nn.Module):
    """Two shared blocks, one on the HR grid and one on the LR grid, between which features go up and down. No shortcut.

    Args:
        bands: Spectral bands, in and out.
        scale: Upsampling factor r, a power of two.
        width: Channels.
        groups: Groups g of each upsampling convolution.
    """

    def __init__(self, bands: int, scale: int, width: int, groups: int) -> None:
        super().__init__()
        self.head = Conv3x3(bands, width)
        self.upsampler = make_doubling_upsampler(width, scale, groups)
        steps = [layer for _ in range(int(log2(scale))) for layer in (Conv3x3(width, width // 4), nn.PixelUnshuffle(2))]
        self.downsampler = nn.Sequential(*steps)
        self.high, self.low = Block(width), Block(width)  # each shared by all its passes
        self.tail = Conv3x3(width, bands)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr.contiguous(memory_format=torch.channels_last))  # in which most of the layers are faster
        up = self.high(self.upsampler(x))
        down = self.low(self.downsampler(up) + x)
        up = self.high(self.upsampler(down) + up)
        down = self.low(self.downsampler(up) + down)
        up = self.high(self.upsampler(down) + up)
        return self.tail(up)
