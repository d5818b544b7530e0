"""MATLAB's imresize(image, factor, 'bicubic') with antialiasing, as two matrix products.

Source: Keys, "Cubic convolution interpolation for digital image processing", 1981 (a = -1/2); the stretched kernel and
the mirrored borders are MATLAB's. torch's `interpolate(mode="bicubic")` differs: a = -3/4 and no antialiasing by
default, other borders with `antialias=True`.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Image = TypeVar("Image", np.ndarray, "torch.Tensor")


def resized_length(length: int, factor: float) -> int:
    """The number of pixels that `length` pixels become: MATLAB rounds up.

    Example:
        >>> resized(512, 1 / 4), resized(10, 1 / 4)
        (128, 3)
    """
    return math.ceil(length * factor)


@lru_cache(maxsize=64)
def resize_matrix(length: int, factor: float) -> np.ndarray:
    """The matrix that resizes one axis: `weights(n, factor) @ signal`.

    Args:
        length: Pixels of the axis.
        factor: Above 1 enlarges, below 1 shrinks.

    Returns:
        (resized(length, factor), length), float64; each row sums to 1. Cached, hence read-only.

    Raises:
        ValueError: If the axis is empty or the factor is not a positive number.

    Example:
        >>> weights(6, 2)[5] * 128  # new pixel 5 lies at old pixel 2.25
        array([  0.,  -9., 111.,  29.,  -3.,   0.])
    """
    if length < 1 or not 0 < factor < math.inf:
        raise ValueError(f"cannot resize {length} pixels by {factor}: both must be positive numbers")
    stretch = min(factor, 1)  # below 1 the kernel is widened: antialiasing
    reach = 2 / stretch
    centres = (np.arange(resized_length(length, factor)) + 0.5) / factor - 0.5  # where the new pixels lie among the old
    taps = np.floor(centres - reach).astype(int)[:, None] + np.arange(math.ceil(2 * reach) + 2)
    values = _cubic((centres[:, None] - taps) * stretch)
    values /= values.sum(axis=1, keepdims=True)
    mirrored = taps % (2 * length)  # c b a | a b c | c b a | a b c ...
    mirrored = np.minimum(mirrored, 2 * length - 1 - mirrored)
    matrix = np.zeros((len(centres), length))
    np.add.at(matrix, (np.arange(len(centres))[:, None], mirrored), values)
    matrix.flags.writeable = False
    return matrix


def resize(image: Image, factor: float) -> Image:
    """Resize the last two axes as MATLAB's imresize does; values beyond the image's range (overshoot) are kept.

    In a numpy array a NaN or an infinity makes NaN of the new pixels that have a weight on it, and of no others (MATLAB
    keeps some of the infinities). In a torch tensor it spoils the whole image of its last two axes: the check would
    make a GPU wait.

    Args:
        image: (..., rows, columns), floating point, a numpy array or a torch tensor (gradients flow through).
        factor: Above 1 enlarges, below 1 shrinks.

    Returns:
        (..., ceil(rows * factor), ceil(columns * factor)), of the same kind, type and device.

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
        spoilt = ~np.isfinite(result[..., 0, 0])  # 0 * NaN is NaN: one pixel spoils all of its image, also this pixel
        if spoilt.any():
            result[spoilt] = _apply_with_gaps(rows, images[spoilt], columns)
        return result.astype(image.dtype, copy=False)
    import torch

    rows, columns = (_tensor(int(n), factor, image.dtype, image.device) for n in image.shape[-2:])
    with torch.autocast(image.device.type, enabled=False):  # which would round the image to eight bits
        return _apply(rows, image, columns)


def _apply(rows: Image, image: Image, columns: Image) -> Image:
    return rows @ (image @ columns.T)  # in this order torch needs no copy between the products


def _apply_with_gaps(rows: np.ndarray, images: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Resize images with pixels that are not finite: only new pixels with a weight on one of them are NaN."""
    gaps = ~np.isfinite(images)
    touched = _apply(*(each.astype(images.dtype) for each in (rows != 0, gaps, columns != 0))) > 0
    return np.where(touched, np.nan, _apply(rows, np.where(gaps, 0, images), columns))


@lru_cache(maxsize=64)
def _tensor(length: int, factor: float, dtype: "torch.dtype", device: "torch.device") -> "torch.Tensor":
    import torch  # here, because commands on numpy arrays should start without it

    if not dtype.is_floating_point:
        raise ValueError(f"cannot resize values of type {dtype}: convert them to floating point")
    with torch.inference_mode(False):  # else a matrix cached during inference would be refused in training
        return torch.tensor(resize_matrix(length, factor), dtype=dtype, device=device)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel, a = -1/2."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0))
