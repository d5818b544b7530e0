"""Measure the bands of a file: range, neighbouring pixels, invalid pixels and suspicious values."""

import math
from typing import NamedTuple

import numpy as np

from lkca.data.readers import CubeDescription
from lkca.errors import FileProblem

SAMPLES = 100  # rows and columns of the sample of a band from which percentiles are computed
# Values that often mark invalid pixels, besides the smallest and the largest value of an integer type.
USUAL_MARKS = {-1e38, -1e34, -1e30, -99999, -32768, -32767, -9999, -999, -99, 1e20, 1e30, 1e36, 65535, 99999}
MIN_GAP = 0.1  # a value is suspected to be such a mark if no other is as near as this fraction of the others' range
MAX_OUTLIER = 100  # a value is suspected if it is further from all others than this multiple of their range

Crop = tuple[int, int, int, int]  # first row, row after the last, first column, column after the last


class BandStatistics(NamedTuple):
    """The statistics of the valid pixels of one band.

    Args:
        minimum, maximum: The smallest and the largest value; NaN if no pixel is valid.
        mean: The mean.
        correlation: Correlation of neighbouring pixels: the smaller one of that between rows and that between columns.
        low, high: The 1st and the 99th percentile of a regular sample.
        positions: Row and column, in the image, of the first smallest and of the first largest value.
        infinite: Number of infinite values.
        invalid: Number of invalid pixels, which are NaN.
        variances: The variances of the means of the rows, of the means of the columns, and of the pixels of the sample.
    """

    minimum: float
    maximum: float
    mean: float
    correlation: float
    low: float
    high: float
    positions: tuple[tuple[int, int], tuple[int, int]]
    infinite: int
    invalid: int
    variances: tuple[float, float, float] = (0, 0, 0)


class Measurement:
    """The statistics of the bands of a file, collected band by band.

    Args:
        description: What the file says of itself.
        crop: The part of the file that is read.

    Attributes:
        bands: Numbers of the bands, from 1.
        statistics: The statistics of these bands.
        invalid: The pixels that are invalid in at least one of the bands, bool (rows, columns) of the crop.
        constant: The stored values of the pixels that hold the same one in all of the bands.
        first_invalid: Band, row and column of the file of the first invalid value; None if there is none.
    """

    def __init__(self, description: CubeDescription, crop: Crop) -> None:
        shape = crop[1] - crop[0], crop[3] - crop[2]
        self.description = description
        self.crop = crop
        self.bands: list[int] = []
        self.statistics: list[BandStatistics] = []
        self.invalid = np.zeros(shape, bool)
        self.constant = np.zeros(0, np.float32)
        self._places: tuple[np.ndarray, ...] = ()  # rows and columns of these pixels
        self._first = np.zeros(0, np.float32)  # the first band as it is stored, until there is a second one
        self.first_invalid: tuple[int, int, int] | None = None
        self._marks: list[FileProblem] = []
        self._outliers: list[tuple[float, FileProblem]] = []  # the stored values, and what is suspicious about them

    def add(self, band: int, image: np.ndarray) -> None:
        """Measure a band (rows, columns)."""
        statistics = measure_band(image)
        self.bands.append(band)
        self.statistics.append(statistics)
        if statistics.invalid:
            invalid = np.isnan(image)
            if self.first_invalid is None:
                row, column = np.unravel_index(int(invalid.argmax()), invalid.shape)
                self.first_invalid = band, self.crop[0] + int(row), self.crop[2] + int(column)
            if statistics.invalid < image.size:  # a band without valid pixels is a problem of its own
                self.invalid |= invalid
        self._compare_stored(band, image)
        self._suspect(band, image, statistics)

    def suspicion(self) -> FileProblem | None:
        """Return what is suspicious about a value, None if nothing is.

        Something that is brighter than all else in most bands, such as a boat on a lake or a lamp at night, is not
        suspicious: a mark of invalid pixels would be the same value in all bands, and a defect is in few of them.
        """
        values = [value for value, _ in self._outliers]
        is_object = 2 * len(values) > len(self.bands) and 2 * len({*values}) > len(values) and min(values) > 0
        outliers = [] if is_object else [problem for _, problem in self._outliers]
        return next(iter((*self._marks, *outliers)), None)

    def share_of_variance(self) -> tuple[float, float, float]:
        """Return which parts of the variance of the values are between rows, between columns, and between bands."""
        rows, columns, pixels = np.mean([band.variances for band in self.statistics], axis=0)
        bands = float(np.var([band.mean for band in self.statistics if np.isfinite(band.mean)] or [0]))
        total = float(pixels) + bands
        return (float(rows) / total, float(columns) / total, bands / total) if total > 0 else (0, 0, 0)

    def _compare_stored(self, band: int, image: np.ndarray) -> None:
        """Leave those values in `constant` whose pixels hold them in this band, too."""
        if len(self.bands) == 1:
            self._first = self._to_stored(band, image).copy("K")
        elif len(self.bands) == 2:
            values = self._to_stored(band, image)
            self._places = np.nonzero(values == self._first)
            self.constant, self._first = values[self._places], self._first[:0]
        elif self.constant.size:
            same = self._to_stored(band, image[self._places]) == self.constant
            self.constant, self._places = self.constant[same], tuple(axis[same] for axis in self._places)

    def _to_stored(self, band: int, values: np.ndarray) -> np.ndarray:
        """Return the stored values that stand for physical ones."""
        description = self.description
        if not description.gains or not description.gains[band - 1]:
            return values
        with np.errstate(over="ignore", invalid="ignore"):
            values = (values - description.offsets[band - 1]) / description.gains[band - 1]
        return values.round() if description.dtype.kind in "iu" else values

    def _suspect(self, band: int, image: np.ndarray, statistics: BandStatistics) -> None:
        """Note what is suspicious about the smallest or the largest value of a band."""
        description, spread = self.description, statistics.high - statistics.low
        gain, offset = 1.0, 0.0
        if description.gains:
            gain, offset = description.gains[band - 1], description.offsets[band - 1]
        for value, beyond, position in (
            (statistics.minimum, statistics.low - statistics.minimum, statistics.positions[0]),
            (statistics.maximum, statistics.maximum - statistics.high, statistics.positions[1]),
        ):
            stored = (value - offset) / gain if gain else value
            usual = _is_usual_mark(stored, description)
            if not (usual and _is_apart(image, value)) and not 0 < MAX_OUTLIER * spread < beyond:
                continue
            row, column = self.crop[0] + position[0], self.crop[2] + position[1]
            number = int(np.count_nonzero(image == np.float32(value)))
            pixels = f"{number} pixel{'s' if number > 1 else ''}"
            reason = "is a usual mark of invalid pixels" if usual else "is far from all others"
            declared = [str(mark) for mark in description.invalid]  # the entry would replace them
            problem = FileProblem(
                f"its value {stored:g} in {pixels} of band {band}, the first at row {row}, column {column}, {reason}, "
                f"but the file does not declare it: set invalid: [{', '.join([*declared, f'{stored:g}'])}] in its "
                f"entry, or invalid: [{', '.join(declared)}] if it is valid"
            )
            if usual:
                self._marks.append(problem)
            else:
                self._outliers.append((stored, problem))


