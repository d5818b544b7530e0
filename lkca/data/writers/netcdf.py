"""NetCDF-4 by the CF conventions, written with h5py: NetCDF-4 files are HDF5 files with dimension scales.

h5py is installed with lkca, unlike netCDF4, and tells of a full disk by an exception.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.readers.container import NETCDF_FILLS
from lkca.data.writers.description import OutputDescription
from lkca.data.writers.output import Output, clean_text, fill_missing
from lkca.errors import DataError

CHUNK = 256  # pixels
VARIABLE = "cube"
# Text with which the NetCDF library marks a dimension that has no coordinates.
ONLY_AXIS = "This is a netCDF dimension but not a netCDF variable.{:10d}"
TYPES = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"}
FACTOR_OF_UNIT = {"metre": "m", "meter": "m"}


class NetcdfOutput(Output):
    """A NetCDF-4 file with the variable `cube` (bands, rows, columns).

    The bands are the dimension `wavelength` with its coordinates in nm if all bands have a wavelength and they rise;
    otherwise the dimension `band` with the auxiliary coordinate `wavelength`. `fwhm`, `good_wavelengths` (0 for bad
    bands) and `band_names` have the same dimension. The variable `crs` holds crs_wkt and GeoTransform; x and y, or lon
    and lat, are the centres of pixels, unless the grid is rotated. The attribute history of the file holds the history.

    A value of an integer type without an invalid value that is the fill value of NetCDF, such as 65535, is moved by 1
    towards 0, because programs take it as missing.

    Args:
        path: The final path.
        description: What the file says of itself.
    """

    def __init__(self, path: Path, description: OutputDescription) -> None:
        super().__init__(path, description)
        self._file: Any = None
        self._cube: Any = None
        self._fill = NETCDF_FILLS.get(description.dtype.str[1:]) if description.invalid is None else None
        self._num_dimensions = 0

    def check(self) -> None:
        description, path = self.description, self.path
        if description.dtype.name not in TYPES:
            raise DataError(f"{path}: NetCDF has no {description.dtype.name}: write float32.")
        if len({*description.gains}) > 1 or len({*description.offsets}) > 1:
            raise DataError(
                f"{path}: NetCDF has one scale_factor and add_offset for all bands, but the input has one for each "
                "band: write GeoTIFF or ENVI, or float32."
            )
        if description.gcps or description.rpcs:
            name = "ground control points" if description.gcps else "RPCs"
            raise DataError(f"{path}: NetCDF cannot hold the {name} of the input: write GeoTIFF.")
        if description.crs:
            _parse_crs(description.crs, path)

    def _start(self) -> None:
        import h5py

        description = self.description
        rows, columns, bands = description.shape
        self._file = h5py.File(self.part, "w", track_order=True)
        _set_texts(self._file, Conventions="CF-1.8", history="\n".join(map(clean_text, description.history)))
        _set_texts(self._file, _NCProperties=f"version=2,h5py={h5py.__version__}")
        band_name, others = self._add_bands()
        row_name, column_name = self._add_position()
        names = (band_name, row_name, column_name)
        # All chunks are written at once: the disk has the space, and the order of the blocks does not matter.
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_ALLOC)
        self._cube = self._file.create_dataset(
            VARIABLE,
            (bands, rows, columns),
            description.dtype,
            chunks=(1, min(CHUNK, rows), min(CHUNK, columns)),
            fillvalue=description.invalid,
            dcpl=properties,
        )
        self._attach(self._cube, *names)
        if description.invalid is not None:
            self._cube.attrs["_FillValue"] = np.array([description.invalid], description.dtype)
        if description.gains:
            self._cube.attrs["scale_factor"] = np.array([description.gains[0]])
            self._cube.attrs["add_offset"] = np.array([description.offsets[0]])
        texts = {"units": clean_text(description.units or ""), "coordinates": " ".join(others)}
        if "crs" in self._file:
            texts["grid_mapping"] = "crs"
        _set_texts(self._cube, **{name: text for name, text in texts.items() if text})
        self._file.flush()

    def _add_bands(self) -> tuple[str, list[str]]:
        """Add what is known of each band; return the name of the dimension, and those of the auxiliary coordinates."""
        description = self.description
        bands = description.shape[2]
        lengths = fill_missing(description.nanometres or (), math.nan)
        rising = bool(lengths) and all(a < b for a, b in pairwise(lengths))
        is_coordinate = rising and all(map(math.isfinite, lengths))
        name = "wavelength" if is_coordinate else "band"
        others = []
        if not is_coordinate:
            self._add_dimension(name, bands)
        if lengths:
            self._add_list("wavelength", name, np.array(lengths), standard_name="radiation_wavelength", units="nm")
            others += [] if is_coordinate else ["wavelength"]
        if description.fwhm and lengths:
            widths = np.array(fill_missing(description.fwhm, math.nan))
            self._add_list("fwhm", name, widths, long_name="full width at half maximum", units="nm")
            others.append("fwhm")
        if description.bad_bands:
            good = np.array([i not in description.bad_bands for i in range(1, bands + 1)], np.int8)
            self._add_list("good_wavelengths", name, good, long_name="1 for good bands, 0 for bad ones")
            others.append("good_wavelengths")
        if description.band_names:
            names = np.array([clean_text(text) for text in description.band_names], object)
            self._add_list("band_names", name, names, long_name="names of the bands")
            others.append("band_names")
        return name, others

    def _add_position(self) -> tuple[str, str]:
        """Add the coordinates and the coordinate reference system; return the names of the rows and the columns."""
        description = self.description
        rows, columns, _ = description.shape
        crs = _parse_crs(description.crs, self.path) if description.crs else None
        is_geographic = bool(crs and crs.is_geographic)
        left, width, row_turn, top, column_turn, height = description.geotransform or (0.0,) * 6
        is_straight = bool(description.geotransform) and not row_turn and not column_turn
        names = ("lat", "lon") if is_geographic and is_straight else ("y", "x")
        if is_straight:
            for name, first, step, count in (
                (names[0], top, height, rows),
                (names[1], left, width, columns),
            ):
                texts = _describe_axis(name, crs)
                self._add_list(name, name, first + step * (np.arange(count) + 0.5), **texts)
        else:
            self._add_dimension("y", rows)
            self._add_dimension("x", columns)
        if crs or description.geotransform:
            mapping = self._file.create_dataset("crs", (), np.int32, data=0)
            texts = _describe_mapping(crs, description.crs or "") if crs else {}
            if description.geotransform:
                texts["GeoTransform"] = " ".join(map(repr, description.geotransform))
            _set_texts(mapping, **texts)
            for name, value in (_list_parameters(crs) if crs else {}).items():
                mapping.attrs[name] = np.array([value])
        return names

    def _add_dimension(self, name: str, length: int) -> None:
        """Add a dimension that has no coordinates."""
        scale = self._file.create_dataset(name, (length,), ">f4")
        self._make_scale(scale, ONLY_AXIS.format(length))

    def _add_list(self, name: str, dimension: str, values: np.ndarray, **texts: str) -> None:
        """Add a variable of one dimension, which it makes if it has its name."""
        import h5py

        dtype = h5py.string_dtype() if values.dtype == object else values.dtype
        variable = self._file.create_dataset(name, values.shape, dtype, data=values)
        _set_texts(variable, **texts)
        if name == dimension:
            self._make_scale(variable, name)
        else:
            self._attach(variable, dimension)
            if values.dtype.kind == "f":
                variable.attrs["_FillValue"] = np.array([math.nan])

    def _make_scale(self, variable: Any, name: str) -> None:
        variable.make_scale(name)
        variable.attrs["_Netcdf4Dimid"] = np.int32(self._num_dimensions)
        self._num_dimensions += 1

    def _attach(self, variable: Any, *dimensions: str) -> None:
        """Attach dimensions to the axes of a variable."""
        for axis, name in enumerate(dimensions):
            variable.dims[axis].attach_scale(self._file[name])

    def _write(self, first_band: int, row: int, column: int, block: np.ndarray) -> None:
        if self._fill is not None and block.dtype.kind in "iu":
            fill = int(self._fill)
            block = np.where(block == fill, block.dtype.type(fill + (1 if fill < 0 else -1)), block)
        bands, rows, columns = block.shape
        self._cube[first_band : first_band + bands, row : row + rows, column : column + columns] = block

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.flush()
            file.close()


def _parse_crs(text: str, path: Path) -> Any:
    """Return a coordinate reference system.

    Raises:
        DataError: If it is not one.
    """
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_wkt(text)
    except CRSError as error:
        raise DataError(f"{path}: the coordinate reference system of the input is damaged ({error}).") from error


def _describe_axis(name: str, crs: Any) -> dict[str, str]:
    """Return the attributes of the coordinates of rows or columns."""
    if name == "lat":
        return {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
    if name == "lon":
        return {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
    texts = {"axis": name.upper()}
    if crs and crs.is_projected:
        unit = crs.linear_units
        texts |= {"standard_name": f"projection_{name}_coordinate", "units": FACTOR_OF_UNIT.get(unit.lower(), unit)}
    return texts


def _describe_mapping(crs: Any, wkt: str) -> dict[str, str]:
    """Return the texts that describe a coordinate system: its WKT, and CF's name if it is geographic or UTM."""
    texts = {"crs_wkt": wkt, "spatial_ref": wkt}
    if crs.is_geographic:
        texts["grid_mapping_name"] = "latitude_longitude"
    elif _list_parameters(crs):
        texts["grid_mapping_name"] = "transverse_mercator"
    return texts


def _list_parameters(crs: Any) -> dict[str, float]:
    """Return the parameters by which CF describes UTM, nothing for other coordinate systems."""
    parameters = crs.to_dict()
    if parameters.get("proj") != "utm":
        return {}
    return {
        "latitude_of_projection_origin": 0.0,
        "longitude_of_central_meridian": 6.0 * int(parameters["zone"]) - 183,
        "scale_factor_at_central_meridian": 0.9996,
        "false_easting": 500_000.0,
        "false_northing": 10_000_000.0 * bool(parameters.get("south")),
    }


def _set_texts(item: Any, **texts: str) -> None:
    """Set attributes to texts of a fixed length, which all versions of NetCDF's library and GDAL read."""
    for name, text in texts.items():
        item.attrs[name] = np.bytes_(text.encode())
