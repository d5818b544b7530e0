"""What a cube says of itself, in the same form for all formats."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class ControlPoints:
    """Ground control points: pixels whose place on the Earth is known.

    Args:
        crs: Coordinate reference system of x, y and z, WKT; None if the file declares none.
        points: Row, column, x, y and z of each point. (0, 0) is the top left corner of the first pixel, as in GDAL.
    """

    crs: str | None
    points: tuple[tuple[float, float, float, float, float], ...]


@dataclass(frozen=True)
class CubeDescription:
    """The description of an opened cube.

    A fact that the file does not declare is None or empty. `FORMAT_FACTS` says which facts a format can declare.

    Args:
        format: Name of the format, a key of FORMAT_FACTS.
        shape: Rows, columns, bands.
        dtype: Type of the values in the file.
        axes: Names of the axes in the order of the file.
        nanometres: Wavelength of each band; None for a band that has none.
        fwhm: Full width at half maximum of each band, nm; None for a band that has none.
        gains, offsets: For each band, physical value = gain x stored value + offset. Both are empty if the values are
            stored as they are.
        invalid: The stored values that mark invalid pixels, as numbers or as the text of the header.
        valid_range: The smallest and the largest valid stored value, -inf and inf for no limit.
        has_mask: Whether the file contains a mask of invalid pixels.
        bad_bands: The bands that the file declares as bad or empty, numbered from 1.
        crs: Coordinate reference system, WKT.
        geotransform: x of the top left corner, width of a pixel, row rotation, y of the top left corner, column
            rotation, height of a pixel (negative for north up): GDAL's order.
        units: Units of the physical values.
        history: What the file says about its origin and processing.
        band_names: The name of each band, "" for a band that has none; empty if no band has a name.
        gcps: Ground control points.
        rpcs: Rational polynomial coefficients, under the names of `rasterio.rpc.RPC`: line_off, line_num_coeff and so
            on. In these, row 0 and column 0 are the centre of the first pixel.
        layers: Names of arrays of one value for each pixel next to the cube, such as masks; they are not applied.
        sources: Name of a fact -> where the file declares it, for messages and the manifest.
        unusable: Name of a fact that the file declares in a form that cannot be used -> what is wrong with it. The file
            is refused unless its entry sets this fact.
    """

    format: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    axes: tuple[str, ...]
    nanometres: tuple[float | None, ...] | None = None
    fwhm: tuple[float | None, ...] | None = None
    gains: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    invalid: tuple[float | str, ...] = ()
    valid_range: tuple[float, float] | None = None
    has_mask: bool = False
    bad_bands: tuple[int, ...] = ()
    crs: str | None = None
    geotransform: tuple[float, float, float, float, float, float] | None = None
    units: str | None = None
    history: str | None = None
    band_names: tuple[str, ...] = ()
    gcps: ControlPoints | None = None
    rpcs: Mapping[str, float | tuple[float, ...]] | None = None
    layers: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)

    def good_bands(self) -> list[int]:
        """Return the numbers, from 1, of the bands that the file neither declares as bad nor leaves without wavelength.

        A band without a wavelength counts as bad only if other bands have one.
        """
        known = self.nanometres or (0,) * self.shape[2]
        return [i for i, nanometres in enumerate(known, 1) if nanometres is not None and i not in self.bad_bands]

    def to_json(self) -> dict[str, Any]:
        """Return the description as a JSON object for the manifest; infinite limits are null."""
        values = {name: value for name, value in vars(self).items() if value not in (None, (), False, {})}
        if self.valid_range:
            values["valid_range"] = [limit if np.isfinite(limit) else None for limit in self.valid_range]
        if self.gcps:
            values["gcps"] = vars(self.gcps)
        return {**values, "dtype": self.dtype.name, "sources": dict(self.sources), "unusable": dict(self.unusable)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the description of which `to_json` has returned `value`, also after it was written to a file."""
        values: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
        if "valid_range" in values:
            low, high = values["valid_range"]
            values["valid_range"] = (-np.inf if low is None else low, np.inf if high is None else high)
        if "gcps" in values:
            gcps = values["gcps"]
            values["gcps"] = ControlPoints(gcps["crs"], tuple(map(tuple, gcps["points"])))
        if "rpcs" in values:
            values["rpcs"] = {n: tuple(v) if isinstance(v, list) else v for n, v in values["rpcs"].items()}
        return cls(**{**values, "dtype": np.dtype(values["dtype"])})


# The facts that each format can declare, besides shape and type: the names are fields of CubeDescription.
_SPECTRAL = {"nanometres", "fwhm", "bad_bands"}
_OTHER = {"crs", "geotransform", "units", "history"}
_RASTER = {"gains", "invalid", "has_mask", *_SPECTRAL, *_OTHER}
_ATTRIBUTES = {"gains", "invalid", "valid_range", *_SPECTRAL, *_OTHER}
_PRODUCT = {"gains", "invalid", *_SPECTRAL, "units", "history"}
FORMAT_FACTS: dict[str, frozenset[str]] = {
    "ENVI": frozenset(_RASTER),
    "GeoTIFF": frozenset(_RASTER),
    "PCIDSK": frozenset(_RASTER),
    "HDF5": frozenset(_ATTRIBUTES),
    "NetCDF 3": frozenset(_ATTRIBUTES),
    "NetCDF 4": frozenset(_ATTRIBUTES),
    "MATLAB 5": frozenset(_SPECTRAL),
    "MATLAB 7.3": frozenset(_SPECTRAL),
    "NumPy": frozenset(),
    "EnMAP L2A": frozenset(_PRODUCT | {"crs", "geotransform"}),
    "DESIS L2A": frozenset(_PRODUCT | {"crs", "geotransform"}),
    "PRISMA L2D": frozenset(_PRODUCT | {"has_mask", "crs", "geotransform"}),
    "EMIT L2A": frozenset(_PRODUCT | {"valid_range"}),
}
