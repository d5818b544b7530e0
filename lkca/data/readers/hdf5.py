"""HDF5 files, and MATLAB v7.3 files, which are HDF5 with reversed axes."""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.readers.base import (
    StoredCube,
    UnreadableError,
    check_claimed_size,
    make_array_reader,
    select_variable,
)

MAX_CHUNK_BYTES = 2**28  # the library holds a whole chunk in memory


def open_hdf5(stack: ExitStack, path: Path, variable: str | None, axes: list[str] | None) -> StoredCube:
    """Open an array of an HDF5 file until the stack closes, without following links or references to other files."""
    import h5py

    file = stack.enter_context(h5py.File(path, "r"))
    shapes = {name: array.shape for name, array in list_arrays(file).items()}
    matlab = file.userblock_size >= 512  # the file starts with MATLAB's header
    if axes is None and not matlab:
        raise UnreadableError("an HDF5 file does not say the order of its axes: set axes, as in: rows columns bands")
    axes = axes or ["rows", "columns", "bands"]
    if matlab:
        axes = axes[::-1]
        shapes = {name: shape[::-1] for name, shape in shapes.items()}  # the order in which MATLAB shows axes
    name = select_variable(variable, shapes, len(axes))
    cube = file[name]
    check_array(path, cube)
    chunk = cube.chunks or ()
    bands_per_chunk = chunk[axes.index("bands")] if len(chunk) == 3 else 1
    # h5py converts in small parts.
    return make_array_reader(
        cube.astype, cube.shape, cube.dtype, axes, "MATLAB 7.3" if matlab else "HDF5", bands_per_chunk
    )


def list_arrays(file: Any) -> dict[str, Any]:
    """Return the arrays of an open HDF5 file by name; links are not followed."""
    import h5py

    arrays = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item

    file.visititems(note)  # does not follow links
    return arrays


def check_array(path: Path, array: Any) -> None:
    """Refuse an array that refers to other files or claims to be larger than its file allows.

    Raises:
        UnreadableError: If it is such an array; the message names it.
    """
    name = array.name.lstrip("/")
    if array.is_virtual or array.external:
        raise UnreadableError(f"{name} only refers to other files")
    chunk = array.chunks or ()
    if math.prod(chunk) * array.dtype.itemsize > MAX_CHUNK_BYTES:
        raise UnreadableError(f"{name} has chunks of {chunk}, too large to be read one by one")
    check_claimed_size(name, math.prod(array.shape) * array.dtype.itemsize, path.stat().st_size)


def read_text(attribute: Any) -> str | None:
    """Return the text of an attribute; None if it is not a text."""
    if isinstance(attribute, bytes):
        return attribute.decode("utf-8", "replace").strip("\0 ")
    return attribute.strip("\0 ") if isinstance(attribute, str) else None


def to_floats(numbers: Any) -> list[float]:
    """Return numbers as Python's, the shortest ones that the type of the file rounds to them: 406.99, not 406.98999."""
    return [float(str(number)) for number in np.ravel(numbers)]
