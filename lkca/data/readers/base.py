"""Classes and functions that all readers use: the stored values of a cube, and checks of what a file declares."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lkca.data.readers.description import CubeDescription
from lkca.data.readers.layout import Layout

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


class SettingsError(UnreadableError):
    """A file cannot be read with its entry or with the files next to it; the message also says what to do."""


def make_array_reader(
    as_type: Callable[[Any], Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    layout: Layout,
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
        layout: The order of its axes: rows, columns and bands, or rows and columns for a single band.
        format: Name of the format.
        bands_per_chunk: Number of bands that are stored together.
        facts: Further fields of the description.

    Raises:
        UnreadableError: If the array does not contain real numbers.
    """
    lengths, names = layout.lengths(shape), layout.names()
    check_numbers(dtype, "bands" in names)
    transposition = [names.index(name) for name in ("bands", "rows", "columns") if name in names]

    def read(first: int, last: int, rows: slice, columns: slice, out_dtype: Any) -> np.ndarray:
        window = {"bands": slice(first, last), "rows": rows, "columns": columns}
        values = np.asarray(as_type(out_dtype)[layout.index(window)], out_dtype)
        values = layout.split_pixels(values, window).transpose(transposition)
        return values if "bands" in names else values[None]

    description = CubeDescription(
        format,
        (lengths["rows"], lengths["columns"], lengths["bands"]),
        dtype,
        tuple(filter(None, layout.axes)),
        **facts,
    )
    return StoredCube(description, bands_per_chunk, read)


def check_numbers(dtype: np.dtype[Any], is_cube: bool) -> None:
    """Refuse an array that does not hold real numbers; a mask may also hold truth values.

    Raises:
        UnreadableError: If the type is another one; the message names it.
    """
    if dtype.kind in ("iuf" if is_cube else NUMBER_KINDS):
        return
    kinds = {
        "b": "truth values",
        "c": "complex numbers",
        "S": "text",
        "U": "text",
        "O": "objects, such as cells, texts or references,",
        "V": f"records of {', '.join(dtype.names)}" if dtype.names else "raw bytes",
    }
    raise UnreadableError(f"its array holds {kinds.get(dtype.kind, dtype)} instead of real numbers")


def select_variable(variable: str | None, shapes: Mapping[str, tuple[int, ...]], num_axes: int = 3) -> str:
    """Return the name of the array to read: `variable`, or the only array with that many axes if `variable` is None.

    Axes of length 1 do not count. `a.b` and `/a/b` stand for `a/b`.

    Raises:
        UnreadableError: If there is no such array, or several; the message lists them.
    """
    if variable is not None:
        for name in (variable, variable.strip("/"), variable.strip("/").replace(".", "/"), variable.replace("/", ".")):
            if name in shapes:
                return name
    cubes = {name: shape for name, shape in shapes.items() if len(shape) - shape.count(1) == num_axes}
    cubes = cubes or {name: shape for name, shape in shapes.items() if len(shape) == num_axes}
    if variable is None and len(cubes) == 1:
        return next(iter(cubes))
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1]
    if variable is None and not cubes and num_axes == 3 and len(matrices) == 1:
        return matrices[0]  # its pixels may be one axis: resolve_axes says how to read it
    if variable is None and cubes:
        largest = max(cubes, key=lambda name: math.prod(cubes[name]))
        setting = "variable" if num_axes == 3 else "the mask to file/name"
        raise SettingsError(
            f"it holds {len(cubes)} arrays of {num_axes} axes, {_list_shapes(cubes)}: set {setting}, as in: {largest}"
        )
    wanted = variable or f"single array of {num_axes} axes"
    if not shapes:
        raise UnreadableError(f"it holds no array and no {wanted}")
    remedy = "set variable to one of them" if variable else "write the bands to one array, or set variable and axes"
    raise SettingsError(f"it holds {_list_shapes(shapes)} and no {wanted}: {remedy}")


def _list_shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the names and shapes of the arrays with the most axes, largest first, at most nine."""
    order = sorted(shapes, key=lambda name: (-min(len(shapes[name]), 3), -math.prod(shapes[name])))
    return ", ".join(f"{name} ({' x '.join(map(str, shapes[name])) or 'one number'})" for name in order[:9])


def check_unique(names: Iterable[str]) -> None:
    """Refuse a file that holds two arrays of one name, of which programs read different ones.

    Raises:
        UnreadableError: If it does; the message names them.
    """
    if duplicates := [name for name, count in Counter(names).items() if count > 1]:
        raise UnreadableError(f"it holds two arrays that have the name {duplicates[0][:80]}")


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
