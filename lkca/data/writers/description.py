"""What an enlarged cube says of itself, derived from what its source says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lkca.data.readers.description import ControlPoints, CubeDescription
from lkca.data.readers.values import in_file_type

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class OutputDescription:
    """The description of a cube to be written; facts that are None or empty are not declared in the file.

    Args:
        shape: Rows, columns, bands.
        dtype: Type of the stored values.
        nanometres: Wavelength of each band; None for a band that has none.
        fwhm: Full width at half maximum of each band, nm; None for a band that has none.
        bad_bands: Numbers of the bad bands, from 1.
        band_names: Name of each band.
        units: Units of the physical values.
        gains, offsets: For each band, physical value = gain x stored value + offset; empty if values are physical.
        invalid: The stored value that marks invalid pixels.
        crs: Coordinate reference system, WKT.
        geotransform: In GDAL's order, as in `CubeDescription`.
        gcps: Ground control points.
        rpcs: Rational polynomial coefficients, as in `CubeDescription`.
        history: Lines on origin and processing, the latest last.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    nanometres: tuple[float | None, ...] | None = None
    fwhm: tuple[float | None, ...] | None = None
    bad_bands: tuple[int, ...] = ()
    band_names: tuple[str, ...] = ()
    units: str | None = None
    gains: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    invalid: float | None = None
    crs: str | None = None
    geotransform: tuple[float, float, float, float, float, float] | None = None
    gcps: ControlPoints | None = None
    rpcs: Mapping[str, float | tuple[float, ...]] | None = None
    history: tuple[str, ...] = ()


def enlarge_description(
    description: CubeDescription,
    bands: Sequence[int],
    window: Window,
    scale: int,
    dtype: np.dtype[Any] | None,
    has_invalid: bool,
    history: str,
) -> OutputDescription:
    """Return the description of a part of a cube, enlarged by a factor.

    The value that marks invalid pixels is the first one that the source declares and the type of the output holds. If
    there is none, it is NaN for floating-point numbers. For integers, it is then only chosen if there are invalid
    pixels: the smallest value of a signed type, which no reflectance or radiance reaches, and the largest value of an
    unsigned type, where only saturated pixels are, because 0 is a usual value of dark pixels.

    Args:
        description: What the source says of itself.
        bands: The bands of the output: numbers of bands of the source, from 1.
        window: The part of the source: first row, last row + 1, first column, last column + 1, from 0.
        scale: The factor r: each pixel of the source becomes r x r pixels.
        dtype: Type of the output; None for that of the source. Floating-point numbers that are asked for are physical
            values; all other types have the gains and offsets of the source.
        has_invalid: Whether there are invalid pixels in the output.
        history: A line on what was done: the command, the model, its hash.
    """
    row, row_stop, column, column_stop = window
    stored = description.dtype if dtype is None else np.dtype(dtype)
    physical = dtype is not None and stored.kind == "f"

    def take(values: Sequence[Any] | None) -> tuple[Any, ...]:
        return tuple(values[band - 1] for band in bands) if values else ()

    names = take(description.band_names)
    return OutputDescription(
        shape=((row_stop - row) * scale, (column_stop - column) * scale, len(bands)),
        dtype=stored.newbyteorder("="),
        nanometres=take(description.nanometres) or None,
        fwhm=take(description.fwhm) or None,
        bad_bands=tuple(i for i, band in enumerate(bands, 1) if band in description.bad_bands),
        band_names=names if any(names) else (),
        units=description.units,
        gains=() if physical else take(description.gains),
        offsets=() if physical else take(description.offsets),
        invalid=_choose_invalid(description, stored, has_invalid),
        crs=description.crs,
        geotransform=_enlarge_transform(description.geotransform, row, column, scale),
        gcps=_enlarge_points(description.gcps, row, column, scale),
        rpcs=_enlarge_rpcs(description.rpcs, row, column, scale),
        history=(*(description.history or "").splitlines(), history),
    )


def _choose_invalid(description: CubeDescription, dtype: np.dtype[Any], has_invalid: bool) -> float | None:
    """Return the stored value that marks invalid pixels, None if no value does; see `enlarge_description`."""
    for declared in description.invalid:
        if marks := in_file_type([declared], dtype):
            # A float type may have several numbers for a text, as for -9999.9: take the one nearest to it.
            nearest = min(marks, key=lambda mark: abs(float(mark) - float(declared)))
            if math.isfinite(nearest) or not math.isfinite(float(declared)):
                return nearest.item()
    if dtype.kind == "f":
        return math.nan
    limits = np.iinfo(dtype)
    return (limits.min if dtype.kind == "i" else limits.max) if has_invalid else None


def _enlarge_transform(transform: tuple[float, ...] | None, row: int, column: int, scale: int) -> Any:
    """Return the transform of the pixels of an enlarged part, whose top left corner stays where it is."""
    if transform is None:
        return None
    x, width, row_turn, y, column_turn, height = transform
    left, top = x + column * width + row * row_turn, y + column * column_turn + row * height
    return left, width / scale, row_turn / scale, top, column_turn / scale, height / scale


def _enlarge_points(gcps: ControlPoints | None, row: int, column: int, scale: int) -> ControlPoints | None:
    """Return ground control points for an enlarged part; they refer to corners of pixels."""
    if gcps is None:
        return None
    points = tuple((scale * (line - row), scale * (sample - column), x, y, z) for line, sample, x, y, z in gcps.points)
    return ControlPoints(gcps.crs, points)


def _enlarge_rpcs(rpcs: Mapping[str, Any] | None, row: int, column: int, scale: int) -> dict[str, Any] | None:
    """Return RPCs for an enlarged part.

    The polynomials give a row divided by line_scale, less line_off, where row 0 is the centre of the first pixel. The
    row l is l + 0.5 from the top edge; in the enlarged part it is scale x (l + 0.5 - row) - 0.5.
    """
    if rpcs is None:
        return None
    result = dict(rpcs)
    for axis, first in (("line", row), ("samp", column)):
        result[f"{axis}_off"] = scale * (rpcs[f"{axis}_off"] + 0.5 - first) - 0.5
        result[f"{axis}_scale"] = scale * rpcs[f"{axis}_scale"]
    return result
