"""HDF5 files; NetCDF 4 and MATLAB v7.3 files are HDF5 files, the latter with reversed axes."""

import math
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.catalog import File
from lkca.data.readers.arrays import open_array
from lkca.data.readers.attributes import parse_text
from lkca.data.readers.base import StoredCube, UnreadableError, check_claimed_size
from lkca.data.readers.container import NETCDF_FILLS, ArrayInfo, Container
from lkca.data.readers.matlab import CLASSES

MAX_CHUNK_BYTES = 2**28  # the library holds a whole chunk in memory
SIGNATURE = b"\x89HDF\r\n\x1a\n"
MATLAB_START = b"MATLAB 7.3 MAT-file"
ONLY_AXIS = "This is a netCDF dimension but not a netCDF variable"


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5: its signature is at byte 0, 512, 1024, 2048 and so on, after a user block."""
    with path.open("rb") as file:
        position, size = 0, path.stat().st_size
        while position < size:
            file.seek(position)
            if file.read(8) == SIGNATURE:
                return True
            position = max(512, 2 * position)
    return False


def open_hdf5(stack: ExitStack, path: Path, file: File, is_mask: bool) -> StoredCube:
    """Open an array of an HDF5 file until the stack closes, without following links or references to other files.

    Args:
        stack: The stack that closes the file.
        path: The path of the file.
        file: Which array is read, and how.
        is_mask: Whether the array is a mask, which has no bands.
    """
    import h5py

    opened = stack.enter_context(h5py.File(path, "r"))
    arrays = list_arrays(opened, file.variable)
    with path.open("rb") as raw:
        matlab = raw.read(len(MATLAB_START)) == MATLAB_START
    matlab |= any("MATLAB_class" in array.attrs for array in arrays.values())
    netcdf = "_NCProperties" in opened.attrs or any("_Netcdf4Dimid" in array.attrs for array in arrays.values())

    def read_group(name: str) -> Mapping[str, Any]:
        return _read_attributes(opened[name or "/"])

    container = Container(
        "MATLAB 7.3" if matlab else "NetCDF 4" if netcdf else "HDF5",
        {name: _describe_array(path, name, array, matlab, netcdf) for name, array in arrays.items()},
        read_group,
        ("rows", "columns", "bands") if matlab else None,
        reversed=matlab,
    )
    return open_array(container, file, is_mask)


def _describe_array(path: Path, name: str, array: Any, matlab: bool, netcdf: bool) -> ArrayInfo:
    """Return the description of an array; its attributes are not read yet."""
    import h5py

    def open_checked() -> Any:
        check_array(path, array)
        kind = parse_text(array.attrs.get("MATLAB_class")) if matlab else None
        if kind not in {None, "logical", *CLASSES}:
            raise UnreadableError(f"its array {name} is a {kind} instead of an array of numbers")
        if h5py.check_enum_dtype(array.dtype) and array.dtype.kind != "b":
            raise UnreadableError(f"its array {name} holds names of classes (an enumeration) instead of real numbers")
        return array.astype  # h5py converts in small parts

    shape = array.shape or ()
    return ArrayInfo(
        name=name,
        shape=shape,
        dtype=array.dtype,
        open=open_checked,
        attributes=partial(_read_attributes, array),
        dimensions=_name_dimensions(array) if not matlab and 2 <= len(shape) <= 5 else (),
        is_axis=(parse_text(array.attrs.get("NAME")) or "").startswith(ONLY_AXIS) if len(shape) == 1 else False,
        chunk=array.chunks or (),
        fill=None if matlab else NETCDF_FILLS.get(array.dtype.str[1:]) if netcdf else _find_fill(array),
    )


def _read_attributes(item: Any) -> Mapping[str, Any]:
    """Return the attributes of an array or a group; None for those that h5py cannot read."""
    attributes = dict.fromkeys(item.attrs)
    for name in attributes:
        with suppress(Exception):  # unusual types
            attributes[name] = item.attrs[name]
    return attributes


def _name_dimensions(array: Any) -> tuple[str, ...]:
    """Return the names of the axes: of the coordinates attached to them, their labels, or those in an attribute."""
    names = []
    for axis in array.dims:
        names.append(axis[0].name.lstrip("/") if len(axis) else axis.label)
    if any(names):
        return tuple(names)
    for key in ("_ARRAY_DIMENSIONS", "Dimension_Labels", "dimensions"):
        texts = [text.strip() for text in (parse_text(array.attrs.get(key)) or "").split(",")]
        if len(texts) == array.ndim:
            return tuple(texts)
    return ()


def _find_fill(array: Any) -> float | None:
    """Return the fill value of an array if its writer has set one that is not 0, which libraries set by themselves."""
    import h5py

    properties = array.id.get_create_plist()
    if array.dtype.kind not in "iuf" or properties.fill_value_defined() != h5py.h5d.FILL_VALUE_USER_DEFINED:
        return None
    value = array.fillvalue
    return None if value == 0 or np.isnan(value) else value.item()


def list_arrays(file: Any, wanted: str | None = None) -> dict[str, Any]:
    """Return the arrays of an open HDF5 file by name, without those whose values are in other files.

    Links are not followed. Even the shape of a virtual array may be in another file, which h5py would open.

    Args:
        file: The file.
        wanted: The array that will be read, None for the only one.

    Raises:
        UnreadableError: If the values of this array are in other files.
    """
    import h5py

    arrays, elsewhere = {}, []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                elsewhere.append(name)
            else:
                arrays[name] = item

    file.visititems(note)  # does not follow links
    for name in elsewhere:
        if name == (wanted or name).strip("/").replace(".", "/") and (wanted or not arrays):
            raise UnreadableError(f"{name} only refers to other files")
    return arrays


def check_array(path: Path, array: Any) -> None:
    """Refuse an array that claims to be larger than its file allows.

    Raises:
        UnreadableError: If it is such an array; the message names it.
    """
    name = array.name.lstrip("/")
    chunk = array.chunks or ()
    if math.prod(chunk) * array.dtype.itemsize > MAX_CHUNK_BYTES:
        raise UnreadableError(f"{name} has chunks of {chunk}, too large to be read one by one")
    check_claimed_size(name, math.prod(array.shape) * array.dtype.itemsize, path.stat().st_size)
