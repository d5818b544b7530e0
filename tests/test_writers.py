"""Writers: what other programs read in the files (GDAL by rasterio, netCDF4, numpy), and what our readers do."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import GCPTransformer, RPCTransformer

from lkca.core.files import read_json, write_json
from lkca.data.catalog import File
from lkca.data.readers import CubeDescription, open_cube
from lkca.data.readers.description import ControlPoints
from lkca.data.writers import SUFFIXES, OutputDescription, encode, enlarge_description, open_output
from lkca.errors import ConfigError, DataError, ResourceError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

UTM, WGS84 = (CRS.from_epsg(code).to_wkt() for code in (32632, 4326))
NORTH_UP = (500_000.0, 30.0, 0.0, 5_000_000.0, 0.0, -30.0)
# Rows and columns of the tests with references to the ground: not square, no multiple of a tile.
ROWS, COLUMNS, BANDS = 40, 30, 5
NANOMETRES = (450.1234, 500.5, 550.25, 600.0, 700.007)
FACTS: dict[str, Any] = {
    "nanometres": NANOMETRES,
    "fwhm": (5.1234, 6.0, 7.0, 8.0, 9.5),
    "bad_bands": (3,),
    "band_names": ("blue 1", "B2", "B3", "B4", "NIR"),
    "units": "W m-2 sr-1 um-1",
    "crs": UTM,
    "geotransform": NORTH_UP,
    "history": ("EnMAP L2A", "lkca sharpen --scale 4"),
}
TYPES = {
    "int16 with gains": {"dtype": "int16", "gains": (0.0001,) * BANDS, "offsets": (-0.1,) * BANDS, "invalid": -32768},
    "uint16": {"dtype": "uint16", "invalid": 65535},
    "float32": {"dtype": "float32", "invalid": math.nan},
    "uint8 without invalid": {"dtype": "uint8"},
}
ROTATED_POLE = CRS.from_string("+proj=ob_tran +o_proj=longlat +o_lat_p=39.25 +lon_0=18 +to_meter=0.01745").to_wkt()
GEO_SUFFIXES = [".tif", ".img", ".bil", ".bip", ".nc"]
COEFFICIENTS = {
    "line_num_coeff": (0.01, 0.02, -1.0, *(0.001,) * 17),
    "line_den_coeff": (1.0, *(0.0005,) * 19),
    "samp_num_coeff": (0.02, 1.0, 0.03, *(0.002,) * 17),
    "samp_den_coeff": (1.0, *(0.0003,) * 19),
}
OFFSETS = {"line_off": 19.0, "samp_off": 14.5, "lat_off": 45.0, "long_off": 8.0, "height_off": 250.0}
SCALES = {"line_scale": 20.0, "samp_scale": 15.0, "lat_scale": 0.2, "long_scale": 0.1, "height_scale": 500.0}
RPCS: dict[str, Any] = {**OFFSETS, **SCALES, **COEFFICIENTS}
CORNERS = ((0, 0, 8.0, 45.0), (0, COLUMNS, 8.3, 45.1), (ROWS, 0, 8.1, 44.6), (ROWS, COLUMNS, 8.4, 44.7))
GCPS = ControlPoints(WGS84, tuple((float(row), float(column), x, y, 0.0) for row, column, x, y in CORNERS))


def describe(dtype: str = "float32", shape: tuple[int, int, int] = (ROWS, COLUMNS, BANDS), **facts: Any) -> Any:
    return OutputDescription(shape=shape, dtype=np.dtype(dtype), **facts)


def make_values(description: OutputDescription, seed: int = 0) -> np.ndarray:
    rows, columns, bands = description.shape
    numbers = np.random.default_rng(seed).integers(1, 250, (bands, rows, columns))
    return numbers.astype(description.dtype)


def write(path: Path, description: OutputDescription, **options: Any) -> np.ndarray:
    """Write random values as one block, and return them."""
    values = make_values(description)
    with open_output(path, description, **options) as output:
        output.write(0, 0, 0, values)
    return values


def read_back(path: Path, **entry: Any) -> tuple[CubeDescription, np.ndarray]:
    with open_cube(File(path=str(path), **entry)) as reader:
        rows, columns, bands = reader.shape
        return reader.description, reader.read(0, bands, slice(0, rows), slice(0, columns))


def open_netcdf(path: Path) -> Any:
    return pytest.importorskip("netCDF4").Dataset(path)


def close(found: Any, wanted: Any) -> bool:
    return bool(np.allclose(np.array(found, float), np.array(wanted, float), rtol=0, atol=1e-3))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("suffix", [".tif", ".img", ".bil", ".bip"])
def test_gdal_reads_rasters(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a{suffix}"
    description = describe(**FACTS, **TYPES[kind])
    values = write(path, description)
    with rasterio.open(path) as raster:
        assert np.array_equal(raster.read(), values)
        assert raster.dtypes[0] == description.dtype.name
        nodata = raster.nodata
        assert nodata is description.invalid is None or np.array_equal(nodata, description.invalid, equal_nan=True)
        assert raster.transform.to_gdal() == pytest.approx(NORTH_UP)
        assert raster.crs == CRS.from_epsg(32632)
        # GDAL adds the wavelength to the names of ENVI.
        assert all(found.startswith(name) for found, name in zip(raster.descriptions, FACTS["band_names"], strict=True))
        assert raster.scales == (description.gains or (1.0,) * BANDS)
        assert raster.offsets == (description.offsets or (0.0,) * BANDS)
        assert raster.colorinterp[3].name != "alpha"
        if suffix == ".tif":
            tags = [raster.tags(i) for i in raster.indexes]
            assert close([tag["wavelength"] for tag in tags], NANOMETRES)
            assert {tag["wavelength_units"] for tag in tags} == {"Nanometers"}
            assert [tag["bbl"] for tag in tags] == ["1", "1", "0", "1", "1"]
            imagery = [raster.tags(i, ns="IMAGERY") for i in raster.indexes]
            assert close([1000 * float(tag["CENTRAL_WAVELENGTH_UM"]) for tag in imagery], NANOMETRES)
            assert raster.units == (description.units,) * BANDS
            assert raster.tags()["HISTORY"].splitlines() == [*description.history]


def test_an_independent_program_reads_the_header(tmp_path: Path) -> None:
    spectral = pytest.importorskip("spectral")
    values = write(tmp_path / "a.bil", describe(**FACTS, **TYPES["uint16"]))
    image = spectral.open_image(str(tmp_path / "a.hdr"))
    assert np.array_equal(image.load(scale=False), np.moveaxis(values, 0, -1))
    assert close(image.bands.centers, NANOMETRES) and close(image.bands.bandwidths, FACTS["fwhm"])
    assert image.bands.band_unit == "Nanometers"
    assert [*map(int, image.metadata["bbl"])] == [1, 1, 0, 1, 1]


@pytest.mark.parametrize("kind", TYPES)
def test_netcdf4_reads_cf(tmp_path: Path, kind: str) -> None:
    description = describe(**FACTS, **TYPES[kind])
    values = write(tmp_path / "a.nc", description)
    with open_netcdf(tmp_path / "a.nc") as file:
        cube, wavelength, fwhm = (file[name] for name in ("cube", "wavelength", "fwhm"))
        assert cube.dimensions == ("wavelength", "y", "x") and fwhm.dimensions == ("wavelength",)
        assert close(wavelength[:], NANOMETRES) and wavelength.units == "nm"
        assert close(fwhm[:], description.fwhm) and fwhm.units == "nm"
        assert file["good_wavelengths"][:].tolist() == [1, 1, 0, 1, 1]
        assert file["band_names"][:].tolist() == [*description.band_names]
        assert cube.units == description.units
        assert file.history.splitlines() == [*description.history] and file.Conventions.startswith("CF-")
        gain, offset = (description.gains or (1,))[0], (description.offsets or (0,))[0]
        assert np.allclose(cube[:], gain * values + offset, rtol=1e-6)
        file.set_auto_maskandscale(False)
        assert cube.dtype == description.dtype and np.array_equal(cube[:], values)
        assert file["x"][:].tolist() == [500_015.0 + 30 * i for i in range(COLUMNS)]
        assert file["y"][:].tolist() == [4_999_985.0 - 30 * i for i in range(ROWS)]
        assert file["x"].standard_name == "projection_x_coordinate" and file["x"].units == "m"
        mapping = file[cube.grid_mapping]
        assert CRS.from_wkt(mapping.crs_wkt) == CRS.from_epsg(32632)
        assert mapping.longitude_of_central_meridian == 9.0  # of zone 32
        assert [float(number) for number in mapping.GeoTransform.split()] == [*NORTH_UP]


def test_netcdf_masks_invalid_values(tmp_path: Path) -> None:
    description = describe("int16", invalid=-9999)
    values = make_values(description)
    values[:, 3, 4] = -9999
    with open_output(tmp_path / "a.nc", description) as output:
        output.write(0, 0, 0, values)
    with open_netcdf(tmp_path / "a.nc") as file:
        assert np.argwhere(np.ma.getmaskarray(file["cube"][:]).all(0)).tolist() == [[3, 4]]


def test_netcdf_without_invalid_value_masks_nothing(tmp_path: Path) -> None:
    """65535 and -32767 are the fill values of the library, which masks them although they are not declared."""
    for dtype, fill in (("uint16", 65535), ("int16", -32767)):
        values = np.full((1, 3, 3), fill, dtype)
        with open_output(tmp_path / "a.nc", describe(dtype, (3, 3, 1))) as output:
            output.write(0, 0, 0, values)
        with open_netcdf(tmp_path / "a.nc") as file:
            found = file["cube"][:]
            assert not np.ma.getmaskarray(found).any()
            assert np.abs(found.astype(int) - fill).max() == 1


def test_bands_without_rising_wavelengths_have_an_auxiliary_coordinate(tmp_path: Path) -> None:
    for nanometres in ((500.0, 600.0, 550.0), (500.0, None, 600.0)):
        write(tmp_path / "a.nc", describe(shape=(4, 3, 3), nanometres=nanometres, fwhm=(5.0, 6.0, None)))
        with open_netcdf(tmp_path / "a.nc") as file:
            assert file["cube"].dimensions[0] == file["wavelength"].dimensions[0] == "band"
            assert {"wavelength", "fwhm"} <= {*file["cube"].coordinates.split()}
            found = np.ma.filled(file["wavelength"][:], np.nan)
            assert np.array_equal(found, [math.nan if n is None else n for n in nanometres], equal_nan=True)
        assert read_back(tmp_path / "a.nc")[0].nanometres == nanometres


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("suffix", GEO_SUFFIXES)
def test_our_reader_reads_all_facts(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a{suffix}"
    written = describe(**FACTS, **TYPES[kind])
    stored = write(path, written)
    found, values = read_back(path)
    assert found.unusable == {}
    names = ("shape", "dtype", "bad_bands", "band_names", "units", "gains", "offsets")
    assert all(getattr(found, name) == getattr(written, name) for name in names)
    assert close(found.nanometres, NANOMETRES) and close(found.fwhm, written.fwhm)
    assert found.geotransform == pytest.approx(NORTH_UP) and CRS.from_wkt(found.crs) == CRS.from_epsg(32632)
    assert all(line in (found.history or "") for line in written.history)
    invalid = [float(value) for value in found.invalid]
    if written.invalid is None or math.isnan(written.invalid):
        assert not any(map(math.isfinite, invalid))
    else:
        assert invalid == [written.invalid]
    gain, offset = (written.gains or (1,))[0], (written.offsets or (0,))[0]
    assert np.allclose(values, gain * stored + offset, rtol=1e-6)


def test_npy_holds_the_values(tmp_path: Path) -> None:
    values = write(tmp_path / "a.npy", describe("int16", **FACTS))
    assert np.array_equal(np.load(tmp_path / "a.npy"), values)


def test_cloud_optimized_geotiff(tmp_path: Path) -> None:
    description = describe("int16", (600, 700, BANDS), **FACTS, invalid=-32768)
    values = write(tmp_path / "a.tif", description, cog=True)
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and raster.overviews(1)
        assert np.array_equal(raster.read(), values) and raster.nodata == -32768
    found, _ = read_back(tmp_path / "a.tif")
    assert (found.nanometres, found.fwhm, found.bad_bands) == (NANOMETRES, FACTS["fwhm"], (3,))
    assert [*os.listdir(tmp_path)] == ["a.tif"]


def test_four_bands_are_neither_colours_nor_a_mask(tmp_path: Path) -> None:
    for options in ({}, {"cog": True}):
        write(tmp_path / "a.tif", describe("uint8", (4, 3, 4)), **options)
        with rasterio.open(tmp_path / "a.tif") as raster:
            assert not {"red", "alpha"} & {color.name for color in raster.colorinterp}
        found, _ = read_back(tmp_path / "a.tif")
        assert found.bad_bands == () and not found.has_mask


@pytest.mark.parametrize("suffix", [".tif", ".img", ".nc"])
def test_many_bands_have_long_lists(tmp_path: Path, suffix: str) -> None:
    """GDAL loses all fields of an ENVI header that has a line of more than 10 000 characters."""
    bands = 1200
    nanometres = tuple(400 + 1.123457 * i for i in range(bands))
    names = tuple(f"a long name of the band number {i}" for i in range(bands))
    description = describe(
        "uint16", (3, 2, bands), nanometres=nanometres, fwhm=(1.5,) * bands, band_names=names, bad_bands=(7, 1199)
    )
    write(tmp_path / f"a{suffix}", description)
    found, _ = read_back(tmp_path / f"a{suffix}")
    assert close(found.nanometres, nanometres) and found.band_names == names and found.bad_bands == (7, 1199)
    if suffix != ".nc":
        with rasterio.open(tmp_path / f"a{suffix}") as raster:
            assert all(found.startswith(name) for found, name in zip(raster.descriptions, names, strict=True))
    if suffix == ".img":
        assert max(map(len, (tmp_path / "a.hdr").read_text().splitlines())) < 10_000


def test_gdal_copies_wavelengths_from_geotiff_to_envi(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", describe("uint16", **FACTS))
    with rasterio.open(tmp_path / "a.tif") as raster:
        rasterio.shutil.copy(raster, tmp_path / "b.img", driver="ENVI")
    found, _ = read_back(tmp_path / "b.img")
    assert close(found.nanometres, NANOMETRES) and close(found.fwhm, FACTS["fwhm"]) and found.bad_bands == (3,)


def write_source(path: Path, prepare: Callable[[Any], None]) -> np.ndarray:
    """Write a GeoTIFF with GDAL whose values are all different, and return them."""
    values = np.arange(BANDS * ROWS * COLUMNS, dtype=np.int32).reshape(BANDS, ROWS, COLUMNS)
    size = {"height": ROWS, "width": COLUMNS, "count": BANDS}
    with rasterio.open(path, "w", driver="GTiff", dtype="int32", **size) as raster:
        prepare(raster)
        raster.write(values)
    return values


def enlarge(source: Path, out: Path, window: tuple[int, int, int, int], scale: int) -> OutputDescription:
    """Write a part of a cube in which each pixel becomes scale x scale pixels."""
    with open_cube(File(path=str(source))) as reader:
        description = enlarge_description(reader.description, [2, 4], window, scale, None, False, "enlarged")
    top, bottom, left, right = window
    with rasterio.open(source) as raster:
        part = raster.read([2, 4])[:, top:bottom, left:right]
    with open_output(out, description) as output:
        output.write(0, 0, 0, np.repeat(np.repeat(part, scale, 1), scale, 2))
    return description


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("suffix", [".tif", ".img", ".nc"])
@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, NORTH_UP),
        (UTM, (500_000.0, 30.0, 0.0, 5_000_000.0, 0.0, 30.0)),
        (UTM, (500_000.0, 24.0, 18.0, 5_000_000.0, 18.0, -24.0)),
        (WGS84, (8.0, 0.0003, 0.0, 45.0, 0.0, -0.0002)),
    ],
    ids=["projected", "south up", "rotated", "geographic"],
)
def test_map_coordinates_keep_their_pixels(
    tmp_path: Path, crs: str, transform: tuple[float, ...], suffix: str, scale: int
) -> None:
    def prepare(raster: Any) -> None:
        raster.crs, raster.transform = CRS.from_wkt(crs), rasterio.Affine.from_gdal(*transform)

    write_source(tmp_path / "source.tif", prepare)
    window = (3, 30, 5, 22)
    enlarge(tmp_path / "source.tif", tmp_path / f"out{suffix}", window, scale)
    random = np.random.default_rng(0)
    pixels = random.uniform((window[2], window[0]), (window[3], window[1]), (200, 2))
    with rasterio.open(tmp_path / "source.tif") as source, rasterio.open(tmp_path / f"out{suffix}") as out:
        assert out.crs == source.crs
        places = [*zip(*rasterio.transform.xy(source.transform, *(pixels.T[::-1] - 0.5)), strict=True)]
        wanted, found = [*source.sample(places, [2, 4])], [*out.sample(places, [1, 2])]
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("suffix", [".tif", ".img"])
def test_ground_control_points_and_rpcs_are_scaled(tmp_path: Path, suffix: str) -> None:
    """GDAL finds a place on the Earth r times as far from the edges of the window."""

    def prepare(raster: Any) -> None:
        points = [GroundControlPoint(row, column, x, y, 0) for row, column, x, y in CORNERS]
        raster.gcps = points, CRS.from_epsg(4326)
        raster.rpcs = RPC(**{name: [*v] if isinstance(v, tuple) else v for name, v in RPCS.items()})

    write_source(tmp_path / "source.tif", prepare)
    scale, window = 3, (3, 30, 5, 22)
    enlarge(tmp_path / "source.tif", tmp_path / f"out{suffix}", window, scale)
    x, y, height = np.array([8.05, 8.1, 7.95]), np.array([44.9, 45.02, 44.95]), np.array([250.0, 100.0, 700.0])
    pairs = []
    for path in (tmp_path / "source.tif", tmp_path / f"out{suffix}"):
        with rasterio.open(path) as raster:
            points, rpcs = raster.gcps[0], raster.rpcs
        with GCPTransformer(points) as by_points, RPCTransformer(rpcs) as by_rpcs:
            pairs.append([by_points.rowcol(x, y, op=float), by_rpcs.rowcol(x, y, height, op=float)])
    before, after = np.array(pairs)
    assert np.abs(before).max() < 100 and np.ptp(before[1], axis=1).min() > 3  # the test is not trivial
    assert np.allclose(after, scale * (before - np.array([window[0], window[2]])[:, None]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("suffix", [".tif", ".img"])
def test_our_reader_reads_control_points_and_rpcs(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"a{suffix}", describe(gcps=GCPS, rpcs=RPCS))
    found, _ = read_back(tmp_path / f"a{suffix}")
    assert found.gcps is not None and found.gcps.points == pytest.approx(np.array(GCPS.points))
    assert CRS.from_wkt(found.gcps.crs) == CRS.from_epsg(4326)
    assert found.rpcs is not None and {name: found.rpcs[name] for name in RPCS} == RPCS
    write_json(tmp_path / "manifest.json", found.to_json())
    assert CubeDescription.from_json(read_json(tmp_path / "manifest.json")) == found


def test_descriptions_survive_json(tmp_path: Path) -> None:
    for facts in ({}, {**FACTS, "history": "a", "valid_range": (-math.inf, 5.0), "invalid": ("-9999", 0)}):
        description = CubeDescription("ENVI", (4, 3, 5), np.dtype("int16"), ("bands", "rows", "columns"), **facts)
        text = json.dumps(description.to_json(), allow_nan=False)
        assert CubeDescription.from_json(json.loads(text)) == description
    plain = CubeDescription("ENVI", (4, 3, 5), np.dtype("int16"), ("bands", "rows", "columns")).to_json()
    assert not {"band_names", "gcps", "rpcs"} & plain.keys()


def source_description(dtype: str, **facts: Any) -> CubeDescription:
    return CubeDescription("GeoTIFF", (ROWS, COLUMNS, BANDS), np.dtype(dtype), ("bands", "rows", "columns"), **facts)


@pytest.mark.parametrize(
    ("dtype", "declared", "out_dtype", "has_invalid", "chosen"),
    [
        ("int16", ("-9999",), None, False, -9999),
        ("uint16", ("-9999",), None, False, None),  # outside the range: it marks nothing
        ("uint16", ("-9999",), None, True, 65535),
        ("uint16", ("-9999", "0"), None, True, 0),
        ("int16", (), None, True, -32768),
        ("int16", ("-9999",), "float32", True, -9999),
        ("int16", (), "float32", True, math.nan),
        ("float64", ("1e300",), "float32", True, math.nan),
        ("float32", ("-9999.9",), None, True, float(np.float32(-9999.9))),
        ("uint8", ("nan",), None, False, None),
    ],
)
def test_choice_of_the_invalid_value(
    dtype: str, declared: tuple[str, ...], out_dtype: str | None, has_invalid: bool, chosen: float | None
) -> None:
    source = source_description(dtype, invalid=declared)
    wanted = np.dtype(out_dtype) if out_dtype else None
    found = enlarge_description(source, [1], (0, 4, 0, 4), 2, wanted, has_invalid, "").invalid
    assert found is chosen is None or np.array_equal(found, chosen, equal_nan=True)


def test_facts_follow_their_bands() -> None:
    source = source_description(
        "int16",
        **{**FACTS, "history": "one; two"},
        gains=(0.1, 0.2, 0.3, 0.4, 0.5),
        offsets=(1.0, 2.0, 3.0, 4.0, 5.0),
    )
    out = enlarge_description(source, [5, 3], (2, 12, 0, 30), 4, None, False, "sharpened")
    assert out.shape == (40, 120, 2) and out.dtype == np.int16
    assert out.nanometres == (700.007, 550.25) and out.fwhm == (9.5, 7.0) and out.bad_bands == (2,)
    assert out.band_names == ("NIR", "B3") and out.gains == (0.5, 0.3) and out.offsets == (5.0, 3.0)
    assert out.history == ("one; two", "sharpened")
    physical = enlarge_description(source, [5, 3], (2, 12, 0, 30), 4, np.dtype("float32"), False, "")
    assert physical.gains == physical.offsets == () and physical.dtype == np.float32 and physical.units == out.units


def test_encode_rounds_clips_and_keeps_valid_values_valid() -> None:
    description = describe("int16", (1, 6, 2), gains=(0.5, 0.01), offsets=(10.0, 0.0), invalid=-9999)
    values = np.array([[[10.7, 1e6, -1e6, -4989.5, -4989.6, 7.0]], [[0.123, 0.0, -99.99, -99.992, -99.988, 7.0]]])
    invalid = np.array([[False] * 5 + [True]])
    stored, changed = encode(values.astype(np.float32), invalid, description, 0)
    assert stored.dtype == np.int16
    # By hand: 0.7/0.5 = 1.4; the ends of the type; -9999 becomes a neighbour; invalid.
    assert stored[0, 0].tolist() == [1, 32767, -32768, -9998, -10000, -9999]
    assert stored[1, 0].tolist() == [12, 0, -9998, -10000, -9998, -9999]
    assert changed == 7
    second, _ = encode(values[1:].astype(np.float32), invalid, description, 1)
    assert np.array_equal(second, stored[1:])


def test_encode_at_the_ends_of_types() -> None:
    invalid = np.zeros((1, 3), bool)
    for dtype, mark, wanted in (("uint16", 65535, [0, 7, 65534]), ("uint8", 0, [1, 7, 255]), ("int32", 7, [0, 8, 10])):
        description = describe(dtype, (1, 3, 1), invalid=mark)
        stored, _ = encode(
            np.array([[[-5.0 if dtype != "int32" else 0, 7, 1e9 if dtype != "int32" else 10]]]), invalid, description, 0
        )
        assert stored[0, 0].tolist() == wanted
    stored, changed = encode(np.array([[[0, 2.0**70, -(2.0**70)]]]), invalid, describe("int64", (1, 3, 1)), 0)
    assert stored[0, 0, 1] > 2**62 and stored[0, 0, 2] == -(2**63) and changed == 2


def test_encode_floats() -> None:
    values = np.array([[[1.5, np.nan, -9999.0, 3.0]]], np.float32)
    invalid = np.array([[False, False, False, True]])
    stored, changed = encode(values, invalid, describe("float32", (1, 4, 1), invalid=math.nan), 0)
    assert np.array_equal(stored[0, 0], np.array([1.5, np.nan, -9999, np.nan], np.float32), equal_nan=True)
    assert changed == 0
    stored, changed = encode(values, invalid, describe("float32", (1, 4, 1), invalid=-9999), 0)
    assert stored[0, 0, [1, 3]].tolist() == [-9999, -9999] and changed == 1
    assert stored[0, 0, 2] != -9999 and stored[0, 0, 2] == pytest.approx(-9999, abs=1e-2)
    with pytest.raises(ValueError, match="no value that marks them"):
        encode(values, invalid, describe("float32", (1, 4, 1)), 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_order_of_blocks_does_not_matter(tmp_path: Path, suffix: str) -> None:
    """The files have the same bytes, whatever the blocks are."""
    description = describe("int16", (300, 277, BANDS), **{**FACTS, "units": None})
    values = make_values(description)
    with open_output(tmp_path / f"whole{suffix}", description) as output:
        output.write(0, 0, 0, values)
    blocks = [(b, r, c) for b in (0, 3) for r in range(0, 300, 67) for c in range(0, 277, 50)]
    np.random.default_rng(1).shuffle(blocks)
    with open_output(tmp_path / f"parts{suffix}", description) as output:
        for band, row, column in blocks:
            last = {0: 3, 3: BANDS}[band]
            output.write(band, row, column, values[band:last, row : row + 67, column : column + 50])
    whole, parts = (tmp_path / f"{name}{suffix}" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    entry = {"axes": "bands rows columns"} if suffix == ".npy" else {}
    assert np.array_equal(read_back(parts, **entry)[1], values)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_failure_leaves_the_older_file(tmp_path: Path, suffix: str) -> None:
    description = describe("int16", **FACTS)
    path = tmp_path / f"a{suffix}"
    write(path, description)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(KeyError), open_output(path, description) as output:
        output.write(0, 0, 0, make_values(description, 1)[:2])
        raise KeyError
    with pytest.raises(ValueError, match="were not written"), open_output(path, description) as output:
        output.write(0, 0, 0, make_values(description, 1)[:2])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


# A process that writes to files of all formats. It takes the folder.
WRITE_ALL = """
import os, resource, sys
from pathlib import Path
import numpy as np
from lkca.data.writers import SUFFIXES, OutputDescription, open_output
from lkca.errors import LkcaError
description = OutputDescription(shape=(600, 300, 2), dtype=np.dtype("int16"))
for suffix in SUFFIXES:
    path = Path(sys.argv[1], f"{suffix[1:]}{suffix}")
