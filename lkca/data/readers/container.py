"""Files that hold several arrays, in the same form for HDF5, NetCDF and MATLAB."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lkca.data.readers.base import UnreadableError

MAX_VALUES = 2**20  # of an array that is read as a whole because it describes another one
# The values of pixels that were never written in NetCDF files (NC_FILL_SHORT and so on); none for single bytes.
NETCDF_FILLS: dict[str, float] = {
    "i2": -32767,
    "u2": 65535,
    "i4": -2147483647,
    "u4": 4294967295,
    "i8": -9223372036854775806,
    "u8": 18446744073709551614,
    "f4": 9.969209968386869e36,
    "f8": 9.969209968386869e36,
}


def is_list(shape: Sequence[int]) -> bool:
    """Return whether an array of a shape has at most one axis that is longer than 1."""
    return bool(shape) and math.prod(shape) == max(shape)


@dataclass(frozen=True, eq=False)
class ArrayInfo:
    """An array of a file, which is not read before it is sliced.

    Args:
        name: Its path in the file: group/subgroup/name.
        shape, dtype: Its shape and the type of its values.
        open: Function that checks the array and returns a function that returns, for a type of the result, an object
            that is sliced like a numpy array; see `make_array_reader`.
        attributes: Function that returns its attributes.
        dimensions: Names of its axes, "" for one without a name; empty if no axis has a name. An array with the name
            of an axis has its coordinates.
        is_axis: Whether it only stands for an axis and has no values.
        chunk: Length of a chunk along each axis; empty if it is not stored in chunks.
        fill: The value of pixels that were never written, if the array does not declare one; None if it is unknown.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    open: Callable[[], Callable[[Any], Any]]
    attributes: Callable[[], Mapping[str, Any]] = dict
    dimensions: tuple[str, ...] = ()
    is_axis: bool = False
    chunk: tuple[int, ...] = ()
    fill: float | None = None

    @property
    def short_name(self) -> str:
        """The name without its group."""
        return self.name.rpartition("/")[2]

    def groups(self) -> list[str]:
        """Return the groups that contain it, from the innermost to the root, which is ""."""
        parts = self.name.split("/")[:-1]
        return ["/".join(parts[:i]) for i in range(len(parts), -1, -1)]

    def load(self) -> np.ndarray:
        """Return all values of a small array.

        Raises:
            UnreadableError: If it is not small.
        """
        if np.prod(self.shape, dtype=float) > MAX_VALUES:
            raise UnreadableError(f"its array {self.name} is too large to describe another one")
        return np.asarray(self.open()(self.dtype)[()])


@dataclass(frozen=True)
class Container:
    """A file with several arrays.

    Args:
        format: Name of the format, a key of FORMAT_FACTS.
        arrays: The arrays by name.
        group_attributes: Function that returns the attributes of a group; "" is the root.
        default_axes: The usual order of the axes in this format, None if there is none.
        reversed: Whether the axes are stored in the reverse of the order in which they are shown, as in MATLAB v7.3.
    """

    format: str
    arrays: Mapping[str, ArrayInfo]
    group_attributes: Callable[[str], Mapping[str, Any]] = field(default=lambda _: {})
    default_axes: tuple[str, ...] | None = None
    reversed: bool = False

    def show(self, name: str) -> str:
        """Return the name of an array as users of the format write it."""
        return name.replace("/", ".") if self.format.startswith("MATLAB") else name

    def beside(self, array: ArrayInfo) -> list[ArrayInfo]:
        """Return the arrays that may describe another one: those of its group first, then those of outer groups."""
        others = [other for other in self.arrays.values() if other is not array and not other.is_axis]
        return [other for group in array.groups() for other in others if other.groups()[0] == group]
