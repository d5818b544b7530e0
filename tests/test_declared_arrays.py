"""What HDF5, NetCDF, MATLAB and .npy files declare of themselves is applied or refused.

The files are written by h5py, netCDF4, scipy and numpy. Expected values are computed by numpy, or are what netCDF4
returns, which applies masks and scales by itself.
"""

import re
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import netcdf_file, savemat

from lkca.data.bands import resolve_bands
from lkca.data.catalog import Cube, File
from lkca.data.inspection import inspect_file
from lkca.data.readers import CubeDescription, open_cube
from lkca.errors import DataError
from tests import generated_cubes

BANDS, ROWS, COLUMNS = SHAPE = 12, 20, 16
ROW, COLUMN = np.mgrid[:ROWS, :COLUMNS] / 6
WAVE = np.arange(BANDS)[:, None, None] / 9
Q = 0.37 + 0.12 * np.sin(ROW + WAVE) + 0.11 * np.cos(COLUMN - WAVE)  # reflectance, 0.14 to 0.60 (bands, rows, columns)
GAINS, OFFSETS = np.linspace(1, 3, BANDS) / 20_000, np.linspace(0, 0.2, BANDS)
RAW = np.round((Q - OFFSETS[:, None, None]) / GAINS[:, None, None]).astype(np.int16)
NANOMETRES = [450.0, 550.0, 560.0, 570.0, 660.0, 700.0, 720.0, 750.0, 800.0, 1600.0, 2200.0, 2400.0]
MICROMETRES = [0.45, 0.55, 0.56, 0.57, 0.66, 0.7, 0.72, 0.75, 0.8, 1.6, 2.2, 2.4]
NETCDF = ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]
DIMENSIONS = {"wavelength": "bands", "y": "rows", "x": "columns"}
RBC = "bands rows columns"


pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(path: str, **entry: Any) -> tuple[np.ndarray, CubeDescription]:
    """Return the physical values (bands, rows, columns) and the description of a file."""
    with open_cube(File(path=path, **entry)) as reader:
        rows, columns, bands = reader.shape
        return reader.read(0, bands, slice(0, rows), slice(0, columns)), reader.description


def find_problems(path: str, entry: dict[str, Any] | None = None, **cube: Any) -> list[str]:
    """Return what `lkca verify` says against a file."""
    file = File(path=path, **(entry or {}))
    return inspect_file(Cube(files=(file,), **{"bands": f"1-{BANDS}", **cube}), file, range(1, BANDS + 1))[1]


def write_hdf5(path: str, array: np.ndarray = Q, attributes: dict[str, Any] | None = None, **more: Any) -> None:
    """Write an array `cube` with attributes and creation options, and further arrays."""
    options = {key: more.pop(key) for key in ("fillvalue", "chunks") if key in more}
    with h5py.File(path, "w") as file:
        cube = file.create_dataset("cube", data=array, **options)
        cube.attrs.update(attributes or {})
        file.update(more)


def write_netcdf(
    path: str,
    array: np.ndarray,
    attributes: dict[str, Any] | None = None,
    format: str = "NETCDF4",
    dimensions: tuple[str, ...] = ("wavelength", "y", "x"),
) -> None:
    """Write an array `cube` as it is stored."""
    with netCDF4.Dataset(path, "w", format=format) as file:
        for name, length in zip(dimensions, array.shape, strict=True):
            file.createDimension(name, length)
        attributes = dict(attributes or {})
        cube = file.createVariable("cube", array.dtype, dimensions, fill_value=attributes.pop("_FillValue", None))
        cube.set_auto_maskandscale(False)
        cube.setncatts(attributes)
        cube[...] = array


def read_netcdf(path: str) -> np.ndarray:
    """Return the values that netCDF4 reads, invalid ones as NaN."""
    with netCDF4.Dataset(path) as file:
        file.set_always_mask(True)
        return np.ma.filled(file["cube"][...].astype(np.float64), np.nan)


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    """Check that values are equal to rounding of float32, and NaN at the same places."""
    assert values.dtype == np.float32
    largest = np.nanmax(np.abs(expected), initial=0)
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7 * largest)


# Linear transforms


@pytest.mark.parametrize("names", [("scale_factor", "add_offset"), ("Gain", "Offset"), ("slope", "intercept")])
def test_gains_and_offsets_of_each_band_are_applied(names):
    write_hdf5("a.h5", RAW, dict(zip(names, (GAINS, OFFSETS), strict=True)))
    values, description = read("a.h5", axes=RBC)
    assert_same(values, RAW * GAINS[:, None, None] + OFFSETS[:, None, None])
    assert values[[0, 3, 6, 9], 10, 8] == pytest.approx(Q[[0, 3, 6, 9], 10, 8], abs=2e-4)
    assert description.sources["gains"] == " and ".join(names)


@pytest.mark.parametrize("format", NETCDF)
def test_netcdf_scale_and_offset_are_applied(format):
    raw = np.round((Q - 0.1) / 2e-5).astype(np.int16)
    write_netcdf("a.nc", raw, {"scale_factor": 2e-5, "add_offset": 0.1, "units": "1"}, format)
    values, description = read("a.nc")
    assert_same(values, read_netcdf("a.nc"))
    assert values == pytest.approx(Q, abs=2e-5)
    assert (description.format, description.units) == ("NetCDF 4" if format == "NETCDF4" else "NetCDF 3", "1")