"""


def run_script(folder: Path, lines: str) -> str:
    command = [sys.executable, "-c", WRITE_ALL + lines, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_leftovers_of_a_killed_run_are_overwritten(tmp_path: Path) -> None:
    script = """
    if not os.fork():
        with open_output(path, description) as output:
            output.write(0, 0, 0, np.ones((1, 600, 300), "int16"))
            os.kill(os.getpid(), 9)
    os.wait()
"""
    run_script(tmp_path, script)
    leftovers = [*tmp_path.iterdir()]
    assert len(leftovers) >= len(SUFFIXES) and all(file.name.startswith(".") for file in leftovers)
    names = {f"{suffix[1:]}{suffix}" for suffix in SUFFIXES}
    for name in names:
        write(tmp_path / name, describe("int16"))
    assert {file.name for file in tmp_path.iterdir() if file.suffix != ".hdr"} == names
    assert not [*tmp_path.glob(".*")]


def test_full_disk(tmp_path: Path) -> None:
    """A limit of the size of files stands for a full disk: the system refuses to write in the same places."""
    script = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    try:
        with open_output(path, description) as output:
            output.write(0, 0, 0, np.ones((2, 600, 300), "int16"))
    except LkcaError as error:
        print(error)
"""
    printed = run_script(tmp_path, script).splitlines()
    assert len(printed) == len(SUFFIXES)
    for suffix, line in zip(SUFFIXES, printed, strict=True):
        assert line.startswith(f"{tmp_path / suffix[1:]}{suffix} cannot be written (") and line.endswith(".")
    assert not [*tmp_path.iterdir()]


