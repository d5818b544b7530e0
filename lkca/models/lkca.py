"""LKCA-Net. With a grouped upsampler it is LKCA-LR; an LKCA-LR that learns from a deeper LKCA-Net is LKCA-KD.

Source: Shi, Zhou, Sun & Han, "Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution"; equation
numbers are the paper's. Written from the paper and from the network it extends, the Visual Attention Network (Guo et
al. 2023). docs/explanation/networks.md says what the printed sizes determine and what we inferred.
"""

from functools import lru_cache
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.models.bicubic import Bicubic
from lkca.models.layers import Conv3x3, ScaledUpsampler, counting_macs, subtract_mean_spectrum

SQUEEZE = 16  # factor by which the channel attention reduces the channels: 384 to 24, as the printed sizes require
MIXING_GROUPS = 4  # groups of the 1x1 convolution after the channel attention
LAYER_SCALE = 1e-2  # initial gamma, as in the Visual Attention Network


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, (n, c, h, w).

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
    """A k x k depthwise convolution with dilation d that keeps height and width.

    The layer has two implementations with the same result up to rounding. While MACs are counted, it uses the whole
    kernel, as the printed numbers do.

    The first one is the usual convolution without the taps that only multiply padding. On an h x w image, a tap at
    distance d*i from the centre reaches a pixel only if d*i < max(h, w): on the 16 x 16 patches of the paper, 25 of
    the 49 taps of the 7 x 7 kernel do.

    The second one is a product of matrices. For small images on a CPU it is four times as fast, gradients included.
    Dilation connects only pixels whose rows and columns have the same remainders modulo d. These pixels form d*d small
    images, of 4 x 4 pixels for 16 x 16 and d = 5. Each channel multiplies its small images by one matrix of the
    kernel's taps.

    Args:
        width: Channels.
        kernel: Kernel size k, odd.
        dilation: Dilation d.
    """

    MAX_MATRIX_PIXELS = 64  # pixels of a small image; with more, the product of matrices is slower

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(width, width, kernel, padding=padding, dilation=dilation, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        dilation = self.dilation[0]
        rows, columns = (ceil(side / dilation) for side in x.shape[-2:])
        if x.device.type == "cpu" and rows * columns <= self.MAX_MATRIX_PIXELS and not counting_macs.get():
            return self._multiply_matrices(x, rows, columns)
        radius = self.kernel_size[0] // 2
        reach = radius if counting_macs.get() else min(radius, max(rows, columns) - 1)
        middle = slice(radius - reach, radius + reach + 1)
        weight = self.weight[:, :, middle, middle]
        return F.conv2d(x, weight, self.bias, padding=dilation * reach, dilation=dilation, groups=self.groups)

    def _multiply_matrices(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """Return the convolution by products of matrices.

        The batch is the last dimension in memory.

        Args:
            x: Images, (n, c, h, w).
            rows, columns: Size of the small images.
        """
        (n, c, h, w), d = x.shape, self.dilation[0]
        x = F.pad(x.permute(1, 2, 3, 0), (0, 0, 0, columns * d - w, 0, rows * d - h))
        x = x.view(c, rows, d, columns, d, n).transpose(2, 3).reshape(c, rows * columns, d * d * n)
        taps = F.pad(self.weight.flatten(1), (0, 1))  # (c, k * k + 1); the last one is zero
        tap_of_pair = torch.from_numpy(_find_taps(self.kernel_size[0], rows, columns))
        matrices = taps.index_select(1, tap_of_pair).view(c, rows * columns, rows * columns)
        assert self.bias is not None
        y = torch.baddbmm(self.bias[:, None, None], matrices, x)
        return (
            y.view(c, rows, columns, d, d, n)
            .transpose(2, 3)
            .reshape(c, rows * d, columns * d, n)[:, :h, :w]
            .permute(3, 0, 1, 2)
        )


@lru_cache
def _find_taps(kernel: int, rows: int, columns: int) -> np.ndarray:
    """Return the tap of a k x k kernel that connects each pair of pixels of a rows x columns image.

    Returns:
        (to * from,): indices of the taps, k * k where no tap connects the two pixels.
    """
    (down, right), radius = (np.subtract.outer(range(n), range(n)) for n in (rows, columns)), kernel // 2
    down, right = radius - down[:, None, :, None], radius - right[None, :, None, :]  # row and column of the tap
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
    """x + gamma * f(x). In training, f(x) is dropped for whole images at random (drop path).

    Args:
        width: Channels; gamma has one factor for each.
        drop: Drop path rate: the probability of dropping, in [0, 1).
    """

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width, 1, 1), LAYER_SCALE))
        self.drop = drop

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        gamma: Tensor = self.gamma
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
        # The text does not explain 384 parameters of the printed sizes. We assume that they are the second residual of
        # the Visual Attention Network, without its MLP.
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
        width: Channels of the backbone, C_in in Sec. III-C.
        blocks: Number N of LKBs.
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
