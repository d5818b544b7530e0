"""HDF5 files, and MATLAB v7.3 files, which are HDF5 with reversed axes."""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
    shapes = {}

    def note_shape(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name] = item.shape

    file.visititems(note_shape)  # does not follow links
    matlab = file.userblock_size >= 512  # the file starts with MATLAB's header
    if axes is None and not matlab:
        raise UnreadableError("an HDF5 file does not say the order of its axes: set axes, as in: rows columns bands")
    axes = axes or ["rows", "columns", "bands"]
    if matlab:
        axes = axes[::-1]
        shapes = {name: shape[::-1] for name, shape in shapes.items()}  # the order in which MATLAB shows axes
    name = select_variable(variable, shapes, len(axes))
    cube = file[name]
    if cube.is_virtual or cube.external:
        raise UnreadableError(f"{name} only refers to other files")
    chunk = cube.chunks or (1,) * len(cube.shape)
    if math.prod(chunk) * cube.dtype.itemsize > MAX_CHUNK_BYTES:
        raise UnreadableError(f"{name} has chunks of {chunk}, too large to be read one by one")
    check_claimed_size(name, math.prod(cube.shape) * cube.dtype.itemsize, path.stat().st_size)
    bands_per_chunk = chunk[axes.index("bands")] if len(chunk) == 3 else 1
    # h5py converts in small parts.
    return make_array_reader(
        cube.astype, cube.shape, cube.dtype, axes, "MATLAB 7.3" if matlab else "HDF5", bands_per_chunk
    )