def test_too_little_space_is_refused_before_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(ResourceError, match="are free"),
        open_output(tmp_path / "a.npy", describe(shape=(10**8, 10**6, 9))),
    ):
        pass
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_wrong_paths_are_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / f"folder{suffix}", "is a folder"),
        (tmp_path / "file" / f"a{suffix}", "cannot be written"),
        (Path("/proc/self") / f"a{suffix}", "cannot be written"),
    ):
        with pytest.raises(DataError, match=message), open_output(path, describe()):
            pass


@pytest.mark.parametrize(
    ("name", "facts", "options", "error", "message"),
    [
        ("a.jpg", {}, {}, ConfigError, "the suffix is not one of .tif"),
        ("a.img", {}, {"cog": True}, ConfigError, "only a GeoTIFF"),
        ("a.img", {"dtype": "int8"}, {}, DataError, "ENVI has no int8"),
        ("a.tif", {"dtype": "float16"}, {}, DataError, "GeoTIFF has no float16"),
        ("a.nc", {"gains": (1.0, 2, 3, 4, 5), "offsets": (0.0,) * 5}, {}, DataError, "one scale_factor"),
        ("a.nc", {"gcps": GCPS}, {}, DataError, "ground control points"),
        ("a.nc", {"rpcs": RPCS}, {}, DataError, "RPCs"),
        ("a.tif", {"gcps": GCPS, "geotransform": NORTH_UP}, {}, DataError, "both a transform and ground"),
        ("a.img", {"gcps": ControlPoints(UTM, GCPS.points)}, {}, DataError, "in WGS 84 only"),
        ("a.img", {"geotransform": (0.0, 8, 3, 0, 1, -9)}, {}, DataError, "cannot hold the transform"),
        ("a.img", {"crs": ROTATED_POLE, "geotransform": NORTH_UP}, {}, DataError, "coordinate reference system"),
        ("a.tif", {"crs": "nonsense"}, {}, DataError, "coordinate reference system"),
        ("a.nc", {"crs": "nonsense"}, {}, DataError, "coordinate reference system"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, name: str, facts: dict[str, Any], options: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message) as caught, open_output(tmp_path / name, describe(**facts), **options):
        pass
    assert str(caught.value).endswith(".") and not [*tmp_path.iterdir()]


def test_files_of_an_earlier_image_are_deleted(tmp_path: Path) -> None:
    """GDAL prefers the position in an .aux.xml file to that in the GeoTIFF."""
    aux = tmp_path / "a.tif.aux.xml"
    aux.write_text("<PAMDataset><GeoTransform>1, 2, 0, 3, 0, -2</GeoTransform></PAMDataset>")
    write(tmp_path / "a.tif", describe(crs=UTM, geotransform=NORTH_UP))
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.transform.to_gdal() == NORTH_UP
    assert not aux.exists()


def test_headers_of_other_files_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.img", describe())
    header = (tmp_path / "a.hdr").read_bytes()
    with pytest.raises(DataError, match="is that of a.img"), open_output(tmp_path / "a.bil", describe()):
        pass
    assert (tmp_path / "a.hdr").read_bytes() == header
    write(tmp_path / "a.img", describe("int16"))
    assert (tmp_path / "a.hdr").read_bytes() != header


def test_wrong_blocks_are_refused(tmp_path: Path) -> None:
    block = np.zeros((1, 5, 5), np.float32)
    with pytest.raises(ValueError, match="is not in"), open_output(tmp_path / "a.tif", describe()) as output:
        output.write(0, ROWS - 4, 0, block)
    with pytest.raises(ValueError, match="float64"), open_output(tmp_path / "a.tif", describe()) as output:
        output.write(0, 0, 0, block.astype(float))


def test_texts_cannot_break_a_file(tmp_path: Path) -> None:
    facts = {
        "band_names": ("a, {b}", "c\n=d", "", "e", "f"),
        "units": "x}\nlines = 7",
        "history": ("h } \n bands = 9",),
    }
    for suffix in GEO_SUFFIXES:
        values = write(tmp_path / f"b{suffix[1:]}{suffix}", describe(**facts))
        description, found = read_back(tmp_path / f"b{suffix[1:]}{suffix}")
        assert np.array_equal(found, values) and description.unusable == {} and len(description.band_names) == BANDS
