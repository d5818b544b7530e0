"""What can be said of an enlarged cube for which there is no truth: a map beside it, and a summary.

The result is compared with the input and with the pixels from which the network learned. No measure here is an error.
What a measure tells of the error is found on the held-out images, whose truth is known: the 99 % quantile of each
measure there is its yardstick, and the summary has the rank correlation of the measure with the true error.

- consistency: the result is degraded again and compared with the input, as RMS over bands and as spectral angle.
- angle in pixel: the spectral angle between a pixel and the input's pixel that contains it.
- outside: the share of bands in which a value is below the minimum or above the maximum of the training pixels.
- shape: the angle between a spectrum and the space of the leading spectra of the training pixels. An angle does not
  depend on brightness, so a shadow is familiar; any mixture of the leading spectra is familiar, too. These spectra are
  the leading eigenvectors of the mean outer product of the training pixels, each divided by its length.
- spread: the standard deviation over the reconstructions of the eight orientations of the input, if the caller has it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.ndimage import binary_dilation
from scipy.stats import rankdata

from lkca.data.arrays import NPY_AXES
from lkca.data.catalog import File, describe_path
from lkca.data.degrade import degrade, gaussian_matrix, gaussian_reach, parse_blur
from lkca.data.readers import CubeDescription, CubeReader, open_cube
from lkca.data.resize import resize_matrix
from lkca.data.writers import OutputDescription, open_output
from lkca.errors import DataError
from lkca.inference.cube_file import CubeFile
from lkca.inference.tiles import BICUBIC_REACH
from lkca.scoring.metrics import absolute_error

QUANTILE = 0.99  # of the held-out pixels that are below the yardstick
QUANTILES = (0.5, 0.9, 0.99)  # that the summary lists
LEADING_SPECTRA = 10
INVALID, NEAR_INVALID, INCONSISTENT, OUTSIDE, UNFAMILIAR, SPREAD = (1 << bit for bit in range(6))
FLAGS = {
    INVALID: "invalid in the input",
    NEAR_INVALID: f"within {BICUBIC_REACH} input pixels of an invalid one",
    INCONSISTENT: "inconsistent with the input",
    OUTSIDE: "outside of the range of the training pixels",
    UNFAMILIAR: "a spectral shape that the training pixels do not have",
    SPREAD: "a large spread of the eight orientations",
}
NO_CORRELATION, LITTLE_CORRELATION, MUCH_CORRELATION = 0.1, 0.3, 0.6
GROUP_BANDS = 8  # that are read at once
GROUP_VALUES, STRIP_PIXELS, LR_VALUES = 2**23, 2**20, 2**23  # limits of a strip: see _strip_rows
BLOCK_COLUMNS = 64  # LR columns that are degraded at once: the cost of a matrix product grows with its width
MAX_SAMPLE = 10**6  # pixels from which quantiles of the result are taken
MAP_SUFFIX = "_trust"


@dataclass(frozen=True)
class Measure:
    """A measure of each pixel.

    Args:
        title: What it is, in words.
        unit: Its unit; "" for the unit of the values of the cube.
        flag: The flag of pixels above the yardstick; 0 for none.
    """

    title: str
    unit: str
    flag: int


MEASURES = {  # in the order of the layers of the map
    "consistency": Measure("RMS over bands of the result degraded again minus the input", "", INCONSISTENT),
    "angle_to_input": Measure(
        "spectral angle between the result degraded again and the input", "degrees", INCONSISTENT
    ),
    "angle_in_pixel": Measure("spectral angle between the pixel and the input pixel around it", "degrees", 0),
    "outside": Measure("share of bands outside of the range of the training pixels", "0 to 1", OUTSIDE),
    "shape": Measure("spectral angle to the leading spectra of the training pixels", "degrees", UNFAMILIAR),
    "spread": Measure("spread of the eight orientations (standard deviation)", "", SPREAD),
}
# Measures that the truth has, too. Real spectra are as familiar as can be asked for: see `_Yardstick`.
FAMILIARITY = ("outside", "shape")
FLAGS_TITLE = f"flags: sum of {'; '.join(f'{flag} {text}' for flag, text in FLAGS.items())}"
Layers = dict[str, np.ndarray]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class MeasureSummary(_Model):
    """A measure on the held-out images and in the result.

    Args:
        title, unit: What it is, and its unit, "" if that is not known.
        threshold: The yardstick: at least `QUANTILE` of the held-out pixels are not above it.
        held_out, result: The `QUANTILES` of the measure there; None if no pixel has it.
        above: The share of the valid pixels of the result above the threshold.
        correlation: Spearman's rank correlation of the measure with the true absolute error of the held-out pixels;
            None if the measure or the error is the same everywhere.
        error_below, error_above: The mean true error, in the unit of the values, of the held-out pixels that are not
            above the threshold, and of those above; None if there are none.
        says: What the measure tells of the error, in words.
    """

    title: str
    unit: str
    threshold: float
    held_out: tuple[float, float, float] | None
    result: tuple[float, float, float] | None
    above: float
    correlation: float | None
    error_below: float | None
    error_above: float | None
    says: str


class TrustSummary(_Model):
    """What the map says in numbers.

    Args:
        scale: Factor r.
        blur: How the result was degraded: `bicubic` or `mtf:x`.
        units: Unit of the values; "" if that is not known.
        held_out_images, held_out_pixels: Number of held-out images, and of their pixels.
        error: The mean true absolute error of the held-out pixels, in the unit of the values.
        leading_spectra: Number of leading spectra of the measure `shape`.
        pixels: Pixels of the result.
        valid: Those of them that are valid.
        consistency_bands: For each band the RMS over the image of the result degraded again minus the input, in the
            unit of the values; None if no pixel can be compared.
        held_out_consistency_bands: The same on the held-out images.
        measures: Name -> measure.
        flags: Flag -> the share of the pixels that have it: of all pixels for `INVALID`, of the valid ones for others.
        unflagged: The share of the valid pixels that have no flag.
    """

    scale: int
    blur: str
    units: str
    held_out_images: int
    held_out_pixels: int
    error: float
    leading_spectra: int
    pixels: int
    valid: int
    consistency_bands: tuple[float, ...] | None
    held_out_consistency_bands: tuple[float, ...]
    measures: dict[str, MeasureSummary]
    flags: dict[int, float]
    unflagged: float


class HeldOutImage(NamedTuple):
    """A test image, whose truth is known; values are divided by the divisor.

    Args:
        sr: (bands, rows, columns), the reconstruction from the degraded `hr`.
        hr: (bands, rows, columns), the truth.
        spread: (rows, columns), the spread of the eight orientations; None if the map has no such layer.
    """

    sr: np.ndarray
    hr: np.ndarray
    spread: np.ndarray | None = None


class TrainingSpectra(NamedTuple):
    """What the training pixels have: the range of each band (bands,), and leading spectra (number, bands)."""

    low: np.ndarray
    high: np.ndarray
    leading: np.ndarray


def find_map_path(output: Path) -> Path:
    """Return the path of the map of a result.

    Example:
        >>> find_map_path(Path("sharp.tif")).name
        'sharp_trust.tif'
    """
    return output.with_name(f"{output.stem}{MAP_SUFFIX}{output.suffix}")


def write_trust_map(
    output: Path,
    lr: Path,
    divisor: float,
    scale: int,
    blur: str,
    training_rows: Sequence[tuple[int, int]],
    held_out: Iterable[HeldOutImage],
    spread: Callable[[int, int], np.ndarray] | None = None,
    strip_rows: int | None = None,
) -> TrustSummary:
    """Write the map of a result, and return its summary. The map is next to the result: see `find_map_path`.

    The layers of the map are those of MEASURES and the flags, on the grid of the result. The flags have a number at
    each pixel; the other layers are NaN at invalid pixels, and those that compare the degraded result with the input
    also where the degradation reaches an invalid pixel.

    Args:
        output: The result, complete, in a format of `lkca.data.writers`: it is read as it is stored, strip by strip.
        lr: The cube that was enlarged: .npy, float32 (bands, rows, columns), physical values divided by `divisor`, NaN
            where invalid.
        divisor: The number by which the values of `lr` and `held_out` were divided.
        scale: Factor r.
        blur: How training images were degraded: `bicubic` or `mtf:x`.
        training_rows: First row and last row + 1 of the parts of `lr` from which the network learned.
        held_out: The test images; at least one. They are taken one after the other.
        spread: Function that returns the spread (rows, columns), divided by `divisor`, of rows of the result; its
            arguments are the first row and the last row + 1. It is called from top to bottom, once for each row.
        strip_rows: LR rows that are compared at once; by default as many as fit into a few hundred MiB.

    Raises:
        DataError: If the result cannot be read or has another size than the enlarged cube, or the map cannot be
            written.
        ResourceError: If the disk is full or fails.
        ValueError: If there is no training pixel or no held-out image, or only one of the result and the held-out
            images has a spread.
    """
    with CubeFile(lr) as cube, open_cube(describe_result_file(output)) as reader:
        _check_size(output, reader, cube, scale)
        training = learn_training_spectra(cube, training_rows)
        yardstick = _Yardstick(held_out, training, divisor, scale, blur, reader.description)
        if ("spread" in yardstick.thresholds) != (spread is not None):
            raise ValueError("only one of the result and the held-out images has a spread of the orientations")
        bands, rows, columns = cube.shape
        height = strip_rows or _strip_rows(bands, columns, scale, reader.bands_per_chunk)
        strips = _Strips(cube, reader, divisor, scale, blur, training)
        statistics = _Statistics(yardstick.thresholds, rows * scale, columns * scale, bands)
        with open_output(find_map_path(output), _describe_map(reader, yardstick.thresholds)) as target:
            for first in range(0, rows, height):
                last = min(first + height, rows)
                layers, differences, invalid, near = strips.measure(first, last)
                if spread is not None:
                    layers["spread"] = _with_nan(spread(first * scale, last * scale), invalid)
                layers = _in_units(layers, divisor)
                flags = find_flags(layers, yardstick.thresholds, invalid, near)
                block = np.stack([*(layers[name] for name in yardstick.thresholds), flags]).astype(np.float32)
                target.write(0, first * scale, 0, block)
                statistics.add(first * scale, layers, flags, differences * divisor)
        units = reader.description.units or ""
    return TrustSummary(
        scale=scale,
        blur=blur,
        units=units,
        held_out_images=yardstick.num_images,
        held_out_pixels=len(yardstick.error),
        error=float(yardstick.error.mean()),
        leading_spectra=len(training.leading),
        pixels=statistics.pixels,
        valid=statistics.valid,
        consistency_bands=statistics.consistency_bands(),
        held_out_consistency_bands=yardstick.consistency_bands,
        measures={name: _summarize(name, yardstick, statistics, units) for name in yardstick.thresholds},
        flags=statistics.flag_shares(spread is not None),
        unflagged=statistics.flags[0] / max(statistics.valid, 1),
    )


def describe_result_file(path: Path) -> File:
    """Return how the file of a result or of its map is read: an array of numpy does not name its axes."""
    return describe_path(path, **({"axes": NPY_AXES} if path.suffix.lower() == ".npy" else {}))


def _check_size(output: Path, reader: CubeReader, cube: CubeFile, scale: int) -> None:
    bands, rows, columns = cube.shape
    expected = (rows * scale, columns * scale, bands)
    if reader.shape != expected:
        shapes = [" x ".join(map(str, shape)) for shape in (reader.shape, expected)]
        raise DataError(
            f"{output} has {shapes[0]} rows, columns and bands instead of {shapes[1]}: delete it, and run again."
        )


def _strip_rows(bands: int, columns: int, scale: int, bands_per_chunk: int) -> int:
    """Return the LR rows of a strip for which the sums over bands, a group of bands and the LR values are small.

    Args:
        bands, columns: Bands and columns of the LR cube.
        scale: Factor r.
        bands_per_chunk: Bands that the result stores together: fewer are not read at once.
    """
    group = max(GROUP_BANDS, bands_per_chunk)
    pixels = min(STRIP_PIXELS, GROUP_VALUES // group, LR_VALUES * scale**2 // bands)
    return max(1, pixels // (columns * scale**2))


def learn_training_spectra(cube: CubeFile, rows: Sequence[tuple[int, int]]) -> TrainingSpectra:
    """Return what the valid pixels of parts of a cube have.

    Args:
        cube: The cube.
        rows: First row and last row + 1 of each part.

    Raises:
        ValueError: If no pixel is valid.
    """
    bands, _, columns = cube.shape
    low, high = np.full(bands, np.inf, np.float32), np.full(bands, -np.inf, np.float32)
    products = np.zeros((bands, bands))
    step = max(1, GROUP_VALUES // (bands * columns))
    for first, last in rows:
        for row in range(first, last, step):
            pixels = cube.read((row, min(row + step, last))).reshape(bands, -1)
            pixels = pixels[:, np.isfinite(pixels).all(0)]
            if not pixels.size:
                continue
            low, high = np.minimum(low, pixels.min(1)), np.maximum(high, pixels.max(1))
            lengths = np.linalg.norm(pixels, axis=0)
            directions = (pixels[:, lengths > 0] / lengths[lengths > 0]).astype(np.float64)
            products += directions @ directions.T
    if not np.isfinite(low).all():
        raise ValueError("there is no valid training pixel")
    number = min(LEADING_SPECTRA, max(1, bands // 2))
    leading = np.linalg.eigh(products)[1].T[::-1][:number]
    tolerance = 4 * np.finfo(np.float32).eps * np.maximum(abs(low), abs(high))  # the file may hold rounded values
    return TrainingSpectra(low - tolerance, high + tolerance, leading.copy())


# The measures of an image or a strip, values divided by the divisor


def measure_pixels(
    groups: Iterable[tuple[int, np.ndarray]], lr: np.ndarray, training: TrainingSpectra, scale: int
) -> Layers:
    """Return the measures of each pixel that do not need its neighbours.

    Args:
        groups: The result in groups of bands: the first band, from 0, and the values (bands, r * rows, r * columns).
        lr: (bands, rows, columns), the input.
        training: What the training pixels have.
        scale: Factor r.

    Returns:
        `angle_in_pixel` (NaN if one of the two spectra is zero), `outside` and `shape` (NaN if the spectrum is zero),
        each (r * rows, r * columns).
    """
    bands, rows, columns = lr.shape
    blocks = (rows, scale, columns, scale)
    products, squares, familiar = np.zeros(blocks), np.zeros(blocks), np.zeros((len(training.leading), *blocks))
    outside = np.zeros(blocks, np.int32)
    for first, group in groups:
        part = slice(first, first + len(group))
        values, inputs = group.reshape(-1, *blocks), lr[part].astype(np.float64)
        low, high = (limit[part].reshape(-1, 1, 1, 1, 1) for limit in (training.low, training.high))
        outside += np.count_nonzero((values < low) | (values > high), axis=0)
        values = values.astype(np.float64)
        squares += np.einsum("brscd,brscd->rscd", values, values)
        products += np.einsum("brscd,brc->rscd", values, inputs)
        familiar += (training.leading[:, part] @ values.reshape(len(group), -1)).reshape(familiar.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        lr_squares = np.einsum("brc,brc->rc", lr, lr, dtype=np.float64)[:, None, :, None]
        cosines = products / np.sqrt(squares * lr_squares)
        unfamiliar = 1 - np.einsum("krscd,krscd->rscd", familiar, familiar) / squares
    layers = {
        "angle_in_pixel": np.degrees(np.arccos(np.clip(cosines, -1, 1))),
        "outside": outside / bands,
        "shape": np.degrees(np.arcsin(np.sqrt(np.clip(unfamiliar, 0, 1)))),
    }
    return {name: layer.reshape(rows * scale, columns * scale) for name, layer in layers.items()}


def compare_inputs(degraded: np.ndarray, lr: np.ndarray, scale: int) -> Layers:
    """Return the measures that compare the result, degraded again, with the input.

    Args:
        degraded: (bands, rows, columns), the degraded result.
        lr: (bands, rows, columns), the input.
        scale: Factor r.

    Returns:
        `consistency` and `angle_to_input` (NaN if one of the two spectra is zero), each (r * rows, r * columns).
    """
    x, y = degraded.astype(np.float64), lr.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = (x * y).sum(0) / np.sqrt((x * x).sum(0) * (y * y).sum(0))
    consistency = np.sqrt(np.mean((x - y) ** 2, axis=0))
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return {"consistency": _repeat(consistency, scale), "angle_to_input": _repeat(angles, scale)}


def find_flags(
    layers: Mapping[str, np.ndarray], thresholds: Mapping[str, float], invalid: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """Return the flags of each pixel, uint8 (rows, columns): a sum of keys of FLAGS.

    Args:
        layers: Name of a measure -> its layer (rows, columns).
        thresholds: Name of a measure -> its yardstick.
        invalid, near: Pixels that are invalid, and those that are near such a pixel, bool (rows, columns).
    """
    flags = np.where(near, NEAR_INVALID, 0).astype(np.uint8)
    for name, threshold in thresholds.items():
        flags[layers[name] > threshold] |= MEASURES[name].flag
    flags[invalid] = INVALID
    return flags


def _repeat(layer: np.ndarray, scale: int) -> np.ndarray:
    return layer.repeat(scale, 0).repeat(scale, 1)


def _with_nan(layer: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, np.nan, layer)


def _in_units(layers: Layers, divisor: float) -> Layers:
    """Return layers in the unit of the cube; those that have a unit of their own stay as they are."""
    return {name: layer if MEASURES[name].unit else layer * divisor for name, layer in layers.items()}


class _Strips:
    """The measures of a result, strip by strip.

    Args:
        cube: The input.
        reader: The result.
        divisor, scale, blur: As in `write_trust_map`.
        training: What the training pixels have.
    """

    def __init__(
        self, cube: CubeFile, reader: CubeReader, divisor: float, scale: int, blur: str, training: TrainingSpectra
    ) -> None:
        self.cube, self.reader, self.divisor, self.scale, self.blur = cube, reader, divisor, scale, blur
        self.training, self.reach = training, degradation_reach(scale, blur)

    def measure(self, first: int, last: int) -> tuple[Layers, np.ndarray, np.ndarray, np.ndarray]:
        """Return the measures of some rows of the input.

        Args:
            first, last: First row and last row + 1, in LR pixels.

        Returns:
            The layers; the degraded result minus the input (bands, rows, columns), NaN where it is not known; and for
            each pixel of the result whether it is invalid, and whether it is near an invalid one.
        """
        scale, (bands, height, columns) = self.scale, self.cube.shape
        margin = max(self.reach, BICUBIC_REACH)
        top, bottom = max(0, first - margin), min(height, last + margin)
        inner = slice(first - top, last - top)
        pixels = slice(inner.start * scale, inner.stop * scale)
        window = self.cube.read((top, bottom))
        lr = np.nan_to_num(window[:, inner], nan=0)
        invalid = _repeat(np.isnan(window).any(0), scale)
        degraded = np.empty_like(lr)

        def read_groups() -> Iterator[tuple[int, np.ndarray]]:
            step = max(GROUP_BANDS, self.reader.bands_per_chunk)
            for band in range(0, bands, step):
                stop = min(band + step, bands)
                group = self.reader.read(band, stop, slice(top * scale, bottom * scale), slice(0, columns * scale))
                missing = np.isnan(group)
                np.logical_or(invalid, missing.any(0), out=invalid)
                group = np.where(missing, 0, group / np.float32(self.divisor))
                degraded[band:stop] = degrade_in_blocks(group, scale, self.blur, self.reach)[:, inner]
                yield band, group[:, pixels]

        layers = measure_pixels(read_groups(), lr, self.training, scale)
        invalid_lr = np.asarray(invalid.reshape(bottom - top, scale, columns, scale).any((1, 3)))
        unknown = _dilate(invalid_lr, self.reach)[inner]
        inputs = compare_inputs(degraded, lr, scale)
        layers |= {name: _with_nan(layer, _repeat(unknown, scale)) for name, layer in inputs.items()}
        layers = {name: _with_nan(layer, invalid[pixels]) for name, layer in layers.items()}
        near = _repeat(_dilate(invalid_lr, BICUBIC_REACH)[inner], scale)
        return layers, np.where(unknown, np.nan, degraded - lr), invalid[pixels], near


def _dilate(mask: np.ndarray, reach: int) -> np.ndarray:
    """Return the pixels from which a pixel of a mask is at most `reach` rows and columns away."""
    return np.asarray(binary_dilation(mask, np.ones((2 * reach + 1, 2 * reach + 1), bool)))


def degradation_reach(scale: int, blur: str) -> int:
    """Return how many LR pixels around an LR pixel the HR pixels are from which `degrade` computes it.

    The kernel of bicubic ends 2 r HR pixels from the centre of the LR pixel, so 1.5 LR pixels from its edges. The
    Gaussian ends at `gaussian_reach` from the centre; its weights are taken at up to 2 more HR pixels.
    """
    mtf = parse_blur(blur)
    if mtf is None:
        return 2
    return math.ceil((gaussian_reach(scale, mtf) + 2 - scale / 2) / scale)


def degrade_in_blocks(image: np.ndarray, scale: int, blur: str, reach: int) -> np.ndarray:
    """Return `degrade(image, scale, blur)`, computed in blocks of columns, which costs less for a wide image.

    Each block is one product of two matrices for all bands. A product for each band, as in `degrade`, is 50 times
    slower while other processes use the processor, because the threads of OpenBLAS wait for each other.

    Args:
        image: (bands, rows, columns), without NaN.
        scale, blur: As in `degrade`.
        reach: The result of `degradation_reach`.
    """
    bands, rows, columns = image.shape
    blocks = []
    for first in range(0, columns // scale, BLOCK_COLUMNS):
        last = min(first + BLOCK_COLUMNS, columns // scale)
        left, right = max(0, first - reach), min(columns // scale, last + reach)
        block = image[..., left * scale : right * scale].reshape(bands * rows, -1)
        matrix = _degradation_matrix(block.shape[1], scale, blur)[first - left : last - left]
        blocks.append(block @ matrix.T.astype(image.dtype))
    narrow = np.concatenate(blocks, 1).reshape(bands, rows, -1).transpose(1, 0, 2).reshape(rows, -1)
    result = _degradation_matrix(rows, scale, blur).astype(image.dtype) @ narrow
    return result.reshape(rows // scale, bands, -1).transpose(1, 0, 2)


def _degradation_matrix(length: int, scale: int, blur: str) -> np.ndarray:
    """Return the matrix by which `degrade` multiplies an axis, (length / scale, length)."""
    mtf = parse_blur(blur)
    return resize_matrix(length, 1 / scale) if mtf is None else gaussian_matrix(length, scale, mtf)


# The yardstick and the summary


class _Yardstick:
    """The measures of the held-out images, whose true error is known; in the unit of the cube.

    The yardstick is the `QUANTILE` of the reconstructions. For FAMILIARITY it is that of the reconstructions or of the
    truth, whichever is larger: reconstructions from a degraded input have less noise than the input of the result has,
    and the noise of real pixels is no unfamiliar spectrum.

    Args:
        images: The images.
        training: What the training pixels have.
        divisor, scale, blur: As in `write_trust_map`.
        description: Description of the result. The reconstructions are rounded to its type, as the result is.

    Attributes:
        values: Name of a measure -> its values at all pixels.
        thresholds: Name of a measure -> its yardstick, in the order of MEASURES.
        error: The true absolute error of all pixels.
        consistency_bands: For each band the RMS of the degraded reconstruction minus the input.
        num_images: Number of images.

    Raises:
        ValueError: If there is no image, some have a spread and others do not, or values are NaN or infinite.
    """

    def __init__(
        self,
        images: Iterable[HeldOutImage],
        training: TrainingSpectra,
        divisor: float,
        scale: int,
        blur: str,
        description: CubeDescription,
    ) -> None:
        measured: list[Layers] = []
        truths: list[Layers] = []
        errors, squares = [], []
        for image in images:
            sr = _round_as(image.sr, description, divisor)
            lr, degraded = degrade(image.hr, scale, blur), degrade(sr, scale, blur)
            layers = {**compare_inputs(degraded, lr, scale), **measure_pixels([(0, sr)], lr, training, scale)}
            if image.spread is not None:
                layers["spread"] = image.spread
            measured.append({name: layer.ravel() for name, layer in _in_units(layers, divisor).items()})
            truth = measure_pixels([(0, image.hr)], lr, training, scale)
            truths.append({name: truth[name].ravel() for name in FAMILIARITY})
            errors.append(absolute_error(sr, image.hr).ravel() * divisor)
            squares.append(((degraded.astype(np.float64) - lr) ** 2).reshape(len(lr), -1) * divisor**2)
        if not measured:
            raise ValueError("there is no held-out image")
        if any(layers.keys() != measured[0].keys() for layers in measured):
            raise ValueError("only some of the held-out images have a spread of the orientations")
        names = [name for name in MEASURES if name in measured[0]]
        self.values = {name: np.concatenate([layers[name] for layers in measured]) for name in names}
        self.error, self.num_images = np.concatenate(errors), len(measured)
        self.consistency_bands = tuple(np.sqrt(np.concatenate(squares, 1).mean(1)).tolist())
        largest = float(max(abs(training.low).max(), abs(training.high).max())) * divisor
        # What rounding to float32 can explain is not above the yardstick.
        lowest = {"": 1e-6 * largest, "degrees": 1e-4}
        self.thresholds = {
            name: max(_find_quantile(values), lowest.get(MEASURES[name].unit, 0))
            for name, values in self.values.items()
        }
        for name in FAMILIARITY:
            of_truth = _find_quantile(np.concatenate([layers[name] for layers in truths]))
            self.thresholds[name] = max(self.thresholds[name], of_truth)


def _find_quantile(values: np.ndarray) -> float:
    """Return the `QUANTILE` of values; 0 if all are NaN."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, QUANTILE)) if known.size else 0.0


