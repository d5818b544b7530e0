"""The six scores of the tables, in numpy; sums are float64 whatever the images' type.

Every score takes the reconstruction first, then the ground truth: two finite arrays (bands, rows, columns) of one
shape, reflectance with a peak of 1.0. What a formula leaves undefined is settled here, so that the scores of finite
images are finite numbers (JSON has no others) or a ValueError:

- MPSNR: the mean squared error of a band counts as at least 1e-10, so 100 dB is the most a band can have.
- SAM: a pixel whose spectrum is all zero in either image has no angle and is left out; with no pixel left, ValueError.
- CC: a band that is constant in either image counts 1 if the two bands are equal, else 0.
- ERGAS: a band whose ground truth has mean 0 has no relative error and is left out; with no band left, ValueError.
"""

from collections.abc import Callable

import numpy as np

WINDOW = 7  # pixels, a side of SSIM's window


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
    return float(np.mean(_per_band(_psnr, sr, hr)))


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
    return float(np.mean(_per_band(_ssim, sr, hr)))


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
    _check(sr, hr)
    if len(hr) < 2:
        raise ValueError("SAM needs at least 2 bands: with one there is no angle")
    total, pixels = 0.0, 0
    for row in range(hr.shape[1]):  # row by row: no float64 copy of the cube
        x, y = sr[:, row].astype(np.float64), hr[:, row].astype(np.float64)
        norm_x, norm_y = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
        seen = (norm_x > 0) & (norm_y > 0)
        x, y = x[:, seen] / norm_x[seen], y[:, seen] / norm_y[seen]
        total += 2 * np.arctan2(np.linalg.norm(x - y, axis=0), np.linalg.norm(x + y, axis=0)).sum()
        pixels += seen.sum()
    if not pixels:
        raise ValueError("SAM is undefined: every pixel has an all-zero spectrum in one of the two images")
    return float(np.degrees(total / pixels))


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
    return float(np.mean(_per_band(_pearson, sr, hr)))


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
    return float(np.sqrt(np.mean(_per_band(_mse, sr, hr))))


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
    if scale < 1:
        raise ValueError(f"ERGAS needs the upsampling factor, a number from 1: {scale} is none")
    squares = np.array(_per_band(_mse, sr, hr))
    means = hr.mean(axis=(1, 2), dtype=np.float64)
    seen = means != 0
    if not seen.any():
        raise ValueError("ERGAS is undefined: every band of the ground truth has mean 0")
    return float(100 / scale * np.sqrt(np.mean(squares[seen] / means[seen] ** 2)))


def scores(sr: np.ndarray, hr: np.ndarray, scale: int) -> dict[str, dict]:
    """The six scores of one image, and four of them band by band.

    Args:
        sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
        hr: (bands, rows, columns), the ground truth.
        scale: Upsampling factor r.

    Returns:
        {"scores": {"MPSNR", "MSSIM", "SAM", "CC", "RMSE", "ERGAS": a number each},
        "bands": {"MPSNR", "MSSIM", "CC", "RMSE": a list of numbers each, one a band}}.

    Raises:
        ValueError: If one of the six raises it.

    Example:
        >>> image = np.linspace(0.1, 1, 128).reshape(2, 8, 8)
        >>> scores(image, image, scale=4)["scores"]
        {'MPSNR': 100.0, 'MSSIM': 1.0, 'SAM': 0.0, 'CC': 1.0, 'RMSE': 0.0, 'ERGAS': 0.0}
    """
    bands = {
        "MPSNR": _per_band(_psnr, sr, hr),
        "MSSIM": _per_band(_ssim, sr, hr),
        "CC": _per_band(_pearson, sr, hr),
        "RMSE": _per_band(_rmse, sr, hr),
    }
    means = {
        "MPSNR": float(np.mean(bands["MPSNR"])),
        "MSSIM": float(np.mean(bands["MSSIM"])),
        "SAM": sam(sr, hr),
        "CC": float(np.mean(bands["CC"])),
        "RMSE": rmse(sr, hr),
        "ERGAS": ergas(sr, hr, scale),
    }
    if not np.isfinite([*means.values(), *(value for values in bands.values() for value in values)]).all():
        raise ValueError("a score is beyond floating point: divide the images by the scene's largest value")
    return {"scores": means, "bands": bands}


def _check(sr: np.ndarray, hr: np.ndarray) -> None:
    if sr.ndim != 3 or sr.shape != hr.shape or not hr.size:
        raise ValueError(f"two images (bands, rows, columns) of one shape are needed, not {sr.shape} and {hr.shape}")
    if not (np.isfinite(sr).all() and np.isfinite(hr).all()):
        raise ValueError("an image holds NaN or infinite values, which have no score")


def _per_band(score: Callable[[np.ndarray, np.ndarray], float], sr: np.ndarray, hr: np.ndarray) -> list[float]:
    """The score of each pair of bands, of which only one at a time is held as float64."""
    _check(sr, hr)
    return [float(score(x.astype(np.float64), y.astype(np.float64))) for x, y in zip(sr, hr, strict=True)]


def _mse(x: np.ndarray, y: np.ndarray) -> float:
    return np.mean((x - y) ** 2)


def _rmse(x: np.ndarray, y: np.ndarray) -> float:
    return np.sqrt(_mse(x, y))


def _psnr(x: np.ndarray, y: np.ndarray) -> float:
    return -10 * np.log10(max(_mse(x, y), 1e-10))


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.ndimage import uniform_filter  # here, because training shows MPSNR alone and starts sooner without

    if min(x.shape) < WINDOW:
        raise ValueError(f"MSSIM needs sides of at least {WINDOW} pixels, not {x.shape[0]} x {x.shape[1]}")
    c1, c2 = 0.01**2, 0.03**2  # (K1 L)^2, (K2 L)^2 with L = 1
    sample = WINDOW**2 / (WINDOW**2 - 1)  # from population to sample covariance
    mean_x, mean_y = uniform_filter(x, WINDOW), uniform_filter(y, WINDOW)
    var_x = sample * (uniform_filter(x * x, WINDOW) - mean_x * mean_x)
    var_y = sample * (uniform_filter(y * y, WINDOW) - mean_y * mean_y)
    cov = sample * (uniform_filter(x * y, WINDOW) - mean_x * mean_y)
    ssim = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    rim = WINDOW // 2  # there the window leaves the image
    return np.mean(ssim[rim:-rim, rim:-rim])


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.array_equal(x, y)
    x, y = x - x.mean(), y - y.mean()
    return np.sum(x * y) / np.sqrt(np.sum(x * x) * np.sum(y * y))
