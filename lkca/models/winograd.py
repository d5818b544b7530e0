"""3x3 convolutions with a quarter of the multiplications; for many channels on a CPU about twice as fast as torch's.

Source: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, F(4x4, 3x3). A tile of 6x6 pixels
and a kernel of 3x3 are transformed into 36 coefficients each. Their products, summed over the channels (36 products of
matrices), are transformed into 4x4 pixels of the result. The gradient with respect to the kernel uses the transposed
transforms.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

STRIP_PIXELS = 2**10  # transformed at a time, to fit into the processor's cache; a strip has at least four rows
STRIPS_PER_BATCH = 4  # multiplied at a time; each batch transforms the kernels again. Fewer: less memory, more time
CHUNK_SIZE = 12  # coefficients of the 36 that are multiplied at a time. Fewer: less memory, more time
CHUNKS = [slice(i, i + CHUNK_SIZE) for i in range(0, 36, CHUNK_SIZE)]

_IMAGE = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))  # times 24
_RESULT = ((1, 0, 0, 0), (1, 1, 1, 1), (1, -1, 1, -1), (1, 2, 4, 8), (1, -2, 4, -8), (0, 0, 0, 1))
IMAGE, KERNEL, RESULT = (  # 2D transforms, (36, pixels): 36 pixels of a tile, 9 of a kernel, 16 of the result
    torch.kron(one, one) for one in (torch.tensor(rows, dtype=torch.float32) for rows in (_IMAGE, _KERNEL, _RESULT))
)
KERNEL /= 24**2


class Winograd(torch.autograd.Function):
    """A 3x3 convolution that keeps height and width, (n, c, h, w) -> (n, o, h, w), channels last; float32 on a CPU.

    Rounding errors are 1e-5 of the largest value within 5 pixels, 30 times those of the usual algorithm. Second
    derivatives, forward-mode derivatives, vmap and autocast are not supported.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            _convolve(grad, weight, None, backward=True) if needs_x else None,
            _weight_gradient(x, grad).view_as(weight) if needs_weight else None,
            grad.sum((0, 2, 3)) if needs_bias else None,
        )


class _Strip(NamedTuple):
    """A range of rows in a range of images.

    Args:
        images: Indices of the images in the batch.
        rows: Indices of the rows. Start and stop are multiples of four; the stop may lie below the image.
        tiles: Number of tiles of 4x4 pixels in the strip.
    """

    images: slice
    rows: slice
    tiles: int


