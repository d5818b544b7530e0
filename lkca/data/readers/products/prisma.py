"""PRISMA L2D: an HDF-EOS5 file with a cube of each detector, on one map.

Bands are numbered by ascending wavelength over both cubes; those that were not acquired follow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lkca.data.catalog import File
from lkca.data.readers.attributes import parse_text, to_floats
from lkca.data.readers.base import StoredCube, WrongProductError
from lkca.data.readers.description import CubeDescription
from lkca.data.readers.hdf5 import check_array
from lkca.data.sandbox import heartbeat

AXES = "rows bands columns"
DETECTORS = ("Vnir", "Swir")
LARGEST = 65535  # the stored value that stands for the largest reflectance
SWATHS = "HDFEOS/SWATHS"
FIELDS = f"{SWATHS}/PRS_L2D_HCO/Data Fields"
BLOCK_BYTES = 2**26  # size of the block that is read at a time to find pixels without data


class _Band(NamedTuple):
    """A band: what the file says of it, and its position, from 0, in the cube of its detector."""

    nanometres: float | None
    fwhm: float | None
    gain: float
    offset: float
    detector: int
    position: int


def open_prisma(path: Path, file: File, opened: Any, arrays: Mapping[str, Any]) -> StoredCube | None:
    """Open the cubes of PRISMA L2D as one; return None if the file is not PRISMA or another array is wanted.

    Args:
        path: The path of the file.
        file: Which array is read, and how: one of the cubes if it names a variable, otherwise both.
        opened: The open file.
        arrays: The arrays of the file.

    Raises:
        WrongProductError: If the file is PRISMA of another level, or incomplete.
    """
    if not any(name.startswith(f"{SWATHS}/PRS_") for name in arrays):
        return None
    level = parse_text(opened.attrs.get("Processing_Level"))
    if level != "2D" and file.variable is None:
        raise WrongProductError(
            f"it is PRISMA L{level or ' of an unknown level'}, not PRISMA L2D, which has the reflectance of the "
            "surface on a map: get the scene as L2D"
        )
    names = [f"{FIELDS}/{detector.upper()}_Cube" for detector in DETECTORS]
    if level != "2D" or file.variable not in (None, *names):
        return None
    if file.axes and file.axes.split() != AXES.split():
        raise WrongProductError(f"the axes of PRISMA L2D are {AXES}: leave axes out of its entry")
    if missing := [name for name in names if name not in arrays]:
        raise WrongProductError(f"it has no {' and no '.join(missing)}: download it again")
    cubes = [arrays[name] for name in names]
    for name, cube in zip(names, cubes, strict=True):
        check_array(path, cube)
        cubic = len(cube.shape) == 3 and all(cube.shape) and cube.shape[::2] == cubes[0].shape[::2]
        if not cubic or cube.dtype != np.uint16:
            raise WrongProductError(f"{name} is {cube.dtype} {cube.shape}, unlike that of PRISMA: download it again")
    all_bands = [band for i, cube in enumerate(cubes) for band in _list_bands(opened.attrs, i, cube.shape[1])]
    if file.variable:
        bands = [band for band in all_bands if names[band.detector] == file.variable]
    else:
        bands = sorted(all_bands, key=lambda band: (band.nanometres is None, band.nanometres))
    rows, _, columns = cubes[0].shape
    sources = {
        "gains": "L2Scale...Min and L2Scale...Max of its attributes",
        "nanometres": "List_Cw_Vnir and List_Cw_Swir of its attributes",
        "fwhm": "List_Fwhm_Vnir and List_Fwhm_Swir of its attributes",
        "bad_bands": "wavelength 0: not acquired",
        "invalid": "pixels that are 0 in all bands",
        "crs": "Epsg_Code and Product_...corner of its attributes",
    }
    description = CubeDescription(
        "PRISMA L2D",
        (rows, columns, len(bands)),
        cubes[0].dtype,
        tuple(AXES.split()),
        nanometres=tuple(band.nanometres for band in bands),
        fwhm=tuple(band.fwhm for band in bands),
        gains=tuple(band.gain for band in bands),
        offsets=tuple(band.offset for band in bands),
        has_mask=True,
        bad_bands=tuple(number for number, band in enumerate(bands, 1) if band.nanometres is None),
        units="surface reflectance",
        history=parse_text(opened.attrs.get("Product_Name")),
        sources=sources,
        **_read_position(opened.attrs, rows, columns),
    )
    chunk = max((cube.chunks or (1, 1, 1))[1] for cube in cubes)
    return StoredCube(description, chunk, _make_read(cubes, bands), _make_read_mask(cubes, all_bands))


def _list_bands(attributes: Any, number: int, count: int) -> list[_Band]:
    """Return the bands of the cube of a detector, DETECTORS[number], in their order in the file.

    Raises:
        WrongProductError: If an attribute is missing, or has another number of values than the cube has bands.
    """
    detector = DETECTORS[number]

    def read(name: str, size: int) -> list[float]:
        try:
            values = to_floats(attributes[name])
        except (KeyError, TypeError, ValueError):
            raise WrongProductError(f"its attribute {name} is missing or not numbers: download it again") from None
        if len(values) != size:
            raise WrongProductError(
                f"its attribute {name} has {len(values)} values instead of {size}: download it again"
            )
        return values

    (low,), (high,) = read(f"L2Scale{detector}Min", 1), read(f"L2Scale{detector}Max", 1)
    if not low < high < np.inf:
        raise WrongProductError(
            f"its attributes L2Scale{detector}Min and Max are {low:g} and {high:g}: download it again"
        )
    centres, widths = read(f"List_Cw_{detector}", count), read(f"List_Fwhm_{detector}", count)
    flags = f"List_Cw_{detector}_Flags"
    acquired = read(flags, count) if flags in attributes else [1.0] * count
    return [
        _Band(centre, width, (high - low) / LARGEST, low, number, i)
        if flag and 0 < centre < np.inf
        else _Band(None, None, (high - low) / LARGEST, low, number, i)
        for i, (centre, width, flag) in enumerate(zip(centres, widths, acquired, strict=True))
    ]


def _read_position(attributes: Any, rows: int, columns: int) -> dict[str, Any]:
    """Return the coordinate system and the position; nothing if the attributes do not contain them."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        crs = CRS.from_epsg(int(attributes["Epsg_Code"])).to_wkt()
        left, right = (float(attributes[f"Product_{corner}corner_easting"]) for corner in ("UL", "LR"))
        top, bottom = (float(attributes[f"Product_{corner}corner_northing"]) for corner in ("UL", "LR"))
        width, height = (right - left) / (columns - 1), (bottom - top) / (rows - 1)  # between centres of pixels
    except (KeyError, TypeError, ValueError, ZeroDivisionError, CRSError):
        return {}
    return {"crs": crs, "geotransform": (left - width / 2, width, 0.0, top - height / 2, 0.0, height)}