def _round_as(values: np.ndarray, description: CubeDescription, divisor: float) -> np.ndarray:
    """Return values (bands, rows, columns), divided by the divisor, as a file of integers would hold them."""
    if description.dtype.kind == "f":
        return values
    gains, offsets = (
        np.array(numbers).reshape(-1, 1, 1) for numbers in (description.gains or 1, description.offsets or 0)
    )
    stored = np.rint((values * divisor - offsets) / gains)
    return ((stored * gains + offsets) / divisor).astype(np.float32)


class _Statistics:
    """What the summary needs of the map, collected strip by strip.

    Args:
        thresholds: Name of a measure -> its yardstick.
        rows, columns, bands: Size of the result.

    Attributes:
        valid: Number of valid pixels.
        flags: For each sum of flags, the number of pixels that have it.
    """

    def __init__(self, thresholds: Mapping[str, float], rows: int, columns: int, bands: int) -> None:
        self._thresholds, self.pixels = thresholds, rows * columns
        self.flags = np.zeros(2 * max(FLAGS), np.int64)
        self._above = dict.fromkeys(thresholds, 0)
        self._samples: dict[str, list[np.ndarray]] = {name: [] for name in thresholds}
        self._squares, self._compared = np.zeros(bands), 0

    @property
    def valid(self) -> int:
        """Number of valid pixels."""
        return self.pixels - int(self.flags[INVALID])

    def add(self, row: int, layers: Layers, flags: np.ndarray, differences: np.ndarray) -> None:
        """Add a strip.

        Args:
            row: Its first row in the result.
            layers: Name of a measure -> its layer, in the unit of the cube.
            flags: The flags of its pixels.
            differences: The degraded result minus the input (bands, rows, columns); NaN where it is not known.
        """
        self.flags += np.bincount(flags.ravel(), minlength=len(self.flags))
        rows, columns = flags.shape
        # Each row has its own random numbers, so that the sample does not depend on the strips.
        share = MAX_SAMPLE / self.pixels
        sample = np.stack([np.random.default_rng(row + i).random(columns) < share for i in range(rows)])
        for name, threshold in self._thresholds.items():
            values = layers[name]
            self._above[name] += int(np.count_nonzero(values > threshold))
            sampled = values[sample]
            self._samples[name].append(sampled[np.isfinite(sampled)])
        self._squares += np.nansum(differences.astype(np.float64) ** 2, (1, 2))
        self._compared += int(np.isfinite(differences[0]).sum())

    def consistency_bands(self) -> tuple[float, ...] | None:
        """Return the root mean square of the differences of each band; None if there are none."""
        return tuple(np.sqrt(self._squares / self._compared).tolist()) if self._compared else None

    def quantiles(self, name: str) -> tuple[float, float, float] | None:
        """Return the `QUANTILES` of a measure."""
        return _quantiles(np.concatenate(self._samples[name]))

    def share_above(self, name: str) -> float:
        """Return the share of the valid pixels above the threshold of a measure."""
        return self._above[name] / max(self.valid, 1)

    def flag_shares(self, has_spread: bool) -> dict[int, float]:
        """Return the share of the pixels that have each flag: see `TrustSummary`."""
        sums = np.arange(len(self.flags))
        shares = {flag: int(self.flags[(sums & flag) > 0].sum()) / max(self.valid, 1) for flag in FLAGS}
        shares[INVALID] = int(self.flags[INVALID]) / self.pixels
        return shares if has_spread else {flag: share for flag, share in shares.items() if flag != SPREAD}


