"""Open an array of a file that holds several."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lkca.data.catalog import File
from lkca.data.readers.attributes import find_unsigned_type, read_calibration, read_invalid, read_texts
from lkca.data.readers.axes import resolve_axes
from lkca.data.readers.base import (
    NUMBER_KINDS,
    StoredCube,
    UnreadableError,
    check_numbers,
    make_array_reader,
    select_variable,
)
from lkca.data.readers.container import ArrayInfo, Container
from lkca.data.readers.layout import Layout
from lkca.data.readers.position import read_position
from lkca.data.readers.spectral import read_spectral


def open_array(container: Container, file: File, is_mask: bool) -> StoredCube:
    """Return a reader of an array.

    Args:
        container: The open file.
        file: Which array is read, and how.
        is_mask: Whether the array is a mask, which has no bands.

    Raises:
        UnreadableError: If there is no such array, or the order of its axes is unknown.
    """
    axes = ["rows", "columns"] if is_mask else file.axes.split() if file.axes else None
    order = slice(None, None, -1 if container.reversed else 1)
    numeric = {
        container.show(name): array
        for name, array in container.arrays.items()
        if file.variable or (array.dtype.kind in NUMBER_KINDS and not array.is_axis and name[0] != "#")  # MATLAB's
    }
    shapes = {name: array.shape[order] for name, array in numeric.items()}
    array = numeric[select_variable(file.variable, shapes, len(axes or ("rows", "columns", "bands")))]
    check_numbers(array.dtype, not is_mask)
    layout = resolve_axes(
        axes,
        array.shape[order],
        file.pixels,
        dimensions=array.dimensions[order],
        default=container.default_axes,
        format={"HDF5": "an HDF5 file", "NumPy": "a .npy file"}.get(container.format, f"a {container.format} file"),
    )
    layout = Layout(layout.axes[order], layout.pixels)
    as_type, dtype = array.open(), array.dtype
    if unsigned := find_unsigned_type(array):
        stored, dtype = as_type(dtype), unsigned
        as_type = lambda _: _Reinterpreted(stored, unsigned)  # noqa: E731
    facts = {} if is_mask else _read_facts(container, array, layout, dtype)
    chunk = dict(zip(layout.axes, array.chunk, strict=True)) if array.chunk else {}
    return make_array_reader(as_type, array.shape, dtype, layout, container.format, chunk.get("bands", 1), **facts)


def _read_facts(container: Container, array: ArrayInfo, layout: Layout, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the facts that a file declares about one of its arrays, as fields of `CubeDescription`.

    Args:
        container: The file.
        array: The array.
        layout: The order of its axes.
        dtype: The type of its values, which `_Unsigned` may have changed.
    """
    facts = {**read_spectral(container, array, layout), **read_texts(container, array)}
    sources, unusable = facts["sources"], facts["unusable"]
    bands = layout.lengths(array.shape)["bands"]

    def add(fact: str, read: Callable[[], tuple[dict[str, Any], str] | None]) -> None:
        try:
            if found := read():
                facts.update(found[0])
                sources[fact] = found[1]
        except UnreadableError as error:
            unusable[fact] = str(error)

    add("gains", lambda: read_calibration(container, array, bands))
    calibration = (facts["gains"], facts["offsets"]) if "gains" in facts else None
    add("invalid", lambda: read_invalid(container, array, dtype, calibration))
    position, source = read_position(container, array, layout)
    sources |= dict.fromkeys(position, source)
    return {**facts, **position, "layers": _list_layers(container, array, layout)}


def _list_layers(container: Container, array: ArrayInfo, layout: Layout) -> tuple[str, ...]:
    """Return the names of the other arrays of a file that have one value for each pixel."""
    lengths = layout.lengths(array.shape)
    pixels = sorted(length for name, length in lengths.items() if name != "bands")
    return tuple(
        container.show(other.name)
        for other in container.arrays.values()
        if other is not array and other.dtype.kind in NUMBER_KINDS and sorted(n for n in other.shape if n > 1) == pixels
    )


class _Reinterpreted:
    """An array whose bytes are taken as another type of the same size when it is sliced."""

    def __init__(self, array: Any, dtype: np.dtype[Any]) -> None:
        self._array, self._dtype = array, dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._array[index]).view(self._dtype)
