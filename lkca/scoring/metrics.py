"""The scores of a reconstruction, in numpy.

`SCORES` is the registry of scores. To add one, write a function of an `ImagePair` and add its entry to `SCORES`;
CONTRIBUTING.md shows an example. A score compares two finite arrays (bands, rows, columns) of one shape, reflectance
with a peak of 1.0, and sums in float64, whatever the type of the arrays. A score is always a finite number, because
JSON has no NaN or infinity; otherwise ValueError is raised. Where a formula is undefined, these conventions hold:

- MPSNR: the mean squared error of a band counts as at least 1e-10, so the maximum is 100 dB.
- SAM: a pixel whose spectrum is zero in all bands of either image has no angle and is left out; ValueError if none is
  left.
- CC: a band that is constant in either image counts 1 if the two bands are equal, else 0.
- ERGAS: a band whose ground truth has mean 0 has no relative error and is left out; ValueError if none is left.

Every score is computed for the whole image, and for the image without each of its blocks (lkca/scoring/jackknife.py).
The same conventions hold there, except that an undefined score is None.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
from scipy.ndimage import uniform_filter

from lkca.scoring.jackknife import (
    ImagePair,
    block_edges,
    block_sizes,
    block_slices,
    check_images,
    subset_means,
    subset_membership,
    subset_sums,
)

SSIM_WINDOW = 7  # pixels on a side
MIN_MSE = 1e-10
MAX_PSNR = -10 * math.log10(MIN_MSE)  # dB


class ScoreValues(NamedTuple):
    """The values of a score for one pair of images.

    Args:
        subsets: (subsets,), the score of each subset of blocks; the first is the score of the whole image.
        bands: (bands,), the score of each band of the whole image; None for a score that is not taken band by band.
    """

    subsets: np.ndarray
    bands: np.ndarray | None = None


@dataclass(frozen=True)
class Score:
    """A score: its function, and how a table shows it.

    Args:
        function: Computes the values of the score for a pair of images.
        heading: Heading of its column.
        unit: Unit; empty for a number without unit.
        decimals: Decimals that a table shows.
        direction: 1 if a higher score is better, -1 if a lower one is.
        limits: The lowest and the highest possible score.

    Raises:
        ValueError: If the heading is empty, or the decimals or the direction are not allowed.
    """

    function: Callable[[ImagePair], ScoreValues]
    heading: str
    unit: str
    decimals: int
    direction: int
    limits: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        if not self.heading:
            raise ValueError("the heading of a score in SCORES is empty: write the heading of its column")
        if type(self.decimals) is not int or self.decimals < 0:
            raise ValueError(f"the decimals of {self.heading} in SCORES are {self.decimals!r}: write 0 or more")
        if self.direction not in (1, -1):
            raise ValueError(
                f"the direction of {self.heading} in SCORES is {self.direction!r}: "
                "write 1 if higher is better, -1 if lower is"
            )

    def __call__(self, sr: np.ndarray, hr: np.ndarray, scale: int = 1) -> float:
        """Return the score of a reconstruction.

        Args:
            sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
            hr: (bands, rows, columns), the ground truth.
            scale: Upsampling factor r; only ERGAS depends on it.

        Raises:
            ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape, or the score is
                undefined for them.
        """
        return float(self.function(ImagePair(sr, hr, scale)).subsets[0])


class ImageScores(TypedDict):
    """All scores of one image: name -> number, a number for each band, and a number without each block."""

    scores: dict[str, float]
    bands: dict[str, list[float]]
    without_block: dict[str, list[float | None]]


def scores(sr: np.ndarray, hr: np.ndarray, scale: int) -> ImageScores:
    """Return all scores of one image.

    Args:
        sr: (bands, rows, columns), the reconstruction, reflectance in [0, 1].
        hr: (bands, rows, columns), the ground truth.
        scale: Upsampling factor r.

    Returns:
        `scores`: each score of `SCORES`; `bands`: for each score that is taken band by band, its value in each band;
        `without_block`: each score of the image without one of its 16 blocks (4 x 4, row by row), None where it is
        undefined. A window of SSIM belongs to the block of its centre.

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape, a score is undefined
            for them, or one is too large for floating point.
        TypeError: If the function of a score does not return ScoreValues of the right shapes.

    Example:
        >>> image = np.linspace(0.1, 1, 128).reshape(2, 8, 8)
        >>> scores(image, image, scale=4)["scores"]["MPSNR"]
        100.0
    """
    pair = ImagePair(sr, hr, scale)
    values = {name: score.function(pair) for name, score in SCORES.items()}
    for name, score in values.items():
        _check_values(name, score, pair)
    whole = {name: float(score.subsets[0]) for name, score in values.items()}
    bands = {name: score.bands.tolist() for name, score in values.items() if score.bands is not None}
    return {
        "scores": whole,
        "bands": bands,
        "without_block": {
            name: [float(value) if np.isfinite(value) else None for value in score.subsets[1:]]
            for name, score in values.items()
        },
    }


def _check_values(name: str, values: ScoreValues, pair: ImagePair) -> None:
    """Check what the function of a score returned; the score may be NaN only where a block is left out.

    Raises:
        TypeError: If it is not ScoreValues of the right shapes.
        ValueError: If the score of the whole image or of a band is NaN or infinite.
    """
    subsets = (len(block_slices(pair.rows, pair.columns)) + 1,)
    if not isinstance(values, ScoreValues) or np.shape(values.subsets) != subsets:
        found = np.shape(values.subsets) if isinstance(values, ScoreValues) else type(values).__name__
        raise TypeError(f"{name} must return ScoreValues with subsets of shape {subsets}, not {found}")
    if values.bands is not None and np.shape(values.bands) != (len(pair.hr),):
        raise TypeError(f"{name} must return bands of shape ({len(pair.hr)},) or None, not {np.shape(values.bands)}")
    if not np.isfinite([values.subsets[0], *(() if values.bands is None else values.bands)]).all():
        raise ValueError(
            f"{name} is NaN or infinite: divide the images by the scene's largest value if they are too large for "
            "floating point, and raise ValueError in the function of the score where it is undefined"
        )


def mpsnr(pair: ImagePair) -> ScoreValues:
    """Mean peak signal-to-noise ratio, in dB, at most 100; higher is better.

    The mean over bands of 10 log10(1 / MSE), where a band's MSE counts as at least 1e-10.

    Source:
        The peak is 1.0 for every band: SSPSR's metrics.py (Jiang et al. 2020), as in the papers that followed it.

    Example:
        >>> SCORES["MPSNR"](np.full((2, 4, 4), 0.6), np.full((2, 4, 4), 0.5))
        20.0
    """
    return _mean_over_bands(-10 * np.log10(np.maximum(pair.mean_squared_error, MIN_MSE)))


def mssim(pair: ImagePair) -> ScoreValues:
    """Mean structural similarity, no unit, in [-1, 1]; 1 is best.

    The mean over bands and over all windows inside the image.

    Raises:
        ValueError: If a side is shorter than the window.

    Source:
        Wang et al. 2004, with scikit-image's defaults: a uniform 7x7 window, K1 = 0.01, K2 = 0.03, sample covariance.

    Example:
        >>> black, white = np.zeros((2, 8, 8)), np.ones((2, 8, 8))
        >>> SCORES["MSSIM"](white, white), round(SCORES["MSSIM"](black, white), 4)
        (1.0, 0.0001)
    """
    if min(pair.rows, pair.columns) < SSIM_WINDOW:
        raise ValueError(f"MSSIM needs sides of at least {SSIM_WINDOW} pixels, not {pair.rows} x {pair.columns}")
    c1, c2 = 0.01**2, 0.03**2  # (K1 L)^2, (K2 L)^2 with L = 1
    sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)  # from population to sample covariance
    border = SSIM_WINDOW // 2  # in this border, the window would exceed the image

    def ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        mean_x, mean_y = uniform_filter(x, SSIM_WINDOW), uniform_filter(y, SSIM_WINDOW)
        var_x = sample * (uniform_filter(x * x, SSIM_WINDOW) - mean_x * mean_x)
        var_y = sample * (uniform_filter(y * y, SSIM_WINDOW) - mean_y * mean_y)
        cov = sample * (uniform_filter(x * y, SSIM_WINDOW) - mean_x * mean_y)
        ssim = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
        return ssim[border:-border, border:-border]

    return _mean_over_bands(pair.block_means(ssim, border))


def sam(pair: ImagePair) -> ScoreValues:
    """Spectral angle mapper: the mean over pixels of the angle between the spectra, in degrees, in [0, 180]; 0 is best.

    Pixels whose spectrum is zero in all bands of either image have no angle and are left out.

    Raises:
        ValueError: If there is only one band, or no pixel has an angle.

    Source:
        Yuhas, Goetz & Boardman 1992; the angle by Kahan's formula, exact for small angles where the arc cosine is not.

    Example:
        >>> sr, hr = np.array([[[1]], [[1]]]), np.array([[[1]], [[0]]])  # spectra (1, 1) and (1, 0)
        >>> round(SCORES["SAM"](sr, hr), 4)
        45.0
    """
    if len(pair.hr) < 2:
        raise ValueError("SAM needs at least 2 bands: with one there is no angle")
    edges_of_sides = map(block_edges, (pair.rows, pair.columns))
    block_row, block_column = (np.repeat(np.arange(len(edges) - 1), np.diff(edges)) for edges in edges_of_sides)
    total, pixels = np.zeros((2, block_row[-1] + 1, block_column[-1] + 1))
    for row in range(pair.rows):  # row by row: no float64 copy of the cube
        x, y = pair.sr[:, row].astype(np.float64), pair.hr[:, row].astype(np.float64)
        norm_x, norm_y = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
        valid = (norm_x > 0) & (norm_y > 0)
        x, y = x[:, valid] / norm_x[valid], y[:, valid] / norm_y[valid]
        angles = 2 * np.arctan2(np.linalg.norm(x - y, axis=0), np.linalg.norm(x + y, axis=0))
        total[block_row[row]] += np.bincount(block_column[valid], angles, block_column[-1] + 1)
        pixels[block_row[row]] += np.bincount(block_column[valid], minlength=block_column[-1] + 1)
    if not pixels.any():
        raise ValueError("SAM is undefined: every pixel has an all-zero spectrum in one of the two images")
    return ScoreValues(np.degrees(subset_means(total.ravel(), pixels.ravel())))


def cc(pair: ImagePair) -> ScoreValues:
    """Cross-correlation: the mean over bands of Pearson's coefficient, no unit, in [-1, 1]; 1 is best.

    A band that is constant in either image counts 1 if the two bands are equal, else 0.

    Source:
        Loncan et al. 2015. The sums over a subset are computed from those of its blocks by the formula of Chan, Golub &
        LeVeque 1983: the squares about the mean of the subset are those about the means of the blocks, plus those of
        the means of the blocks. All terms have the same sign, so no digits cancel.

    Example:
        >>> hr = np.array([[[1.0, 2.0, 3.0]], [[5.0, 5.0, 5.0]]])  # the second band is constant
        >>> round(SCORES["CC"](2 * hr, hr), 4)
        0.5
    """

    def moments(x: np.ndarray, y: np.ndarray) -> list[Any]:
        rows = []
        for block in blocks:
            u, v = x[block], y[block]
            mean_u, mean_v = u.mean(), v.mean()
            du, dv = u - mean_u, v - mean_v
            squares = (du * du).sum(), (dv * dv).sum(), (du * dv).sum()
            rows.append((mean_u, mean_v, *squares, u.min(), u.max(), v.min(), v.max()))
        return rows

    blocks = block_slices(pair.rows, pair.columns)
    mean_x, mean_y, xx, yy, xy, *extremes = pair.over_bands(moments).transpose(2, 0, 1)
    sizes, subsets = block_sizes(blocks), subset_membership(len(blocks))
    # (bands, subsets, blocks)
    dx, dy = (m[:, None] - subset_means(m * sizes, sizes)[..., None] for m in (mean_x, mean_y))
    xx, yy, xy = (
        subset_sums(within) + (subsets * sizes * a * b).sum(-1)
        for within, a, b in ((xx, dx, dx), (yy, dy, dy), (xy, dx, dy))
    )
    # A band is constant if its minimum is its maximum. Its sum of squares cannot decide: the mean of equal numbers is
    # rounded, so that the sum would be greater than 0.
    min_x, max_x, min_y, max_y = (
        pick(np.where(subsets, extreme[:, None], outside), -1)
        for extreme, pick, outside in zip(extremes, (np.min, np.max) * 2, (np.inf, -np.inf) * 2, strict=True)
    )
    constant, equal = (min_x == max_x) | (min_y == max_y), (min_x == min_y) & (max_x == max_y)
    with np.errstate(invalid="ignore"):
        return _mean_over_bands(np.where(constant, equal, xy / np.sqrt(xx * yy)))


def rmse(pair: ImagePair) -> ScoreValues:
    """Root mean squared error over the whole cube, in units of reflectance; 0 is best.

    The root of the mean over bands, rows and columns; the mean of the bands' roots would be smaller.

    Source:
        The whole cube: SSPSR's metrics.py (Jiang et al. 2020), as in the papers that followed it.

    Example:
        >>> round(SCORES["RMSE"](np.array([[[1.0]], [[0.0]]]), np.zeros((2, 1, 1))), 4)
        0.7071
    """
    return ScoreValues(np.sqrt(pair.mean_squared_error.mean(0)), np.sqrt(pair.mean_squared_error[:, 0]))


def ergas(pair: ImagePair) -> ScoreValues:
    """ERGAS, the relative global error of a synthesis, in percent divided by the scale; 0 is best.

    (100 / r) times the root of the mean over bands of MSE / mean(hr)^2; bands of mean 0 are left out.

    Raises:
        ValueError: If the scale is below 1, or every band of the ground truth has mean 0.

    Source:
        Wald 2000; r is the true scale at each scale.

    Example:
        >>> sr, hr = np.full((2, 4, 4), 0.55), np.full((2, 4, 4), 0.5)  # 10 % off
        >>> round(SCORES["ERGAS"](sr, hr, scale=4), 4)
        2.5
    """
    if pair.scale < 1:
        raise ValueError(f"ERGAS needs the upsampling factor, a number from 1, not {pair.scale}")
    mse, means = pair.mean_squared_error, pair.mean_of_truth
    valid = means != 0
    if not valid[:, 0].any():
        raise ValueError("ERGAS is undefined: every band of the ground truth has mean 0")
    relative = np.divide(mse, means**2, out=np.zeros_like(mse), where=valid)
    with np.errstate(invalid="ignore"):
        return ScoreValues(100 / pair.scale * np.sqrt(relative.sum(0) / valid.sum(0)))


def _mean_over_bands(values: np.ndarray) -> ScoreValues:
    """Return a score that is the mean over bands of its values (bands, subsets)."""
    return ScoreValues(values.mean(0), values[:, 0])


SCORES = {  # name -> score, in the order of the tables
    "MPSNR": Score(mpsnr, "MPSNR", "dB", 4, 1, limits=(-math.inf, MAX_PSNR)),
    "MSSIM": Score(mssim, "MSSIM", "", 4, 1, limits=(-1, 1)),
    "SAM": Score(sam, "SAM", "degrees", 4, -1, limits=(0, 180)),
    "CC": Score(cc, "CC", "", 4, 1, limits=(-1, 1)),
    "RMSE": Score(rmse, "RMSE", "", 4, -1, limits=(0, math.inf)),
    "ERGAS": Score(ergas, "ERGAS", "", 4, -1, limits=(0, math.inf)),
}


def absolute_error(sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Return the absolute error of each pixel, its mean over bands.

    Args:
        sr: (bands, rows, columns), the reconstruction.
        hr: (bands, rows, columns), the ground truth.

    Returns:
        (rows, columns), float64, in units of reflectance.

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape.
    """
    check_images(sr, hr)
    total = np.zeros(hr.shape[1:])
    for x, y in zip(sr, hr, strict=True):
        total += np.abs(x.astype(np.float64) - y)
    return total / len(hr)


def edges(hr: np.ndarray) -> np.ndarray:
    """Return a mask of the tenth of the pixels, rounded up, with the strongest spatial gradient.

    The gradient is computed by central differences, and by one-sided differences at the border. Its strength is its
    norm over all bands and both directions. All pixels that equal the weakest of the tenth are included.

    Args:
        hr: (bands, rows, columns), with sides of at least 2 pixels.

    Returns:
        (rows, columns), bool.
    """
    strength = np.zeros(hr.shape[1:])
    for band in hr:
        strength += sum(slope**2 for slope in np.gradient(band.astype(np.float64)))
    return strength >= np.quantile(strength, 0.9)
