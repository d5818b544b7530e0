"""Resize as MATLAB's imresize(image, factor, 'bicubic') does, with antialiasing, by two matrix products.

Source: Keys, "Cubic convolution interpolation for digital image processing", 1981 (a = -1/2). As in MATLAB, the kernel
is stretched for antialiasing and the image is mirrored at its borders. torch's `interpolate(mode="bicubic")` differs:
by default it has a = -3/4 and no antialiasing; with `antialias=True` it treats borders differently.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Image = TypeVar("Image", np.ndarray, "torch.Tensor")


def resized_length(length: int, factor: float) -> int:
    """Return the number of pixels to which `length` pixels are resized, rounded up as in MATLAB.

    Example:
        >>> resized_length(512, 1 / 4), resized_length(10, 1 / 4)
        (128, 3)
    """
    return math.ceil(length * factor)


@lru_cache(maxsize=64)
def resize_matrix(length: int, factor: float) -> np.ndarray:
    """Return the matrix that resizes one axis: `resize_matrix(n, factor) @ signal`.

    Args:
        length: Pixels of the axis.
        factor: Above 1 enlarges, below 1 shrinks.

    Returns:
        (resized_length(length, factor), length), float64; each row sums to 1. Read-only, because it is cached.

    Raises:
        ValueError: If the axis is empty or the factor is not a positive number.

    Example:
        >>> resize_matrix(6, 2)[5] * 128  # the centre of new pixel 5 is at old pixel 2.25
        array([  0.,  -9., 111.,  29.,  -3.,   0.])
    """
    if length < 1 or not 0 < factor < math.inf:
        raise ValueError(f"cannot resize {length} pixels by {factor}: both must be positive numbers")
    stretch = min(factor, 1)  # below 1 the kernel is wider, for antialiasing
    reach = 2 / stretch
    # Centres of the new pixels in the coordinates of the old ones.
    centres = (np.arange(resized_length(length, factor)) + 0.5) / factor - 0.5
    taps = np.floor(centres - reach).astype(int)[:, None] + np.arange(math.ceil(2 * reach) + 2)
    weights = _cubic((centres[:, None] - taps) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = taps % (2 * length)  # c b a | a b c | c b a | a b c ...
    mirrored = np.minimum(mirrored, 2 * length - 1 - mirrored)
    matrix = np.zeros((len(centres), length))
    np.add.at(matrix, (np.arange(len(centres))[:, None], mirrored), weights)
    matrix.flags.writeable = False
    return matrix


def resize(image: Image, factor: float) -> Image:
    """Resize the last two axes as MATLAB's imresize does, without clipping the result to the range of the image.

    In a numpy array, a new pixel is NaN if and only if a NaN or infinite pixel has a nonzero weight in it (MATLAB
    leaves some infinities). In a torch tensor, one such pixel may make the whole image of its last two axes NaN,
    because a search for it would make the program wait for the GPU.

    Args:
        image: (..., rows, columns), floating point, a numpy array or a torch tensor (gradients flow through).
        factor: Above 1 enlarges, below 1 shrinks.

    Returns:
        (..., ceil(rows * factor), ceil(columns * factor)), an array or a tensor like `image`, same dtype and device.

    Raises:
        ValueError: If the values are not floating point, an axis is empty or the factor is not a positive number.

    Example:
        >>> resize(np.ones((3, 8, 12)), 1 / 4).shape
        (3, 2, 3)
    """
    if isinstance(image, np.ndarray):
        if not np.issubdtype(image.dtype, np.floating):
            raise ValueError(f"cannot resize values of type {image.dtype}: convert them to floating point")
        work = np.promote_types(image.dtype, np.float32)  # float16 has neither fast nor accurate products
        rows, columns = (resize_matrix(n, factor).astype(work) for n in image.shape[-2:])
        images = image.astype(work, copy=False)
        result = _apply(rows, images, columns)
        has_nan = ~np.isfinite(result[..., 0, 0])  # 0 * NaN is NaN, so one bad pixel reaches every pixel of its image
        if has_nan.any():
            result[has_nan] = _apply_to_finite(rows, images[has_nan], columns)
        return result.astype(image.dtype, copy=False)
    import torch

    rows, columns = (matrix_tensor(int(n), factor, image.dtype, image.device) for n in image.shape[-2:])
    with torch.autocast(image.device.type, enabled=False):  # autocast would round the image to bfloat16
        return _apply(rows, image, columns)


def _apply(rows: Image, image: Image, columns: Image) -> Image:
    """Return the product of the matrix of the rows, the image, and the transposed matrix of the columns."""
    return rows @ (image @ columns.T)  # in this order torch needs no copy between the products


def _apply_to_finite(rows: np.ndarray, images: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Resize images with NaN or infinite pixels; each new pixel in which one of them has a weight becomes NaN."""
    bad = ~np.isfinite(images)
    reached = _apply(*(mask.astype(images.dtype) for mask in (rows != 0, bad, columns != 0))) > 0
    return np.where(reached, np.nan, _apply(rows, np.where(bad, 0, images), columns))


@lru_cache(maxsize=64)
def matrix_tensor(length: int, factor: float, dtype: "torch.dtype", device: "torch.device") -> "torch.Tensor":
    """Return `resize_matrix(length, factor)` as a tensor."""
    import torch  # not at the top: commands on numpy arrays should start without torch

    if not dtype.is_floating_point:
        raise ValueError(f"cannot resize values of type {dtype}: convert them to floating point")
    with torch.inference_mode(False):  # otherwise a matrix that is cached during inference cannot be used in training
        return torch.tensor(resize_matrix(length, factor), dtype=dtype, device=device)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Return the values of Keys' cubic convolution kernel, a = -1/2, at x."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0))
