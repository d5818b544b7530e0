"""`lkca score` and `lkca resize`: commands for the user's own arrays, in files of any format that scenes may have."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from lkca.core.files import atomic_write
from lkca.data.arrays import AXES, UserImage, read_image
from lkca.data.catalog import format_ranges
from lkca.data.resize import resize as resize_array
from lkca.data.resize import resized_length
from lkca.errors import ConfigError, DataError
from lkca.scoring.metrics import scores

MAX_FACTOR = 16  # factors from 1 / MAX_FACTOR to MAX_FACTOR are allowed
MAX_SIDE = 16384  # pixels of a side before and after; an m x n matrix of float64 resizes n pixels to m
MAX_BYTES = 2**33  # largest size of the resized array

T = TypeVar("T")

# What reflectance can be if its peak is 1. Bright targets reach 1.5 (the maximum of Chikusei is 15133, in units of
# 1/10000), and bicubic enlargement exceeds the range of its input by up to 28 % on either side. The usual mistakes are
# beyond: percent, 8 bits, units of 1/10000, and fill values such as -9999/10000.
MIN_REFLECTANCE, MAX_REFLECTANCE = -0.5, 2.0
# With a peak of percent or more, values that could be reflectance as they are have been divided by their peak already.
MIN_PERCENT_PEAK = 50
# The means of a reconstruction and its ground truth hardly differ; in the usual other units they do by 100 or more.
MAX_MEAN_RATIO = 30


def score(
    reference: Path,
    estimate: Path,
    scale: int,
    peak: Sequence[float] | None = None,
    axes: Sequence[str] | None = None,
    variable: Sequence[str] | None = None,
) -> None:
    """Print the scores of an image as one JSON object: each of `SCORES` (lkca/scoring/metrics.py).

    The files may have any format of `lkca.data.readers`. What they declare is applied: gain and offset, invalid values.

    Args:
        reference: File of the ground truth.
        estimate: File of the reconstruction, with the same bands, rows and columns.
        scale: Upsampling factor, at least 1; only ERGAS depends on it.
        peak: The value by which both files are divided, or one for each file, so that all scores are those of values
            up to 1; None for 1.
        axes: Names of the three axes in the order of both files, or of each file; None for the usual order of the
            format (`read_image`).
        variable: Name of the array in both files, or in each file; None for the only array with three axes.

    Raises:
        ConfigError: If an option is wrong.
        DataError: If a file cannot be read, its values cannot be reflectance with this peak, or a score is not defined
            for the two arrays (see `lkca.scoring.metrics`).
        ResourceError: If the disk for temporary files is full.
    """
    orders = _one_per_file("--axes", _join_axes(axes))
    variables = _one_per_file("--variable", variable)
    peaks = _one_per_file("--peak", peak)
    for value in peaks:
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--peak {value:g} is out of range: give a positive number.")
    hr, sr = map(_read_reflectance, (reference, estimate), orders, variables, peaks)
    if sr.shape != hr.shape:
        shapes = ["{} bands, {} rows and {} columns".format(*image.shape) for image in (sr, hr)]
        remedy = (
            "give the order of their axes with --axes" if sorted(sr.shape) == sorted(hr.shape) else "crop them alike"
        )
        raise DataError(f"{estimate} has {shapes[0]}, but {reference} has {shapes[1]}: {remedy}.")
    mean_hr, mean_sr = (abs(float(image.mean(dtype=np.float64))) for image in (hr, sr))
    if mean_hr and mean_sr and not 1 / MAX_MEAN_RATIO < mean_sr / mean_hr < MAX_MEAN_RATIO:
        raise DataError(
            f"{estimate} and {reference} have different units, since their means are {mean_sr:.3g} and {mean_hr:.3g}: "
            "give two numbers to --peak, that of the reference and that of the estimate."
        )
    try:
        result = scores(sr, hr, scale)["scores"]
    except ValueError as error:
        raise DataError(f"{estimate} cannot be scored against {reference}: {error}.") from error
    print(json.dumps(result, indent=1))


def resize(
    input: Path,
    factor: float,
    output: Path,
    axes: Sequence[str] | None = None,
    variable: str | None = None,
) -> None:
    """Resize an image as MATLAB's imresize(image, factor, 'bicubic') does.

    Args:
        input: File in any format of `lkca.data.readers`. What it declares is applied: gain and offset, invalid values.
        factor: From 1/16 to 16; above 1 enlarges, below 1 shrinks.
        output: .npy file to write, (bands, rows, columns), with the dtype of the input, or float32 or float64 if that
            is an integer. It may be the input file, which is then replaced if there is no error.
        axes: Names of the three axes in the order of the file; None for the usual order of the format (`read_image`).
        variable: Name of the array in the file; None for the only array with three axes.

    Raises:
        ConfigError: If the factor is out of range or the name of the output does not end in .npy.
        DataError: If the input cannot be read; a side is or would be longer than 16384 pixels; the result would be
            larger than 8 GiB or overflow; or the folder of the output cannot be written.
        ResourceError: If the disk is full or fails.
    """
    if not 1 / MAX_FACTOR <= factor <= MAX_FACTOR:
        raise ConfigError(f"{input}: the factor {factor} is out of range: choose from 1/{MAX_FACTOR} to {MAX_FACTOR}.")
    if output.suffix != ".npy":
        raise ConfigError(f"{output} does not end in .npy: name a .npy file to write.")
    image = _read(input, join_axes(axes), variable).values
    bands, *sides = image.shape
    shape = (bands, *(resized_length(n, factor) for n in sides))
    if max(*sides, *shape[1:]) > MAX_SIDE or math.prod(shape) * image.itemsize > MAX_BYTES:
        raise DataError(
            f"{input} is too large to be resized from {image.shape} to {shape}: "
            f"crop it to sides of at most {MAX_SIDE} pixels and a result of at most {MAX_BYTES // 2**30} GiB."
        )
    result = resize_array(image, factor)
    if not np.isfinite(result).all():
        raise DataError(
            f"{input} holds values so large that bicubic resizing overflows {image.dtype}: divide it by its maximum."
        )
    with atomic_write(output) as part:
        np.save(part, result)


def _join_axes(words: Sequence[str] | None) -> list[str] | None:
    """Return the order of the axes of each file, such as ["rows columns bands"]; None for no words.

    Raises:
        ConfigError: If the words are not the names of three axes, once or several times.
    """
    if words is None:
        return None
    names = " ".join(words).replace(",", " ").split()
    files = [names[i : i + 3] for i in range(0, len(names), 3)]
    if not files or any(sorted(file) != sorted(AXES) for file in files):
        raise ConfigError(
            f"--axes {' '.join(words)} is wrong: name the three axes in order, as in: rows columns bands."
        )
    return [" ".join(file) for file in files]


def join_axes(words: Sequence[str] | None) -> str | None:
    """Return the order of the axes of one file, such as "rows columns bands"; None for no words.

    Raises:
        ConfigError: If the words are not the names of the three axes.
    """
    orders = _join_axes(words)
    if orders and len(orders) > 1:
        raise ConfigError(f"--axes has {3 * len(orders)} names: give three, as in: rows columns bands.")
    return orders[0] if orders else None


def _one_per_file(option: str, values: Sequence[T] | None) -> Sequence[T | None]:
    """Return the value of an option for the reference and for the estimate.

    Raises:
        ConfigError: If there are more than two.
    """
    if values is None:
        return (None, None)
    if len(values) > 2:
        raise ConfigError(
            f"{option} has {len(values)} values: give one for both files, or that of the reference and that of the "
            "estimate."
        )
    return (values[0], values[-1])


def _read(path: Path, axes: str | None, variable: str | None) -> UserImage:
    """Read an image; print a note if the order of its axes was not given and looks unusual."""
    image = read_image(path, axes, variable)
    if axes is None and (note := image.doubt_axes()):
        print(f"lkca: {note}", file=sys.stderr)
    return image


def _read_reflectance(path: Path, axes: str | None, variable: str | None, peak: float | None) -> np.ndarray:
    """Return an image divided by its peak.

    Raises:
        DataError: If the image cannot be read, or its values cannot be reflectance with this peak.
    """
    image = _read(path, axes, variable)
    if image.description and image.description.bad_bands:
        bands = format_ranges(image.description.bad_bands)
        print(f"lkca: {path} declares bad bands, which are scored like the others: {bands}.", file=sys.stderr)
    _check_peak(image, peak)
    if peak is None or peak == 1:
        return image.values
    return np.divide(image.values, peak, dtype=np.result_type(image.values, np.float32))


def _check_peak(image: UserImage, peak: float | None) -> None:
    """Refuse values that cannot be reflectance if they are divided by a peak.

    Raises:
        DataError: If integers have no peak, or a value is far outside the range from 0 to the peak.
    """
    minimum, maximum = float(image.values.min()), float(image.values.max())
    scaled = " after its declared gain and offset" if image.description and image.description.gains else ""
    range_of_file = f"{image.path} holds values from {minimum:g} to {maximum:g}{scaled}"
    remedy = "give the value that stands for 1, as in --peak 10000 for reflectance in units of 1/10000"
    if image.is_integer and peak is None:
        raise DataError(f"{range_of_file}, which are integers: {remedy}.")
    peak = peak or 1
    if maximum > MAX_REFLECTANCE * peak:
        raise DataError(f"{range_of_file}, too large for reflectance with a peak of {peak:g}: {remedy}.")
    if minimum < MIN_REFLECTANCE * peak:
        raise DataError(
            f"{range_of_file}, too far below 0 for reflectance with a peak of {peak:g}: crop away or replace pixels "
            "that mark missing data, or correct --peak."
        )
    if peak >= MIN_PERCENT_PEAK and maximum <= MAX_REFLECTANCE and not image.is_integer:
        raise DataError(
            f"{range_of_file}, which look like reflectance with a peak of 1 already: leave out --peak {peak:g}, give 1 "
            "for this file, or divide it yourself if it is that dark."
        )
