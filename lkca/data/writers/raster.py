"""How GDAL stores the position of a raster: tried on a small one before a large one is written."""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lkca.data.writers.description import OutputDescription
from lkca.errors import DataError

MAX_SHIFT = 1e-3  # pixels, by which a format may move a corner of the image
CACHE_BYTES = 2**26  # size of GDAL's cache of blocks; its own choice depends on the machine


@contextmanager
def gdal_environment() -> Iterator[None]:
    """Let GDAL neither print nor write files of its own next to a raster, for the block."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    options = {"GDAL_PAM_ENABLED": "NO", "GDAL_CACHEMAX": CACHE_BYTES, "CPL_LOG": os.devnull}
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(**options))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def set_position(raster: Any, description: OutputDescription) -> None:
    """Set the coordinate reference system, the transform or the ground control points, and the RPCs of a raster."""
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.rpc import RPC
    from rasterio.transform import Affine

    if description.gcps and not description.geotransform:
        points = [
            GroundControlPoint(row, column, x, y, z, id=str(i))
            for i, (row, column, x, y, z) in enumerate(description.gcps.points, 1)
        ]
        crs = description.gcps.crs or description.crs
        raster.gcps = (points, CRS.from_wkt(crs) if crs else CRS())
    elif description.crs:
        raster.crs = CRS.from_wkt(description.crs)
    if description.geotransform:
        raster.transform = Affine.from_gdal(*description.geotransform)
    if description.rpcs:
        raster.rpcs = RPC(**{name: list(v) if isinstance(v, tuple) else v for name, v in description.rpcs.items()})


def try_position(description: OutputDescription, driver: str, remedy: str) -> str:
    """Write a raster of one pixel with GDAL, and refuse a position that it does not have when it is opened again.

    Args:
        description: The description of the output.
        driver: GDAL's name of the format.
        remedy: What to do if the format cannot hold the position.

    Returns:
        The text of its ENVI header, empty for other formats.

    Raises:
        DataError: If the format cannot hold the position.
    """
    import rasterio
    from rasterio.errors import CRSError, RasterioError

    name = {"GTiff": "GeoTIFF"}.get(driver, driver)
    with TemporaryDirectory() as folder, gdal_environment():
        path = Path(folder, "try.img")
        try:
            with rasterio.open(path, "w", driver=driver, width=1, height=1, count=1, dtype="uint8") as raster:
                set_position(raster, description)
            with rasterio.open(path, driver=driver) as raster:
                crs = raster.crs or raster.gcps[1]
                transform = raster.transform.to_gdal()
                num_points = len(raster.gcps[0])
        except (CRSError, RasterioError) as error:
            raise DataError(
                f"{name} cannot hold the coordinate reference system of the input ({' '.join(str(error).split())}): "
                f"{remedy}."
            ) from error
        wanted = description.crs or (description.gcps and description.gcps.crs)
        if wanted and (not crs or _is_shifted(description, crs)):
            raise DataError(f"{name} cannot hold the coordinate reference system of the input: {remedy}.")
        if description.geotransform and not _are_close(description.geotransform, transform, description.shape):
            raise DataError(f"{name} cannot hold the transform of the input, {description.geotransform}: {remedy}.")
        if description.gcps and not description.geotransform and num_points != len(description.gcps.points):
            raise DataError(f"{name} cannot hold the ground control points of the input: {remedy}.")
        header = path.with_suffix(".hdr")
        return header.read_text(encoding="utf-8", errors="replace") if header.exists() else ""


def _is_shifted(description: OutputDescription, found: Any) -> bool:
    """Return whether another coordinate reference system than the wanted one has a corner of the image elsewhere."""
    from rasterio.crs import CRS
    from rasterio.warp import transform

    if not description.crs or not description.geotransform:
        return False
    wanted = CRS.from_wkt(description.crs)
    x, width, row_turn, y, *_ = description.geotransform
    try:
        (moved_x,), (moved_y,) = ((x,), (y,)) if found == wanted else transform(wanted, found, [x], [y])
    except Exception:  # rasterio raises many: there is no way from one to the other
        return True
    shift = float(np.hypot(moved_x - x, moved_y - y))
    return not shift <= 0.1 * float(np.hypot(width, row_turn))


def _are_close(wanted: Any, found: Any, shape: tuple[int, int, int]) -> bool:
    """Return whether two transforms have the corners of an image at the same places."""
    corners = np.array([(1, column, row) for column in (0, shape[1]) for row in (0, shape[0])], float)
    first, second = (np.array([transform[:3], transform[3:]], float) for transform in (wanted, found))
    pixel = np.sqrt(abs(np.linalg.det(first[:, 1:]))) or np.abs(first[:, 1:]).max()
    return bool(np.abs(corners @ (first - second).T).max() <= MAX_SHIFT * pixel)
