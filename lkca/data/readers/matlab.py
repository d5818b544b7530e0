"""MATLAB v5 files. MATLAB v7.3 files are HDF5 files, which hdf5.py reads."""

import math
from pathlib import Path

import numpy as np

from lkca.data.readers.base import StoredCube, UnreadableError, check_claimed_size, make_array_reader, select_variable

MAX_ARRAY_BYTES = 2**32  # scipy reads an array as a whole
# MATLAB's classes of real numbers.
CLASSES = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def open_matlab5(path: Path, variable: str | None, axes: list[str] | None) -> StoredCube:
    """Read an array of a MATLAB v5 file into memory."""
    from scipy.io import loadmat, whosmat

    axes = axes or ["rows", "columns", "bands"]
    variables = {name: (shape, kind) for name, shape, kind in whosmat(path)}
    name = select_variable(variable, {key: shape for key, (shape, _) in variables.items()}, len(axes))
    shape, kind = variables[name]
    if kind not in CLASSES:
        raise UnreadableError(f"{name} is a {kind} instead of an array of numbers")
    size = math.prod(shape) * np.dtype(kind).itemsize
    check_claimed_size(name, size, path.stat().st_size)
    if size > MAX_ARRAY_BYTES:
        raise UnreadableError(f"{name} has the shape {shape}, more than {MAX_ARRAY_BYTES // 2**30} GiB")
    cube = loadmat(path, variable_names=[name])[name]
    return make_array_reader(lambda _: cube, cube.shape, cube.dtype, axes, "MATLAB 5")