def _make_read(cubes: list[Any], bands: list[_Band]) -> Any:
    def read(first: int, last: int, rows: slice, columns: slice, dtype: Any) -> np.ndarray:
        values = np.empty((last - first, rows.stop - rows.start, columns.stop - columns.start), dtype)
        for number, cube in enumerate(cubes):
            places = {band.position: i for i, band in enumerate(bands[first:last]) if band.detector == number}
            indices = np.array(sorted(places), int)
            for run in np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1):
                if run.size:
                    block = cube.astype(dtype)[rows, run[0] : run[-1] + 1, columns]
                    values[[places[index] for index in run]] = block.transpose(1, 0, 2)
        return values

    return read


def _make_read_mask(cubes: list[Any], bands: list[_Band]) -> Any:
    """Return a function that finds the pixels outside the swath: 0 in all bands.

    A pixel that is 0 in some bands is black there.
    """
    acquired = [
        sorted(band.position for band in bands if band.detector == i and band.nanometres) for i in range(len(cubes))
    ]

    def read_mask(rows: slice, columns: slice) -> np.ndarray:
        empty = np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
        step = max(1, BLOCK_BYTES // (2 * max(cube.shape[1] for cube in cubes) * empty.shape[1]))
        for top in range(0, len(empty), step):
            part = empty[top : top + step]
            for cube, indices in zip(cubes, acquired, strict=True):
                if part.any():
                    start = rows.start + top
                    part &= ~cube[start : start + len(part), :, columns][:, indices].any(1)
                heartbeat()
        return empty

    return read_mask
