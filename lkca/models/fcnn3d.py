"""3DFCNN as the paper measured it: bands are channels and the spectral axis has length 1.

Source: Mei et al., "Hyperspectral Image Spatial Super-Resolution via 3D Full Convolutional Neural Network", Remote
Sensing 2017. This variant is derived from the printed parameters and MACs, which it equals in all six rows.
docs/explanation/networks.md says how we read the paper.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from lkca.models.layers import Upsampler, counting_macs

FEATURES, MIXED = 64, 32  # output channels of the first and of the second layer


class FlatConv3d(nn.Conv3d):
    """A 3D convolution of images, taken as cubes of depth 1, (n, c, h, w) -> (n, outputs, h, w).

    In a kernel of depth 3, only the middle slice multiplies the image; the two outer slices multiply padding. The layer
    has all three, because the printed sizes include them, but it computes only with the middle slice.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Depth, height and width of the kernel, odd.
        groups: Groups of channels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], groups: int = 1) -> None:
        padding = kernel[0] // 2, kernel[1] // 2, kernel[2] // 2
        super().__init__(inputs, outputs, kernel, padding=padding, groups=groups)

    def middle(self) -> Tensor:
        """Return the middle slice of the kernels, (outputs, inputs / groups, height, width)."""
        return self.weight[:, :, self.kernel_size[0] // 2]

    def forward(self, x: Tensor) -> Tensor:
        if counting_macs.get():
            return super().forward(x[:, :, None])[:, :, 0]
        return F.conv2d(x, self.middle(), self.bias, padding=self.padding[1:], groups=self.groups)


class Upsampler3d(Upsampler):
    """An `Upsampler` with a 3x5x5 convolution.

    Args:
        width: Input channels.
        bands: Output bands.
        scale: Upsampling factor r.
        groups: Groups g of the convolution.
    """

    def __init__(self, width: int, bands: int, scale: int, groups: int) -> None:
        super().__init__(width, bands, scale, groups, bias=True)
        self.conv = FlatConv3d(width, bands * scale**2, (3, 5, 5), groups)

    def weight_matrix(self) -> Tensor:
        assert isinstance(self.conv, FlatConv3d)
        return self.conv.middle().flatten(1)


class FCNN3D(nn.Module):
    """Four convolutions, the last one a learnable upsampler. No shortcut.

    Args:
        bands: Spectral bands, in and out.
        scale: Upsampling factor r.
        width: Input channels of the upsampler, 9 in the paper.
        groups: Groups g of the upsampler's convolution.
    """

    def __init__(self, bands: int, scale: int, width: int, groups: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            FlatConv3d(bands, FEATURES, (3, 9, 9)),
            nn.ReLU(inplace=True),
            FlatConv3d(FEATURES, MIXED, (1, 1, 1)),
            nn.ReLU(inplace=True),
            FlatConv3d(MIXED, width, (1, 1, 1)),
            nn.ReLU(inplace=True),
        )
        self.upsampler = Upsampler3d(width, bands, scale, groups)

    def forward(self, lr: Tensor) -> Tensor:
        return self.upsampler(self.backbone(lr))
