"""3x3 convolutions in fewer multiplications, on a CPU up to three times as fast as torch's own.

Source: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Some builds of torch are without it. The question also wakes NNPACK.
WORKS = torch.backends.nnpack.is_available() and hasattr(torch, "_nnpack_spatial_convolution")
PIXELS = 2**14  # of a strip. NNPACK keeps for ever what it took for one: about twice input and output.

# F(4x4, 3x3) turns an image's tile of 6x6 and a kernel of 3x3 into 6x6 numbers each, which it multiplies, and the
# products into a result of 4x4. For gradients of kernels everything is transposed: results come in, kernels out.
_IMAGE = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0))
_IMAGE += ((0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))
_KERNEL = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))  # of 1/24
_RESULT = ((1, 0, 0, 0), (1, 1, 1, 1), (1, -1, 1, -1), (1, 2, 4, 8), (1, -2, 4, -8), (0, 0, 0, 1))


class Winograd(torch.autograd.Function):
    """A 3x3 convolution that keeps the size, (n, c, h, w) -> (n, o, h, w); float32 on a CPU, where it `WORKS`.

    Outputs and gradients of inputs are NNPACK's, which torch brings but does not choose; gradients of weights are our
    own, since NNPACK has none. Rounding errors are 1e-5 of the values where those of the usual algorithm are 1e-6.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _images(_convolve(_column(x), weight, bias), x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        grad = _column(grad)
        return (
            _images(_convolve(grad, weight.flip(-2, -1).transpose(0, 1), None), x) if of_x else None,
            _weight_gradient(_column(x), grad) if of_weight else None,
            grad.sum((0, 2, 3)) if of_bias else None,
        )


def _column(x: Tensor) -> Tensor:
    """Images as one, which both algorithms like: (n, c, h, w) -> (1, c, n * (h + 1), w) with a row of zeros below each.

    A single image stays as it is.
    """
    n, c, h, w = x.shape
    if n == 1:
        return x.contiguous()
    column = x.new_empty(c, n, h + 1, w)
    column[:, :, :h], column[:, :, h] = x.transpose(0, 1), 0
    return column.view(1, c, -1, w)


def _images(column: Tensor, like: Tensor) -> Tensor:
    """The images of a column, as many and as high as those of `like`; several ones in its memory format."""
    n, _, h, _ = like.shape
    if n == 1:
        return column
    images = column.unflatten(2, (n, h + 1))[0, :, :, :h].transpose(0, 1)
    return images.contiguous(memory_format=torch.contiguous_format if like.is_contiguous() else torch.channels_last)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    _, _, h, w = x.shape
    weight, rows = weight.contiguous(), max(1, PIXELS // w)
    if rows >= h:
        return torch._nnpack_spatial_convolution(x, weight, bias, padding=1)
    y = x.new_empty(1, len(weight), h, w)
    for top in range(0, h, rows):
        above = min(top, 1)  # the row that the kernel sees beyond the strip
        strip = x[:, :, top - above : top + rows + 1].contiguous()
        made = torch._nnpack_spatial_convolution(strip, weight, bias, padding=1)
        y[:, :, top : top + rows] = made[:, :, above : above + rows]
    return y


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Of the weights, (o, c, 3, 3), from one image (1, c, h, w) and the gradient of its convolution (1, o, h, w)."""
    image, kernel, result = (
        torch.kron(one, one) for one in (torch.tensor(each, dtype=x.dtype) for each in (_IMAGE, _KERNEL, _RESULT))
    )  # both directions at once: 36 numbers of each tile
    h, w = x.shape[-2:]
    below, right = -h % 4, -w % 4
    x = F.pad(x, (1, 1 + right, 1, 1 + below))[0, :, None]  # channels in the place of images
    grad = F.pad(grad, (0, right, 0, below))[0, :, None]
    rows = max(4, PIXELS // w // 4 * 4)
    gradient = x.new_zeros(9, len(grad) * len(x))
    for top in range(0, h, rows):
        tiles = F.conv2d(x[:, :, top : top + rows + 2], image.view(36, 1, 6, 6), stride=4)  # (c, 36, tiles)
        of_tiles = F.conv2d(grad[:, :, top : top + rows], result.view(36, 1, 4, 4), stride=4)
        numbers = tiles.flatten(2).permute(1, 2, 0), of_tiles.flatten(2).transpose(0, 1), kernel / 24**2
        for inputs, outputs, back in zip(*(each.split(12) for each in numbers), strict=True):  # to hold less at a time
            gradient.addmm_(back.T, (outputs @ inputs).flatten(1))
    return gradient.view(3, 3, len(grad), len(x)).permute(2, 3, 0, 1)