@pytest.mark.parametrize(
    "name, value, factor",
    [
        ("Scale_Factor", 1e-4, 1e-4),
        ("SCALE", "0.0001", 1e-4),
        ("scale factor", np.float32(1e-4), 1e-4),
        ("reflectance_scale_factor", 10_000, 1e-4),
        ("scale_factor", 10_000.0, 1e4),  # CF: always a factor
    ],
)
def test_spellings_of_the_scale(name, value, factor):
    raw = np.round(Q * 10_000).astype(np.uint16)
    write_hdf5("a.h5", raw, {name: value})
    assert_same(read("a.h5", axes=RBC)[0], raw * factor)


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"Scale_Factor": 10_000}, "Scale_Factor is 10000, which may be a factor or a divisor: set gain: 0.0001 or"),
        ({"scaling": 10_000}, "scaling, 10000, looks like a calibration of unknown meaning"),
        ({"calibration_coefficients": [2, 3]}, "calibration_coefficients, 2, 3, looks like a calibration of unknown"),
        ({"reflectance_gains": GAINS}, r"reflectance_gains, 5e-05, .*, looks like a calibration of unknown meaning"),
        ({"scale_factor": [1.0, 2.0]}, "scale_factor, 1, 2, is not one finite number or one for each of 12 bands"),
        ({"scale_factor": 0.0}, "scale_factor is 0"),
        ({"scale_factor": np.nan}, "scale_factor, nan, is not one finite number"),
        ({"gain": 2.0, "scale": 3.0}, "attributes gain and scale differ"),
        ({"scale_factor": "1/10000"}, "its attribute scale_factor, '1/10000', is not a number: set gain and offset"),
        ({"offset": h5py.Empty("f4")}, "its attribute offset is not a number: set gain and offset"),
    ],
)
def test_unclear_calibration_is_refused_until_the_entry_sets_it(attributes, message):
    write_hdf5("a.h5", RAW, attributes)
    (problem,) = find_problems("a.h5", {"axes": RBC})
    assert re.search(message, problem) and problem.endswith(".")
    assert find_problems("a.h5", {"axes": RBC, "gain": 0.001, "offset": 0}) == []
    for half in ({"gain": 0.001}, {"offset": 0.1}):  # the other half would silently be 0 or 1
        assert find_problems("a.h5", {"axes": RBC, **half}) == [problem]
    assert_same(read("a.h5", axes=RBC, gain=0.001, offset=1)[0], RAW * 0.001 + 1)


@pytest.mark.parametrize("name", ["gain", "offset", "scale_factor"])
def test_calibration_beside_the_array_is_refused(name):
    write_hdf5("a.h5", RAW, **{name: GAINS})
    (problem,) = find_problems("a.h5", {"axes": RBC})
    assert f"its array {name}, 5e-05, " in problem and "looks like a calibration of cube: set gain" in problem
    with h5py.File("b.h5", "w") as file:
        file["cube"] = RAW
        file.attrs["L2ScaleVnirMin"] = 0.02
    (problem,) = find_problems("b.h5", {"axes": RBC})
    assert "its attribute /L2ScaleVnirMin, 0.02, looks like a calibration of cube" in problem


@pytest.mark.parametrize(
    "attributes",
    [
        {"scale_factor": 1.0, "add_offset": 0.0},
        {"scale_factor_err": 0.1, "calibrated_nt": 5},
        {"calibration": "done in the laboratory"},
        {"time_offset": 7.5},
        {"is_calibrated": 1, "header_offset": 0},
        {"gain": "none", "missing_value": "N/A", "wavelength": "visible", "wavelengths": 12},
    ],
)
def test_attributes_that_are_no_calibration_are_ignored(attributes):
    write_hdf5("a.h5", RAW, attributes, scale_factor=1.0)
    values, description = read("a.h5", axes=RBC)
    assert_same(values, RAW) and not description.gains
    assert find_problems("a.h5", {"axes": RBC}) == []


# Invalid pixels


