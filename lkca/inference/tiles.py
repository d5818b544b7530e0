"""Networks on images of any size: tile by tile, with what the network pools taken from the whole image.

SSPSR, MSDformer and ESSAformer pool over the whole image at several points, one after the other. The sums of the first
point are known after one pass over all tiles, those of the second one after another pass, and so on. Each pass runs the
network up to the point whose sums it adds up; a last pass gives the result. Between these points, a network sees a
limited neighbourhood. A tile has that margin on each side, so the result is that of the whole image.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from itertools import pairwise
from math import ceil, sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.models.essaformer import ESSAformer, SpectralCorrelationAttention, _subtract_output_mean
from lkca.models.fcnn3d import FCNN3D
from lkca.models.layers import SpatialResidual, SpectralResidual
from lkca.models.lkca import LKCANet
from lkca.models.msdformer import HEADS, DeformableAttention, MSDformer, Transformer
from lkca.models.sspsr import SSPSR
from lkca.models.vdsr import VDSR

LKCA_MARGIN = 48  # LR pixels. A block reaches 31 pixels, 16 blocks 496
BICUBIC_REACH = 2  # LR pixels around a pixel that bicubic interpolation uses
ReadWindow = Callable[[tuple[int, int], tuple[int, int]], Tensor]  # rows and columns -> (bands, rows, columns)


class Tile(NamedTuple):
    """A part of an image, in pixels of the LR image.

    Args:
        top, left: The first row and the first column of the window that the network sees.
        height, width: Size of this window.
        rows, columns: First and last + 1 of the part of the window that belongs to the tile, counted in the window.
    """

    top: int
    left: int
    height: int
    width: int
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def window(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of the window in the image, first and last + 1."""
        return (self.top, self.top + self.height), (self.left, self.left + self.width)

    @property
    def inner_rows(self) -> tuple[int, int]:
        """Rows of the image that belong to the tile, first and last + 1."""
        return self.top + self.rows[0], self.top + self.rows[1]

    @property
    def inner_columns(self) -> tuple[int, int]:
        """Columns of the image that belong to the tile, first and last + 1."""
        return self.left + self.columns[0], self.left + self.columns[1]

    def crop(self, features: Tensor) -> Tensor:
        """Return the part of features (..., s * height, s * width) that belongs to the tile, for any factor s."""
        s = features.shape[-1] // self.width
        return features[..., s * self.rows[0] : s * self.rows[1], s * self.columns[0] : s * self.columns[1]]

    @property
    def pixels(self) -> int:
        """Number of pixels that belong to the tile."""
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])


def cut_tiles(rows: int, columns: int, side: int, margin: int) -> list[Tile]:
    """Return tiles that cover an image, each pixel once.

    All windows have the same size. Those at the border of the image are moved inwards instead of getting smaller, so
    that a network adds its zeros only outside of the image.

    Args:
        rows, columns: Size of the image.
        side: Largest height and width of a tile.
        margin: Pixels that the window extends beyond the tile on each side, inside of the image.
    """
    parts = [_cut_side(length, side, margin) for length in (rows, columns)]
    return [
        Tile(top, left, height, width, inner_rows, inner_columns)
        for top, height, inner_rows in parts[0]
        for left, width, inner_columns in parts[1]
    ]


