"""Open the files of a cube, read their bands, and check whether a file is the right one."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

import numpy as np

from lkca.data.catalog import Cube, File
from lkca.data.readers import CubeReader, open_cube
from lkca.data.sandbox import heartbeat, set_current_file
from lkca.errors import DataError, FileProblem, LkcaError

BLOCK_BYTES = 2**28  # size of the block of float32 values that is held in memory at a time
MIN_CORRELATION = 0.3  # between neighbouring pixels; in images of the ground it is 0.6 or more
WAVELENGTH_TOLERANCE = 15  # nm, between the header of a file and the published range of the sensor

Crop = tuple[int, int, int, int]  # first row, row after the last, first column, column after the last


class BandStatistics(NamedTuple):
    """The statistics of one band.

    Args:
        minimum, maximum: The smallest and the largest value; NaN if the band contains NaN.
        correlation: Correlation of neighbouring pixels: the smaller one of that between rows and that between columns.
    """

    minimum: float
    maximum: float
    correlation: float


def inspect_file(cube: Cube, file: File, bands: Sequence[int]) -> tuple[dict[str, str], list[str]]:
    """Read bands of a file and describe what they contain.

    Args:
        cube: The cube that the file should contain.
        file: The file.
        bands: Numbers of the bands to read, from 1, in ascending order.

    Returns:
        The properties of the file, label -> text, and a list of its problems, one sentence each.

    Raises:
        DataError: If the file has the wrong shape or cannot be read.
    """
    with ExitStack() as stack:
        reader = open_file(stack, cube, file)
        crop = resolve_crop(cube, file, reader)
        statistics = []
        for _, image in read_bands(file, reader, crop, bands):
            statistics.append(measure_band(image))
            del image  # frees its memory before the next one is read
    problems = find_problems(cube, reader, bands, statistics)
    minimum, maximum = min(band.minimum for band in statistics), max(band.maximum for band in statistics)
    properties = {
        "shape": "{} rows, {} columns, {} bands".format(*reader.shape),
        "values": f"{reader.dtype}, {minimum:g} to {maximum:g} in the valid part",
        "neighbours": f"correlation {median(band.correlation for band in statistics):.2f}",
        "wavelengths": f"{reader.nanometres[bands[0] - 1]:g} to {reader.nanometres[bands[-1] - 1]:g} nm"
        if reader.nanometres
        else "the file does not say",
    }
    return properties, [f"{file.local_path()} is not what it should be: {problem}." for problem in problems]


def spread_bands(cube: Cube, number: int) -> list[int]:
    """Return the numbers, from 1, of `number` evenly spaced bands of a cube."""
    numbers = cube.band_numbers()
    return [numbers[int(i)] for i in np.linspace(0, len(numbers) - 1, number).round()]


def open_file(stack: ExitStack, cube: Cube, file: File) -> CubeReader:
    """Open a file of a cube until the stack is closed.

    Raises:
        DataError: If the file has the wrong shape or cannot be read. If it is one of the files that are often mistaken
            for the right one (`Cube.not_this`), the message names it.
    """
    path = file.local_path()
    try:
        reader = stack.enter_context(open_cube(path, file.archive_member(), file.variable, file.axes))
    except LkcaError as error:  # the file may be a lookalike whose array has another name
        with ExitStack() as other:
            try:
                shape = other.enter_context(open_cube(path, file.archive_member(), None, file.axes)).shape
            except LkcaError:
                raise error from None
        if problem := _find_lookalike(cube, shape):
            raise DataError(f"{path} is not what it should be: {problem}.") from None
        raise
    if problem := _check_shape(cube, reader.shape):
        raise DataError(f"{path} is not what it should be: {problem}.")
    return reader


def _find_lookalike(cube: Cube, shape: tuple[int, int, int]) -> FileProblem | None:
    """Return which lookalike (`Cube.not_this`) has this shape, in any order of the axes; None if none has it."""
    names = [name for other, name in cube.not_this if sorted(other) == sorted(shape)]
    return FileProblem(f"it is {names[0]}; get the scene from {cube.source}") if names else None


def _check_shape(cube: Cube, shape: tuple[int, int, int]) -> FileProblem | None:
    """Return what is wrong with the shape (rows, columns, bands) of a file, None if nothing is."""
    if cube.shape is None:
        last = cube.band_numbers()[-1]
        return FileProblem(f"it has {shape[2]} bands, not {last}: correct axes or bands") if shape[2] < last else None
    if shape == cube.shape:
        return None
    actual, expected = (" x ".join(map(str, sides)) for sides in (shape, cube.shape))
    if sorted(shape) == sorted(cube.shape):
        return FileProblem(
            f"its axes are in another order, {actual} instead of {expected} rows, columns and bands: transpose it"
        )
    lookalike = _find_lookalike(cube, shape)
    return lookalike or FileProblem(
        f"it has {actual} rows, columns and bands instead of {expected}; get it from {cube.source}"
    )


def resolve_crop(cube: Cube, file: File, reader: CubeReader) -> Crop:
    """Return the valid part of a file: the crop of the cube, or the whole file.

    Raises:
        DataError: If the file is smaller than the crop.
    """
    rows, columns, _ = reader.shape
    crop = cube.crop or (0, rows, 0, columns)
    if crop[1] > rows or crop[3] > columns:
        raise DataError(
            f"{file.local_path()} has {rows} x {columns} pixels, too few for the crop {list(crop)}: "
            "get the whole file or correct crop."
        )
    return crop


def read_bands(file: File, reader: CubeReader, crop: Crop, bands: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the index in `bands` and the image, float32 (rows, columns), of each band.

    The caller deletes each image before it asks for the next one, so that only one block of bands is in memory.

    Args:
        file: The file.
        reader: The open file.
        crop: The part to read.
        bands: Numbers of the bands, from 1, in ascending order.
    """
    set_current_file(file.local_path())
    rows, columns = slice(*crop[:2]), slice(*crop[2:])
    per_chunk = reader.bands_per_chunk
    per_read = max(1, BLOCK_BYTES // (4 * (crop[1] - crop[0]) * (crop[3] - crop[2])))
    # Read whole chunks of bands, even if that takes up to four times the memory.
    per_read = max(per_read // per_chunk * per_chunk, min(per_chunk, 4 * per_read))
    done = 0  # number of bands that have been yielded
    while done < len(bands):
        first = bands[done] - 1
        aligned = (first + per_read) // per_chunk * per_chunk
        end = aligned if aligned > first else first + per_read
        indices = [band - 1 for band in bands[done:] if band - 1 < end]
        block = reader.read(first, indices[-1] + 1, rows, columns)
        heartbeat()
        for index in indices:
            yield done, block[index - first]
            done += 1
        del block


def measure_band(image: np.ndarray) -> BandStatistics:
    """Return the statistics of an image (rows, columns); the correlation is 1 if it is not defined."""
    minimum, maximum = float(image.min()), float(image.max())  # both are NaN if the image contains NaN
    if not (np.isfinite(minimum) and np.isfinite(maximum)) or minimum == maximum or min(image.shape) < 2:
        return BandStatistics(minimum, maximum, 1)
    flat = np.subtract(image, np.float32(image.mean(dtype=np.float64)), order="C").ravel()
    flat /= np.float32(max(maximum, -minimum))
    width = image.shape[1]
    # `across` also multiplies the last pixel of each row with the first of the next row, which hardly matters.
    down, across = flat[width:] @ flat[:-width], flat[1:] @ flat[:-1]
    return BandStatistics(minimum, maximum, float(min(down, across) / (flat @ flat)))


def find_problems(
    cube: Cube, reader: CubeReader, bands: Sequence[int], statistics: Sequence[BandStatistics]
) -> list[FileProblem]:
    """Return what is wrong with the values and the wavelengths of a file; an empty list if nothing is.

    Args:
        cube: The cube that the file should contain.
        reader: The open file.
        bands: Numbers of the bands that were read, from 1, in ascending order.
        statistics: The statistics of these bands.
    """
    problems = _find_value_problem(cube, reader, bands, statistics), _find_wavelength_problem(cube, reader, bands)
    return [problem for problem in problems if problem]


def _find_value_problem(
    cube: Cube, reader: CubeReader, bands: Sequence[int], statistics: Sequence[BandStatistics]
) -> FileProblem | None:
    """Return the first problem with the values, None if there is none."""
    if not all(np.isfinite([band.minimum, band.maximum]).all() for band in statistics):
        return FileProblem("it holds NaN or infinite values; download it again, or crop them away")
    constant = [number for number, band in zip(bands, statistics, strict=True) if band.minimum == band.maximum]
    if constant:
        return FileProblem(
            f"band {constant[0]} has one value everywhere; download the file again, or leave the band out"
        )
    if cube.shape is None and any(reader.nodata in (band.minimum, band.maximum) for band in statistics):
        return FileProblem(f"it holds {reader.nodata:g}, which it declares to be no data; crop these pixels away")
    maximum = max(band.maximum for band in statistics)
    if maximum <= 0:
        return FileProblem("none of its values is positive; download it again")
    if cube.least_maximum and maximum < cube.least_maximum:
        return FileProblem(
            f"its largest value is {maximum:g}, but that of the published file is at least {cube.least_maximum:g}: "
            "it was divided already; get the published file"
        )
    correlation = median(band.correlation for band in statistics)
    if correlation < MIN_CORRELATION:
        return FileProblem(
            f"neighbouring pixels are hardly correlated ({correlation:.2f}): it is damaged, or its axes or byte order "
            "are not as declared"
        )
    return None


def _find_wavelength_problem(cube: Cube, reader: CubeReader, bands: Sequence[int]) -> FileProblem | None:
    """Return what is wrong with the wavelengths of the first and the last band, None if nothing is.

    They are compared only if the file contains wavelengths and the bands include the cube's first and last one.
    """
    numbers = cube.band_numbers()
    if not reader.nanometres or (bands[0], bands[-1]) != (numbers[0], numbers[-1]):
        return None
    first, last = (reader.nanometres[number - 1] for number in (bands[0], bands[-1]))
    errors = abs(first - cube.nanometres[0]), abs(last - cube.nanometres[1])
    if all(error <= WAVELENGTH_TOLERANCE for error in errors):  # false for NaN
        return None
    published = "{:g} to {:g}".format(*cube.nanometres)
    return FileProblem(f"its bands reach from {first:g} to {last:g} nm instead of {published}")
