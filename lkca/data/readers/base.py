"""Classes and functions that all readers use: the stored values of a cube, and checks of what a file declares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lkca.data.readers.description import CubeDescription

NUMBER_KINDS = "biuf"  # numpy's kinds of real numbers


@dataclass(frozen=True)
class StoredCube:
    """An open cube as it is stored; `lkca.data.readers.open_cube` makes physical values of it.

    Args:
        description: What the file says of itself.
        bands_per_chunk: Number of bands that are stored together: reading one of them reads all.
        read: Function that reads stored values. Its arguments are the first band, the last band + 1 (from 0), the rows,
            the columns and the type of the result; it returns (bands, rows, columns).
        read_mask: Function that reads the file's own mask of invalid pixels, if `description.has_mask`. Its arguments
            are the rows and the columns; it returns bool (rows, columns), true for invalid.
    """

    description: CubeDescription
    bands_per_chunk: int
    read: Callable[[int, int, slice, slice, Any], np.ndarray]
    read_mask: Callable[[slice, slice], np.ndarray] | None = None


class UnreadableError(Exception):
    """A file cannot be read; the message says why, and `open_cube` adds the name of the file."""


class WrongProductError(UnreadableError):
    """A file is not the right one of a product, or not complete; the message also says what to do."""


def make_array_reader(
    as_type: Callable[[Any], Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: list[str],
    format: str,
    bands_per_chunk: int = 1,
    **facts: Any,
) -> StoredCube:
    """Return a reader of an array.

    Args:
        as_type: Function that returns an object that is sliced like a numpy array; its values have the given type or,
            if the object is in memory, the type of the file.
        shape: The shape of the array.
        dtype: The type of its values.
        axes: The names of its axes, in order: rows, columns and bands, or rows and columns for a single band.
        format: Name of the format.
        bands_per_chunk: Number of bands that are stored together.
        facts: Further fields of the description.

    Raises:
        UnreadableError: If the array does not have these axes or does not contain real numbers.
    """
    if len(shape) != len(axes) or min(shape) < 1:
        raise UnreadableError(f"its array has the shape {shape} instead of {' x '.join(axes)}")
    if dtype.kind not in NUMBER_KINDS:
        raise UnreadableError(f"its array holds {dtype} instead of real numbers")
    lengths = dict(zip(axes, shape, strict=True))
    transposition = [axes.index(name) for name in ("bands", "rows", "columns") if name in axes]

    def read(first: int, last: int, rows: slice, columns: slice, out_dtype: Any) -> np.ndarray:
        window = {"bands": slice(first, last), "rows": rows, "columns": columns}
        values = np.asarray(as_type(out_dtype)[tuple(window[name] for name in axes)], out_dtype).transpose(
            transposition
        )
        return values if "bands" in axes else values[None]

    rows, columns, bands = (lengths.get(name, 1) for name in ("rows", "columns", "bands"))
    description = CubeDescription(format, (rows, columns, bands), dtype, tuple(axes), **facts)
    return StoredCube(description, bands_per_chunk, read)


def select_variable(variable: str | None, shapes: dict[str, tuple[int, ...]], num_axes: int = 3) -> str:
    """Return the name of the array to read: `variable`, or the only array with that many axes if `variable` is None.

    Raises:
        UnreadableError: If there is no such array; the message lists the arrays of the file.
    """
    cubes = [name for name, shape in shapes.items() if len(shape) == num_axes]
    if variable is None and len(cubes) == 1:
        return cubes[0]
    if variable in shapes:
        return variable
    content = ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:9]) or "nothing"
    raise UnreadableError(f"it holds {content} and no {variable or f'single array of {num_axes} axes'}")


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
