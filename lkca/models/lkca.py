"""LKCA-Net; LKCA-LR when the upsampler is grouped; LKCA-KD when that learns from a deeper LKCA-Net.

Source: Shi, Zhou, Sun & Han, "Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution"; equation
numbers are the paper's. Written from the paper and its ancestor, the Visual Attention Network (Guo et al. 2023); what
the printed sizes decide and what had to be inferred: docs/explanation/networks.md.
"""

from functools import lru_cache
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.models.bicubic import Bicubic
from lkca.models.layers import Conv3x3, ScaledUpsampler, counting_macs, subtract_mean_spectrum

SQUEEZE = 16  # reduction of the channel attention: 3 * 128 -> 24 meets the printed sizes
MIXING_GROUPS = 4  # of the 1x1 convolution behind it
LAYER_SCALE = 1e-2  # start of gamma, the ancestor's


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel, (n, c, h, w).

    Args:
        width: Channels c.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.weight + self.bias


class DilatedDepthwise(nn.Conv2d):
    """A k x k depthwise convolution with dilation d that keeps the size.

    Two forms give the same numbers up to rounding. Costs are counted with the whole kernel, as printed.

    Any device and size: the usual convolution without the taps that only ever meet padding. On an h x w image a tap at
    distance d*i from the centre reaches a pixel only if d*i < max(h, w): on the 16 x 16 patches of the paper 25 of the
    49 taps of the 7 x 7 kernel do.

    Small images on a CPU, where that is slow: dilation only connects pixels whose rows and columns leave the same
    remainders by d. These d*d small images, 4 x 4 pixels out of 16 x 16 with d = 5, share one matrix a channel, which
    holds the kernel's taps: products of matrices, four times as fast, gradients included.

    Args:
        width: Channels.
        kernel: Kernel size k, odd.
        dilation: Dilation d.
    """

    MOST = 64  # pixels of a small image, above which the matrices cost more than they save

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(width, width, kernel, padding=padding, dilation=dilation, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        dilation = self.dilation[0]
        rows, columns = (ceil(side / dilation) for side in x.shape[-2:])
        if x.device.type == "cpu" and rows * columns <= self.MOST and not counting_macs.get():
            return self._by_matrices(x, rows, columns)
        radius = self.kernel_size[0] // 2
        reach = radius if counting_macs.get() else min(radius, max(rows, columns) - 1)
        cut = slice(radius - reach, radius + reach + 1)
        weight = self.weight[:, :, cut, cut]
        return F.conv2d(x, weight, self.bias, padding=dilation * reach, dilation=dilation, groups=self.groups)

    def _by_matrices(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """On small images of rows x columns pixels; those of a batch lie side by side, innermost in memory."""
        (n, c, h, w), d = x.shape, self.dilation[0]
        x = F.pad(x.permute(1, 2, 3, 0), (0, 0, 0, columns * d - w, 0, rows * d - h))
        x = x.view(c, rows, d, columns, d, n).transpose(2, 3).reshape(c, rows * columns, d * d * n)
        taps = F.pad(self.weight.flatten(1), (0, 1))  # and a zero
        which = torch.from_numpy(_taps(self.kernel_size[0], rows, columns))
        matrices = taps.index_select(1, which).view(c, rows * columns, rows * columns)
        y = torch.baddbmm(self.bias[:, None, None], matrices, x)
        return (
            y.view(c, rows, columns, d, d, n)
            .transpose(2, 3)
            .reshape(c, rows * d, columns * d, n)[:, :h, :w]
            .permute(3, 0, 1, 2)
        )


@lru_cache
def _taps(kernel: int, rows: int, columns: int) -> np.ndarray:
    """Which tap of a k x k kernel leads from pixel to pixel of a rows x columns image, k*k for none: (to * from)."""
    (down, right), radius = (np.subtract.outer(range(n), range(n)) for n in (rows, columns)), kernel // 2
    down, right = radius - down[:, None, :, None], radius - right[None, :, None, :]  # the tap's row and column
    inside = (down >= 0) & (down < kernel) & (right >= 0) & (right < kernel)
    return np.where(inside, down * kernel + right, kernel**2).ravel()


class LKCA(nn.Module):
    """Large-kernel channel attention: the attention map A_f of Eqs. 9-13, (n, c, h, w) -> (n, c, h, w).

    Args:
        width: Channels c.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = DilatedDepthwise(width, kernel=5, dilation=5)
        self.far = DilatedDepthwise(width, kernel=7, dilation=7)
        self.calibrate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(3 * width, 3 * width // SQUEEZE, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(3 * width // SQUEEZE, 3 * width, 1),
            nn.Sigmoid(),
        )
        self.mix = nn.Conv2d(3 * width, width, 1, groups=MIXING_GROUPS)

    def forward(self, u: Tensor) -> Tensor:
        a1 = self.near(u)  # Eq. 9
        a2 = self.far(a1)  # Eq. 10
        ac = torch.cat([u, a1, a2], 1)  # Eq. 11, (n, 3 * c, h, w)
        return self.mix(ac * self.calibrate(ac))  # Eqs. 12, 13


class Residual(nn.Module):
    """x + gamma * f(x), where training drops f for whole images at a given rate (drop path).

    Args:
        width: Channels; gamma has one factor for each.
        drop: Probability of dropping, in [0, 1).
    """

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width, 1, 1), LAYER_SCALE))
        self.drop = drop

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        gamma = self.gamma
        if self.training and self.drop:
            keep = 1 - self.drop
            gamma = gamma * (torch.rand(len(x), 1, 1, 1, device=x.device) < keep) / keep
        return torch.addcmul(x, gamma, branch)


class Block(nn.Module):
    """LKB, the large-kernel channel attention block (Fig. 3, Eqs. 7-14), (n, c, h, w) -> (n, c, h, w).

    Args:
        width: Channels c.
        drop: Drop path rate.
    """

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.project = nn.Sequential(ChannelNorm(width), nn.Conv2d(width, width, 1), nn.GELU())
        self.attention = LKCA(width)
        self.merge = nn.Conv2d(width, width, 1)
        self.residual1 = Residual(width, drop)
        # The printed sizes hold 384 numbers more than the text explains: the ancestor's second residual, without MLP.
        self.norm2 = ChannelNorm(width)
        self.residual2 = Residual(width, drop)

    def forward(self, x: Tensor) -> Tensor:
        u = self.project(x)
        x = self.residual1(x, self.merge(self.attention(u) * u))  # Eq. 14
        return self.residual2(x, self.norm2(x))


class LKCANet(nn.Module):
    """A stack of LKBs, a learnable upsampler and a bicubic shortcut (Eq. 1).

    The upsampling convolution starts at zero: an untrained network is bicubic.

    Args:
        bands: Spectral bands, in and out.
        scale: Upsampling factor r.
        width: Channels of the backbone, C_in of Sec. III-C.
        blocks: Number of LKBs, N.
        drop_path: Drop path rate of the last block; the rates grow linearly from zero.
        groups: Groups g of the upsampler's convolution (Sec. III-C).
    """

    def __init__(self, bands: int, scale: int, width: int, blocks: int, drop_path: float, groups: int) -> None:
        super().__init__()
        self.head = Conv3x3(bands, width)  # Eq. 2
        self.blocks = nn.Sequential(*[Block(width, drop_path * i / max(1, blocks - 1)) for i in range(blocks)])  # Eq. 3
        self.upsampler = ScaledUpsampler(width, bands, scale, groups, bias=True)  # Eq. 4
        self.upsampler.zero_parameters()
        self.bicubic = Bicubic(bands, scale)  # Eq. 5

    def forward(self, lr: Tensor) -> Tensor:
        return self.upsampler(self.blocks(self.head(subtract_mean_spectrum(lr)))) + self.bicubic(lr)  # Eq. 6
