"""The six scores of the tables, in numpy; sums are float64 whatever the images' type.

Every score takes the reconstruction first, then the ground truth: two finite arrays (bands, rows, columns) of one
shape, reflectance with a peak of 1.0. What a formula leaves undefined is settled here, so that the scores of finite
images are finite numbers (JSON has no others) or a ValueError:

- MPSNR: the mean squared error of a band counts as at least 1e-10, so 100 dB is the most a band can have.
- SAM: a pixel whose spectrum is all zero in either image has no angle and is left out; with no pixel left, ValueError.
- CC: a band that is constant in either image counts 1 if the two bands are equal, else 0.
- ERGAS: a band whose ground truth has mean 0 has no relative error and is left out; with no band left, ValueError.

All six are taken from sums over blocks, BLOCKS x BLOCKS equal parts of the image row by row (fewer where a side is
shorter), so that each is also told of the image without one of its blocks: a delete-one-block jackknife. Below, `sets`
counts the sets of blocks that a score is of: all of them first, then all but each one. What is constant, zero or of
mean 0 in a set is treated as above; what has no value in a set without a block is NaN there.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter

WINDOW = 7  # pixels, a side of SSIM's window
BLOCKS = 4  # a side of the image


def mpsnr(sr: np.ndarray, hr: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio: the mean over bands, in dB; higher is better.

    Args:
        sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
        hr: (bands, rows, columns), the ground truth.

    Returns:
        The mean of 10 log10(1 / MSE) over bands, at most 100: a band's MSE counts as at least 1e-10.

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape.

    Source:
        The peak is 1.0 for every band: SSPSR's metrics.py (Jiang et al. 2020), as in the papers that followed it.

    Example:
        >>> mpsnr(np.full((2, 4, 4), 0.6), np.full((2, 4, 4), 0.5))
        20.0
    """
    return float(_psnr(_errors(sr, hr)[0]).mean(0)[0])


def mssim(sr: np.ndarray, hr: np.ndarray) -> float:
    """Mean structural similarity: the mean over bands, no unit; 1 is best.

    Args:
        sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
        hr: (bands, rows, columns), the ground truth.

    Returns:
        The mean over bands and over all whole windows, in [-1, 1].

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape, or a side is shorter
            than the window.

    Source:
        Wang et al. 2004, with scikit-image's defaults: a uniform 7x7 window, K1 = 0.01, K2 = 0.03, sample covariance.

    Example:
        >>> black, white = np.zeros((2, 8, 8)), np.ones((2, 8, 8))
        >>> mssim(white, white), round(mssim(black, white), 4)
        (1.0, 0.0001)
    """
    return float(_ssim(sr, hr).mean(0)[0])


def sam(sr: np.ndarray, hr: np.ndarray) -> float:
    """Spectral angle mapper: the mean angle between spectra, in degrees; 0 is best.

    Pixels whose spectrum is all zero in either image have no angle and are left out.

    Args:
        sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
        hr: (bands, rows, columns), the ground truth.

    Returns:
        The mean over pixels, in degrees, in [0, 180].

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape, there is only one
            band, or no pixel has an angle.

    Source:
        Yuhas, Goetz & Boardman 1992; the angle by Kahan's formula, exact for small angles where the arc cosine is not.

    Example:
        >>> sr, hr = np.array([[[1]], [[1]]]), np.array([[[1]], [[0]]])  # spectra (1, 1) and (1, 0)
        >>> round(sam(sr, hr), 4)
        45.0
    """
    return float(_sam(sr, hr)[0])


def cc(sr: np.ndarray, hr: np.ndarray) -> float:
    """Cross-correlation: the mean over bands of Pearson's coefficient, no unit; 1 is best.

    Args:
        sr: (bands, rows, columns), the reconstruction.
        hr: (bands, rows, columns), the ground truth.

    Returns:
        The mean over bands, in [-1, 1]. A band that is constant in either image counts 1 if the two are equal, else 0.

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape.

    Source:
        Loncan et al. 2015.

    Example:
        >>> hr = np.array([[[1.0, 2.0, 3.0]], [[5.0, 5.0, 5.0]]])  # the second band is constant
        >>> round(cc(2 * hr, hr), 4)
        0.5
    """
    return float(_pearson(sr, hr).mean(0)[0])


