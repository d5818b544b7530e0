"""Open the files of a cube, read and measure their bands, and check whether a file is the right one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np

from lkca.data.catalog import Cube, File, format_ranges
from lkca.data.measurement import Crop, Measurement
from lkca.data.precision import find_lost_precision
from lkca.data.readers import CubeDescription, CubeReader, open_cube
from lkca.data.readers.values import FLOAT32, SETTING
from lkca.data.sandbox import heartbeat, set_current_file
from lkca.data.summary import describe_file, describe_values
from lkca.errors import DataError, FileProblem, LkcaError

BLOCK_BYTES = 2**28  # size of the block of values that is held in memory at a time
MIN_CORRELATION = 0.3  # between neighbouring pixels; in images of the ground it is 0.6 or more
MAX_NEGATIVE = 0.5  # fraction of the largest value; reflectance is hardly negative
WAVELENGTH_TOLERANCE = 15  # nm, between the header of a file and the published range of the sensor
MAX_UNIT_RATIO = 20  # between the means of two files that are in the same units


def inspect_file(cube: Cube, file: File, bands: Sequence[int]) -> tuple[dict[str, str], list[str], Measurement]:
    """Read bands of a file and describe what they contain.

    Args:
        cube: The cube that the file should contain.
        file: The file.
        bands: Numbers of the bands to read, from 1, in ascending order.

    Returns:
        The properties of the file, label -> text; a list of its problems, one sentence each; and its statistics.

    Raises:
        DataError: If the file has the wrong shape or cannot be read.
    """
    with ExitStack() as stack:
        reader = open_file(stack, cube, file)
        measured = measure(file, reader, resolve_crop(cube, file, reader), bands)
    problems = find_problems(cube, file, measured)
    properties = {**describe_file(reader.description, bands), **describe_values(measured)}
    sentences = [f"{file.local_path()} is not what it should be: {problem}." for problem in problems]
    return properties, sentences, measured


def measure(
    file: File,
    reader: CubeReader,
    crop: Crop,
    bands: Sequence[int],
    use: Callable[[int, np.ndarray], None] = lambda i, image: None,
) -> Measurement:
    """Return the statistics of bands over the pixels that are valid in all of them.

    The bands are read again if some pixels are invalid in a part of the bands only.

    Args:
        file: The file.
        reader: The open file.
        crop: The part to measure.
        bands: Numbers of the bands, from 1, in ascending order.
        use: Function that is called with the index in `bands` and the image of each band.
    """
    measured = Measurement(reader.description, crop)
    for i, image in read_bands(file, reader, crop, bands):
        measured.add(bands[i], image)
        use(i, image)
        del image  # frees its memory before the next one is read
    mask = measured.invalid
    number = np.count_nonzero(mask)
    if number == mask.size or {band.invalid for band in measured.statistics} <= {number, mask.size}:
        return measured
    again = Measurement(reader.description, crop)
    for i, image in read_bands(file, reader, crop, bands):
        again.add(bands[i], np.where(mask, np.float32(np.nan), image))
        del image
    again.first_invalid = measured.first_invalid
    return again


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
        reader = stack.enter_context(open_cube(file))
    except LkcaError as error:  # the file may be a lookalike whose array has another name
        with ExitStack() as other:
            try:
                shape = other.enter_context(open_cube(file.model_copy(update={"variable": None}))).shape
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
        f"it has {actual} rows, columns and bands instead of {expected}; {cube.how_to_get()}"
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


def read_bands(
    file: File, reader: CubeReader, crop: Crop, bands: Sequence[int], dtype: np.dtype[Any] = FLOAT32
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the index in `bands` and the image (rows, columns) of each band.

    The caller deletes each image before it asks for the next one, so that only one block of bands is in memory.

    Args:
        file: The file.
        reader: The open file.
        crop: The part to read.
        bands: Numbers of the bands, from 1, in ascending order.
        dtype: Type of the images, float32 or float64.
    """
    set_current_file(file.local_path())
    rows, columns = slice(*crop[:2]), slice(*crop[2:])
    per_chunk = reader.bands_per_chunk
    per_read = max(1, BLOCK_BYTES // (dtype.itemsize * (crop[1] - crop[0]) * (crop[3] - crop[2])))
    # Read whole chunks of bands, even if that takes up to four times the memory.
    per_read = max(per_read // per_chunk * per_chunk, min(per_chunk, 4 * per_read))
    done = 0  # number of bands that have been yielded
    while done < len(bands):
        first = bands[done] - 1
        aligned = (first + per_read) // per_chunk * per_chunk
        end = aligned if aligned > first else first + per_read
        indices = [band - 1 for band in bands[done:] if band - 1 < end]
        block = reader.read(first, indices[-1] + 1, rows, columns, dtype)
        heartbeat()
        for index in indices:
            yield done, block[index - first]
            done += 1
        del block


def find_problems(cube: Cube, file: File, measured: Measurement) -> list[FileProblem]:
    """Return what is wrong with the values and the wavelengths of a file; an empty list if nothing is.

    Args:
        cube: The cube that the file should contain.
        file: The file.
        measured: The statistics of the bands that were read.
    """
    description = measured.description
    settings = {"bad_bands": cube.bands, "nanometres": cube.nanometres, "fwhm": cube.fwhm, "invalid": file.invalid}
    unusable = [FileProblem(text) for fact, text in description.unusable.items() if settings.get(fact) is None]
    problems = (
        *unusable[:1],
        _find_value_problem(cube, file, measured),
        _find_wavelength_problem(cube, description, measured.bands),
    )
    return [problem for problem in problems if problem]


def _find_value_problem(cube: Cube, file: File, measured: Measurement) -> FileProblem | None:
    """Return the first problem with the values, None if there is none."""
    statistics = measured.statistics
    pairs = list(zip(measured.bands, statistics, strict=True))
    for number, band in pairs:
        if band.infinite:
            return FileProblem(f"band {number} holds {band.infinite} infinite values; mark them as invalid by a mask")
    if cube.shape and measured.first_invalid:
        place = "band {}, row {}, column {}".format(*measured.first_invalid)
        return FileProblem(f"it holds NaN, which the published file does not, first in {place}; {_next_step(cube)}")
    if not cube.shape and (problem := find_lost_precision(file, measured)):
        return problem
    if useless := [number for number, band in pairs if not band.minimum < band.maximum]:
        empty = all(band.invalid == measured.invalid.size for number, band in pairs if number in useless)
        if empty and file.mask and len(useless) == len(pairs):
            return FileProblem(
                f"no pixel is valid; correct its invalid or its mask, {file.mask}, in which 0 stands for valid pixels"
            )
        return _describe_useless(useless, "no valid pixel" if empty else "one value everywhere", cube)
    if measured.invalid.all():
        return FileProblem("no pixel is valid in all bands; leave out the bands with the most invalid pixels")
    maximum = max(band.maximum for band in statistics)
    if maximum <= 0:
        return FileProblem(f"none of its values is positive, the largest is {maximum:g}; {_next_step(cube)}")
    if cube.least_maximum and maximum < cube.least_maximum:
        return FileProblem(
            f"its largest value is {maximum:g}, but that of the published file is at least {cube.least_maximum:g}: "
            "it was divided already; get the published file"
        )
    if file.invalid is None and (suspicion := measured.suspicion() or _find_negative(measured, maximum)):
        return suspicion
    correlation = median(band.correlation for band in statistics)
    if correlation < MIN_CORRELATION:
        return FileProblem(
            f"neighbouring pixels are hardly correlated ({correlation:.2f}): it is damaged, or its axes or byte order "
            "are not as declared"
        )
    return None


def _find_negative(measured: Measurement, maximum: float) -> FileProblem | None:
    """Return that a value is far below zero, which no reflectance or radiance is; None if none is."""
    i = min(range(len(measured.bands)), key=lambda i: measured.statistics[i].minimum)
    lowest = measured.statistics[i]
    if lowest.minimum >= -MAX_NEGATIVE * maximum:
        return None
    row, column = measured.crop[0] + lowest.positions[0][0], measured.crop[2] + lowest.positions[0][1]
    return FileProblem(
        f"its value {lowest.minimum:g} in band {measured.bands[i]}, row {row}, column {column}, is far below zero "
        f"(the largest is {maximum:g}); set invalid: to the values that mark invalid pixels, or to [] if all are valid"
    )


def _next_step(cube: Cube) -> str:
    """Return what to do about a file with wrong values: only a published cube can be downloaded again."""
    return "download it again" if cube.shape else "correct its gain, offset or invalid, or use another file"


def _describe_useless(useless: Sequence[int], content: str, cube: Cube) -> FileProblem:
    """Return the problem that bands have no more than this content, with the bands that remain."""
    remaining = [number for number in cube.band_numbers() if number not in useless]
    plural = len(useless) > 1
    text = f"band{'s' if plural else ''} {format_ranges(useless)} {'have' if plural else 'has'} {content}"
    if cube.shape or len(remaining) < 2:
        return FileProblem(f"{text}; {_next_step(cube)}")
    return FileProblem(f"{text}; leave {'them' if plural else 'it'} out with bands: {format_ranges(remaining)}")


def _find_wavelength_problem(cube: Cube, description: CubeDescription, bands: Sequence[int]) -> FileProblem | None:
    """Return what is wrong with the wavelengths of the first and the last band, None if nothing is.

    They are compared only if the file contains wavelengths, the entry has those of its first and last band, and these
    bands were read.
    """
    numbers = cube.band_numbers()
    if not description.nanometres or not cube.nanometres or len(cube.nanometres) > 2:
        return None
    if (bands[0], bands[-1]) != (numbers[0], numbers[-1]):
        return None
    first, last = (description.nanometres[number - 1] or 0 for number in (bands[0], bands[-1]))
    errors = abs(first - cube.nanometres[0]), abs(last - cube.nanometres[1])
    if all(error <= WAVELENGTH_TOLERANCE for error in errors):
        return None
    published = "{:g} to {:g}".format(*cube.nanometres)
    return FileProblem(f"its bands reach from {first:g} to {last:g} nm instead of {published}")


def resolve_wavelengths(
    cube: Cube, description: CubeDescription, bands: Sequence[int]
) -> tuple[list[float] | None, list[float] | None, str | None]:
    """Return the wavelengths and the FWHM of bands, nm, and where the wavelengths come from; None for unknown ones.

    Args:
        cube: The cube; wavelengths and FWHM of each band in its entry replace those of the file.
        description: The description of its file.
        bands: Numbers of the bands, from 1.

    Raises:
        DataError: If the file has wavelengths of other bands, but not of these.
    """
    numbers = cube.band_numbers()

    def choose(setting: Sequence[float] | None, declared: Sequence[float | None] | None) -> list[float] | None:
        if setting and len(setting) == len(numbers):
            return [setting[numbers.index(band)] for band in bands]
        values = [declared[band - 1] for band in bands] if declared else [None]
        return None if None in values else [float(value) for value in values if value is not None]

    nanometres, fwhm = choose(cube.nanometres, description.nanometres), choose(cube.fwhm, description.fwhm)
    if nanometres is not None:
        own = cube.nanometres and len(cube.nanometres) == len(numbers)
        return nanometres, fwhm, SETTING if own else f"the file, {description.sources['nanometres']}"
    if description.nanometres and any(description.nanometres):
        lacking = [band for band in bands if description.nanometres[band - 1] is None]
        raise DataError(
            f"bands {format_ranges(lacking)} have no wavelength in the file: leave them out, or set nanometres."
        )
    if cube.nanometres:
        spread = np.interp(bands, (numbers[0], numbers[-1]), cube.nanometres).round(2).tolist()
        return spread, fwhm, "evenly spaced between the first and the last wavelength of the cube's description"
    return None, fwhm, None


def compare_files(files: Sequence[File], measurements: Sequence[Measurement]) -> None:
    """Check that the files of a cube have the same units and wavelengths.

    Raises:
        DataError: If they differ.
    """
    first = measurements[0]
    for file, other in zip(files[1:], measurements[1:], strict=True):
        names = f"{file.local_path()} and {files[0].local_path()}"
        means = [abs(float(np.mean([band.mean for band in each.statistics]))) for each in (first, other)]
        if max(means) > MAX_UNIT_RATIO * min(means):
            raise DataError(
                f"{names} are in different units: their mean values are {means[1]:g} and {means[0]:g}: set gain of one "
                "of them so that both have the same unit."
            )
        ours, theirs = (each.description.nanometres for each in (first, other))
        if ours and theirs:
            for band in first.bands:
                if abs((ours[band - 1] or 0) - (theirs[band - 1] or 0)) > WAVELENGTH_TOLERANCE:
                    raise DataError(
                        f"{names} have different wavelengths in band {band}, {theirs[band - 1]} and "
                        f"{ours[band - 1]} nm: use files of the same sensor, or correct bands."
                    )