def _is_usual_mark(stored: float, description: CubeDescription) -> bool:
    """Return whether a stored value is one that often marks invalid pixels."""
    dtype = description.dtype
    limits = {np.iinfo(dtype).min, np.iinfo(dtype).max} if dtype.kind in "iu" else set()
    return any(math.isclose(stored, mark, rel_tol=1e-6) for mark in (*USUAL_MARKS, *limits) if mark)


def _is_apart(image: np.ndarray, value: float) -> bool:
    """Return whether no other value of an image is near a value, compared with the range of the others."""
    others = image[np.isfinite(image) & (image != np.float32(value))]
    if not others.size:
        return False
    low, high = float(others.min()), float(others.max())
    return min(abs(value - low), abs(value - high)) > MIN_GAP * (high - low)


def measure_band(image: np.ndarray) -> BandStatistics:
    """Return the statistics of an image (rows, columns); the correlation is 1 if it is not defined."""
    first, last = _locate_extremes(image, image)  # of NaN if the image contains NaN
    minimum, maximum = float(image[first]), float(image[last])
    invalid = infinite = 0
    valid = image
    if not (np.isfinite(minimum) and np.isfinite(maximum)):
        finite = np.isfinite(image)
        invalid = int(np.count_nonzero(np.isnan(image)))
        infinite = image.size - invalid - int(np.count_nonzero(finite))
        if not finite.any():
            nan = float("nan")
            return BandStatistics(nan, nan, nan, 1, nan, nan, ((0, 0), (0, 0)), infinite, invalid)
        first, last = _locate_extremes(np.where(finite, image, np.inf), np.where(finite, image, -np.inf))
        minimum, maximum = float(image[first]), float(image[last])
        # The mean adds nothing to the products.
        valid = np.where(finite, image, np.float32(image[finite].mean(dtype=np.float64)))
    mean = float(valid.mean(dtype=np.float64))
    width = image.shape[1]
    sample = valid[:: -(-image.shape[0] // SAMPLES), :: -(-width // SAMPLES)]
    low, high = (float(value) for value in np.percentile(sample, (1, 99)))
    rows, columns, pixels = (float(part.var(dtype=np.float64)) for part in (sample.mean(1), sample.mean(0), sample))
    correlation = 1.0
    if minimum < maximum and min(image.shape) >= 2:
        flat = np.subtract(valid, np.float32(mean), order="C").ravel()
        flat /= np.float32(max(maximum, -minimum))
        # `across` also multiplies the last pixel of each row with the first of the next row, which hardly matters.
        down, across = flat[width:] @ flat[:-width], flat[1:] @ flat[:-1]
        correlation = float(min(down, across) / (flat @ flat))
    return BandStatistics(
        minimum,
        maximum,
        mean,
        correlation,
        low,
        high,
        (first, last),
        infinite,
        invalid,
        (rows, columns, pixels),
    )


def _locate_extremes(low: np.ndarray, high: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return row and column of the smallest value of one image and of the largest value of another.

    Of several equal ones, it is the first in the order of the memory, because other orders take much longer.
    """
    if low.flags.f_contiguous and not low.flags.c_contiguous:
        first, last = _locate_extremes(low.T, high.T)
        return first[::-1], last[::-1]
    width = low.shape[1]
    return divmod(int(low.argmin()), width), divmod(int(high.argmax()), width)
