"""Bicubic interpolation: the baseline of every table, and the shortcut inside the networks."""

from torch import Tensor, nn

from lkca.data.resize import resize


class Bicubic(nn.Module):
    """MATLAB's bicubic upsampling, (n, bands, h, w) -> (n, bands, r * h, r * w). It has no parameters.

    The tables do not count its MACs: `lkca.models.cost.count_macs` leaves out modules of this class.

    Args:
        bands: Number of spectral bands; not used, because each band is upsampled separately.
        scale: Upsampling factor r.
    """

    def __init__(self, bands: int, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        return resize(lr, self.scale)
