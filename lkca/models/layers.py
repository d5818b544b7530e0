"""Layers that several networks share. Images are (n, channels, h, w)."""

from collections.abc import Callable
from contextvars import ContextVar
from math import ceil, log2

import torch
from torch import Tensor, nn

from lkca.models.winograd import Winograd


def subtract_mean_spectrum(lr: Tensor) -> Tensor:
    """Return images (n, bands, h, w) minus their mean spectra, which the network's bicubic shortcut adds back.

    Reflectance varies little around its mean. With the mean, all of Adam's steps have the same direction, and a network
    that starts as bicubic stays bicubic for thousands of steps: see docs/explanation/networks.md.
    """
    return lr - lr.mean((-2, -1), keepdim=True)


# True while lkca.models.cost counts multiply-accumulates. Layers then also compute what they otherwise skip, because
# the printed numbers include it.
counting_macs: ContextVar[bool] = ContextVar("counting_macs", default=False)


MAX_PIXELS = 2**14  # computed at a time, to save memory: a whole training patch, but only a part of a large image


def rows_per_strip(pixels: int) -> int:
    """Return how many rows of this many pixels are computed at a time, at least one."""
    return max(1, MAX_PIXELS // pixels)


def apply_in_strips(function: Callable[..., Tensor], margin: int, *images: Tensor) -> Tensor:
    """Return `function(*images)`; large images are computed in strips of rows, to save memory.

    With gradients enabled, the images are computed whole: autograd would store the results of all strips anyway.

    Args:
        function: Maps images (n, channels, h, w) to an image of the same height and width.
        margin: Number of rows above and below a row that its result depends on.
        images: Each (n, channels, h, w).
    """
    h, w = images[0].shape[-2:]
    if rows_per_strip(w) >= h or torch.is_grad_enabled():
        return function(*images)
    rows, result = max(1, rows_per_strip(w) - 2 * margin), torch.empty(0)
    for top in range(0, h, rows):
        above = min(top, margin)
        strip = function(*(image[:, :, top - above : top + rows + margin] for image in images))
        if top == 0:
            result = strip.new_empty(*strip.shape[:2], h, w)
        result[:, :, top : top + rows] = strip[:, :, above : above + rows]
    return result


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution that keeps height and width.

    On a CPU, convolutions of many channels and pixels use Winograd's algorithm. See `Winograd` for its limits.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        groups: Groups of channels.
        bias: Whether the convolution has a bias.
    """

    def __init__(self, inputs: int, outputs: int, groups: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        is_large = self.groups == 1 and min(self.weight.shape[:2]) >= 128 and x[:, 0].numel() >= 2**10
        if is_large and x.device.type == "cpu" and x.dtype == torch.float32 and not counting_macs.get():
            return Winograd.apply(x, self.weight, self.bias)
        return super().forward(x)


RESIDUAL_SCALE = 0.1  # factor of the residual branches of SSPSR and MSDformer
SQUEEZE = 16  # factor by which their channel attention reduces the channels


class SpatialResidual(nn.Module):
    """SSPSR's spatial residual: x + 0.1 Conv3x3(ReLU(Conv3x3(x))).

    Args:
        width: Channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Conv3x3(width, width), nn.ReLU(inplace=True), Conv3x3(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.body(x), alpha=RESIDUAL_SCALE)


class SpectralResidual(nn.Module):
    """SSPSR's spectral residual: x + 0.1 CA(Conv1x1(ReLU(Conv1x1(x)))), with channel attention CA.

    Args:
        width: Channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 1))
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // SQUEEZE, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // SQUEEZE, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return torch.addcmul(x, y, self.attention(y), value=RESIDUAL_SCALE)


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class BandGroups(nn.Module):
    """Overlapping groups of 8 neighbouring bands: 0-7, 6-13, 12-19, ...; the last group ends at the last band.

    Args:
        bands: Spectral bands, 8 or more.
    """

    SIZE, OVERLAP = 8, 2

    def __init__(self, bands: int) -> None:
        super().__init__()
        step = self.SIZE - self.OVERLAP
        self.num_groups = ceil((bands - self.OVERLAP) / step)
        starts = torch.arange(self.num_groups).mul(step).clamp(max=bands - self.SIZE)
        index = starts[:, None] + torch.arange(self.SIZE)  # (groups, 8), the bands of each group
        self.index: Tensor
        self.num_groups_of_band: Tensor
        self.register_buffer("index", index.flatten(), persistent=False)
        self.register_buffer("num_groups_of_band", self.index.bincount()[:, None, None], persistent=False)  # 1 to 3

    def num_chunks(self, x: Tensor) -> int:
        """Return into how many chunks to divide the groups of an image (n, bands, h, w); a GPU is faster with few."""
        return ceil(self.num_groups * x[:, 0].numel() / (MAX_PIXELS if x.is_cuda else MAX_PIXELS // 4))

    def split(self, x: Tensor) -> Tensor:
        """Return the groups of an image, (n, bands, h, w) -> (n, groups, 8, h, w)."""
        return x[:, self.index].unflatten(1, (self.num_groups, self.SIZE))

    def average(self, groups: Tensor) -> Tensor:
        """Return the image (n, bands, h, w) in which each band is its mean over the groups that contain it.

        Args:
            groups: (n, groups, 8, h, w), as `split` returns them.
        """
        bands = groups.flatten(1, 2)
        total = bands.new_zeros(len(bands), len(self.num_groups_of_band), *bands.shape[-2:])
        return total.index_add(1, self.index, bands) / self.num_groups_of_band


class Upsampler(nn.Module):
    """The learnable upsampling layer that the paper is about: a 3x3 convolution and PixelShuffle (Eq. 4).

    PixelShuffle turns r**2 consecutive channels into one band, so each group of channels becomes neighbouring bands.

    Args:
        width: Input channels.
        bands: Output bands, or output channels of a layer inside a network.
        scale: Upsampling factor r.
        groups: Groups g of the convolution; 1 is the dense layer (Sec. III-C).
        bias: Whether the convolution has a bias.
    """

    def __init__(self, width: int, bands: int, scale: int, groups: int, bias: bool) -> None:
        super().__init__()
        self.conv: nn.Conv2d | nn.Conv3d = Conv3x3(width, bands * scale**2, groups, bias)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, features: Tensor) -> Tensor:
        return self.shuffle(self.conv(features))

    def weight_matrix(self) -> Tensor:
        """Return the weights as the matrix of which the paper takes the SVD, (bands * r**2, width / g * 9)."""
        return self.conv.weight.flatten(1)

    def reset_parameters(self) -> None:
        """Initialise the weights as PyTorch does by default."""
        self.conv.reset_parameters()

    def zero_parameters(self) -> None:
        """Set weights and biases to zero, so that a network with a bicubic shortcut starts as bicubic."""
        nn.init.zeros_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)


class ScaledUpsampler(Upsampler):
    """An `Upsampler` with a learnable factor for each output channel, which can be folded into the convolution.

    The factors start at 0.01, as the layer scales of LKCA-Net do, so that Adam's first steps change the output little
    in networks of any width and depth.
    """

    def __init__(self, width: int, bands: int, scale: int, groups: int, bias: bool) -> None:
        super().__init__(width, bands, scale, groups, bias)
        self.gain = nn.Parameter(torch.full((bands * scale**2, 1, 1), 1e-2))

    def forward(self, features: Tensor) -> Tensor:
        return self.shuffle(self.gain * self.conv(features))

    def weight_matrix(self) -> Tensor:
        return self.gain.flatten(1) * super().weight_matrix()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.ones_(self.gain)


def make_doubling_upsampler(width: int, scale: int, groups: int) -> nn.Sequential:
    """Return log2(r) learnable upsampling layers. Each doubles height and width and keeps the number of channels.

    Args:
        width: Channels.
        scale: Upsampling factor r, a power of two; no layers for 1.
        groups: Groups g of each convolution.
    """
    return nn.Sequential(*[Upsampler(width, width, 2, groups, bias=True) for _ in range(int(log2(scale)))])


def find_upsamplers(network: nn.Module) -> dict[str, Upsampler]:
    """Return the learnable upsampling layers of a network, name -> layer, in the network's order; bicubic has none."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Upsampler)}