@pytest.mark.parametrize("format", NETCDF)
@pytest.mark.parametrize(
    "dtype, attributes, stored",
    [
        ("f4", {"_FillValue": np.float32(-9999.9)}, -9999.9),
        ("f4", {"_FillValue": np.float32(-0.9999)}, -0.9999),
        ("f4", {}, 9.969209968386869e36),  # the default
        ("f8", {}, 9.969209968386869e36),
        ("f4", {"_FillValue": np.float32(np.nan)}, np.nan),
        ("i2", {"_FillValue": np.int16(300), "scale_factor": 0.5}, 300),  # inside the range of valid values
        ("i2", {}, -32767),
        ("i2", {"missing_value": np.array([-1, -2], "i2")}, -2),
        ("i2", {"valid_min": np.int16(0)}, -5),
        ("i2", {"valid_max": np.int16(20_000)}, 20_001),
        ("i2", {"valid_range": np.array([0, 20_000], "i2"), "scale_factor": 1e-4, "add_offset": 1.0}, -1),
        ("f4", {"valid_range": np.array([0, 1.1], "f4")}, 1.2),
        ("i1", {"_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 0.01}, -1),
        (
            "i1",
            {
                "_Unsigned": "true",
                "_FillValue": np.int8(0),
                "valid_range": np.array([0, -3], "i1"),
                "scale_factor": 0.01,
            },
            -2,
        ),
    ],
)
def test_netcdf_marks_of_invalid_pixels(format, dtype, attributes, stored):
    array = (Q * (1 if dtype[0] == "f" else 200)).astype(dtype)
    array[:, :6, :5] = stored
    write_netcdf("a.nc", array, attributes, format)
    values = read("a.nc")[0]
    assert_same(values, read_netcdf("a.nc"))
    assert np.isnan(values[:, :6, :5]).all()
    assert not np.isnan(values[:, 6:]).any() or stored == 300  # 300 also is a value


@pytest.mark.parametrize(
    "attributes, options, stored",
    [
        ({"FillValue": -9999.9}, {}, -9999.9),
        ({"Fillvalue": "-9999.9"}, {}, -9999.9),
        ({"Data_Ignore_Value": np.float32(-9999.9)}, {}, -9999.9),
        ({"nodata": -3.4e38}, {}, -3.4e38),
        ({"missing_value": [-1.0, -2.0]}, {}, -2),
        ({"ValidMin": 0.0}, {}, -1),
        ({}, {"fillvalue": -9999.9}, -9999.9),
        ({}, {}, np.nan),
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_hdf5_marks_of_invalid_pixels(dtype, attributes, options, stored):
    array = Q.astype(dtype)
    array[:, :6, :5] = stored
    write_hdf5("a.h5", array, attributes, **options)
    expected = array.copy()
    expected[:, :6, :5] = np.nan
    assert_same(read("a.h5", axes=RBC)[0], expected)
    assert np.isnan(read("a.h5", axes=RBC, invalid=[])[0]).any() == bool(np.isnan(stored))


@pytest.mark.parametrize("format", ["NETCDF4", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("dtype, fill", [("i8", -(2**63) + 2), ("u8", 2**64 - 2), ("u4", 2**32 - 1), ("u2", 65535)])
def test_default_fill_values_of_integers(format, dtype, fill):
    array = np.round(Q * 100).astype(dtype)
    array[2, 3, 4] = fill
    write_netcdf("a.nc", array, format=format)
    assert_same(read("a.nc")[0], read_netcdf("a.nc"))
    assert np.isnan(read("a.nc")[0]).sum() == 1


@pytest.mark.parametrize("format", NETCDF)
def test_bytes_have_no_default_fill_value(format):
    array = np.full(SHAPE, -127, np.int8)
    write_netcdf("a.nc", array, format=format)
    assert_same(read("a.nc")[0], array.astype(float))


def test_a_float32_fill_value_marks_float64_pixels_that_were_written_with_all_digits():
    array = Q.copy()
    array[0, 0, :2] = -9999.9, np.float32(-9999.9)
    write_hdf5("a.h5", array, {"_FillValue": np.float32(-9999.9)})
    assert np.isnan(read("a.h5", axes=RBC)[0]).sum() == 2


def test_a_fill_value_of_0_counts_only_as_an_attribute():
    raw = RAW.copy()
    raw[:, 0] = 0
    write_hdf5("a.h5", raw, fillvalue=0)
    assert not np.isnan(read("a.h5", axes=RBC)[0]).any()
    write_hdf5("b.h5", raw, {"_FillValue": 0}, fillvalue=0)
    assert np.isnan(read("b.h5", axes=RBC)[0][:, 0]).all()


def test_a_valid_range_of_physical_values():
    raw = np.round(Q * 10_000).astype(np.int16)
    raw[:, 0, 0], raw[:, 0, 1] = -1, 10_001
    for gain in (1e-4, -1e-4):
        attributes = {"valid_range": np.array([-1.0, 1.0]) if gain < 0 else np.array([0.0, 1.0]), "scale_factor": gain}
        write_hdf5("a.h5", raw, attributes)
        values = read("a.h5", axes=RBC)[0]
        physical = raw * gain
        low, high = attributes["valid_range"]
        assert_same(values, np.where((physical < low - 1e-9) | (physical > high + 1e-9), np.nan, physical))
    assert np.isnan(values[:, 0, 1]).all() and not np.isnan(values[:, 0, 0]).any()


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"_FillValue": -0.9999, "scale_factor": 1e-4}, "_FillValue is -0.9999, which no int16 is: set invalid"),
        (
            {"bad_fill_mark": -9999},
            r"bad_fill_mark, -9999, looks like a mark of invalid pixels.*set invalid: \[-9999\]",
        ),
        ({"missing_value": "minus one"}, "its attribute missing_value, 'minus one', is not a number: set invalid"),
        ({"valid_range": [1, 2, 3]}, "validrange is 1, 2, 3: set invalid"),
        ({"valid_range": [0.0, 1.0], "scale_factor": GAINS}, "range of physical values and gains of each band"),
    ],
)
def test_unclear_marks_are_refused_until_the_entry_sets_them(attributes, message):
    write_hdf5("a.h5", RAW, attributes)
    problems = find_problems("a.h5", {"axes": RBC})
    assert len(problems) == 1 and re.search(message, problems[0])
    assert find_problems("a.h5", {"axes": RBC, "invalid": []}) == []


def test_marks_and_wavelengths_of_the_file_count_if_the_array_has_none():
    raw = RAW.copy()
    raw[:, 0] = -9999
    with h5py.File("a.h5", "w") as file:
        file["site/data/cube"] = raw
        file["site"].attrs["NoData"] = -9999
        file.attrs["wavelengths"] = NANOMETRES
        file.attrs["wavelength_units"] = "Nanometers"
    values, description = read("a.h5", axes=RBC)
    assert np.isnan(values[:, 0]).all() and not np.isnan(values[:, 1:]).any()
    assert description.nanometres == tuple(NANOMETRES)
    assert description.sources == {"invalid": "NoData", "nanometres": "attribute /wavelengths"}


# Masks


def write_mask(path: Path, mask: np.ndarray) -> str:
    """Write a mask in the format of a name; return the setting that names it."""
    profile = {"width": mask.shape[1], "height": mask.shape[0], "count": 1, "dtype": "uint8"}
    match path.suffix:
        case ".npy":
            np.save(path, mask)
        case ".mat":
            savemat(path, {"mask": mask, "note": "text"})
        case ".tif":
            with rasterio.open(path, "w", driver="GTiff", **profile) as raster:
                raster.write(mask.astype(np.uint8), 1)
        case ".bsq":
            with rasterio.open(path, "w", driver="ENVI", **profile) as raster:
                raster.write(mask.astype(np.uint8), 1)
        case ".h5":
            with h5py.File(path, "w") as file:
                file["mask"], file["other"] = mask, mask * 0
            return f"{path}/mask"
        case ".nc":
            with netCDF4.Dataset(path, "w") as file:
                file.createDimension("x", mask.shape[1])
                file.createDimension("y", mask.shape[0])
                file.createVariable("flags", "i1", ("x", "y"))[...] = mask.T
    return str(path)


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".tif", ".bsq", ".h5", ".nc"])
@pytest.mark.parametrize("data", [".npy", ".mat", ".h5", ".nc", "3.nc"])
def test_masks_of_all_formats_for_arrays_of_all_formats(data, suffix):
    mask = np.zeros((ROWS, COLUMNS), bool)
    mask[3:7, 2:11] = True
    setting = write_mask(Path(f"mask{suffix}"), mask)
    path, axes = f"cube{data}", RBC
    match data:
        case ".npy":
            np.save(path, Q.astype(np.float32))
        case ".mat":
            savemat(path, {"cube": Q})
        case ".h5":
            write_hdf5(path)
        case _:
            write_netcdf(path, Q, format="NETCDF3_CLASSIC" if data == "3.nc" else "NETCDF4")
            axes = None
    assert_same(read(path, axes=axes, mask=setting)[0], np.where(mask, np.nan, Q))