def rmse(sr: np.ndarray, hr: np.ndarray) -> float:
    """Root mean squared error over the whole cube, in units of reflectance; 0 is best.

    Args:
        sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
        hr: (bands, rows, columns), the ground truth.

    Returns:
        The root of the mean over bands, rows and columns; not the mean of the bands' roots, which is smaller.

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape.

    Source:
        The whole cube: SSPSR's metrics.py (Jiang et al. 2020), as in the papers that followed it.

    Example:
        >>> round(rmse(np.array([[[1.0]], [[0.0]]]), np.zeros((2, 1, 1))), 4)
        0.7071
    """
    return float(np.sqrt(_errors(sr, hr)[0].mean(0)[0]))


def ergas(sr: np.ndarray, hr: np.ndarray, scale: int) -> float:
    """ERGAS, the relative global error of a synthesis, in percent over the scale; 0 is best.

    Args:
        sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
        hr: (bands, rows, columns), the ground truth.
        scale: Upsampling factor r: 4 or 8 in the tables, the true one at each scale.

    Returns:
        (100 / r) times the root of the mean over bands of MSE / mean(hr)^2; bands of mean 0 are left out.

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape, the scale is below 1,
            or every band of the ground truth has mean 0.

    Source:
        Wald 2000.

    Example:
        >>> round(ergas(np.full((2, 4, 4), 0.55), np.full((2, 4, 4), 0.5), scale=4), 4)  # 10 % off, at x4
        2.5
    """
    return float(_ergas(*_errors(sr, hr), scale)[0])


def scores(sr: np.ndarray, hr: np.ndarray, scale: int) -> dict[str, dict]:
    """The six scores of one image, four of them band by band, and the six without each of its blocks.

    Args:
        sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
        hr: (bands, rows, columns), the ground truth.
        scale: Upsampling factor r.

    Returns:
        {"scores": {"MPSNR", "MSSIM", "SAM", "CC", "RMSE", "ERGAS": a number each},
        "bands": {"MPSNR", "MSSIM", "CC", "RMSE": a list of numbers each, one a band},
        "without_block": {each of the six: a list of 16, without one of the 4 x 4 blocks, row by row; None where that
        leaves no window of SSIM, no angle, or no band that ERGAS counts}}. A window belongs to its centre's block.

    Raises:
        ValueError: If one of the six raises it.

    Example:
        >>> image = np.linspace(0.1, 1, 128).reshape(2, 8, 8)
        >>> scores(image, image, scale=4)["scores"]
        {'MPSNR': 100.0, 'MSSIM': 1.0, 'SAM': 0.0, 'CC': 1.0, 'RMSE': 0.0, 'ERGAS': 0.0}
    """
    mse, means = _errors(sr, hr)
    bands = {"MPSNR": _psnr(mse), "MSSIM": _ssim(sr, hr), "CC": _pearson(sr, hr), "RMSE": np.sqrt(mse)}
    six = {
        "MPSNR": bands["MPSNR"].mean(0),
        "MSSIM": bands["MSSIM"].mean(0),
        "SAM": _sam(sr, hr),
        "CC": bands["CC"].mean(0),
        "RMSE": np.sqrt(mse.mean(0)),
        "ERGAS": _ergas(mse, means, scale),
    }
    if not all(np.isfinite(values[..., 0]).all() for values in (*six.values(), *bands.values())):
        raise ValueError("a score is beyond floating point: divide the images by the scene's largest value")
    return {
        "scores": {name: float(values[0]) for name, values in six.items()},
        "bands": {name: values[:, 0].tolist() for name, values in bands.items()},
        "without_block": {
            name: [float(value) if np.isfinite(value) else None for value in values[1:]] for name, values in six.items()
        },
    }


