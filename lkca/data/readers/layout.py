"""The order of the axes of an array, and how windows of a cube are cut from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """The order of the axes of an array.

    Args:
        axes: The content of each axis of the array: rows, columns, bands, `rows*columns` or `columns*rows` for an axis
            that runs through all pixels, or None for an axis of length 1 that has no meaning.
        pixels: Rows and columns if one axis runs through all pixels.
    """

    axes: tuple[str | None, ...]
    pixels: tuple[int, int] | None = None

    def names(self) -> list[str]:
        """Return rows, columns and bands in the order of the array, as its axes are after `take`."""
        return [name for axis in self.axes if axis for name in axis.split("*")]

    def lengths(self, shape: Sequence[int]) -> dict[str, int]:
        """Return the number of rows, columns and bands of an array of a shape."""
        lengths = {axis: length for axis, length in zip(self.axes, shape, strict=True) if axis and "*" not in axis}
        return {
            "bands": 1,
            **lengths,
            **(dict(zip(("rows", "columns"), self.pixels, strict=True)) if self.pixels else {}),
        }

    def index(self, window: dict[str, slice]) -> tuple[slice | int, ...]:
        """Return the index of the part of the array that contains a window of rows, columns and bands."""
        index: list[slice | int] = []
        for axis in self.axes:
            if axis is None:
                index.append(0)
            elif "*" in axis:
                outer, inner = axis.split("*")
                inner_length = self._pixel_length(inner)
                index.append(slice(window[outer].start * inner_length, window[outer].stop * inner_length))
            else:
                index.append(window[axis])
        return tuple(index)

    def split_pixels(self, values: np.ndarray, window: dict[str, slice]) -> np.ndarray:
        """Return what `index` has selected with an axis each for rows and columns, cut to the window."""
        axes = [axis for axis in self.axes if axis]
        for i, axis in enumerate(axes):
            if "*" in axis:
                inner = axis.split("*")[1]
                shape = values.shape
                values = values.reshape(*shape[:i], -1, self._pixel_length(inner), *shape[i + 1 :])
                values = values[(slice(None),) * (i + 1) + (window[inner],)]
        return values

    def _pixel_length(self, name: str) -> int:
        assert self.pixels
        return self.pixels[0] if name == "rows" else self.pixels[1]