def test_a_mask_in_the_file_of_the_cube():
    mask = np.zeros((ROWS, COLUMNS), np.int32)
    mask[0, 0] = 4
    write_hdf5("a.h5", clouds=mask, latitude=mask * 0)
    assert_same(read("a.h5", axes=RBC, mask="a.h5/clouds")[0], np.where(mask, np.nan, Q))
    with pytest.raises(
        DataError, match=r"a.h5 cannot be read: it holds 2 arrays of 2 axes, .*: set the mask to file/name"
    ):
        read("a.h5", axes=RBC, mask="a.h5")


# Wavelengths, bad bands, position


@pytest.mark.parametrize("format", NETCDF)
@pytest.mark.parametrize(
    "dimension, unit, numbers",
    [
        ("wavelength", "nm", NANOMETRES),
        ("wavelength", "micrometers", MICROMETRES),
        ("lambda", "um", MICROMETRES),
        ("wl", None, NANOMETRES),
        ("band", "Nanometers", NANOMETRES),  # its unit tells that these are wavelengths
    ],
)
def test_wavelengths_of_the_coordinate_variable(format, dimension, unit, numbers):
    with netCDF4.Dataset("a.nc", "w", format=format) as file:
        for name, length in (("y", ROWS), ("x", COLUMNS), (dimension, BANDS)):
            file.createDimension(name, length)
        coordinate = file.createVariable(dimension, "f4", (dimension,))
        coordinate[:] = numbers
        if unit:
            coordinate.units = unit
        fwhm = file.createVariable("fwhm", "f8", (dimension,))
        fwhm[:], fwhm.units = np.full(BANDS, 0.0105), "um"
        file.createVariable("cube", "f8", ("y", "x", dimension))[...] = np.moveaxis(Q, 0, 2)
    values, description = read("a.nc")
    assert_same(values, Q)
    assert description.nanometres == pytest.approx(NANOMETRES)
    assert description.fwhm == pytest.approx([10.5] * BANDS)
    assert description.axes == ("rows", "columns", "bands")
    (problem,) = find_problems("a.nc", nanometres=(1800, 2900))
    assert "its bands reach from 450 to 2400 nm instead of 1800 to 2900" in problem


@pytest.mark.parametrize(
    "place, name, numbers, unit",
    [
        ("attribute", "Wavelengths", NANOMETRES, {}),
        ("attribute", "wavelength", ", ".join(map(str, MICROMETRES)), {"wavelength_units": "Microns"}),
        ("attribute", "wavelengths_nm", NANOMETRES, {}),
        ("attribute", "band_centers", NANOMETRES, {}),
        ("attribute", "CWL", [f"{value}" for value in NANOMETRES], {}),
        ("array", "wavelength", NANOMETRES, {"units": "nanometers"}),
        ("array", "sensor/center_wavelengths", MICROMETRES, {"unit": "µm"}),
        ("array", "Metadata/Spectral_Data/Wavelength", np.reshape(NANOMETRES, (-1, 1)), {"Units": "nm"}),
        ("array", "wl", np.array(NANOMETRES) * 10, {"units": "Angstrom"}),
    ],
)
def test_wavelengths_of_attributes_and_arrays(place, name, numbers, unit):
    with h5py.File("a.h5", "w") as file:
        file["group/cube"] = Q
        if place == "attribute":
            file["group/cube"].attrs.update({name: numbers, **unit})
        else:
            file[name] = numbers
            file[name].attrs.update(unit)
    description = read("a.h5", axes=RBC)[1]
    assert description.nanometres == pytest.approx(NANOMETRES)
    assert description.sources["nanometres"].startswith(f"{place} {name}")


def test_wavelengths_of_another_array_do_not_count():
    sensors = {"NIR": np.array(NANOMETRES), "VIS": np.array(NANOMETRES) + 50, "B": None}
    with h5py.File("a.h5", "w") as file:
        for name, numbers in sensors.items():
            file[f"{name}/data/cube"] = Q
            if numbers is not None:
                file[f"{name}/meta/wavelength"] = numbers
        file["NIR/meta/fwhm"] = np.full(BANDS, 6.0)
        file["C/cube"], file["C"].attrs["wavelength"] = Q, np.array(NANOMETRES) + 70
    facts = {name: read("a.h5", axes=RBC, variable=f"{name}/data/cube")[1] for name in sensors}
    assert {name: description.nanometres and description.nanometres[0] for name, description in facts.items()} == {
        "NIR": 450,
        "VIS": 500,
        "B": None,  # the others differ, and neither belongs to it
    }
    assert facts["NIR"].fwhm == (6,) * BANDS and facts["VIS"].fwhm is None
    assert read("a.h5", axes=RBC, variable="C/cube")[1].nanometres[0] == 520
    with h5py.File("a.h5", "a") as file:
        del file["VIS/meta"]
    for name in ("VIS", "B"):  # what is left belongs to NIR
        assert read("a.h5", axes=RBC, variable=f"{name}/data/cube")[1].nanometres is None