def absolute_error(sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """The mean over bands of the absolute error of each pixel.

    Args:
        sr: (bands, rows, columns), the reconstruction.
        hr: (bands, rows, columns), the ground truth.

    Returns:
        (rows, columns), float64, in units of reflectance.

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape.
    """
    _check(sr, hr)
    total = np.zeros(hr.shape[1:])
    for x, y in zip(sr, hr, strict=True):
        total += np.abs(x.astype(np.float64) - y)
    return total / len(hr)


def edges(hr: np.ndarray) -> np.ndarray:
    """The tenth of the pixels, rounded up, where an image has the strongest spatial gradient.

    The gradient is made of central differences to both sides (at the border, of the one to the neighbour inside); its
    strength is the norm over bands and both directions. Pixels as strong as the weakest chosen one are chosen too.

    Args:
        hr: (bands, rows, columns), with sides of at least 2 pixels.

    Returns:
        (rows, columns), bool.
    """
    strength = np.zeros(hr.shape[1:])
    for band in hr:
        strength += sum(slope**2 for slope in np.gradient(band.astype(np.float64)))
    return strength >= np.quantile(strength, 0.9)


def _check(sr: np.ndarray, hr: np.ndarray) -> None:
    if sr.ndim != 3 or sr.shape != hr.shape or not hr.size:
        raise ValueError(f"two images (bands, rows, columns) of one shape are needed, not {sr.shape} and {hr.shape}")
    if not (np.isfinite(sr).all() and np.isfinite(hr).all()):
        raise ValueError("an image holds NaN or infinite values, which have no score")


def _borders(side: int) -> np.ndarray:
    """Where the blocks of a side begin, and its end."""
    return np.unique(np.linspace(0, side, BLOCKS + 1).round().astype(int))


def _blocks(rows: int, columns: int, rim: int = 0) -> list[tuple[slice, slice]]:
    """The blocks of an image, row by row, in an array from which `rim` pixels on each side of the image are missing."""
    down, across = ((_borders(side) - rim).clip(0, side - 2 * rim) for side in (rows, columns))
    return [
        (slice(top, bottom), slice(left, right)) for top, bottom in pairwise(down) for left, right in pairwise(across)
    ]


def _sizes(blocks: list[tuple[slice, slice]]) -> np.ndarray:
    """(blocks,), their pixels."""
    return np.array([(down.stop - down.start) * (across.stop - across.start) for down, across in blocks])


def _sets(blocks: int) -> np.ndarray:
    """(sets, blocks), 1 where a block belongs to a set: the first has all, the others lack one each."""
    return np.vstack([np.ones(blocks), 1 - np.eye(blocks)])


def _over_sets(sums: np.ndarray) -> np.ndarray:
    """Sums (..., blocks) to sums (..., sets), by adding what belongs to a set: a difference would round where
    one block has nearly all."""
    return sums @ _sets(sums.shape[-1]).T


def _means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums (..., blocks) and what they count (blocks,) to means (..., sets); NaN where a set counts nothing."""
    with np.errstate(invalid="ignore"):
        return _over_sets(sums) / _over_sets(counts)


def _of_bands(sums: Callable[[np.ndarray, np.ndarray], list], sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """What `sums` gives of a pair of bands, numbers or arrays in a list; one band at a time is held as float64.

    Returns:
        (bands, ...).
    """
    _check(sr, hr)
    return np.array([sums(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(sr, hr, strict=True)])


def _errors(sr: np.ndarray, hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean squared error and the ground truth's mean, (bands, sets) each."""

    def sums(x: np.ndarray, y: np.ndarray) -> list:
        squares = (x - y) ** 2
        return [[squares[block].sum() for block in blocks], [y[block].sum() for block in blocks]]

    blocks = _blocks(*hr.shape[-2:])
    means = _means(_of_bands(sums, sr, hr), _sizes(blocks))
    return means[:, 0], means[:, 1]


def _psnr(mse: np.ndarray) -> np.ndarray:
    return -10 * np.log10(np.maximum(mse, 1e-10))


def _ergas(mse: np.ndarray, means: np.ndarray, scale: int) -> np.ndarray:
    """(sets,)"""
    if scale < 1:
        raise ValueError(f"ERGAS needs the upsampling factor, a number from 1: {scale} is none")
    seen = means != 0
    if not seen[:, 0].any():
        raise ValueError("ERGAS is undefined: every band of the ground truth has mean 0")
    relative = np.divide(mse, means**2, out=np.zeros_like(mse), where=seen)
    with np.errstate(invalid="ignore"):
        return 100 / scale * np.sqrt(relative.sum(0) / seen.sum(0))


def _ssim(sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """(bands, sets)"""

    def sums(x: np.ndarray, y: np.ndarray) -> list:
        mean_x, mean_y = uniform_filter(x, WINDOW), uniform_filter(y, WINDOW)
        var_x = sample * (uniform_filter(x * x, WINDOW) - mean_x * mean_x)
        var_y = sample * (uniform_filter(y * y, WINDOW) - mean_y * mean_y)
        cov = sample * (uniform_filter(x * y, WINDOW) - mean_x * mean_y)
        ssim = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
        ssim = ssim[rim:-rim, rim:-rim]
        return [ssim[block].sum() for block in blocks]

    _check(sr, hr)
    if min(hr.shape[1:]) < WINDOW:
        raise ValueError(f"MSSIM needs sides of at least {WINDOW} pixels, not {hr.shape[1]} x {hr.shape[2]}")
    c1, c2 = 0.01**2, 0.03**2  # (K1 L)^2, (K2 L)^2 with L = 1
    sample = WINDOW**2 / (WINDOW**2 - 1)  # from population to sample covariance
    rim = WINDOW // 2  # there the window leaves the image
    blocks = _blocks(*hr.shape[1:], rim)
    return _means(_of_bands(sums, sr, hr), _sizes(blocks))


def _pearson(sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """(bands, sets)

    Source:
        Chan, Golub & LeVeque 1983: the sums about the mean of a set are those about the blocks' means plus those of the
        blocks' means, all of one sign, so that nothing cancels.
    """

    def sums(x: np.ndarray, y: np.ndarray) -> list:
        moments = []
        for block in blocks:
            u, v = x[block], y[block]
            mean_u, mean_v = u.mean(), v.mean()
            du, dv = u - mean_u, v - mean_v
            within = (du * du).sum(), (dv * dv).sum(), (du * dv).sum()
            moments.append((mean_u, mean_v, *within, u.min(), u.max(), v.min(), v.max()))
        return moments

    blocks = _blocks(*hr.shape[-2:])
    mean_x, mean_y, xx, yy, xy, *ends = _of_bands(sums, sr, hr).transpose(2, 0, 1)
    sizes, sets = _sizes(blocks), _sets(len(blocks))
    dx, dy = (m[:, None] - _means(m * sizes, sizes)[..., None] for m in (mean_x, mean_y))  # (bands, sets, blocks)
    xx, yy, xy = (
        _over_sets(within) + (sets * sizes * a * b).sum(-1)
        for within, a, b in ((xx, dx, dx), (yy, dy, dy), (xy, dx, dy))
    )
    # The mean of equal numbers is rounded, so that sums about it would see contrast where there is none.
    low_x, high_x, low_y, high_y = (
        pick(np.where(sets, end[:, None], without), -1)
        for end, pick, without in zip(ends, (np.min, np.max) * 2, (np.inf, -np.inf) * 2, strict=True)
    )
    flat, equal = (low_x == high_x) | (low_y == high_y), (low_x == low_y) & (high_x == high_y)
    with np.errstate(invalid="ignore"):
        return np.where(flat, equal, xy / np.sqrt(xx * yy))


def _sam(sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """(sets,)"""
    _check(sr, hr)
    if len(hr) < 2:
        raise ValueError("SAM needs at least 2 bands: with one there is no angle")
    down, across = (np.repeat(np.arange(len(b) - 1), np.diff(b)) for b in map(_borders, hr.shape[1:]))
    total, pixels = np.zeros((2, down[-1] + 1, across[-1] + 1))
    for row in range(hr.shape[1]):  # row by row: no float64 copy of the cube
        x, y = sr[:, row].astype(np.float64), hr[:, row].astype(np.float64)
        norm_x, norm_y = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
        seen = (norm_x > 0) & (norm_y > 0)
        x, y = x[:, seen] / norm_x[seen], y[:, seen] / norm_y[seen]
        angles = 2 * np.arctan2(np.linalg.norm(x - y, axis=0), np.linalg.norm(x + y, axis=0))
        total[down[row]] += np.bincount(across[seen], angles, across[-1] + 1)
        pixels[down[row]] += np.bincount(across[seen], minlength=across[-1] + 1)
    if not pixels.any():
        raise ValueError("SAM is undefined: every pixel has an all-zero spectrum in one of the two images")
    return np.degrees(_means(total.ravel(), pixels.ravel()))
