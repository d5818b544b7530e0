"""Classes and functions that all readers use: the open cube, and checks of the shape and size that a file declares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NUMBER_KINDS = "biuf"  # numpy's kinds of real numbers


@dataclass(frozen=True)
class CubeReader:
    """An open cube, from which windows can be read.

    Args:
        shape: Rows, columns, bands.
        dtype: Type of the values in the file.
        nanometres: Wavelength of each band, None if the file does not contain them.
        nodata: The value that marks missing data, None if the file does not declare one.
        bands_per_chunk: Number of bands that are stored together: reading one of them reads all.
        read: Function that reads a part of the cube. Its arguments are the first band, the last band + 1 (from 0), the
            rows and the columns; it returns float32 (bands, rows, columns).
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    nanometres: list[float] | None
    nodata: float | None
    bands_per_chunk: int
    read: Callable[[int, int, slice, slice], np.ndarray]


class UnreadableError(Exception):
    """A file cannot be read; the message says why, and `open_cube` adds the name of the file."""


def make_array_reader(
    array: Any,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: list[str],
    bands_per_chunk: int = 1,
) -> CubeReader:
    """Return a reader of an array.

    Args:
        array: Any object that is sliced like a numpy array.
        shape: The shape of the array.
        dtype: The type of its values.
        axes: The names of its axes, in order.
        bands_per_chunk: Number of bands that are stored together.

    Raises:
        UnreadableError: If the array does not have three axes or does not contain real numbers.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise UnreadableError(f"its array has the shape {shape} instead of three axes")
    if dtype.kind not in NUMBER_KINDS:
        raise UnreadableError(f"its array holds {dtype} instead of real numbers")
    transposition = [axes.index(name) for name in ("bands", "rows", "columns")]

    def read(first: int, last: int, rows: slice, columns: slice) -> np.ndarray:
        window = {"bands": slice(first, last), "rows": rows, "columns": columns}
        return np.asarray(array[tuple(window[name] for name in axes)], np.float32).transpose(transposition)

    rows, columns, bands = (shape[axes.index(name)] for name in ("rows", "columns", "bands"))
    return CubeReader((rows, columns, bands), dtype, None, None, bands_per_chunk, read)


def select_variable(variable: str | None, shapes: dict[str, tuple[int, ...]]) -> str:
    """Return the name of the array to read: `variable`, or the only array with three axes if `variable` is None.

    Raises:
        UnreadableError: If there is no such array; the message lists the arrays of the file.
    """
    cubes = [name for name, shape in shapes.items() if len(shape) == 3]
    if variable is None and len(cubes) == 1:
        return cubes[0]
    if variable in shapes:
        return variable
    content = ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:9]) or "nothing"
    raise UnreadableError(f"it holds {content} and no {variable or 'single array of three axes'}")


def check_claimed_size(name: str, claimed: int, stored: int) -> None:
    """Refuse a file that claims to hold far more bytes than it can: deflate compresses by a factor of 1000 at most.

    Args:
        name: What error messages call the data.
        claimed: Bytes that the file claims to hold.
        stored: Bytes that are stored, perhaps compressed.

    Raises:
        UnreadableError: If `claimed` is more than 1000 times `stored` (and 1 MiB).
    """
    if claimed > 1000 * stored + 2**20:
        raise UnreadableError(f"{name} claims to hold {claimed} bytes, but {stored} are stored")