@pytest.mark.parametrize(
    "numbers, message",
    [
        (NANOMETRES[:-1], "its array wavelength cannot be used: it has 11 numbers for 12 bands"),
        (range(BANDS), "its array wavelength cannot be used: it only numbers the bands"),
        (np.linspace(10_000, 4000, BANDS) * 1e5, "are not those of an optical sensor"),
    ],
)
def test_wrong_wavelengths_are_refused_until_the_entry_sets_them(numbers, message):
    write_hdf5("a.h5", wavelength=list(numbers))
    problems = find_problems("a.h5", {"axes": RBC})
    assert len(problems) == 1 and message in problems[0]
    assert find_problems("a.h5", {"axes": RBC}, nanometres=NANOMETRES) == []


def test_wave_numbers_become_wavelengths():
    write_hdf5("a.h5", wavelength=1e7 / np.array(NANOMETRES))
    with h5py.File("a.h5", "a") as file:
        file["wavelength"].attrs["units"] = "cm-1"
    assert read("a.h5", axes=RBC)[1].nanometres == pytest.approx(NANOMETRES)


@pytest.mark.parametrize("name, bad", [("bbl", 0), ("good_wavelengths", 0), ("bad_bands", 1), ("Bad_Band_List", 0)])
@pytest.mark.parametrize("place", ["array", "attribute"])
def test_bad_bands(name, bad, place):
    flags = np.full(BANDS, 1 - bad, np.uint8)
    flags[[3, 10]] = bad
    if place == "array":
        write_hdf5("a.h5", **{name: flags})
    else:
        write_hdf5("a.h5", attributes={name: flags})
    description = read("a.h5", axes=RBC)[1]
    assert description.bad_bands == (4, 11)
    assert description.good_bands() == [1, 2, 3, 5, 6, 7, 8, 9, 10, 12]


def test_bad_bands_that_cannot_be_read_are_refused_until_the_entry_lists_bands():
    write_hdf5("a.h5", bbl=[1, 0, 2])
    with pytest.raises(
        DataError, match="its array bbl cannot be used: it has 3 numbers for 12 bands: correct it, or list"
    ):
        resolve_bands(Cube(files=(File(path="a.h5", axes=RBC),)))
    assert find_problems("a.h5", {"axes": RBC}, bands="1-12") == []


@pytest.mark.parametrize("version", [5, 7.3])
def test_wavelengths_and_bad_bands_beside_a_matlab_array(version):
    cube = np.moveaxis(Q, 0, 2)
    if version == 5:
        savemat("a.mat", {"scene": {"cube": cube, "wavelength": NANOMETRES, "bbl": [*[1] * 11, 0]}, "x": 3})
    else:
        generated_cubes.write_matlab73(Path("a.mat"), "scene/cube", cube, "float64")
        with h5py.File("a.mat", "a") as file:
            file["scene/wavelength"] = np.reshape(NANOMETRES, (1, -1))
            file["scene/bbl"] = np.reshape([*[1] * 11, 0], (1, -1))
    for variable in (None, "scene.cube", "scene/cube"):
        values, description = read("a.mat", variable=variable)
        assert_same(values, Q)
        assert (description.nanometres, description.bad_bands) == (tuple(NANOMETRES), (12,))
        assert description.sources["nanometres"].startswith("array scene.wavelength")


def test_struct_next_to_a_matlab_array_describes_it():
    cube = np.moveaxis(RAW, 0, 2)
    savemat("a.mat", {"cube": cube, "info": {"wavelength": NANOMETRES, "preview": cube[..., :3]}})
    values, description = read("a.mat")
    assert_same(values, RAW)
    assert description.nanometres == tuple(NANOMETRES)
    assert description.sources["nanometres"].startswith("array info.wavelength")
    savemat("a.mat", {"cube": cube, "info": {"gain": GAINS}})
    (problem,) = find_problems("a.mat")
    assert "its array info.gain, 5e-05, 5.90909e-05, 6.81818e-05, ..., looks like a calibration of cube" in problem


@pytest.mark.parametrize("format", NETCDF[:2])
@pytest.mark.parametrize("with_geotransform", [True, False])
def test_position(format, with_geotransform):
    crs = rasterio.crs.CRS.from_epsg(32632).to_wkt()
    with netCDF4.Dataset("a.nc", "w", format=format) as file:
        for name, length in (("y", ROWS), ("x", COLUMNS), ("band", BANDS)):
            file.createDimension(name, length)
        file.createVariable("x", "f8", ("x",))[:] = 628_800 + 30 * np.arange(COLUMNS)
        file.createVariable("y", "f8", ("y",))[:] = 5_294_250 - 30 * np.arange(ROWS)
        mapping = file.createVariable("utm", "i4", ())
        mapping.spatial_ref = crs
        if with_geotransform:
            mapping.GeoTransform = "628785 30 0 5294265 0 -30 "
        cube = file.createVariable("cube", "f8", ("y", "x", "band"))
        cube[...], cube.grid_mapping = np.moveaxis(Q, 0, 2), "utm"
        file.title = "A scene"
    description = read("a.nc")[1]
    assert description.crs == crs
    assert description.geotransform == (628_785, 30, 0, 5_294_265, 0, -30)
    assert description.history == "A scene"


# Axes


