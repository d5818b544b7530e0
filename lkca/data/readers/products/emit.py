"""EMIT L2A: a NetCDF 4 file, on the grid of the sensor, with the wavelengths in a group."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.readers.attributes import parse_text, to_floats
from lkca.data.readers.base import StoredCube, WrongProductError, make_array_reader
from lkca.data.readers.hdf5 import check_array
from lkca.data.readers.layout import Layout

VARIABLE = "reflectance"
AXES = ["rows", "columns", "bands"]  # downtrack, crosstrack, bands
GROUP = "sensor_band_parameters"


def open_emit(
    path: Path, file: Any, arrays: Mapping[str, Any], variable: str | None, axes: list[str] | None
) -> StoredCube | None:
    """Open the reflectance of EMIT L2A; return None if the file is not EMIT or another array is wanted.

    Args:
        path: The file.
        file: The open file.
        arrays: The arrays of the file.
        variable: The array that the entry names, if it does.
        axes: The axes that the entry names, if it does.

    Raises:
        WrongProductError: If the file is another product of EMIT, or incomplete.
    """
    if parse_text(file.attrs.get("instrument")) != "EMIT" or variable not in (None, VARIABLE):
        return None
    if VARIABLE not in arrays:
        held = ", ".join(name for name, array in arrays.items() if len(array.shape) == 3) or "no image"
        raise WrongProductError(
            f"it is EMIT, but holds {held} instead of {VARIABLE}: get EMIT_L2A_RFL of the scene, which has the "
            "reflectance of the surface"
        )
    if axes not in (None, AXES):
        raise WrongProductError(f"the axes of EMIT L2A are {' '.join(AXES)}: leave axes out of its entry")
    cube = arrays[VARIABLE]
    check_array(path, cube)
    chunk = (cube.chunks or (1,))[-1]
    stored = make_array_reader(cube.astype, cube.shape, cube.dtype, Layout(tuple(AXES)), "EMIT L2A", chunk)
    count = stored.description.shape[2]

    def read(name: str) -> list[float] | None:
        if (array := arrays.get(f"{GROUP}/{name}")) is None:
            return None
        check_array(path, array)
        if array.shape != (count,):
            raise WrongProductError(f"its {GROUP}/{name} has the shape {array.shape} for {count} bands")
        return to_floats(array[()])

    centres, widths, good = (read(name) for name in ("wavelengths", "fwhm", "good_wavelengths"))
    if centres is None:
        raise WrongProductError(f"it is EMIT, but has no {GROUP}/wavelengths: download it again")
    facts: dict[str, Any] = {"nanometres": _keep_positive(centres), "units": "surface reflectance"}
    sources = {"nanometres": f"{GROUP}/wavelengths"}
    if widths:
        facts["fwhm"], sources["fwhm"] = _keep_positive(widths), f"{GROUP}/fwhm"
    if good:
        facts["bad_bands"] = tuple(number for number, flag in enumerate(good, 1) if not flag)
        sources["bad_bands"] = f"{GROUP}/good_wavelengths"
    if (fill := cube.attrs.get("_FillValue")) is not None:
        facts["invalid"], sources["invalid"] = tuple(np.ravel(fill).tolist()), f"_FillValue of {VARIABLE}"
    history = parse_text(file.attrs.get("history"))
    return replace(stored, description=replace(stored.description, **facts, history=history, sources=sources))


def _keep_positive(values: list[float]) -> tuple[float | None, ...]:
    """Return lengths; None for what is not a positive number."""
    return tuple(value if 0 < value < np.inf else None for value in values)
