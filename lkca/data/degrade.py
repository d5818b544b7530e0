"""Make the LR image of an HR image: by MATLAB's bicubic, as in the paper, or with the blur of a sensor's MTF."""

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from lkca.data.resize import Image, resize

if TYPE_CHECKING:
    import torch

BICUBIC = "bicubic"
MIN_MTF, MAX_MTF = 0.05, 0.9
REACH = 4  # standard deviations at which the Gaussian ends; beyond, it has less than 1e-4 of its weight


def parse_blur(blur: str) -> float | None:
    """Return the MTF at the Nyquist frequency of the LR image that a blur stands for; None for bicubic.

    Raises:
        ValueError: If it is neither `bicubic` nor `mtf:` and a number in the allowed range.

    Example:
        >>> parse_blur("mtf:0.3")
        0.3
    """
    if blur == BICUBIC:
        return None
    match = re.fullmatch(r"mtf:(0?\.\d{1,4})", blur)
    if not match or not MIN_MTF <= float(match[1]) <= MAX_MTF:
        raise ValueError(
            f"{blur!r} is no blur: write {BICUBIC}, or mtf: and the MTF of the sensor at Nyquist from {MIN_MTF} to "
            f"{MAX_MTF}, as in mtf:0.3"
        )
    return float(match[1])


def degrade(image: Image, scale: int, blur: str | None = None) -> Image:
    """Return the LR image of an HR image.

    Args:
        image: (..., rows, columns), floating point, a numpy array or a torch tensor; rows and columns are multiples of
            the scale.
        scale: Factor r by which rows and columns shrink.
        blur: `bicubic` for MATLAB's imresize with antialiasing; `mtf:x` for a Gaussian with the MTF x at the Nyquist
            frequency of the LR image, mirrored at the borders, and every r-th pixel. None is bicubic.

    Returns:
        (..., rows / r, columns / r), an array or a tensor like `image`.

    Raises:
        ValueError: If the blur is unknown.
    """
    mtf = parse_blur(blur or BICUBIC)
    if mtf is None:
        return resize(image, 1 / scale)
    lengths = [int(length) for length in image.shape[-2:]]
    if isinstance(image, np.ndarray):
        rows, columns = (gaussian_matrix(length, scale, mtf).astype(image.dtype) for length in lengths)
        return rows @ (image @ columns.T)
    down, across = (_gaussian_tensor(length, scale, mtf, image.dtype, image.device) for length in lengths)
    return down @ (image @ across.T)


def _ideal_deviation(scale: int, mtf: float) -> float:
    """Return the standard deviation of the Gaussian whose transfer function is the MTF at Nyquist, HR pixels."""
    return scale * math.sqrt(-2 * math.log(mtf)) / math.pi


def gaussian_reach(scale: int, mtf: float) -> int:
    """Return how many HR pixels from its centre the Gaussian ends."""
    return math.ceil(REACH * _ideal_deviation(scale, mtf))


@lru_cache(maxsize=64)
def gaussian_matrix(length: int, scale: int, mtf: float) -> np.ndarray:
    """Return the matrix that degrades one axis by a Gaussian, (length / scale, length); each row sums to 1.

    A Gaussian exp(-x^2 / (2 s^2)) has the transfer function exp(-2 (pi s f)^2); at the Nyquist frequency of the LR
    image, f = 1 / (2 r) cycles per HR pixel, it is the MTF if s = r sqrt(-2 ln MTF) / pi. The samples of a narrow
    Gaussian transfer a little less, so s is the one whose samples have the MTF.

    Args:
        length: HR pixels of the axis, a multiple of `scale`.
        scale: Factor r.
        mtf: Modulation transfer at the Nyquist frequency of the LR image.
    """
    ideal, reach = _ideal_deviation(scale, mtf), gaussian_reach(scale, mtf)
    centres = (np.arange(length // scale) + 0.5) * scale - 0.5
    taps = np.floor(centres).astype(int)[:, None] + np.arange(-reach, reach + 2)
    distances = taps - centres[:, None]

    def transfer(deviation: float) -> float:
        weights = np.exp(-(distances[0] ** 2) / (2 * deviation**2))
        return float(weights @ np.cos(np.pi * distances[0] / scale) / weights.sum())

    deviation = brentq(lambda deviation: transfer(deviation) - mtf, ideal / 2, 2 * ideal)
    weights = np.exp(-(distances**2) / (2 * deviation**2))
    weights /= weights.sum(1, keepdims=True)
    mirrored = taps % (2 * length)
    matrix = np.zeros((len(centres), length))
    np.add.at(matrix, (np.arange(len(centres))[:, None], np.minimum(mirrored, 2 * length - 1 - mirrored)), weights)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=64)
def _gaussian_tensor(
    length: int, scale: int, mtf: float, dtype: "torch.dtype", device: "torch.device"
) -> "torch.Tensor":
    """Return `gaussian_matrix` as a tensor."""
    import torch

    with torch.inference_mode(False):
        return torch.tensor(gaussian_matrix(length, scale, mtf), dtype=dtype, device=device)