ORDERS = ["wavelength y x", "y x wavelength", "y wavelength x", "x wavelength y"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("format", NETCDF)
def test_names_of_dimensions_tell_the_axes(format, order):
    names = order.split()
    array = Q.transpose([("wavelength", "y", "x").index(name) for name in names])
    write_netcdf("a.nc", array, format=format, dimensions=tuple(names))
    values, description = read("a.nc")
    assert_same(values, Q)
    assert " ".join(description.axes) == " ".join(DIMENSIONS[name] for name in names)
    assert_same(read("a.nc", axes=" ".join(description.axes))[0], Q)
    wrong = " ".join(description.axes[::-1])
    with pytest.raises(
        DataError, match=f"its axes are named {', '.join(names)}, but its entry sets axes: {wrong}; leave"
    ):
        read("a.nc", axes=wrong)


@pytest.mark.parametrize(
    "names", [("downtrack", "crosstrack", "bands"), ("lat", "lon", "Wavelengths"), ("Line", "Sample", "n_bands")]
)
def test_other_names_of_dimensions(names):
    write_netcdf("a.nc", np.moveaxis(Q, 0, 2), dimensions=names)
    assert_same(read("a.nc")[0], Q)
    write_hdf5("b.h5", np.moveaxis(Q, 0, 2), {"Dimension_Labels": ", ".join(names)})
    assert_same(read("b.h5")[0], Q)
    write_hdf5("c.h5", np.moveaxis(Q, 0, 2))
    with h5py.File("c.h5", "a") as file:
        for i, name in enumerate(names):
            file["cube"].dims[i].label = name
    assert_same(read("c.h5")[0], Q)


@pytest.mark.parametrize("order", [("time", "wavelength", "y", "x"), ("y", "x", "wavelength", "member")])
def test_an_axis_of_length_1_is_left_out(order):
    array = Q[None] if order[0] == "time" else np.moveaxis(Q, 0, 2)[..., None]
    write_netcdf("a.nc", array, dimensions=order)
    assert_same(read("a.nc")[0], Q)
    write_hdf5("b.h5", array)
    np.save("c.npy", array)
    savemat("d.mat", {"cube": array})
    for path in ("b.h5", "c.npy", "d.mat"):
        assert_same(read(path, axes=RBC if order[0] == "time" else "rows columns bands")[0], Q)


def test_more_than_three_axes():
    write_netcdf("a.nc", np.stack([Q, Q]), dimensions=("time", "wavelength", "y", "x"))
    for entry in ({}, {"axes": RBC}):
        with pytest.raises(
            DataError, match="more than three axes, 2 x 12 x 20 x 16: write one cube to an array of three"
        ):
            read("a.nc", variable="cube", **entry)


def test_unknown_names_need_axes():
    write_netcdf("a.nc", Q, dimensions=("a", "b", "c"))
    with pytest.raises(
        DataError, match="axes are named a, b, c, its shape is 12 x 20 x 16: set axes, as in: rows columns"
    ):
        read("a.nc")
    assert_same(read("a.nc", axes=RBC)[0], Q)
    write_netcdf("b.nc", Q, dimensions=("a", "y", "c"))
    with pytest.raises(DataError, match="named a, y, c, but its entry sets axes: bands columns rows; correct axes"):
        read("b.nc", axes="bands columns rows")
    assert_same(read("b.nc", axes=RBC)[0], Q)


# Layouts


@pytest.mark.parametrize("order", ["columns*rows", "rows*columns"])
@pytest.mark.parametrize("pixels_first", [True, False])
@pytest.mark.parametrize("kind", ["a.mat", "a73.mat", "a.npy", "a.h5", "chunked.h5"])
def test_matrices_of_bands_and_pixels(kind, pixels_first, order):
    matlab_order = order == "columns*rows"
    # MATLAB: reshape(cube, rows * columns, bands)
    matrix = np.moveaxis(Q, 0, 2).reshape(-1, BANDS, order="F" if matlab_order else "C")
    matrix, axes = (matrix, f"{order} bands") if pixels_first else (matrix.T, f"bands {order}")
    match kind:
        case "a.mat":
            savemat(kind, {"Y": matrix, "nRow": ROWS, "nCol": COLUMNS})
        case "a73.mat":
            with h5py.File(kind, "w", userblock_size=512) as file:
                file["Y"] = matrix.T
                file["Y"].attrs["MATLAB_class"] = np.bytes_("double")
            with open(kind, "r+b") as file:
                file.write(b"MATLAB 7.3 MAT-file")
        case "a.npy":
            np.save(kind, matrix)
        case _:
            write_hdf5(kind, matrix, **({"chunks": (4, 5)} if kind == "chunked.h5" else {}))
    assert_same(read(kind, axes=axes, pixels=(ROWS, COLUMNS))[0], Q)
    with open_cube(File(path=kind, axes=axes, pixels=(ROWS, COLUMNS))) as reader:
        assert_same(reader.read(2, 5, slice(3, 9), slice(4, 11)), Q[2:5, 3:9, 4:11])
    with pytest.raises(
        DataError, match=r"axis .* has the length 320: set pixels.*can be 16 x 20 or 20 x 16, 10 x 32 or"
    ):
        read(kind, axes=axes)
    with pytest.raises(DataError, match="has the length 320, but pixels are 20 x 17: set pixels"):
        read(kind, axes=axes, pixels=(ROWS, 17))
    with pytest.raises(DataError, match=r"shape .*320.*: if one of its axes runs through all pixels, set axes: bands"):
        read(kind, axes=RBC, variable=None if kind == "a.npy" else "Y" if "mat" in kind else "cube")


@pytest.mark.parametrize(
    "entry",
    [{"axes": RBC, "pixels": (2, 3)}, {"axes": "rows bands*columns"}, {"axes": "rows columns"}, {"pixels": (2, 3)}],
)
def test_settings_of_axes_that_make_no_sense(entry):
    with pytest.raises(ValueError, match="pixels needs axes|only rows and columns can be one axis|name the three axes"):
        File(path="a", **entry)


def test_rasters_have_no_joined_axes():
    with rasterio.open(
        "a.tif", "w", driver="GTiff", width=COLUMNS, height=ROWS, count=BANDS, dtype="float64"
    ) as raster:
        raster.write(Q)
    with pytest.raises(DataError, match="a raster has the axes"):
        read("a.tif", axes="bands columns*rows", pixels=(ROWS, COLUMNS))


def test_fields_of_structs():
    cells = np.empty((3, 4, 5), object)
    cells[:] = 1.0
    inner = {"cube": np.moveaxis(Q, 0, 2), "name": "x", "cells": cells}
    savemat("a.mat", {"a": {"b": inner}, "several": np.zeros((1, 2), [("x", "O")]), "z": Q[0] + 1j})
    assert_same(read("a.mat")[0], Q)
    assert_same(read("a.mat", variable="a.b.cube")[0], Q)
    for variable, message in (
        ("a.b", r"it holds a.b.cube \(20 x 16 x 12\).* and no a.b: set variable to one of them"),
        ("a.b.cells", "its array holds objects, such as cells, texts or references, instead of real numbers"),
        ("a.b.name", "its array holds text instead of real numbers"),
        ("several", "its array holds records of x instead of real numbers|objects"),
    ):
        with pytest.raises(DataError, match=message):
            read("a.mat", variable=variable)
    with pytest.raises(DataError, match="complex numbers instead of real numbers"):
        read("a.mat", variable="z", axes="bands rows*columns", pixels=(4, 4))


def test_several_arrays_are_listed():
    write_hdf5("a.h5", np.zeros((3, 4, 5)), big=Q, line=np.arange(3))
    with pytest.raises(
        DataError,
        match=r"a.h5 cannot be read: it holds 2 arrays of 3 axes, big \(12 x 20 x 16\), cube \(3 x 4 x 5\): "
        "set variable, as in: big",
    ):
        read("a.h5", axes=RBC)
    assert_same(read("a.h5", axes=RBC, variable="/big")[0], Q)
    with h5py.File("b.h5", "w") as file:
        file["Band1"], file["Band2"] = Q[0], Q[1]
    with pytest.raises(DataError, match="no single array of 3 axes: write the bands to one array, or set variable and"):
        read("b.h5")


def test_the_first_bytes_of_matlab_files_tell_the_order_of_their_axes():
    with h5py.File("a.h5", "w", userblock_size=512) as file:
        file["cube"] = Q.transpose(0, 2, 1)
    with open("a.h5", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    assert_same(read("a.h5")[0], Q)


@pytest.mark.parametrize("block", [0, 512, 1024, 4096])
def test_only_matlab_files_have_reversed_axes(block):
    with h5py.File("a.h5", "w", userblock_size=block) as file:
        file["cube"] = Q
    assert_same(read("a.h5", axes=RBC)[0], Q)
    assert read("a.h5", axes=RBC)[1].format == "HDF5"
    with h5py.File("b.h5", "w", userblock_size=block) as file:
        file["cube"] = Q.transpose(0, 2, 1)
        file["cube"].attrs["MATLAB_class"] = np.bytes_("double")
    assert_same(read("b.h5")[0], Q)
    assert read("b.h5")[1].format == "MATLAB 7.3"


@pytest.mark.parametrize(
    "dtype, message",
    [
        (complex, "complex numbers"),
        ([("r", "f4"), ("i", "f4")], "complex numbers|records of r, i"),
        ([("a", "i2"), ("b", "i2")], "records of a, b"),
        (h5py.enum_dtype({"CLOUD": 1, "LAND": 0}, "i2"), "names of classes"),
        (bool, "truth values"),
        ("S4", "text"),
        (h5py.string_dtype(), "objects"),
        ("V3", "raw bytes"),
    ],
)
def test_types_that_are_no_real_numbers(dtype, message):
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("cube", SHAPE, dtype)
    with pytest.raises(DataError, match=f"a.h5 cannot be read .*({message}).* instead of real numbers"):
        read("a.h5", axes=RBC, variable="cube")


@pytest.mark.parametrize("dtype", ["<f4", ">f8", ">i2", "<u4", "f2", "i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(dtype, order):
    array = np.asarray(Q * 100, dtype, order=order)
    np.save("a.npy", array)
    values, description = read("a.npy", axes=RBC)
    assert_same(values, array.astype(float))
    assert (description.format, description.dtype.name) == ("NumPy", np.dtype(dtype).name)
    with pytest.raises(DataError, match="does not say the order of its axes, its shape is 12 x 20 x 16: set axes"):
        read("a.npy")


def test_npz_and_records():
    np.savez("a.npz", cube=Q)
    with pytest.raises(DataError, match="it is a .npz file, which holds cube: write the cube to a .npy file"):
        read("a.npz", axes=RBC)
    np.save("a.npy", np.zeros(SHAPE, [("a", "u1"), ("b", "u1")]))
    with pytest.raises(DataError, match="its array holds records of a, b instead of real numbers"):
        read("a.npy", axes=RBC)


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f8"])
def test_netcdf3_written_by_scipy(dtype, version, records):
    array = np.round(Q[..., :15] * 100).astype(dtype)  # 15 columns: records of bytes and of int16 are padded
    with netcdf_file("a.nc", "w", version=version) as file:
        for name, length in (("band", BANDS), ("y", ROWS), ("x", 15)):
            file.createDimension(name, None if records and name == "band" else length)
        if records:
            file.createVariable("other", "i1", ("band",))[:BANDS] = np.arange(BANDS)
        file.createVariable("cube", dtype, ("band", "y", "x"))[:BANDS] = array
    assert_same(read("a.nc")[0], array.astype(float))


@pytest.mark.parametrize("dtype", ["i1", "i2"])
def test_netcdf3_with_a_single_array_of_records(dtype):
    array = np.round(Q[:, :1, :15] * 100).astype(dtype)
    with netCDF4.Dataset("a.nc", "w", format="NETCDF3_CLASSIC") as file:
        for name, length in (("band", None), ("y", 1), ("x", 15)):
            file.createDimension(name, length)
        file.createVariable("cube", dtype, ("band", "y", "x"))[:] = array
    assert_same(read("a.nc")[0], array.astype(float))


# Precision


@pytest.mark.parametrize(
    "dtype, base", [("i4", 2**28), ("u4", 2**31), ("i8", 2**40), ("u8", 2**50), ("f8", 1e9), ("i4", -(2**28))]
)
def test_differences_that_float32_cannot_hold(dtype, base):
    array = (np.round(Q * 100) + base).astype(dtype)
    np.save("a.npy", array)
    (problem,) = find_problems("a.npy", {"axes": RBC})
    offset = float(re.search(r"too near for float32.*: set offset: (-?\d+) in its entry", problem)[1])
    assert offset == -array[0].astype(float).min()
    assert_same(read("a.npy", axes=RBC, offset=offset)[0], array.astype(float) + offset)
    assert find_problems("a.npy", {"axes": RBC, "offset": offset + 1}) == []


def test_a_declared_offset_is_added_in_float64():
    raw = (np.round(Q * 100) + 2**28).astype(np.int32)
    write_netcdf("a.nc", raw, {"scale_factor": 1.0, "add_offset": -float(2**28)})
    assert_same(read("a.nc")[0], np.round(Q * 100))
    assert find_problems("a.nc") == []


# Properties


@st.composite
def stored_arrays(draw: Any) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    """Draw an array as it is stored, its attributes by the CF conventions, and the names of its axes."""
    shape = tuple(draw(st.integers(2, 5)) for _ in range(3))
    dtype = np.dtype(draw(st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    low, high = (max(limits.min, -20_000), min(limits.max, 20_000)) if limits else (-2.0, 2.0)
    array = rng.uniform(low, high, shape).astype(dtype)
    number = st.sampled_from([*array.ravel()[:4], dtype.type(low), dtype.type(high)])
    attributes: dict[str, Any] = {}
    if draw(st.booleans()) or dtype.itemsize == 1:  # netCDF4 takes a default for bytes, which have none
        attributes["_FillValue"] = draw(number)
    if draw(st.booleans()):
        attributes["missing_value"] = np.array([draw(number), draw(number)], dtype)
    ends = sorted((draw(number), draw(number)))
    match draw(st.sampled_from(["range", "min", "max", "none"])):
        case "range":
            attributes["valid_range"] = np.array(ends, dtype)
        case "min":
            attributes["valid_min"] = ends[0]
        case "max":
            attributes["valid_max"] = ends[1]
    if draw(st.booleans()):
        attributes["scale_factor"] = draw(st.sampled_from([1e-4, 0.5, -2.0, 3.7, 1000.0]))
    if draw(st.booleans()):
        attributes["add_offset"] = draw(st.sampled_from([0.0, 1.0, -273.15, 1e4]))
    if dtype.kind == "i" and draw(st.booleans()):
        attributes["_Unsigned"] = "true"
    return array, attributes, draw(st.permutations(["wavelength", "y", "x"]))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored_arrays(), st.sampled_from(NETCDF))
def test_any_netcdf_array_reads_as_by_netcdf4(tmp_path, stored, format):
    array, attributes, names = stored
    if format in NETCDF[1:3] and array.dtype.str[1:] in ("u1", "u2", "u4"):
        format = "NETCDF3_64BIT_DATA"  # the others have no unsigned types
    path = str(tmp_path / "a.nc")
    write_netcdf(path, array, attributes, format, tuple(names))
    expected = read_netcdf(path).transpose([names.index(name) for name in DIMENSIONS])
    values, description = read(path)
    assert_same(values, expected)
    assert description.axes == tuple(DIMENSIONS[name] for name in names)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored_arrays(), st.sampled_from(["a.h5", "a.npy", "a.mat", "a73.mat"]), st.data())
def test_any_array_is_read_with_the_settings_of_its_entry(tmp_path, stored, name, data):
    array, attributes, names = stored
    axes = [DIMENSIONS[each] for each in names]
    bands = array.shape[axes.index("bands")]
    gain = [*np.linspace(-1, 2, bands)] if data.draw(st.booleans()) else 0.25
    invalid = [float(array.ravel()[0]), -9999.9]
    path = str(tmp_path / name)
    match name:
        case "a.h5":
            write_hdf5(
                path, array, {key: attributes[key] for key in ("_FillValue", "scale_factor") if key in attributes}
            )
        case "a.npy":
            np.save(path, array)
        case "a.mat":
            savemat(path, {"cube": array})
        case _:
            with h5py.File(path, "w", userblock_size=512) as file:
                file["cube"] = array.transpose()
                file["cube"].attrs["MATLAB_class"] = np.bytes_("double")
    values, description = read(path, axes=" ".join(axes), gain=gain, offset=0.5, invalid=invalid)
    cube = array.transpose([axes.index(each) for each in ("bands", "rows", "columns")])
    expected = cube.astype(float) * np.reshape(gain, (-1, 1, 1)) + 0.5
    assert_same(values, np.where(cube == array.ravel()[0], np.nan, expected))
    assert description.axes == tuple(axes[::-1] if name == "a73.mat" else axes)


@pytest.mark.parametrize("format", ["MATLAB 5", "HDF5", "NetCDF 4"])
def test_layers_next_to_a_cube_are_named(format):
    """A mask in the file is not applied, because nothing says whether 0 or 1 marks the invalid pixels."""
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    entry: dict[str, Any] = {"path": "a.h5", "variable": "cube", "axes": RBC}
    if format == "MATLAB 5":
        savemat("a.mat", {"s": {"cube": Q.transpose(1, 2, 0), "mask": mask}, "other": np.zeros((3, 4))})
        entry = {"path": "a.mat", "variable": "s.cube"}
    elif format == "HDF5":
        write_hdf5("a.h5", mask=mask, other=np.zeros((3, 4)))
    else:
        entry["path"] = "a.nc"
        with netCDF4.Dataset("a.nc", "w") as file:
            for name, length in zip(("bands", "rows", "columns"), SHAPE, strict=True):
                file.createDimension(name, length)
            file.createVariable("cube", "f4", ("bands", "rows", "columns"))[:] = Q
            file.createVariable("mask", "u1", ("rows", "columns"))[:] = mask
    file = File(**entry)
    properties, problems, measured = inspect_file(Cube(files=(file,), bands="1-12"), file, range(1, 13))
    name = "s.mask" if format == "MATLAB 5" else "mask"
    assert measured.description.layers == (name,) and not problems
    assert properties["not applied"].startswith(f"{name}; set mask in the entry")
    masked = File(**entry, mask=f"{entry['path']}/{name}")
    assert "not applied" not in inspect_file(Cube(files=(masked,), bands="1-12"), masked, range(1, 13))[0]
