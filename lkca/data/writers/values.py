"""Turn physical values into the values that a file stores."""

from typing import Any

import numpy as np

from lkca.data.writers.description import OutputDescription


def encode(
    values: np.ndarray, invalid: np.ndarray, description: OutputDescription, first_band: int
) -> tuple[np.ndarray, int]:
    """Return stored values, and the number of valid values that had to be changed by more than rounding.

    A value outside the range of the type becomes the limit of the range. A valid value that would become the one that
    marks invalid pixels becomes the next one on its side of it. Both are counted. NaN becomes an invalid value.

    Args:
        values: Physical values (bands, rows, columns).
        invalid: bool (rows, columns), true for invalid pixels.
        description: The description of the output.
        first_band: Band of the output, from 0, of the first band of `values`.

    Returns:
        The stored values (bands, rows, columns), and the number of valid values that were changed.

    Raises:
        ValueError: If there are invalid pixels, but the output has no value that marks them.
    """
    dtype = description.dtype
    stored = np.empty(values.shape, dtype)
    low, high = _find_limits(dtype)
    mark = None if description.invalid is None else dtype.type(description.invalid)
    num_changed = 0
    for i, band in enumerate(values):
        exact = band.astype(np.float64)
        if description.gains:
            exact = (exact - description.offsets[first_band + i]) / description.gains[first_band + i]
        wrong = invalid | np.isnan(exact)
        if mark is None and wrong.any():
            raise ValueError("there are invalid pixels, but the output has no value that marks them")
        exact[wrong] = 0
        limited = np.clip(np.rint(exact) if dtype.kind in "iu" else exact, low, high)
        changed = np.abs(exact - limited) > (0.5 if dtype.kind in "iu" else 0)
        stored[i] = limited
        if mark is not None:
            hit = stored[i] == mark  # never true for NaN
            stored[i][hit] = _step_aside(exact[hit], mark, dtype)
            stored[i][wrong] = mark
            changed |= hit
        num_changed += int(np.count_nonzero(changed & ~wrong))
    return stored, num_changed


def _find_limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the smallest and the largest number of a type as float64, which does not hold all 64-bit integers."""
    limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    high = float(limits.max)
    return float(limits.min), float(np.nextafter(high, 0)) if dtype.kind in "iu" and int(high) > limits.max else high


def _step_aside(exact: np.ndarray, mark: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the neighbours of `mark` in a type, on the side where the exact values are."""
    if dtype.kind == "f":
        below, above = (np.nextafter(mark, dtype.type(end)) for end in (-np.inf, np.inf))
    else:
        limits = np.iinfo(dtype)
        below, above = (dtype.type(min(max(int(mark) + step, limits.min), limits.max)) for step in (-1, 1))
    is_above = (exact >= float(mark)) & (above != mark) & np.isfinite(above)
    is_above |= (below == mark) | ~np.isfinite(below)
    return np.where(is_above, above, below)
