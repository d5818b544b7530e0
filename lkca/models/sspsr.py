"""SSPSR: spatial-spectral priors, first of groups of neighbouring bands, then of all bands.

Source: Jiang, Sun, Liu & Ma, "Learning Spatial-Spectral Prior for Super-Resolution of Hyperspectral Imagery", IEEE TCI
2020. Written from a description. Parameters and MACs equal the printed ones in all six rows.
docs/explanation/networks.md says how we read the paper.
"""

import torch
from torch import Tensor, nn

from lkca.models.bicubic import Bicubic
from lkca.models.layers import (
    BandGroups,
    Conv3x3,
    SpatialResidual,
    SpectralResidual,
    Upsampler,
    apply_in_strips,
    make_doubling_upsampler,
)


class SSPN(nn.Module):
    """Spatial-spectral prior network: x plus a chain of spatial and spectral residuals, (n, c, h, w) -> (n, c, h, w).

    Args:
        width: Channels c.
        blocks: Number of pairs of a spatial and a spectral residual.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *[residual(width) for _ in range(blocks) for residual in (SpatialResidual, SpectralResidual)]
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SSPSR(nn.Module):
    """A branch shared by all groups of bands upsamples them by r / 2; a trunk upsamples all bands by 2.

    Args:
        bands: Spectral bands, in and out, 8 or more.
        scale: Upsampling factor r, a power of two.
        width: Channels F of branch and trunk.
        blocks: Number of pairs of a spatial and a spectral residual, in the branch and in the trunk.
        groups: Groups g of each upsampling convolution.
    """

    def __init__(self, bands: int, scale: int, width: int, blocks: int, groups: int) -> None:
        super().__init__()
        self.groups = BandGroups(bands)
        self.branch = nn.Sequential(
            Conv3x3(BandGroups.SIZE, width),
            SSPN(width, blocks),
            make_doubling_upsampler(width, scale // 2, groups),
            Conv3x3(width, BandGroups.SIZE),
        )
        self.trunk = nn.Sequential(
            Conv3x3(bands, width), SSPN(width, blocks), Upsampler(width, width, 2, groups, bias=True)
        )
        self.bicubic = Bicubic(bands, scale)
        self.shortcut = Conv3x3(bands, width)
        self.tail = Conv3x3(width, bands)

    def forward(self, lr: Tensor) -> Tensor:
        lr = lr.contiguous(memory_format=torch.channels_last)  # faster for convolutions of 1x1 or few channels
        groups = self.groups.split(lr)  # (n, groups, 8, h, w)
        x = torch.cat([self.branch(chunk) for chunk in groups.flatten(0, 1).chunk(self.groups.num_chunks(lr))])
        x = self.groups.average(x.unflatten(0, groups.shape[:2]))  # (n, bands, r / 2 * h, r / 2 * w)
        x = self.trunk(x)  # (n, width, r * h, r * w)
        return apply_in_strips(lambda x, bicubic: self.tail(x + self.shortcut(bicubic)), 2, x, self.bicubic(lr))
