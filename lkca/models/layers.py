"""What two or more networks share. Images are (n, channels, h, w)."""

from collections.abc import Callable
from contextvars import ContextVar
from math import ceil, log2

import torch
from torch import Tensor, nn

from lkca.models.winograd import Winograd


def subtract_mean_spectrum(lr: Tensor) -> Tensor:
    """An image without its mean spectrum, (n, bands, h, w), for networks whose bicubic shortcut carries that already.

    Reflectance is nearly constant against its detail; Adam's steps then all point the constant's way and a network that
    starts as bicubic stays there for thousands of steps. Measured: docs/explanation/networks.md.
    """
    return lr - lr.mean((-2, -1), keepdim=True)


# Set while lkca.models.cost counts multiply-accumulates: layers then compute what they otherwise skip, because the
# printed numbers include it.
counting_macs: ContextVar[bool] = ContextVar("counting_macs", default=False)


MAX_PIXELS = 2**14  # computed together: all of a training image's; a large image is kept out of memory by parts


def parts_per_batch(pixels: int) -> int:
    """How many parts, of so many pixels each, are computed together; at least one."""
    return max(1, MAX_PIXELS // pixels)


def apply_in_strips(function: Callable[..., Tensor], edge: int, *images: Tensor) -> Tensor:
    """`function(*images)`, of large images strip by strip, so that less is in memory at a time.

    Not for gradients, which keep everything anyway.

    Args:
        function: Makes an image (n, c, h, w) of images of the same size.
        edge: Rows above and below that a row of the result depends on.
        images: Each (n, any channels, h, w).
    """
    h, w = images[0].shape[-2:]
    if parts_per_batch(w) >= h or torch.is_grad_enabled():
        return function(*images)
    rows, whole = max(1, parts_per_batch(w) - 2 * edge), None
    for top in range(0, h, rows):
        above = min(top, edge)
        strip = function(*(image[:, :, top - above : top + rows + edge] for image in images))
        if whole is None:
            whole = strip.new_empty(*strip.shape[:2], h, w)
        whole[:, :, top : top + rows] = strip[:, :, above : above + rows]
    return whole


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution that keeps the size; on a CPU with many channels and pixels by Winograd's algorithm, which has
    less to offer than torch's (see there).

    Args:
        inputs, outputs: Channels.
        groups: Groups of channels.
        bias: Whether it has one.
    """

    def __init__(self, inputs: int, outputs: int, groups: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gains = self.groups == 1 and min(self.weight.shape[:2]) >= 128 and x[:, 0].numel() >= 2**10
        if gains and x.device.type == "cpu" and x.dtype == torch.float32 and not counting_macs.get():
            return Winograd.apply(x, self.weight, self.bias)
        return super().forward(x)


RESIDUAL_SCALE = 0.1  # of SSPSR's residual branches, which MSDformer took over
SQUEEZE = 16  # reduction of their channel attention


class SpatialResidual(nn.Module):
    """x + 0.1 Conv3(ReLU(Conv3(x))), SSPSR's spatial residual.

    Args:
        width: Channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Conv3x3(width, width), nn.ReLU(inplace=True), Conv3x3(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.body(x), alpha=RESIDUAL_SCALE)


class SpectralResidual(nn.Module):
    """x + 0.1 CA(Conv1(ReLU(Conv1(x)))), SSPSR's spectral residual with channel attention CA.

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
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class BandGroups(nn.Module):
    """Overlapping groups of 8 neighbouring bands: 0-7, 6-13, 12-19, ...; the last one ends at the last band.

    Args:
        bands: Spectral bands, 8 or more.
    """

    SIZE, OVERLAP = 8, 2

    def __init__(self, bands: int) -> None:
        super().__init__()
        step = self.SIZE - self.OVERLAP
        self.number = ceil((bands - self.OVERLAP) / step)
        starts = torch.arange(self.number).mul(step).clamp(max=bands - self.SIZE)
        index = starts[:, None] + torch.arange(self.SIZE)  # (groups, 8), the bands of each group
        self.register_buffer("index", index.flatten(), persistent=False)
        self.register_buffer("times", self.index.bincount()[:, None, None], persistent=False)  # a band is in 1 to 3

    def num_chunks(self, x: Tensor) -> int:
        """In how many parts the groups of an image, (n, bands, h, w), are computed; a GPU is faster with few."""
        return ceil(self.number * x[:, 0].numel() / (MAX_PIXELS if x.is_cuda else MAX_PIXELS // 4))

    def split(self, x: Tensor) -> Tensor:
        """The groups of an image, (n, bands, h, w) -> (n, groups, 8, h, w)."""
        return x[:, self.index].unflatten(1, (self.number, self.SIZE))

    def average(self, parts: Tensor) -> Tensor:
        """The image that groups make together, each band the mean of all that hold it; the inverse of `split`."""
        parts = parts.flatten(1, 2)
        total = parts.new_zeros(len(parts), len(self.times), *parts.shape[-2:])
        return total.index_add(1, self.index, parts) / self.times


class Upsampler(nn.Module):
    """The learnable upsampling layer that the paper is about: a 3x3 convolution and PixelShuffle (Eq. 4).

    PixelShuffle reads r**2 consecutive channels for a band, so each group makes neighbouring bands.

    Args:
        width: Input channels.
        bands: Output bands, or output channels of a layer inside a network.
        scale: Upsampling factor r.
        groups: Groups g of the convolution; 1 is the dense layer (Sec. III-C).
        bias: Whether the convolution has one.
    """

    def __init__(self, width: int, bands: int, scale: int, groups: int, bias: bool) -> None:
        super().__init__()
        self.conv = Conv3x3(width, bands * scale**2, groups, bias)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, features: Tensor) -> Tensor:
        return self.shuffle(self.conv(features))

    def weight_matrix(self) -> Tensor:
        """The weights as the paper reshapes them before the SVD: (bands * r**2, width / g * 9)."""
        return self.conv.weight.flatten(1)

    def reset_parameters(self) -> None:
        """PyTorch's default start, with the layer's output at full size."""
        self.conv.reset_parameters()

    def zero_parameters(self) -> None:
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

    def weight_matrix(self) -> Tensor:
        return self.gain.flatten(1) * super().weight_matrix()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.ones_(self.gain)


def make_doubling_upsampler(width: int, scale: int, groups: int) -> nn.Sequential:
    """log2(r) learnable upsampling layers, each of which doubles height and width and keeps the channels.

    Args:
        width: Channels.
        scale: Upsampling factor r, a power of two; 1 is no layer.
        groups: Groups g of each convolution.
    """
    return nn.Sequential(*[Upsampler(width, width, 2, groups, bias=True) for _ in range(int(log2(scale)))])


def find_upsamplers(network: nn.Module) -> dict[str, Upsampler]:
    """The learnable upsampling layers of a network by their names, in its order; those of bicubic are none."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Upsampler)}
