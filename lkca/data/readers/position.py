"""Coordinate reference system and position of an array, by the CF conventions and GDAL's attributes."""

import math
from typing import Any

import numpy as np

from lkca.data.readers.attributes import find_text, parse_numbers
from lkca.data.readers.container import ArrayInfo, Container
from lkca.data.readers.layout import Layout

MAX_DEVIATION = 0.01  # of a coordinate from an even grid, in pixels


def read_position(container: Container, array: ArrayInfo, layout: Layout) -> tuple[dict[str, Any], str]:
    """Return `crs` and `geotransform` of an array, if the file declares them, and where they come from.

    They are read from the variable that the attribute `grid_mapping` names; without a GeoTransform in it, from the
    coordinate variables of rows and columns if these are even.
    """
    facts: dict[str, Any] = {}
    attributes = array.attributes()
    name = (find_text(attributes, "grid_mapping") or "").split(":")[0].strip()
    paths = [f"{group}/{name}".lstrip("/") for group in array.groups()]
    mapping = next((container.arrays[path].attributes() for path in paths if name and path in container.arrays), {})
    if crs := find_text(mapping, "crs_wkt", "spatial_ref"):
        facts["crs"] = crs
    numbers = parse_numbers(mapping.get("GeoTransform"))
    if numbers is not None and numbers.size == 6 and np.isfinite(numbers).all():
        facts["geotransform"] = tuple(numbers.astype(float).tolist())
    elif grid := _find_grid(container, array, layout):
        facts["geotransform"] = grid
    return facts, f"array {name}" if mapping else "coordinates of rows and columns"


def _find_grid(container: Container, array: ArrayInfo, layout: Layout) -> tuple[float, ...] | None:
    """Return the geotransform of even coordinates, which are those of the centres of pixels; None if there are none."""
    ends = []
    for axis in ("columns", "rows"):
        dimension = array.dimensions[layout.axes.index(axis)] if array.dimensions and axis in layout.axes else ""
        coordinates = container.arrays.get(dimension)
        length = layout.lengths(array.shape)[axis]
        if coordinates is None or coordinates.is_axis or coordinates.shape != (length,) or length < 2:
            return None
        values = parse_numbers(coordinates.load())
        if values is None or not np.isfinite(values).all():
            return None
        values = values.astype(float)
        step = (values[-1] - values[0]) / (length - 1)
        if not step or np.abs(values - np.linspace(values[0], values[-1], length)).max() > MAX_DEVIATION * abs(step):
            return None
        ends.append((float(values[0] - step / 2), float(step)))
    (x, width), (y, height) = ends
    return (x, width, 0.0, y, 0.0, height) if math.isfinite(x * y) else None
