"""ESSAformer: attention whose cost is linear in the number of pixels, in turn on the HR and the LR grid.

Source: Zhang et al., "ESSAformer: Efficient Transformer for Hyperspectral Image Super-resolution", ICCV 2023. Written
from a description. Parameters and MACs equal the printed ones in all six rows. docs/explanation/networks.md says how we
read the paper.
"""

from math import log2, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.models.layers import Conv3x3, apply_in_strips, make_doubling_upsampler, rows_per_strip

DROPOUT = 0.2  # fraction of the channels that are dropped in training
NEGATIVE_SLOPE = 0.2  # of the LeakyReLU activations


class SpectralCorrelationAttention(nn.Module):
    """Layer norm, then ESSA, (n, c, h, w) -> (n, c, h, w).

    ESSA is attention between pixels by the correlation of their features. It multiplies keys and values first, so that
    the cost is linear in the number of pixels. The image is processed in strips of rows to save memory: the first pass
    sums up keys and values, because keys are normalised over the whole image, and the second one applies the queries.

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
        to_query, to_key, to_value = zip(self.project.weight.chunk(3), self.project.bias.chunk(3), strict=True)
        to_query, to_key = _subtract_output_mean(*to_query), _subtract_output_mean(*to_key)
        queries: list[Tensor] = []
        values: list[Tensor] = []
        products: Any = 0
        squares: Any = 0
        for rows in x.split(rows_per_strip(w), 2):
            tokens = self.norm(rows.movedim(1, -1).flatten(1, 2))  # (n, pixels, c)
            k = F.linear(tokens, *to_key).square()
            k = k / (k.sum(-1, keepdim=True) + 1e-7)
            values.append(F.linear(tokens, *to_value))
            products, squares = products + k.mT @ values[-1], squares + k.square().sum(1)
            # No division by the sum as for the keys: the normalisation would cancel it.
            queries.append(F.normalize(F.linear(tokens, *to_query).square(), dim=-1))
        lengths = squares.clamp_min(1e-24).sqrt()  # Euclidean norm of each key channel over the image, (n, c)
        context = products / (lengths[..., None] * sqrt(h * w))  # (n, key channels, value channels)
        parts = [self.out((q @ context).add_(v)).unflatten(1, (-1, w)) for q, v in zip(queries, values, strict=True)]
        return torch.cat(parts, 1).movedim(-1, 1)


def _subtract_output_mean(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a linear layer that subtracts the mean over its outputs from each output."""
    return weight - weight.mean(0), bias - bias.mean()


class Block(nn.Module):
    """ESSA, convolutions of its output joined with its input, and a residual, (n, c, h, w) -> (n, c, h, w).

    Args:
        width: Channels c.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(SpectralCorrelationAttention(width), nn.Dropout2d(DROPOUT, inplace=True))
        # Dropout before the activation gives the same result as after it, and need not store an image for the gradient.
        self.join = nn.Conv2d(2 * width, 2 * width, 1)
        self.merge = nn.Sequential(
            nn.Dropout2d(DROPOUT, inplace=True),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            Conv3x3(2 * width, 2 * width),
            nn.Dropout2d(DROPOUT, inplace=True),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            nn.Conv2d(2 * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.training:  # no strips: each one would drop other channels
            return self._merge(self.attention(x), x)
        return apply_in_strips(self._merge, 1, self.attention(x), x)

    def _merge(self, attended: Tensor, x: Tensor) -> Tensor:
        return self.merge(self.join(torch.cat([attended, x], 1))) + x


class ESSAformer(nn.Module):
    """Two blocks, one on the HR grid and one on the LR grid, applied in turn. There is no bicubic shortcut.

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
        self.high, self.low = Block(width), Block(width)  # each is applied more than once
        self.tail = Conv3x3(width, bands)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr.contiguous(memory_format=torch.channels_last))  # faster for most layers
        up = self.high(self.upsampler(x))
        down = self.low(self.downsampler(up) + x)
        up = self.high(self.upsampler(down) + up)
        down = self.low(self.downsampler(up) + down)
        up = self.high(self.upsampler(down) + up)
        return self.tail(up)
