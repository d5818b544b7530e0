"""MATLAB v5 files. MATLAB v7.3 files are HDF5 files, which hdf5.py reads."""

import math
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.catalog import File
from lkca.data.readers.arrays import open_array
from lkca.data.readers.base import StoredCube, UnreadableError, check_claimed_size, check_numbers, check_unique
from lkca.data.readers.container import ArrayInfo, Container, is_list

MAX_ARRAY_BYTES = 2**32  # scipy reads an array as a whole
MAX_DEPTH = 8  # of structs in structs
# MATLAB's classes of real numbers.
CLASSES = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def open_matlab5(path: Path, file: File, is_mask: bool) -> StoredCube:
    """Read an array of a MATLAB v5 file, or of a field of a struct in it, into memory.

    Args:
        path: The path of the file.
        file: Which array is read, and how.
        is_mask: Whether the array is a mask, which has no bands.
    """
    from scipy.io import loadmat, whosmat

    @cache
    def load(name: str) -> Any:
        return loadmat(path, variable_names=[name])[name]

    listed = whosmat(path)
    variables = {name: (shape, kind) for name, shape, kind in listed}
    check_unique(name for name, *_ in listed)  # scipy lists the last one, but loads the first one
    arrays = {
        name: ArrayInfo(
            name,
            shape,
            np.dtype(kind) if kind in CLASSES else np.dtype("bool") if kind == "logical" else np.dtype("O"),
            partial(_open_variable, path, load, name, shape, kind),
        )
        for name, (shape, kind) in variables.items()
        if kind != "struct"
    }
    wanted = file.variable and file.variable.replace("/", ".").split(".")[0]
    is_found = wanted in arrays if wanted else any(len(array.shape) == 3 for array in arrays.values())
    for name, (_, kind) in variables.items():
        if kind == "struct":  # its fields are unknown before it is read
            may_hold_cube = not is_found and wanted in (None, name)
            fields = [field for field in _list_fields(name, load(name)) if may_hold_cube or is_list(field.shape)]
            arrays |= {field.name: field for field in fields}
    return open_array(Container("MATLAB 5", arrays, default_axes=("rows", "columns", "bands")), file, is_mask)


def _open_variable(path: Path, load: Any, name: str, shape: tuple[int, ...], kind: str) -> Any:
    """Check a variable before and after it is read."""
    if kind not in CLASSES and kind != "logical":
        raise UnreadableError(f"{name} is a {kind} instead of an array of numbers")
    size = math.prod(shape) * np.dtype("bool" if kind == "logical" else kind).itemsize
    check_claimed_size(name, size, path.stat().st_size)
    if size > MAX_ARRAY_BYTES:
        raise UnreadableError(f"{name} has the shape {shape}, more than {MAX_ARRAY_BYTES // 2**30} GiB")
    array = load(name)
    check_numbers(array.dtype, is_cube=False)
    return lambda _: array


def _list_fields(name: str, value: np.ndarray, depth: int = 0) -> Iterator[ArrayInfo]:
    """Yield the arrays in a struct, which is already read."""
    if value.dtype.names and value.shape == (1, 1) and depth < MAX_DEPTH:
        for field in value.dtype.names:
            yield from _list_fields(f"{name}/{field}", np.asarray(value[0, 0][field]), depth + 1)
    else:
        yield ArrayInfo(name, value.shape, value.dtype, lambda: lambda _: value)