def _quantiles(values: np.ndarray) -> tuple[float, float, float] | None:
    """Return the `QUANTILES` of values without NaN; None if there are no values."""
    if not values.size:
        return None
    low, middle, high = np.quantile(values, QUANTILES).tolist()
    return low, middle, high


def _summarize(name: str, yardstick: _Yardstick, statistics: _Statistics, units: str) -> MeasureSummary:
    measure, threshold = MEASURES[name], yardstick.thresholds[name]
    values, errors = yardstick.values[name], yardstick.error
    known = np.isfinite(values)
    values, errors = values[known], errors[known]
    above = values > threshold
    correlation = correlate_ranks(values, errors)
    below_mean = float(errors[~above].mean()) if not above.all() else None
    above_mean = float(errors[above].mean()) if above.any() else None
    return MeasureSummary(
        title=measure.title,
        unit=measure.unit or units,
        threshold=threshold,
        held_out=_quantiles(values),
        result=statistics.quantiles(name),
        above=statistics.share_above(name),
        correlation=correlation,
        error_below=below_mean,
        error_above=above_mean,
        says=describe_correlation(correlation, below_mean, above_mean),
    )


def correlate_ranks(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of two arrays of one axis; None if one of them is constant or empty."""
    if not x.size or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def describe_correlation(correlation: float | None, error_below: float | None, error_above: float | None) -> str:
    """Return what a measure tells of the true error on the held-out images, in words.

    Example:
        >>> describe_correlation(0.05, 2.0, 2.1)
        'It tells nothing of the error (rank correlation 0.05). Above the yardstick the mean error is 2.1, below it 2.'
    """
    if correlation is None:
        return "It tells nothing of the error, because it is the same at all held-out pixels, or their error is."
    if abs(correlation) < NO_CORRELATION:
        amount = "nothing"
    elif correlation < 0:
        return (
            f"It is larger where the error is smaller (rank correlation {correlation:.2f}): do not read it as an error."
        )
    elif correlation < LITTLE_CORRELATION:
        amount = "little"
    else:
        amount = "something" if correlation < MUCH_CORRELATION else "much"
    text = f"It tells {amount} of the error (rank correlation {correlation:.2f})."
    if error_below is None or error_above is None:
        return f"{text} No held-out pixel is above the yardstick."
    return f"{text} Above the yardstick the mean error is {error_above:.3g}, below it {error_below:.3g}."


def _describe_map(reader: CubeReader, thresholds: Mapping[str, float]) -> OutputDescription:
    """Return the description of the map of a result, whose place on the Earth it has.

    Args:
        reader: The result.
        thresholds: Name of each layer -> its yardstick, in the units of the layer.
    """
    description = reader.description
    measures = [MEASURES[name] for name in thresholds]
    units = [measure.unit or description.units or "unit of the values" for measure in measures]
    yardsticks = ", ".join(f"{m.title} {limit:.4g}" for m, limit in zip(measures, thresholds.values(), strict=True))
    return OutputDescription(
        shape=(*description.shape[:2], len(thresholds) + 1),
        dtype=np.dtype(np.float32),
        band_names=(*(f"{m.title} ({unit})" for m, unit in zip(measures, units, strict=True)), FLAGS_TITLE),
        invalid=math.nan,
        crs=description.crs,
        geotransform=description.geotransform,
        gcps=description.gcps,
        rpcs=description.rpcs,
        history=(
            "Map of what can be said of the result without truth: no layer is an error.",
            f"Yardsticks, above which a pixel gets a flag: {yardsticks}.",
        ),
    )
