"""EMIT L2A: a NetCDF 4 file, on the grid of the sensor, with the wavelengths in a group."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from lkca.data.catalog import File
from lkca.data.readers.attributes import parse_text
from lkca.data.readers.base import StoredCube, WrongProductError
from lkca.data.readers.hdf5 import open_hdf5

VARIABLE = "reflectance"
AXES = "rows columns bands"  # downtrack, crosstrack, bands
GROUP = "sensor_band_parameters"


def open_emit(stack: ExitStack, path: Path, file: File, opened: Any, arrays: Mapping[str, Any]) -> StoredCube | None:
    """Open the reflectance of EMIT L2A; return None if the file is not EMIT or another array is wanted.

    Args:
        stack: The stack that closes what is opened.
        path: The path of the file.
        file: Which array is read, and how.
        opened: The open file.
        arrays: The arrays of the file.

    Raises:
        WrongProductError: If the file is another product of EMIT, or incomplete.
    """
    if parse_text(opened.attrs.get("instrument")) != "EMIT" or file.variable not in (None, VARIABLE):
        return None
    if VARIABLE not in arrays:
        held = ", ".join(name for name, array in arrays.items() if len(array.shape) == 3) or "no image"
        raise WrongProductError(
            f"it is EMIT, but holds {held} instead of {VARIABLE}: get EMIT_L2A_RFL of the scene, which has the "
            "reflectance of the surface"
        )
    if file.axes and file.axes.split() != AXES.split():
        raise WrongProductError(f"the axes of EMIT L2A are {AXES}: leave axes out of its entry")
    stored = open_hdf5(stack, path, file.model_copy(update={"variable": VARIABLE, "axes": AXES}), is_mask=False)
    description = stored.description
    if GROUP not in description.sources.get("nanometres", ""):
        raise WrongProductError(
            f"it is EMIT, but {GROUP}/wavelengths is missing or does not fit its {description.shape[2]} bands: "
            "download it again"
        )
    description = replace(
        description,
        format="EMIT L2A",
        units="surface reflectance",
        crs=None,  # the tables that map the grid of the sensor to the ground are not applied
        geotransform=None,
    )
    return replace(stored, description=description)
