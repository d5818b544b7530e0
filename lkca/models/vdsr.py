"""VDSR as the paper measured it: twenty bias-free layers on the LR grid, PixelShuffle at the end.

Source: Kim, Lee & Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016. This
variant is derived from the printed parameters and MACs, which it equals in all six rows, and its shortcut from the
printed scores. docs/explanation/networks.md says how we read the paper.
"""

from math import sqrt

from torch import Tensor, nn

from lkca.models.bicubic import Bicubic
from lkca.models.layers import Conv3x3, Upsampler, subtract_mean_spectrum


class VDSR(nn.Module):
    """A chain of 3x3 convolutions with ReLU, a learnable upsampler and a bicubic shortcut.

    Args:
        bands: Spectral bands, in and out.
        scale: Upsampling factor r.
        width: Channels of the backbone.
        layers: Number of convolutions, including that of the upsampler.
        groups: Groups g of the upsampler's convolution.
    """

    def __init__(self, bands: int, scale: int, width: int, layers: int, groups: int) -> None:
        super().__init__()
        convs = [Conv3x3(bands if i == 0 else width, width, bias=False) for i in range(layers - 1)]
        for conv in convs:
            nn.init.normal_(conv.weight, std=sqrt(2 / (9 * width)))  # initialisation by He et al., with fan-out
        self.backbone = nn.Sequential(*[layer for conv in convs for layer in (conv, nn.ReLU(inplace=True))])
        self.upsampler = Upsampler(width, bands, scale, groups, bias=False)
        self.upsampler.zero_parameters()
        self.bicubic = Bicubic(bands, scale)

    def forward(self, lr: Tensor) -> Tensor:
        return self.upsampler(self.backbone(subtract_mean_spectrum(lr))) + self.bicubic(lr)