def _cut_side(length: int, side: int, margin: int) -> list[tuple[int, int, tuple[int, int]]]:
    """Return start and size of the windows along a side, and what belongs to the tile, counted in the window."""
    count = ceil(length / side)
    edges = [length * i // count for i in range(count + 1)]
    size = min(length, side + 2 * margin)
    result = []
    for first, last in pairwise(edges):
        start = min(max(0, first - margin), length - size)
        result.append((start, size, (first - start, last - start)))
    return result


class _StopPass(Exception):
    """The sums that a pass adds up are complete for a tile, so the rest of the network is not needed."""


class _Sums:
    """The sums over the whole image at each point at which a network pools; points are numbered in the order of calls.

    Args:
        pixels: Number of pixels of the LR image, or of the parts that stand for it.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels, self.known, self.new = pixels, dict[int, Tensor](), dict[int, Tensor]()
        self.tile: Tile | None = None
        self.level = self.point = 0

    def start_tile(self, tile: Tile) -> None:
        """Begin to apply the network to a tile."""
        self.tile, self.point = tile, 0

    def end_pass(self) -> bool:
        """Take over the sums of a pass; return whether there are any. The next pass is that of the next level."""
        self.known |= self.new
        found, self.new = bool(self.new), {}
        self.level += 1
        return found

    def pool(
        self, features: Tensor, sums: Callable[[Tensor], Tensor], level: int | None, stops: bool
    ) -> tuple[Tensor, int]:
        """Return sums over the whole image, and the number of pixels that they have at this resolution.

        If they are not known yet, those of the tile are returned, so that other points can be reached.

        Args:
            features: Features of the window, (..., height, width).
            sums: Function that returns the sums of features over their pixels.
            level: Number of points that these sums depend on; None if they depend on all points before.
            stops: Whether all points behind this one depend on it.

        Raises:
            _StopPass: If the sums are not known yet and `stops` is true.
        """
        assert self.tile is not None
        point, factor = self.point, features.shape[-1] // self.tile.width
        self.point += 1
        if point in self.known:
            return self.known[point].to(features.dtype), self.pixels * factor**2
        part = sums(self.tile.crop(features)).double()
        if self.level == (point if level is None else level):
            self.new[point] = self.new[point] + part if point in self.new else part
        if stops:
            raise _StopPass
        return part.to(features.dtype), self.tile.pixels * factor**2


class _PooledMean(nn.Module):
    """The mean over the whole image, (n, c, h, w) -> (n, c, 1, 1), in the place of AdaptiveAvgPool2d(1)."""

    def __init__(self, sums: _Sums, level: int, stops: bool = True) -> None:
        super().__init__()
        self.sums, self.level, self.stops = sums, level, stops

    def forward(self, x: Tensor) -> Tensor:
        total, pixels = self.sums.pool(x, _sum_pixels, self.level, self.stops)
        return total / pixels


def _sum_pixels(features: Tensor) -> Tensor:
    """Return sums over pixels, (..., 1, 1)."""
    return features.sum((-2, -1), keepdim=True, dtype=torch.float64)


class _PooledChannelAttention(nn.Module):
    """`DeformableAttention` whose attention between channels is that of the whole image."""

    def __init__(self, layer: DeformableAttention, sums: _Sums, level: int) -> None:
        super().__init__()
        self.layer, self.sums, self.level = layer, sums, level

    def forward(self, x: Tensor) -> Tensor:
        layer, width, (h, w) = self.layer, x.shape[1], x.shape[-2:]
        k, v = F.conv2d(x, layer.project.weight[width:]).chunk(2, 1)
        products, _ = self.sums.pool(torch.cat([layer.query(x), k], 1), _sum_products, self.level, stops=True)
        products, q_squares, k_squares = products.split([width // HEADS, 1, 1], -1)
        lengths = q_squares.sqrt().clamp_min(1e-12) * k_squares.sqrt().clamp_min(1e-12).mT
        attention = (products / lengths * layer.temperature).softmax(-1)
        v = v.flatten(2).unflatten(1, (HEADS, -1))
        return layer.out((attention @ v).flatten(1, 2).unflatten(-1, (h, w)))


def _sum_products(features: Tensor) -> Tensor:
    """Return products of queries and keys and their squares, summed over pixels.

    Args:
        features: Queries and keys, (n, 2 * c, h, w).

    Returns:
        (n, heads, c / heads, c / heads + 2): the products, the squares of the queries, and those of the keys.
    """
    q, k = (part.flatten(2).unflatten(1, (HEADS, -1)).double() for part in features.chunk(2, 1))
    return torch.cat([q @ k.mT, q.square().sum(-1, keepdim=True), k.square().sum(-1, keepdim=True)], -1)


class _PooledCorrelationAttention(nn.Module):
    """`SpectralCorrelationAttention` whose sums over pixels are those of the whole image."""

    def __init__(self, layer: SpectralCorrelationAttention, sums: _Sums) -> None:
        super().__init__()
        self.layer, self.sums = layer, sums

    def forward(self, x: Tensor) -> Tensor:
        layer, (h, w) = self.layer, x.shape[-2:]
        weights, biases = layer.project.weight.chunk(3), layer.project.bias.chunk(3)
        tokens = layer.norm(x.movedim(1, -1).flatten(1, 2))  # (n, pixels, c)
        k = F.linear(tokens, *_subtract_output_mean(weights[1], biases[1])).square()
        k = k / (k.sum(-1, keepdim=True) + 1e-7)
        v = F.linear(tokens, weights[2], biases[2])
        pair = torch.cat([k, v], -1).mT.unflatten(-1, (h, w))  # (n, 2 * c, h, w)
        sums, pixels = self.sums.pool(pair, _sum_context, level=None, stops=True)
        products, squares = sums.split([v.shape[-1], 1], -1)
        context = products / (squares.clamp_min(1e-24).sqrt() * sqrt(pixels))
        q = F.normalize(F.linear(tokens, *_subtract_output_mean(weights[0], biases[0])).square(), dim=-1)
        return layer.out((q @ context).add_(v)).mT.unflatten(-1, (h, w))


def _sum_context(features: Tensor) -> Tensor:
    """Return products of keys and values, and squares of keys, summed over pixels, (n, c, c + 1)."""
    k, v = (part.flatten(2).double() for part in features.chunk(2, 1))
    return torch.cat([k @ v.mT, k.square().sum(-1, keepdim=True)], -1)


class TiledNetwork:
    """A network that is applied to tiles of an image.

    Args:
        network: The network, in evaluation mode.
        read: Function that returns a window of the LR image.
        tiles: Tiles whose pixels are pooled: all tiles of the image, or some that stand for them.
    """

    def __init__(self, network: nn.Module, read: ReadWindow, tiles: Iterable[Tile]) -> None:
        tiles, self.read = list(tiles), read
        self._sums = _Sums(sum(tile.pixels for tile in tiles))
        self._network = _replace_pooling(deepcopy(network), self._sums)
        pooling = any(isinstance(layer, POOLING) for layer in self._network.modules())
        while pooling:
            for tile in tiles:
                with suppress(_StopPass):
                    self._run(tile)
            pooling = self._sums.end_pass()

    @torch.no_grad()
    def _run(self, tile: Tile) -> Tensor:
        self._sums.start_tile(tile)
        return self._network(self.read(*tile.window)[None])[0]

    def reconstruct(self, tile: Tile) -> Tensor:
        """Return the reconstruction of what belongs to a tile, (bands, r * rows, r * columns)."""
        return tile.crop(self._run(tile))


class _TiledVDSR(nn.Module):
    """VDSR, which subtracts the mean spectrum of the whole image."""

    def __init__(self, network: VDSR, sums: _Sums) -> None:
        super().__init__()
        self.network, self.mean = network, _PooledMean(sums, level=0)

    def forward(self, lr: Tensor) -> Tensor:
        network = self.network
        return network.upsampler(network.backbone(lr - self.mean(lr))) + network.bicubic(lr)


POOLING = (_PooledMean, _PooledChannelAttention, _PooledCorrelationAttention)


def _replace_pooling(network: nn.Module, sums: _Sums) -> nn.Module:
    """Replace the layers of a network that pool over the image by layers that take the sums of the whole image."""
    if isinstance(network, VDSR):
        return _TiledVDSR(network, sums)
    if isinstance(network, SSPSR):  # each group of bands passes through the branch, then all bands through the trunk
        levels = 0
        for sspn, stops in ((network.branch[1], False), (network.trunk[1], True)):
            for layer in sspn.modules():
                if isinstance(layer, SpectralResidual):
                    layer.attention[0] = _PooledMean(sums, levels, stops)
                    levels += 1
    if isinstance(network, MSDformer):  # each group of bands has a layer that pools, then each transformer has one
        for layer in network.head.own.modules():
            if isinstance(layer, SpectralResidual):
                layer.attention[0] = _PooledMean(sums, level=0, stops=False)
        for level, transformer in enumerate(network.transformers, 1):
            assert isinstance(transformer, Transformer)
            attention = transformer.attention[1]
            assert isinstance(attention, DeformableAttention)
            transformer.attention[1] = _PooledChannelAttention(attention, sums, level)
    if isinstance(network, ESSAformer):
        for block in (network.high, network.low):
            correlation = block.attention[0]
            assert isinstance(correlation, SpectralCorrelationAttention)
            block.attention[0] = _PooledCorrelationAttention(correlation, sums)
    return network


def find_margin(network: nn.Module) -> int:
    """Return the margin of tiles, LR pixels: as far as the network sees between the points at which it pools, or more.

    LKCA networks have a smaller margin, because little of what their blocks see comes from far away. MSDformer's
    deformable convolutions see further where their learned offsets are large.
    """
    if isinstance(network, LKCANet):
        return LKCA_MARGIN
    if isinstance(network, VDSR):
        return sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) + BICUBIC_REACH
    if isinstance(network, FCNN3D):
        return 6  # 9 x 9 and 5 x 5
    if isinstance(network, SSPSR):  # two 3x3 convolutions in each spatial residual, and six more
        return 2 * sum(isinstance(layer, SpatialResidual) for layer in network.modules()) + 6
    if isinstance(network, MSDformer):  # a deformable convolution, its offsets and a convolution in each transformer
        return 4 * len(network.transformers) + 16
    return 16 if isinstance(network, ESSAformer) else BICUBIC_REACH
