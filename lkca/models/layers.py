"""What two or more networks share."""

import torch
from torch import Tensor, nn

from lkca.errors import InputError


def centred(lr: Tensor) -> Tensor:
    """An image without its mean spectrum, (n, bands, h, w), for networks whose bicubic shortcut carries that already.

    Reflectance is nearly constant against its detail; Adam's steps then all point the constant's way and a network that
    starts as bicubic stays there for thousands of steps. Measured: NOTES.md.
    """
    return lr - lr.mean((-2, -1), keepdim=True)


class Upsampler(nn.Module):
    """The learnable upsampling layer that the paper is about: a 3x3 convolution and PixelShuffle (Eq. 4).

    PixelShuffle reads r**2 consecutive channels for a band, so each group makes neighbouring bands.

    Args:
        width: Input channels.
        bands: Output bands.
        scale: Upsampling factor r.
        groups: Groups g of the convolution; 1 is the dense layer (Sec. III-C).
        bias: Whether the convolution has one.
    """

    def __init__(self, width: int, bands: int, scale: int, groups: int, bias: bool) -> None:
        super().__init__()
        outputs = bands * scale**2
        if width % groups or outputs % groups:
            raise InputError(
                f"upsampler.groups: {groups} must divide the {width} input and the {outputs} output channels: "
                "choose another number of groups."
            )
        self.conv = nn.Conv2d(width, outputs, 3, padding=1, groups=groups, bias=bias)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, features: Tensor) -> Tensor:
        return self.shuffle(self.conv(features))

    def matrix(self) -> Tensor:
        """The weights as the paper reshapes them before the SVD: (bands * r**2, width / g * 9)."""
        return self.conv.weight.flatten(1)

    def zero(self) -> None:
        """Make the layer's output zero, so that a network with a bicubic shortcut begins as bicubic."""
        nn.init.zeros_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)


class ScaledUpsampler(Upsampler):
    """An `Upsampler` with one learnable factor an output channel, which folds into the convolution.

    The factors start small, as layer scales do: Adam's first steps then move the output little, however wide or deep
    the network is.
    """

    def __init__(self, width: int, bands: int, scale: int, groups: int, bias: bool) -> None:
        super().__init__(width, bands, scale, groups, bias)
        self.gain = nn.Parameter(torch.full((bands * scale**2, 1, 1), 1e-2))

    def forward(self, features: Tensor) -> Tensor:
        return self.shuffle(self.gain * self.conv(features))

    def matrix(self) -> Tensor:
        return self.gain.flatten(1) * super().matrix()
