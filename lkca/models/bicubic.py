"""Bicubic interpolation: the yardstick of every table, and the shortcut inside the networks."""

from torch import Tensor, nn

from lkca.data.resize import resize


class Bicubic(nn.Module):
    """MATLAB's bicubic enlargement, (n, bands, h, w) -> (n, bands, r*h, r*w), without parameters.

    It costs no MACs in the tables: it is no layer that is learned or chosen (complexity.py leaves it out by its type).

    Args:
        bands: Spectral bands; any number, each is enlarged alone.
        scale: Upsampling factor r.
    """

    def __init__(self, bands: int, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        return resize(lr, self.scale)
