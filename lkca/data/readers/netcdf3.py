"""NetCDF 3 files: classic, 64-bit offset and 64-bit data (CDF-1, CDF-2 and CDF-5).

Only the header is parsed; the arrays are mapped into memory. scipy's reader is not used because it sets attributes of
the file as attributes of its own objects, and cannot read 64-bit data.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.catalog import File
from lkca.data.readers.arrays import open_array
from lkca.data.readers.base import StoredCube, UnreadableError, check_unique
from lkca.data.readers.container import NETCDF_FILLS, ArrayInfo, Container

MAX_HEADER_BYTES = 2**24
TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: "u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}
DIMENSIONS, VARIABLES, ATTRIBUTES = 10, 11, 12  # tags of the lists of the header


@dataclass(frozen=True)
class _Variable:
    """An array as the header describes it.

    Args:
        name, dimensions, attributes, dtype: Its properties.
        shape: Its shape; the first length is 0 if that is the number of records.
        begin: The byte at which its values start.
    """

    name: str
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    attributes: Mapping[str, Any]
    dtype: np.dtype[Any]
    begin: int

    @property
    def is_record(self) -> bool:
        """Whether it grows with the number of records."""
        return bool(self.shape) and self.shape[0] == 0

    @property
    def row_bytes(self) -> int:
        """Bytes of the part of it at one index of the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


def open_netcdf3(path: Path, file: File, is_mask: bool) -> StoredCube:
    """Open an array of a NetCDF 3 file; the arguments are those of `open_array`."""
    size = path.stat().st_size
    with path.open("rb") as opened:
        header = _Header(opened.read(MAX_HEADER_BYTES))
    records, attributes, variables = header.parse()
    check_unique(variable.name for variable in variables)
    in_records = [variable for variable in variables if variable.is_record]
    step = sum(variable.row_bytes + -variable.row_bytes % 4 for variable in in_records)  # bytes of a record
    if len(in_records) == 1:
        step = in_records[0].row_bytes  # a single one is not padded
    if records is None:  # the program that wrote the file did not note it
        records = max(0, size - min(variable.begin for variable in in_records)) // step if step else 0
    data = np.memmap(path, np.uint8, "r")

    def get_shape(variable: _Variable) -> tuple[int, ...]:
        return (records, *variable.shape[1:]) if variable.is_record else variable.shape

    def map_array(variable: _Variable) -> Any:
        shape, itemsize = get_shape(variable), variable.dtype.itemsize
        strides = tuple(math.prod(shape[i + 1 :]) * itemsize for i in range(len(shape)))
        if variable.is_record:
            strides = (step, *strides[1:])
        last = (shape[0] - 1) * strides[0] + variable.row_bytes if shape else itemsize
        if variable.begin + last > size:
            raise UnreadableError(f"it ends after {size} of {variable.begin + last} bytes")
        array = np.ndarray(shape, variable.dtype, data, variable.begin, strides)
        return lambda _: array

    arrays = {
        variable.name: ArrayInfo(
            name=variable.name,
            shape=get_shape(variable),
            dtype=variable.dtype,
            open=partial(map_array, variable),
            attributes=partial(_return, variable.attributes),
            dimensions=variable.dimensions,
            fill=NETCDF_FILLS.get(variable.dtype.str[1:]),
        )
        for variable in variables
    }
    return open_array(Container("NetCDF 3", arrays, lambda _: attributes), file, is_mask)


def _return(value: Any) -> Any:
    return value


class _Header:
    """The header of a file; `parse` returns what it declares."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 4
        version = data[3] if len(data) > 3 else 0
        if data[:3] != b"CDF" or version not in (1, 2, 5):
            raise UnreadableError(f"it is NetCDF of the unknown version {version}")
        self._size_bytes = 8 if version == 5 else 4
        self._offset_bytes = 4 if version == 1 else 8

    def parse(self) -> tuple[int | None, dict[str, Any], list[_Variable]]:
        """Return the number of records, None if it is unknown, the attributes of the file, and the arrays."""
        records = self._take_int(self._size_bytes)
        dimensions = [(self._take_name(), self._take_size()) for _ in range(self._take_count(DIMENSIONS))]
        attributes = self._take_attributes()
        variables = [self._take_variable(dimensions) for _ in range(self._take_count(VARIABLES))]
        return None if records == 2 ** (8 * self._size_bytes) - 1 else records, attributes, variables

    def _take(self, count: int) -> bytes:
        """Return the next bytes, and skip those up to the next multiple of 4."""
        end = self._position + count
        if end > len(self._data):
            raise UnreadableError("its header ends too early")
        taken = self._data[self._position : end]
        self._position = end + -end % 4
        return taken

    def _take_int(self, num_bytes: int) -> int:
        return int.from_bytes(self._take(num_bytes), "big")

    def _take_size(self) -> int:
        return self._take_int(self._size_bytes)

    def _take_count(self, tag: int) -> int:
        """Return the length of a list, which has a tag unless it is empty."""
        found, count = self._take_int(4), self._take_size()
        if found != tag and (found or count):
            raise UnreadableError("its header is damaged")
        return count

    def _take_name(self) -> str:
        return self._take(self._take_size()).decode("utf-8", "replace")

    def _take_type(self) -> np.dtype[Any]:
        number = self._take_int(4)
        if number not in TYPES:
            raise UnreadableError(f"its header has the unknown type {number}")
        return np.dtype(TYPES[number])

    def _take_attributes(self) -> dict[str, Any]:
        attributes = {}
        for _ in range(self._take_count(ATTRIBUTES)):
            name, dtype, count = self._take_name(), self._take_type(), self._take_size()
            values = self._take(count * dtype.itemsize)
            attributes[name] = values if dtype.kind == "S" else np.frombuffer(values, dtype)
        return attributes

    def _take_variable(self, dimensions: list[tuple[str, int]]) -> _Variable:
        name = self._take_name()
        numbers = [self._take_size() for _ in range(self._take_size())]
        if any(number >= len(dimensions) for number in numbers):
            raise UnreadableError(f"its array {name} has an unknown dimension")
        attributes, dtype = self._take_attributes(), self._take_type()
        self._take_size()  # its bytes, which the shape tells better
        begin = self._take_int(self._offset_bytes)
        names, shape = tuple(dimensions[number][0] for number in numbers), [dimensions[number][1] for number in numbers]
        return _Variable(name, names, tuple(shape), attributes, dtype, begin)
