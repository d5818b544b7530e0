"""Make physical values of stored ones: apply the declared linear transform and mark invalid pixels."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from lkca.data.catalog import File
from lkca.data.readers.base import SettingsError, StoredCube
from lkca.data.readers.description import CubeDescription

FLOAT32 = np.dtype(np.float32)
# Values that mark invalid pixels and have more digits than programs print: the limits of float32 and float64, and the
# fill value of NetCDF.
FILL_VALUES = [sign * float(np.finfo(kind).max) for kind in ("f4", "f8") for sign in (1, -1)] + [9.969209968386869e36]
SETTING = "its entry in the configuration"  # source of a fact that the user has set


@dataclass(frozen=True)
class CubeReader:
    """An open cube, from which windows of physical values can be read.

    Args:
        description: What the file says of itself; what its entry sets replaces it.
        bands_per_chunk: Number of bands that are stored together: reading one of them reads all.
        read: Function that reads a part of the cube. Its arguments are the first band, the last band + 1 (from 0), the
            rows and the columns, and the type of the result, float32 or float64, float32 by default. It returns
            (bands, rows, columns), in which invalid values are NaN.
    """

    description: CubeDescription
    bands_per_chunk: int
    read: Callable[..., np.ndarray]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, bands."""
        return self.description.shape


def make_reader(stored: StoredCube, file: File, mask: StoredCube | None) -> CubeReader:
    """Return a reader of the physical values of a cube.

    Args:
        stored: The cube.
        file: The entry of the file; its gain, offset and invalid replace what the file declares.
        mask: The mask of the entry, a cube of one band; None if there is none.

    Raises:
        SettingsError: If the entry has another number of gains or offsets than the file has bands, or the mask has
            another shape.
    """
    description = _override(stored.description, file)
    if mask and mask.description.shape != (*description.shape[:2], 1):
        shape = "{} rows, {} columns and {} bands".format(*mask.description.shape)
        raise SettingsError(
            f"its mask {file.mask} has {shape}, but the file has {description.shape[0]} rows and "
            f"{description.shape[1]} columns: correct mask in its entry"
        )
    masks = [read for read in (description.has_mask and stored.read_mask, mask and _mask_reader(mask)) if read]

    @lru_cache(1)  # all bands have the same window
    def read_masks(top: int, bottom: int, left: int, right: int) -> np.ndarray:
        return np.logical_or.reduce([read(slice(top, bottom), slice(left, right)) for read in masks])

    def read(first: int, last: int, rows: slice, columns: slice, out_dtype: np.dtype[Any] = FLOAT32) -> np.ndarray:
        values = _read_physical(stored, description, first, last, rows, columns, out_dtype)
        if masks:
            if not values.flags.writeable:  # a part of a file that is mapped into memory
                values = values.copy()
            values[:, read_masks(rows.start, rows.stop, columns.start, columns.stop)] = np.nan
        return values

    return CubeReader(description, stored.bands_per_chunk, read)


def _override(description: CubeDescription, file: File) -> CubeDescription:
    """Return the description with what the entry of the file sets."""
    bands = description.shape[2]
    changes: dict[str, Any] = {}
    sources = dict(description.sources)
    if file.gain is not None or file.offset is not None:
        changes["gains"] = _one_per_band(file.gain, description.gains or (1.0,) * bands, bands, "gain")
        changes["offsets"] = _one_per_band(file.offset, description.offsets or (0.0,) * bands, bands, "offset")
        if {*changes["gains"]} == {1} and {*changes["offsets"]} == {0}:
            changes["gains"] = changes["offsets"] = ()
        sources["gains"] = SETTING
    if file.invalid is not None:
        changes |= {"invalid": file.invalid, "valid_range": None}
        changes["has_mask"] = description.has_mask and bool(file.invalid)  # [] says that all pixels are valid
        sources["invalid"] = SETTING
    if file.mask:
        changes["layers"] = ()  # the user has chosen one
    replaced = {"invalid"} if file.invalid is not None else set[str]()
    if file.gain is not None and file.offset is not None:  # one of them alone does not replace what is unusable
        replaced.add("gains")
    unusable = {fact: text for fact, text in description.unusable.items() if fact not in replaced}
    return replace(description, **changes, sources=sources, unusable=unusable)


def _one_per_band(
    setting: float | tuple[float, ...] | None, declared: tuple[float, ...], bands: int, name: str
) -> tuple[float, ...]:
    """Return the gain or the offset of each band."""
    if setting is None:
        return declared
    values = setting if isinstance(setting, tuple) else (setting,) * bands
    if len(values) != bands:
        raise SettingsError(f"its entry has {len(values)} values of {name} for {bands} bands: give one, or {bands}")
    return values


def _mask_reader(mask: StoredCube) -> Callable[[slice, slice], np.ndarray]:
    def read(rows: slice, columns: slice) -> np.ndarray:
        return mask.read(0, 1, rows, columns, mask.description.dtype)[0] != 0

    return read


def _read_physical(
    stored: StoredCube,
    description: CubeDescription,
    first: int,
    last: int,
    rows: slice,
    columns: slice,
    out_dtype: np.dtype[Any],
) -> np.ndarray:
    """Return physical values (bands, rows, columns); values that the file marks as invalid are NaN.

    Stored values are compared in their own type: a header's -9999.9 is not a float32 number, but the file's is.
    """
    dtype = description.dtype
    marks = in_file_type(description.invalid, dtype)
    changed = bool(marks or description.gains or description.valid_range)
    if not changed or np.can_cast(dtype, out_dtype):  # out_dtype has all values of the type: needs less memory
        values = stored.read(first, last, rows, columns, out_dtype)
        if not changed:
            return values
        if not values.flags.writeable:
            values = values.copy()
        result = values
    else:
        values = stored.read(first, last, rows, columns, dtype)
        result = np.empty(values.shape, out_dtype)
    for i in range(last - first):
        band = values[i]
        wrong = np.zeros(band.shape, bool)
        for mark in marks:
            wrong |= band == mark.astype(band.dtype)
        if description.valid_range:
            wrong |= (band < description.valid_range[0]) | (band > description.valid_range[1])
        if description.gains:
            result[i] = band.astype(np.float64) * description.gains[first + i] + description.offsets[first + i]
        elif result is not values:
            result[i] = band
        result[i][wrong] = np.nan
    return result


def in_file_type(values: Sequence[float | str], dtype: np.dtype[Any]) -> list[np.generic]:
    """Return the numbers of a type that declared values stand for; values that the type cannot hold are left out.

    A file of float64 may hold a value that was rounded to float32 before: both are returned. A header may have one of
    FILL_VALUES with fewer digits: that one is returned, too.
    """
    marks: list[np.generic] = []
    for text in values:
        with suppress(ValueError, OverflowError, ArithmeticError):
            value = float(text)
            if dtype.kind == "f":
                with np.errstate(over="ignore"):
                    exact = [fill for fill in FILL_VALUES if math.isclose(fill, value, rel_tol=1e-3)]
                    marks += {dtype.type(number) for number in (value, np.float32(value), *exact)}
            elif value.is_integer():
                whole = int(value) if abs(value) < 2**53 else int(text)  # a float64 does not hold all larger integers
                if np.iinfo(dtype).min <= whole <= np.iinfo(dtype).max:
                    marks.append(dtype.type(whole))
    return marks
