"""MSDformer: multiscale aggregation of groups of bands, then attention between channels with deformable queries.

Source: Chen, Zhang & Zhang, "MSDformer: Multiscale Deformable Transformer for Hyperspectral Image Super-Resolution",
IEEE TGRS 2023. Written from a description. Parameters and MACs equal the printed ones in all six rows. The printed ones
include a convolution and a third of a projection that are never used. docs/explanation/networks.md says how we read the
paper.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.models.bicubic import Bicubic
from lkca.models.layers import (
    BandGroups,
    Conv3x3,
    LayerNorm2d,
    SpatialResidual,
    SpectralResidual,
    apply_in_strips,
    counting_macs,
    make_doubling_upsampler,
)

HEADS = 6  # attention heads


class DilatedAggregation(nn.Module):
    """DCAM: the sum of three dilated convolutions of a group of bands, then a spatial residual.

    Args:
        inputs: Bands of a group.
        width: Output channels.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(inputs, width, 3, padding=d, dilation=d) for d in (1, 3, 5)])
        self.activation = nn.PReLU()  # one slope, shared by the three convolutions
        self.residual = SpatialResidual(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(sum(self.activation(conv(x)) for conv in self.convs))


class MultiscaleAggregation(nn.Module):
    """MSAMG: multiscale aggregation of groups of bands, (n, bands, h, w) -> (n, width, h, w).

    All groups share convolutions; then each group has layers of its own; then the groups are averaged to an image.

    Args:
        bands: Spectral bands, 8 or more.
        width: Channels.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.groups = BandGroups(bands)
        self.shared = DilatedAggregation(BandGroups.SIZE, width)
        self.own = nn.ModuleList(
            [
                nn.Sequential(SpectralResidual(width), nn.Conv2d(width, BandGroups.SIZE, 1))
                for _ in range(self.groups.num_groups)
            ]
        )
        self.widen = nn.Conv2d(bands, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        groups = self.groups.split(x).transpose(0, 1)  # (groups, n, 8, h, w)
        outputs: list[Tensor] = []
        for chunk in groups.chunk(self.groups.num_chunks(x)):
            features = self.shared(chunk.flatten(0, 1)).unflatten(0, chunk.shape[:2])  # (groups, n, width, h, w)
            outputs += [layers(f) for layers, f in zip(self.own[len(outputs) :], features, strict=False)]
        return self.widen(self.groups.average(torch.stack(outputs, 1)))


class DeformableConv(nn.Module):
    """A 3x3 convolution without bias whose nine taps are moved at each pixel by learned offsets.

    The image is interpolated bilinearly between pixels and is zero outside.

    Args:
        width: Channels, in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.offsets = Conv3x3(width, 2 * 9)  # in pixels: nine vertical offsets, then nine horizontal ones
        nn.init.zeros_(self.offsets.weight)
        self.conv = nn.Conv2d(width, width, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        offsets = self.offsets(x)
        offsets = offsets.to(torch.promote_types(offsets.dtype, torch.float32))  # bfloat16 is too coarse for positions
        down, right = offsets.unflatten(1, (2, 3, 3)).unbind(1)  # each (n, 3, 3, h, w)
        tap = torch.arange(-1, 2, device=x.device)
        row = down + tap[:, None, None, None] + torch.arange(h, device=x.device)[:, None]
        column = right + tap[:, None, None] + torch.arange(w, device=x.device)
        samples = _sample_bilinear(x, row.flatten(1), column.flatten(1))  # (n, width, 9 * h * w)
        samples = samples.view(n, -1, h, w)
        return F.conv2d(samples, self.conv.weight.flatten(1)[:, :, None, None])


def _sample_bilinear(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return the values of images at some positions, interpolated bilinearly; outside, images are zero.

    Args:
        x: Images, (n, c, h, w).
        row, column: The positions in pixels, (n, m) each.

    Returns:
        (n, c, m).
    """
    h, w = x.shape[-2:]
    if not torch.are_deterministic_algorithms_enabled():
        positions = torch.stack([(2 * column + 1) / w - 1, (2 * row + 1) / h - 1], -1)  # the image spans -1 to 1
        return F.grid_sample(x, positions[:, None], align_corners=False)[:, :, 0]
    # On a GPU, the gradient of grid_sample is not deterministic. Gathering the four neighbours is.
    top, left = row.detach().floor(), column.detach().floor()
    bottom_weight, right_weight = row - top, column - left
    samples: Any = 0
    for down, right in product((0, 1), (0, 1)):
        pixel_row, pixel_column = top.long() + down, left.long() + right
        weight = (bottom_weight if down else 1 - bottom_weight) * (right_weight if right else 1 - right_weight)
        weight = weight * ((pixel_row >= 0) & (pixel_row < h) & (pixel_column >= 0) & (pixel_column < w))
        index = pixel_row.clamp(0, h - 1) * w + pixel_column.clamp(0, w - 1)
        samples = samples + weight[:, None] * x.flatten(2).gather(2, index[:, None].expand(-1, x.shape[1], -1))
    return samples


class DeformableAttention(nn.Module):
    """DMSA: attention between the channels of each head, with queries from a deformable convolution.

    Args:
        width: Channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = DeformableConv(width)
        self.project = nn.Conv2d(width, 3 * width, 1, bias=False)  # its first third, for queries, is never used
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.out = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        width, (h, w) = x.shape[1], x.shape[-2:]
        kv = self.project(x)[:, width:] if counting_macs.get() else F.conv2d(x, self.project.weight[width:])
        k, v = kv.chunk(2, 1)
        q, k, v = (channels.flatten(2).unflatten(1, (HEADS, -1)) for channels in (self.query(x), k, v))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)  # (n, heads, width / heads, h * w)
        attention = (q @ k.mT * self.temperature).softmax(-1)
        return self.out((attention @ v).flatten(1, 2).unflatten(-1, (h, w)))


class Transformer(nn.Module):
    """DCTM: deformable attention between channels, then a multilayer perceptron, (n, c, h, w) -> (n, c, h, w).

    Args:
        width: Channels c.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(LayerNorm2d(width), DeformableAttention(width))
        self.perceptron = nn.Sequential(
            LayerNorm2d(width), nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.perceptron(x)


class MSDformer(nn.Module):
    """Multiscale aggregation, transformers, a learnable upsampler, and a shortcut with features of the bicubic image.

    Args:
        bands: Spectral bands, in and out, 8 or more.
        scale: Upsampling factor r, a power of two.
        width: Channels F.
        transformers: Number of DCTMs.
        groups: Groups g of each upsampling convolution.
    """

    def __init__(self, bands: int, scale: int, width: int, transformers: int, groups: int) -> None:
        super().__init__()
        self.head = MultiscaleAggregation(bands, width)
        self.transformers = nn.ModuleList([Transformer(width) for _ in range(transformers)])
        self.convs = nn.ModuleList([Conv3x3(width, width) for _ in range(transformers)])  # the first is never called
        self.upsampler = make_doubling_upsampler(width, scale, groups)
        self.bicubic = Bicubic(bands, scale)
        self.shortcut = Conv3x3(bands, width)
        self.tail = Conv3x3(width, bands)

    def forward(self, lr: Tensor) -> Tensor:
        lr = lr.contiguous(memory_format=torch.channels_last)  # faster for convolutions of 1x1 or few channels
        x = self.head(lr)
        y = self.transformers[0](x)
        for transformer, conv in zip(self.transformers[1:], self.convs[1:], strict=True):
            y = conv(transformer(y))
        y = self.upsampler(x + y)  # (n, width, r * h, r * w)
        return apply_in_strips(lambda y, bicubic: self.tail(y + self.shortcut(bicubic)), 2, y, self.bicubic(lr))