def _batch_strips(x: Tensor) -> Iterator[list[_Strip]]:
    """Divide images (n, c, h, w) into strips and yield lists of the strips that are multiplied at a time."""
    n, _, h, w = x.shape
    rows, columns = ceil(h / 4), ceil(w / 4)  # of tiles
    height = min(max(1, STRIP_PIXELS // (16 * columns)), rows)  # of a strip, in tiles
    images = max(1, STRIP_PIXELS // (16 * columns * height))  # per strip
    strips = [
        _Strip(slice(i, j), slice(4 * top, 4 * bottom), (j - i) * (bottom - top) * columns)
        for i, j in ((i, min(i + images, n)) for i in range(0, n, images))
        for top, bottom in ((top, min(top + height, rows)) for top in range(0, rows, height))
    ]
    count = max(1, STRIPS_PER_BATCH * STRIP_PIXELS // (16 * columns * height * images))  # fewer if four rows are long
    return (strips[i : i + count] for i in range(0, len(strips), count))


def _transform_tiles(x: Tensor, strips: list[_Strip], matrix: Tensor, margin: int) -> Tensor:
    """Return the transformed tiles of some strips, (n, c, h, w) -> (tiles, 36, c).

    Args:
        x: All images.
        strips: The strips.
        matrix: The transform, (36, pixels of a tile).
        margin: Pixels by which a tile extends beyond its 4x4 pixels; they are zero outside the image.
    """
    _, c, h, w = x.shape
    size, num_tiles = 4 + 2 * margin, [strip.tiles for strip in strips]
    transformed = x.new_empty(sum(num_tiles), 36, c)
    for (images, rows, _), out in zip(strips, transformed.split(num_tiles), strict=True):
        above, below = min(margin, rows.start), min(margin, max(0, h - rows.stop))  # rows of the image beyond the strip
        strip = x[images, :, rows.start - above : rows.stop + below].permute(0, 2, 3, 1)
        missing = rows.stop + below - rows.start + above - strip.shape[1]  # rows, to a multiple of four
        strip = F.pad(strip, (0, 0, margin, margin + -w % 4, margin - above, margin - below + missing))
        tiles = strip.unfold(1, size, 4).unfold(2, size, 4).permute(0, 1, 2, 4, 5, 3)
        torch.matmul(matrix, tiles.reshape(-1, size**2, c), out=out)
    return transformed


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, backward: bool = False) -> Tensor:
    """Return the convolution of images, or with `backward` the gradient with respect to the images.

    Args:
        x: Images, (n, c, h, w); with `backward` the gradient with respect to the output, (n, o, h, w).
        weight: (o, c, 3, 3).
        bias: (o,); None for no bias.
        backward: Whether to compute the gradient.

    Returns:
        (n, o, h, w); with `backward` (n, c, h, w).
    """
    n, _, h, w = x.shape
    rows, columns, outputs = ceil(h / 4), ceil(w / 4), weight.shape[int(backward)]  # rows and columns of tiles
    size, channels_last = (n, outputs, 4 * rows, 4 * columns), torch.channels_last
    # Not a view, because the next layer may change it in place.
    y = torch.empty(size, memory_format=channels_last, dtype=x.dtype, device=x.device)
    y_tiles = y.permute(0, 2, 3, 1).view(n, rows, 4, columns, 4, outputs).transpose(2, 3)
    kernel, bias = KERNEL.flip(1) if backward else KERNEL, x.new_zeros(outputs) if bias is None else bias
    weight_chunk = weight.new_empty(len(weight), CHUNK_SIZE, weight.shape[1])
    for strips in _batch_strips(x):
        tiles = _transform_tiles(x, strips, IMAGE, margin=1)
        products = x.new_empty(CHUNK_SIZE, len(tiles), outputs)
        pixels = bias.repeat(len(tiles), 16, 1)
        for chunk in CHUNKS:
            torch.matmul(kernel[chunk], weight.flatten(2).mT, out=weight_chunk)
            matrices = weight_chunk.transpose(0, 1) if backward else weight_chunk.permute(1, 2, 0)
            torch.bmm(tiles[:, chunk].transpose(0, 1), matrices, out=products)  # (chunk, tiles, outputs)
            pixels.baddbmm_(RESULT[chunk].T.expand(len(tiles), -1, -1), products.transpose(0, 1))
        for strip, strip_pixels in zip(strips, pixels.split([strip.tiles for strip in strips]), strict=True):
            target = y_tiles[strip.images, strip.rows.start // 4 : strip.rows.stop // 4]
            target.copy_(strip_pixels.view_as(target))
        del tiles, products, pixels  # before those of the next strips are allocated
    return y if (h, w) == y.shape[2:] else y[:, :, :h, :w].contiguous(memory_format=torch.channels_last)


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient with respect to the weights, (o * c, 9).

    Args:
        x: Images, (n, c, h, w).
        grad: Gradient with respect to their convolution, (n, o, h, w).
    """
    gradient = x.new_zeros(9, grad.shape[1] * x.shape[1])
    products = x.new_empty(CHUNK_SIZE, grad.shape[1], x.shape[1])
    for strips in _batch_strips(x):
        tiles = _transform_tiles(x, strips, IMAGE, margin=1)
        grad_tiles = _transform_tiles(grad, strips, RESULT, margin=0)
        for chunk in CHUNKS:
            torch.bmm(grad_tiles[:, chunk].permute(1, 2, 0), tiles[:, chunk].transpose(0, 1), out=products)
            gradient.addmm_(KERNEL[chunk].T, products.flatten(1))
    return gradient.T
