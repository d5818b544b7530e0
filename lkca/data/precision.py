"""Find values whose differences are lost in float32, the type of scenes."""

from typing import Any

import numpy as np

from lkca.data.catalog import File
from lkca.data.measurement import Measurement
from lkca.data.readers import open_cube
from lkca.errors import FileProblem

MIN_LEVELS = 1000  # values of float32 that must lie between the smallest and the largest value of a band
MAX_EXAMINED = 3  # bands that are read again


def find_lost_precision(file: File, measured: Measurement) -> FileProblem | None:
    """Return in which band differences are lost and which offset keeps them; None if none are lost.

    Only bands are read again whose smallest and largest value are so near to each other, compared with their size, that
    float32 has few numbers between them.
    """
    description = measured.description
    if np.can_cast(description.dtype, np.float32) and not description.gains:
        return None
    suspicious = []
    for band, statistics in zip(measured.bands, measured.statistics, strict=True):
        largest = np.float32(max(abs(statistics.minimum), abs(statistics.maximum)))
        exact = description.dtype.kind in "iu" and not description.gains and largest <= 2**24
        if largest > 0 and not exact and statistics.maximum - statistics.minimum < MIN_LEVELS * np.spacing(largest):
            suspicious.append(band)
    if not suspicious:
        return None
    rows, columns = slice(*measured.crop[:2]), slice(*measured.crop[2:])
    with open_cube(file) as reader:
        for band in suspicious[:MAX_EXAMINED]:
            values = reader.read(band - 1, band, rows, columns, np.dtype(np.float64))
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            if low < high:
                old = {*description.offsets} or {0.0}
                new = f": {_show(old.pop() - low)}" if len(old) == 1 else ""
                return FileProblem(
                    f"the values of band {band}, {_show(low)} to {_show(high)}, are too near for float32, "
                    f"which scenes are: set offset{new} in its entry to keep the differences, or leave it out"
                )
    return None


def _show(value: float) -> Any:
    return int(value) if value.is_integer() else value
