"""What rasters declare of themselves is read, applied or refused.

Other libraries write the files: spectral, rasterio (GDAL), tifffile and Pillow. The expected values are computed here.
"""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import spectral.io.envi
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lkca.data import bands, scenes
from lkca.data.bands import resolve_bands
from lkca.data.catalog import Cube, File
from lkca.data.checksums import is_text, verify_file
from lkca.data.inspection import inspect_file
from lkca.data.readers import CubeDescription, open_cube, raster
from lkca.data.readers.description import FORMAT_FACTS
from lkca.errors import DataError
from tests.cubes import call_directly, cut_and_load

BANDS, SIZE = 12, 64
GAINS, OFFSETS = np.linspace(1, 3, BANDS), np.linspace(0, 0.2, BANDS)
NANOMETRES = [450, 550, 560, 570, 660, 700, 720, 750, 800, 1600, 2200, 2400]  # not evenly spaced
FILLS = [-9999.9, -0.9999, -1.1, -3.4e38, 9.96921e36]
PROFILE = {"width": SIZE, "height": SIZE, "count": BANDS}


def reflectance() -> np.ndarray:
    """Return a smooth cube (bands, rows, columns) of 0.14 to 0.60."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    bands = np.arange(BANDS)[:, None, None] / BANDS
    return 0.14 + 0.46 * (0.5 + 0.3 * np.sin(3 * rows + 2 * bands) * np.cos(4 * columns) + 0.2 * bands * columns)


def stored_numbers() -> np.ndarray:
    """Return the cube as int16 numbers from which gains and offsets make reflectance."""
    return ((reflectance() - OFFSETS[:, None, None]) / GAINS[:, None, None] * 20_000).round().astype(np.int16)


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """Run each test in its own folder, without the process of the sandbox."""
    monkeypatch.chdir(tmp_path)
    for module in (bands, scenes):
        monkeypatch.setattr(module, "run_sandboxed", call_directly)


def describe(path: str, **entry: Any) -> CubeDescription:
    with open_cube(File(path=path, **entry)) as reader:
        return reader.description


def read(path: str, **entry: Any) -> np.ndarray:
    """Return all physical values of a file, float64 (bands, rows, columns)."""
    with open_cube(File(path=path, **entry)) as reader:
        rows, columns, bands = reader.shape
        return reader.read(0, bands, slice(0, rows), slice(0, columns), np.dtype(np.float64))


def problems_of(path: str, bands: str = "1-12", nanometres: Any = None, **entry: Any) -> str:
    """Return what inspect_file finds wrong with a file, "" for nothing."""
    file = File(path=path, **entry)
    cube = Cube(files=(file,), bands=bands, nanometres=nanometres)
    return " ".join(inspect_file(cube, file, cube.band_numbers())[1])


# --- Writers


def write_envi(name: str, cube: np.ndarray, **fields: Any) -> str:
    """Write an ENVI file with spectral; underscores in the names of fields stand for spaces."""
    metadata = {key.replace("_", " "): value for key, value in fields.items()}
    spectral.io.envi.save_image(
        f"{name}.hdr", np.moveaxis(cube, 0, 2), dtype=cube.dtype, metadata=metadata, force=True, ext="img"
    )
    return f"{name}.img"


def add_fields(header: str, **fields: Any) -> None:
    """Add lines to an ENVI header, as ENVI and other programs write them."""
    path = Path(header)
    lines = [f"{key.replace('_', ' ')} = {value}" for key, value in fields.items()]
    path.write_text("\n".join([path.read_text().rstrip(), *lines, ""]))


def write_gdal(name: str, cube: np.ndarray, driver: str = "GTiff", change: Any = None, **options: Any) -> str:
    """Write a raster with rasterio; `change` is called with the open raster."""
    count, height, width = cube.shape
    profile = {"width": width, "height": height, "count": count, "dtype": cube.dtype, **options}
    with rasterio.open(name, "w", driver=driver, **profile) as raster:
        raster.write(cube)
        if change:
            change(raster)
    return name


def set_scales(raster: Any) -> None:
    raster.scales, raster.offsets = GAINS / 20_000, OFFSETS


def tag_bands(raster: Any, namespace: str | None = None, **lists: Any) -> None:
    """Write an item to each band: name -> one value for all bands, or a list."""
    for i in range(raster.count):
        items = {name: values[i] if isinstance(values, list) else values for name, values in lists.items()}
        raster.update_tags(i + 1, ns=namespace, **items)


def pack(name: str, *members: str) -> str:
    """Move files to a zip archive; return the path of the first in it."""
    with ZipFile(name, "w") as archive:
        for member in members:
            archive.write(member)
            Path(member).unlink()
    return f"{name}/{members[0]}"


# --- Calibration


def scaled_envi() -> str:
    return write_envi("a", stored_numbers(), data_gain_values=list(GAINS / 20_000), data_offset_values=list(OFFSETS))


def scaled_reflectance_envi() -> str:
    return write_envi(
        "a",
        stored_numbers(),
        data_reflectance_gain_values=list(GAINS / 20_000),
        data_reflectance_offset_values=list(OFFSETS),
    )


def scaled_gdal_envi() -> str:
    return write_gdal("a.img", stored_numbers(), "ENVI", set_scales)


def scaled_tiff_with_header() -> str:
    scaled_envi()
    text = Path("a.hdr").read_text().replace("ENVI Standard", "TIFF")
    for name in ("a.img", "a.hdr"):
        Path(name).unlink()
    Path("a.hdr").write_text(text)
    return write_gdal("a.tif", stored_numbers())


def scaled_by_items() -> str:
    def change(raster: Any) -> None:
        tag_bands(raster, scale_factor=list(GAINS / 20_000), add_offset=list(OFFSETS))

    return write_gdal("a.tif", stored_numbers(), "GTiff", change)


def scaled_by_lists() -> str:
    lists = {"data_gain_values": list(GAINS / 20_000), "data_offset_values": list(OFFSETS)}
    tags = {name: "{" + ", ".join(map(str, values)) + "}" for name, values in lists.items()}
    return write_gdal("a.tif", stored_numbers(), "GTiff", lambda raster: raster.update_tags(ns="ENVI", **tags))


SCALED = {
    "ENVI": scaled_envi,
    "ENVI, gains to reflectance": scaled_reflectance_envi,
    "ENVI by GDAL": scaled_gdal_envi,
    "ENVI in zip": lambda: pack("a.zip", scaled_envi(), "a.hdr"),
    "GeoTIFF": lambda: write_gdal("a.tif", stored_numbers(), "GTiff", set_scales),
    "GeoTIFF, items": scaled_by_items,
    "GeoTIFF, domain ENVI": scaled_by_lists,
    "GeoTIFF, .aux.xml": lambda: write_gdal("a.tif", stored_numbers(), "GTiff", set_scales, profile="BASELINE"),
    "TIFF with ENVI header": scaled_tiff_with_header,
    "PCIDSK, .aux.xml": lambda: write_gdal("a.pix", stored_numbers(), "PCIDSK", set_scales),
}


@pytest.mark.parametrize("case", SCALED)
def test_gains_and_offsets_are_applied(case):
    path = SCALED[case]()
    assert "aux.xml" not in case or any(Path().glob("*.aux.xml"))
    np.testing.assert_allclose(read(path), reflectance(), atol=2e-4)
    description = describe(path)
    np.testing.assert_allclose(description.gains, GAINS / 20_000, rtol=1e-6)
    np.testing.assert_allclose(description.offsets, OFFSETS, atol=1e-9)
    if case.endswith(".aux.xml"):
        assert f"{path}.aux.xml" in File(path=path).pixel_files()


@pytest.mark.parametrize("case", ["ENVI", "GeoTIFF"])
def test_scene_and_manifest_have_the_calibration(case):
    file = File(path=SCALED[case]())
    array, manifest = cut_and_load(Cube(files=(file,), bands="1-12"), BANDS)
    expected = reflectance() / reflectance().max()
    np.testing.assert_allclose(array[[0, 3, 6, 9], 20, 20], expected[[0, 3, 6, 9], 20, 20], atol=1e-3)
    np.testing.assert_allclose(manifest["areas"][0]["description"]["gains"], GAINS / 20_000, rtol=1e-6)


def test_entry_replaces_declared_gains():
    path = SCALED["ENVI"]()
    np.testing.assert_array_equal(read(path, gain=1, offset=0), stored_numbers())
    np.testing.assert_allclose(read(path, gain=2.0), stored_numbers() * 2.0 + OFFSETS[:, None, None])


@pytest.mark.parametrize("text", ["10000", "{10000}", "1e4", "1.0D+4", "10000.0"])
def test_reflectance_scale_factor(text):
    path = write_envi("a", (reflectance() * 10_000).round().astype(np.int16))
    add_fields("a.hdr", reflectance_scale_factor=text)
    np.testing.assert_allclose(read(path), reflectance(), atol=6e-5)


@pytest.mark.parametrize("text", ["0.0001", "{1e-4}", "{" + ", ".join(["1e-4"] * BANDS) + ",}"])
def test_one_gain_for_all_bands(text):
    path = write_envi("a", (reflectance() * 10_000).round().astype(np.int16))
    add_fields("a.hdr", data_gain_values=text)
    np.testing.assert_allclose(read(path), reflectance(), atol=6e-5)


CONTRADICTIONS = {
    "wrong count": ({"data gain values": [1, 2, 3]}, "3 numbers for 12 bands"),
    "text": ({"data gain values": ["x"] * BANDS}, "'x' is not a number"),
    "not finite": ({"data offset values": ["nan"] * BANDS}, "not finite"),
    "scale 0": ({"reflectance scale factor": "0"}, "reflectance scale factor in its header cannot be used"),
    "two gains": (
        {"data gain values": [0.1] * BANDS, "data reflectance gain values": [0.2] * BANDS},
        "contradict each other",
    ),
    "gain and scale": ({"data gain values": [0.1] * BANDS, "reflectance scale factor": 10_000}, "contradict"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_unusable_gains_are_refused(case):
    fields, message = CONTRADICTIONS[case]
    path = write_envi("a", stored_numbers(), **fields)
    assert message in problems_of(path)
    assert problems_of(path, gain=1e-4, offset=0) == ""


def test_contradicting_gains_of_tiff_and_aux_xml_are_refused():
    path = write_gdal("a.tif", stored_numbers(), "GTiff", set_scales, profile="BASELINE")
    aux = Path("a.tif.aux.xml").read_text()
    write_gdal("a.tif", stored_numbers(), "GTiff", lambda raster: setattr(raster, "scales", [0.1] * BANDS))
    Path("a.tif.aux.xml").write_text(aux)
    assert "contradict each other: set gain and offset" in problems_of(path)


def test_aux_xml_that_is_a_copy_of_a_header_does_not_count():
    """GDAL writes one with statistics, for example when a program shows the image."""
    path = write_envi(
        "a",
        stored_numbers(),
        data_gain_values=list(GAINS / 20_000),
        data_offset_values=list(OFFSETS),
        data_ignore_value=-9999,
        wavelength=NANOMETRES,
        wavelength_units="Nanometers",
        fwhm=[7] * BANDS,
        bbl=BAD,
    )
    before = describe(path)
    with rasterio.open(path) as raster:
        raster.stats(approx=False)
    rasterio.shutil.copy(path, "b.img", driver="ENVI")  # to have GDAL write an .aux.xml file in any version
    Path("b.img.aux.xml").replace("a.img.aux.xml")
    text = Path("a.img.aux.xml").read_text()
    assert "<Scale>" in text and "wavelength" in text
    assert list(File(path=path).pixel_files()) == ["a.img", "a.hdr"]
    assert describe(path) == before
    header = Path("a.hdr").read_text()
    Path("a.hdr").write_text(header.replace("data ignore value", "some value"))
    assert list(File(path=path).pixel_files()) == ["a.img", "a.hdr", "a.img.aux.xml"]
    assert describe(path).invalid == ("-9999",)
    Path("a.hdr").write_text(header.replace("data gain values = { 5e-05", "data gain values = { 7e-05"))
    assert describe(path).gains[0] == 7e-05  # the header was corrected


def item_of_file(cube: np.ndarray, **tags: Any) -> str:
    return write_gdal("a.tif", cube, "GTiff", lambda raster: raster.update_tags(**tags))


@pytest.mark.parametrize("tags", [{"scale_factor": "1e-4"}, {"reflectance_scale_factor": "10000"}])
def test_gain_that_is_an_item_of_a_tiff(tags):
    """Programs that apply a gain often copy the item: it does not say whether floating-point values need it."""
    path = item_of_file((reflectance() * 10_000).round().astype(np.int16), **tags)
    np.testing.assert_allclose(read(path), reflectance(), atol=6e-5)
    path = item_of_file(reflectance().astype(np.float32), **tags)
    assert "may have been applied to its floating-point values already" in problems_of(path)
    assert problems_of(path, gain=1, offset=0) == ""


def test_scale_of_bands_of_floating_point_values():
    cube = stored_numbers().astype(np.float32)
    np.testing.assert_allclose(read(write_gdal("a.tif", cube, "GTiff", set_scales)), reflectance(), atol=2e-4)


def test_aux_xml_with_statistics_only_does_not_count():
    path = write_gdal("a.tif", stored_numbers())
    with rasterio.open(path) as raster:
        raster.statistics(1, approx=False, clear_cache=True)
    Path("a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MAXIMUM">3</MDI></Metadata>'
        "</PAMRasterBand></PAMDataset>"
    )
    assert list(File(path=path).pixel_files()) == ["a.tif"]
    np.testing.assert_array_equal(read(path), stored_numbers())


# --- Invalid pixels

CORNER = np.s_[:6, :5]  # the invalid pixels


def filled(fill: float, dtype: Any = np.float32) -> np.ndarray:
    cube = reflectance().astype(dtype) if np.dtype(dtype).kind == "f" else (reflectance() * 100).astype(dtype)
    cube[:, *CORNER] = fill
    return cube


def invalid_envi(fill: float, dtype: Any) -> str:
    return write_envi("a", filled(fill, dtype), data_ignore_value=f"{fill}")


def invalid_pcidsk(fill: float, dtype: Any) -> str:
    return write_gdal("a.pix", filled(fill, dtype), "PCIDSK", lambda raster: tag_bands(raster, NO_DATA_VALUE=f"{fill}"))


def invalid_by_item(fill: float, dtype: Any) -> str:
    return write_gdal("a.tif", filled(fill, dtype), "GTiff", lambda raster: tag_bands(raster, _FillValue=f"{fill}"))


INVALID = {
    "ENVI": invalid_envi,
    "ENVI by GDAL": lambda fill, dtype: write_gdal("a.img", filled(fill, dtype), "ENVI", nodata=fill),
    "ENVI in zip": lambda fill, dtype: pack("a.zip", invalid_envi(fill, dtype), "a.hdr"),
    "GeoTIFF": lambda fill, dtype: write_gdal("a.tif", filled(fill, dtype), nodata=fill),
    "GeoTIFF, items": invalid_by_item,
    "GeoTIFF, .aux.xml": lambda fill, dtype: write_gdal("a.tif", filled(fill, dtype), nodata=fill, profile="BASELINE"),
    "PCIDSK": invalid_pcidsk,
    "PCIDSK, .aux.xml": lambda fill, dtype: write_gdal("a.pix", filled(fill, dtype), "PCIDSK", nodata=fill),
}


def assert_corner_invalid(values: np.ndarray) -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[CORNER] = True
    np.testing.assert_array_equal(np.isnan(values), np.broadcast_to(mask, values.shape))


@pytest.mark.parametrize("case", INVALID)
@pytest.mark.parametrize("fill", FILLS)
def test_declared_fill_values_are_invalid(case, fill):
    path = INVALID[case](fill, np.float32)
    values = read(path)
    assert_corner_invalid(values)
    np.testing.assert_array_equal(values[:, 6:], filled(fill)[:, 6:])


@pytest.mark.parametrize("case", INVALID)
def test_nan_is_declared_as_invalid_in_each_band(case):
    path = INVALID[case](float("nan"), np.float32)
    assert not describe(path).unusable
    assert_corner_invalid(read(path))


@pytest.mark.parametrize("change", ["bands = 11", "lines = 63", "samples = 63", "data type = 1"])
def test_envi_header_that_describes_fewer_bytes_is_refused(change):
    """Without this, the pixels of most bands would be read from wrong places."""
    path = write_envi("a", stored_numbers())
    header = Path("a.hdr").read_text()
    name = change.partition(" =")[0]
    Path("a.hdr").write_text(re.sub(rf"^{name} = .*$", change, header, flags=re.MULTILINE))
    with pytest.raises(DataError, match=r"it has 98304 bytes, but its header describes \d+: correct samples, lines"):
        describe(path)


@pytest.mark.parametrize("case", ["ENVI", "GeoTIFF", "PCIDSK"])
def test_fill_value_inside_the_range_of_valid_values(case):
    cube = filled(37, np.uint8)
    inside = cube == 37
    assert inside[:, 6:].any()  # the value also occurs elsewhere: these pixels are invalid, too
    np.testing.assert_array_equal(np.isnan(read(INVALID[case](37, np.uint8))), inside)


@pytest.mark.parametrize("case", ["ENVI", "GeoTIFF"])
def test_scene_without_its_invalid_pixels(case):
    file = File(path=INVALID[case](-9999.9, np.float32))
    array, manifest = cut_and_load(Cube(files=(file,), bands="1-12"), BANDS)
    assert_corner_invalid(array)
    assert manifest["invalid_pixels"] == 30
    assert manifest["minimum"] == pytest.approx(np.nanmin(read(file.path)))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("-3.40282e+38", np.finfo(np.float32).min),
        ("-3.40282346638529E+38", np.finfo(np.float32).min),
        ("9.96921e+36", 9.969209968386869e36),  # the fill value of NetCDF
        ("-1.0d30", -1e30),
        ("{-9999}", -9999),
    ],
)
def test_spellings_of_ignore_values(text, stored):
    path = write_envi("a", filled(stored))
    add_fields("a.hdr", data_ignore_value=text)
    assert_corner_invalid(read(path))


@pytest.mark.parametrize("case", INVALID)
def test_nan_may_be_the_declared_fill_value(case):
    path = INVALID[case](np.nan, np.float32)
    assert_corner_invalid(read(path))
    assert problems_of(path) == ""


def test_fill_value_of_the_largest_float_with_two_digits():
    path = write_envi("a", filled(np.finfo(np.float32).min), data_ignore_value="-3.4e+38")  # as ArcGIS writes it
    assert_corner_invalid(read(path))


def test_advice_on_an_undeclared_mark_keeps_the_declared_ones():
    cube = stored_numbers()
    cube[:, *CORNER], cube[:, 20:22, 20:22] = -32768, -9999
    path = write_gdal("a.tif", cube, nodata=-32768)
    problem = problems_of(path)
    assert "set invalid: [-32768, -9999] in its entry, or invalid: [-32768] if it is valid" in problem
    assert problems_of(path, invalid=(-32768, -9999)) == ""
    mask = np.isnan(read(path, invalid=(-32768, -9999)))
    np.testing.assert_array_equal(mask, (cube == -32768) | (cube == -9999))


@pytest.mark.parametrize("name", ["fill_value", "missing_data", "NoData", "Data Ignore Value"])
def test_spellings_of_items_for_no_data(name):
    path = write_gdal("a.tif", filled(-9999.9), change=lambda raster: tag_bands(raster, **{name: "-9999.9"}))
    assert_corner_invalid(read(path))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"slope": "0.0001", "intercept": "0"}, "the item slope of the bands in the file looks like a calibration"),
        ({"ScaleFactor": "0.0001"}, "the item scalefactor of the bands"),
        ({"gain": "1", "offset": "0", "bias": "dark"}, None),
    ],
)
def test_items_that_look_like_a_calibration_are_refused(items, message):
    path = write_gdal("a.tif", stored_numbers(), change=lambda raster: tag_bands(raster, **items))
    assert (message in problems_of(path)) if message else (problems_of(path) == "")
    assert problems_of(path, gain=1, offset=0) == ""


def test_entry_replaces_declared_fill_value():
    path = INVALID["GeoTIFF"](-9999.9, np.float32)
    np.testing.assert_array_equal(read(path, invalid=()), filled(-9999.9))


def write_masked(internal: bool) -> str:
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[CORNER] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        return write_gdal("a.tif", reflectance(), change=lambda raster: raster.write_mask(mask))


@pytest.mark.parametrize("internal", [True, False])
def test_masks_of_tiff(internal):
    path = write_masked(internal)
    assert_corner_invalid(read(path))
    assert describe(path).has_mask
    assert ("a.tif.msk" in File(path=path).pixel_files()) == (not internal)
    assert_corner_invalid(read(path, invalid=(-9999,)))  # a mask holds no values that invalid could replace
    np.testing.assert_array_equal(read(path, invalid=()), reflectance())


@pytest.mark.parametrize("driver", ["ENVI", "PCIDSK"])
def test_mask_file_of_other_rasters(driver):
    write_masked(internal=False)
    name = {"ENVI": "b.img", "PCIDSK": "b.pix"}[driver]
    write_gdal(name, reflectance(), driver)
    Path("a.tif.msk").rename(f"{name}.msk")
    assert_corner_invalid(read(name))


def test_mask_file_of_another_size_is_refused():
    write_masked(internal=False)
    write_gdal("b.tif", reflectance()[:, :50])
    Path("b.tif").replace("a.tif")
    with pytest.raises(DataError, match="a.tif.msk, has 64 x 64 pixels instead of 50 x 64"):
        read("a.tif")


def test_alpha_band_is_a_mask_and_no_band():
    cube = (reflectance()[:4] * 200).astype(np.uint8)
    cube[3] = 255
    cube[3][CORNER] = 0
    path = write_gdal("a.tif", cube, photometric="RGB", alpha="YES")
    assert describe(path).bad_bands == (4,)
    assert_corner_invalid(read(path)[:3])


def test_fill_values_that_differ_between_bands_are_refused():
    def change(raster: Any) -> None:
        tag_bands(raster, NO_DATA_VALUE=[str(-i) for i in range(BANDS)])

    path = write_gdal("a.pix", stored_numbers(), "PCIDSK", change)
    assert "set invalid in its entry" in problems_of(path)
    assert problems_of(path, invalid=(-1,)) == ""


# --- Wavelengths and bad bands

UNITS = {
    "nm": 1,
    "Nanometer": 1,
    "Nanometers": 1,
    "nanometres": 1,
    "[nm]": 1,
    "um": 1e-3,
    "µm": 1e-3,
    "Microns": 1e-3,
    "Micrometers": 1e-3,
    "MICROMETERS": 1e-3,
    "mm": 1e-6,
    "Millimeters": 1e-6,
    "Centimeters": 1e-7,
    "m": 1e-9,
    "Angstroms": 10,
    "Unknown": 1,
    "": 1e-3,
    "Micrometers, but these are nm": 1,
}


def assert_wavelengths(description: CubeDescription, fwhm: float | None = None) -> None:
    assert not description.unusable
    assert description.nanometres == pytest.approx(NANOMETRES, rel=1e-6)
    assert description.fwhm == (None if fwhm is None else pytest.approx([fwhm] * BANDS, rel=1e-6))


@pytest.mark.parametrize("unit", UNITS)
def test_units_of_envi(unit):
    factor = UNITS[unit]
    path = write_envi("a", stored_numbers())
    add_fields(
        "a.hdr",
        Wavelength_Units=unit.split(",")[0],
        wavelength="{\n" + ",\n".join(f"{value * factor:.9g}" for value in NANOMETRES) + "}",
        fwhm="{" + ", ".join([f"{7 * factor:.9g}"] * BANDS) + "}",
    )
    assert_wavelengths(describe(path), 7)


@pytest.mark.parametrize(("unit", "factor"), [("Wavenumber", 1e7), ("GHz", 299_792_458), ("MHz", 299_792_458e3)])
def test_inverse_units_of_envi(unit, factor):
    path = write_envi("a", stored_numbers(), wavelength=[factor / value for value in NANOMETRES])
    add_fields("a.hdr", wavelength_units=unit)
    assert_wavelengths(describe(path))


@pytest.mark.parametrize(
    ("unit", "numbers"),
    [("Index", range(400, 412)), ("Unknown", range(1, 13)), ("", range(12)), ("Nanometers", range(1, 13))],
)
def test_numbers_of_bands_are_not_wavelengths(unit, numbers):
    path = write_envi("a", stored_numbers(), wavelength=[*numbers], wavelength_units=unit)
    description = describe(path)
    assert description.nanometres is None and not description.unusable
    assert description.good_bands() == [*range(1, 13)]


def tiff_with(**lists: Any) -> str:
    return write_gdal("a.tif", stored_numbers(), "GTiff", lambda raster: tag_bands(raster, **lists))


def tiff_with_tags(namespace: str | None = None, **tags: Any) -> str:
    return write_gdal("a.tif", stored_numbers(), "GTiff", lambda raster: raster.update_tags(ns=namespace, **tags))


def name_bands(pattern: str, factor: float = 1) -> Any:
    def change(raster: Any) -> None:
        for i, value in enumerate(NANOMETRES, 1):
            raster.set_band_description(i, pattern.format(i, value * factor))

    return change


def as_list(values: Any) -> str:
    return "{" + ", ".join(map(str, values)) + "}"


MICROMETRES = [value / 1000 for value in NANOMETRES]
DECLARED_WAVELENGTHS = {
    "items": lambda: tiff_with(wavelength=NANOMETRES, wavelength_units="Nanometers", fwhm=7),
    "items, other case": lambda: tiff_with(WAVELENGTH=NANOMETRES, WAVELENGTH_UNITS="nm", FWHM=7),
    "items in um": lambda: tiff_with(wavelength=MICROMETRES, wavelength_unit="um", fwhm=0.007),
    "items with units": lambda: tiff_with(wavelength=[f"{value} nm" for value in NANOMETRES], fwhm="7 nm"),
    "items in different units": lambda: tiff_with(WAVELENGTH=MICROMETRES, WAVELENGTH_UNIT="um", FWHM="7 nm"),
    "items as of Sentinel-2": lambda: tiff_with(
        WAVELENGTH=NANOMETRES, WAVELENGTH_UNIT="nm", BANDWIDTH="0.007", BANDWIDTH_UNIT="um"
    ),
    "items without units": lambda: tiff_with(wavelength_nm=NANOMETRES, bandwidth=7),
    "domain IMAGERY": lambda: write_gdal(
        "a.tif",
        stored_numbers(),
        "GTiff",
        lambda raster: tag_bands(raster, "IMAGERY", CENTRAL_WAVELENGTH_UM=MICROMETRES, FWHM_UM=0.007),
    ),
    "domain ENVI": lambda: tiff_with_tags(
        "ENVI", wavelength=as_list(MICROMETRES), wavelength_units="Micrometers", fwhm=as_list([0.007] * BANDS)
    ),
    "lists": lambda: tiff_with_tags(wavelength=str(NANOMETRES), wavelength_units="nm", fwhm=str([7] * BANDS)),
    "PCIDSK": lambda: write_gdal(
        "a.pix",
        stored_numbers(),
        "PCIDSK",
        lambda raster: tag_bands(raster, wavelength=NANOMETRES, wavelength_units="Nanometers", fwhm=7),
    ),
    ".aux.xml": lambda: write_gdal(
        "a.img",
        stored_numbers(),
        "ENVI",
        lambda raster: tag_bands(raster, wavelength=NANOMETRES, wavelength_units="Nanometers", fwhm=7),
    ),
}


@pytest.mark.parametrize("case", DECLARED_WAVELENGTHS)
def test_wavelengths_of_rasters(case):
    path = DECLARED_WAVELENGTHS[case]()
    assert_wavelengths(describe(path), 7)
    assert "nm instead of 1800 to 2900" in problems_of(path, nanometres=(1800, 2900))
    assert problems_of(path, nanometres=(450, 2400)) == ""


@pytest.mark.parametrize(
    ("pattern", "factor"),
    [
        ("Band {} ({} Nanometers)", 1),
        ("{1} nm", 1),
        ("b{0} ({1:.4f})", 1e-3),
        ("{1:g} um", 1e-3),
        ("{1:.2f}", 1),
        ("B{0}_{1:.1f}nm", 1),
        ("B{0}-{1:g}um", 1e-3),
        ("wl{1}nm", 1),
        ("refl:{1} nm", 1),
    ],
)
@pytest.mark.parametrize("driver", ["GTiff", "PCIDSK", "ENVI"])
def test_wavelengths_in_names_of_bands(pattern, factor, driver):
    name = {"GTiff": "a.tif", "PCIDSK": "a.pix", "ENVI": "a.img"}[driver]
    path = write_gdal(name, stored_numbers(), driver, name_bands(pattern, factor))
    assert_wavelengths(describe(path))


@pytest.mark.parametrize(
    "pattern", ["Band {}", "Band ({})", "{0} of 12 at {1}", "{1}", "year {1}", "B{0}_10m", "B{0}_v1.5", "2020-01-{0}"]
)
def test_names_of_bands_without_wavelengths(pattern):
    description = describe(write_gdal("a.tif", stored_numbers(), "GTiff", name_bands(pattern)))
    assert description.nanometres is None and not description.unusable


def test_wavelengths_survive_gdal():
    write_envi("a", stored_numbers(), wavelength=[value + 0.4 for value in NANOMETRES], wavelength_units="Nanometers")
    rasterio.shutil.copy("a.img", "b.tif", driver="GTiff")
    expected = [value + 0.4 for value in NANOMETRES]
    for path in ("a.img", "b.tif"):  # GDAL rounds those of the domain IMAGERY
        assert describe(path).nanometres == pytest.approx(expected, abs=1e-6)


def test_band_without_wavelength():
    path = tiff_with(wavelength=[*NANOMETRES[:3], 0, *NANOMETRES[4:]], wavelength_units="nm")
    description = describe(path)
    assert description.nanometres[3] is None
    assert description.good_bands() == [1, 2, 3, *range(5, 13)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"wavelength": NANOMETRES[:5]}, "5 numbers for 12 bands"),
        ({"wavelength": NANOMETRES, "fwhm": [1, 2]}, "fwhm in its header cannot be used (it has 2 numbers for 12"),
        ({"scale factor": 10_000}, "scale factor in its header looks like a calibration: set gain and offset in its"),
        ({"radiance gain values": [2] * BANDS}, "radiance gain values in its header looks like a calibration"),
        ({"wavelength": [-1] * BANDS}, "none of them positive"),
        ({"wavelength": ["red"] * BANDS}, "'red' is not a number"),
        ({"wavelength": [1e9, *NANOMETRES[1:]]}, "are not those of an optical sensor"),
        ({"data ignore value": "none"}, "data ignore value in its header cannot be used ('none' is not a number)"),
    ],
)
def test_unusable_fields_are_refused(fields, message):
    path = write_envi("a", stored_numbers(), **fields)
    assert message in problems_of(path)


def test_unusable_list_of_bad_bands_needs_a_list_of_bands():
    path = write_envi("a", stored_numbers(), bbl=[1, 0])
    with pytest.raises(
        DataError, match=r"bbl in its header cannot be used \(it has 2 numbers for 12 bands\): correct it, or list the"
    ):
        resolve_bands(Cube(files=(File(path=path),)))
    assert problems_of(path, bands="1-12") == ""


BAD = [int(i not in (2, 11)) for i in range(BANDS)]
BAD_BANDS = {
    "ENVI": lambda: write_envi("a", stored_numbers(), bbl=BAD),
    "GeoTIFF, items": lambda: tiff_with(bbl=BAD),
    "GeoTIFF, domain ENVI": lambda: tiff_with_tags("ENVI", bbl=as_list(BAD)),
    "GeoTIFF, list": lambda: tiff_with_tags(bbl=as_list(BAD)),
}


def test_vrt_is_not_called_a_web_page():
    rasterio.shutil.copy(write_gdal("a.tif", stored_numbers()), "a.vrt", driver="VRT")
    with pytest.raises(DataError, match="it is a VRT, which points to other files: convert it with gdal_translate"):
        describe("a.vrt")


def test_file_of_one_band_is_no_cube():
    with pytest.raises(DataError, match="a.tif has one band: write all bands to one file"):
        resolve_bands(Cube(files=(File(path=write_gdal("a.tif", stored_numbers()[:1])),)))


BBLS = {"a": "101111111111", "b": "111111101111"}


@pytest.mark.parametrize("case", BAD_BANDS)
def test_bad_bands(case):
    description = describe(BAD_BANDS[case]())
    assert description.bad_bands == (3, 12)
    assert description.good_bands() == [1, 2, *range(4, 12)]


def test_bands_that_any_file_declares_as_bad_are_left_out():
    files = [File(path=write_envi(name, stored_numbers(), bbl=[*map(int, flags)])) for name, flags in BBLS.items()]
    assert bands.resolve_bands(Cube(files=files)).bands == "1, 3-7, 9-12"
    files.append(File(path=write_envi("c", stored_numbers()[:6])))  # which has too few bands is refused by its shape
    assert bands.resolve_bands(Cube(files=files)).bands == "1, 3-7, 9-12"


def test_wavelengths_of_the_entry_are_those_of_the_good_bands():
    files = [File(path=BAD_BANDS["ENVI"]())]
    with pytest.raises(DataError, match=r"nanometres has 12 values for 10 bands: .*: 1-2, 4-11, which a.img does not"):
        bands.resolve_bands(Cube(files=files, nanometres=NANOMETRES))
    good = NANOMETRES[:2] + NANOMETRES[3:11]
    assert bands.resolve_bands(Cube(files=files, nanometres=good)).bands == "1-2, 4-11"


# --- Position, units, history


@pytest.mark.parametrize("driver", ["GTiff", "PCIDSK", "ENVI"])
def test_position(driver):
    name = {"GTiff": "a.tif", "PCIDSK": "a.pix", "ENVI": "a.img"}[driver]
    transform = rasterio.Affine(30, 0, 500_000, 0, -20, 4_000_000)
    write_gdal(name, stored_numbers(), driver, crs="EPSG:32632", transform=transform)
    description = describe(name)
    assert '"central_meridian",9' in description.crs and "Transverse_Mercator" in description.crs
    assert description.geotransform == (500_000, 30, 0, 4_000_000, 0, -20)
    turned = describe(name, axes="bands columns rows")
    assert turned.geotransform == (500_000, 0, 30, 4_000_000, -20, 0)


def test_position_in_aux_xml():
    transform = rasterio.Affine(30, 0, 500_000, 0, -20, 4_000_000)
    path = write_gdal("a.tif", stored_numbers(), crs="EPSG:32632", transform=transform, profile="BASELINE")
    assert "SRS" in Path("a.tif.aux.xml").read_text()
    description = describe(path)
    assert '"central_meridian",9' in description.crs
    assert description.geotransform == (500_000, 30, 0, 4_000_000, 0, -20)
    assert "a.tif.aux.xml" in File(path=path).pixel_files()


def test_world_file():
    transform = rasterio.Affine(30, 0, 500_000, 0, -20, 4_000_000)
    path = write_gdal("a.tif", stored_numbers(), transform=transform, tfw="YES", profile="BASELINE")
    Path("a.tif.aux.xml").unlink(missing_ok=True)
    assert [*File(path=path).pixel_files()] == ["a.tif", "a.tfw"]  # a change of either cuts the scene again
    assert describe(path).geotransform == (500_000, 30, 0, 4_000_000, 0, -20)
    Path("a.tfw").write_text("x" * 2000)
    assert describe(path).geotransform is None


def test_units_and_history():
    def change(raster: Any) -> None:
        raster.units = ["reflectance"] * BANDS
        raster.update_tags(TIFFTAG_IMAGEDESCRIPTION="a flight", TIFFTAG_SOFTWARE="some program")

    description = describe(write_gdal("a.tif", stored_numbers(), "GTiff", change))
    assert (description.units, description.history) == ("reflectance", "a flight; some program")
    path = write_envi("b", stored_numbers(), description="a flight", z_plot_titles=["Wavelength", "Radiance"])
    assert (describe(path).units, describe(path).history) == ("Radiance", "a flight")


@pytest.mark.parametrize(
    ("format", "path", "driver"),
    [("ENVI", "a.img", "ENVI"), ("GeoTIFF", "a.tif", "GTiff"), ("PCIDSK", "a.pix", "PCIDSK")],
)
def test_every_fact_that_a_format_can_declare(format, path, driver):
    def change(raster: Any) -> None:
        set_scales(raster)
        raster.units = ["1"] * BANDS
        tag_bands(raster, wavelength=NANOMETRES, wavelength_units="nm", fwhm=7, bbl=BAD, NO_DATA_VALUE="-1")
        raster.update_tags(history="a flight")
        raster.write_mask(np.zeros((SIZE, SIZE), np.uint8))

    transform = rasterio.Affine(30, 0, 500_000, 0, -20, 4_000_000)
    write_gdal(path, stored_numbers(), driver, change, crs="EPSG:32632", transform=transform)
    description = describe(path)
    facts = frozenset.union(*FORMAT_FACTS.values())
    assert {fact for fact in facts if getattr(description, fact)} == FORMAT_FACTS[format]


# --- Pages, headers, archives, content


def test_pages_of_a_tiff_are_bands():
    cube = stored_numbers().astype(np.uint16)
    tifffile.imwrite("a.tif", cube, photometric="minisblack")
    tifffile.imwrite("b.tif", cube, imagej=True)
    images = [Image.fromarray(band) for band in cube]
    images[0].save("c.tif", save_all=True, append_images=images[1:], compression="tiff_deflate")
    for path in ("a.tif", "b.tif", "c.tif"):
        np.testing.assert_array_equal(read(path), cube)
        assert problems_of(path) == ""
    np.testing.assert_array_equal(read("a.tif", axes="bands columns rows"), cube.swapaxes(1, 2))


def test_pages_that_are_no_bands_are_refused():
    with tifffile.TiffWriter("a.tif") as tiff:
        tiff.write(stored_numbers()[0])
        tiff.write(stored_numbers()[1, :50])
    with pytest.raises(DataError, match=r"2 pages are not the bands of one image .*64 x 64 x 1 of int16, 50 x 64 x 1"):
        read("a.tif")
    with tifffile.TiffWriter("b.tif") as tiff:
        for _ in range(2):
            tiff.write(np.moveaxis(stored_numbers(), 0, 2), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match="2 pages are not the bands"):
        read("b.tif")


def test_files_of_several_formats_are_open_at_once():
    paths = [SCALED["GeoTIFF"](), scaled_envi(), write_gdal("a.pix", stored_numbers(), "PCIDSK")]
    tifffile.imwrite("b.tif", stored_numbers(), photometric="minisblack")
    with ExitStack() as stack:
        readers = [stack.enter_context(open_cube(File(path=path))) for path in (*paths, "b.tif", "a.img")]
        values = [reader.read(0, BANDS, slice(0, SIZE), slice(0, SIZE)) for reader in readers]
    for i, expected in enumerate((reflectance(), reflectance(), stored_numbers(), stored_numbers(), reflectance())):
        np.testing.assert_allclose(values[i], expected, atol=2e-4)


def test_too_many_pages_are_refused(monkeypatch):
    monkeypatch.setattr(raster, "MAX_PAGES", 11)
    tifffile.imwrite("a.tif", stored_numbers(), photometric="minisblack")
    with pytest.raises(DataError, match="12 pages, more than 11: write a TIFF of one page"):
        read("a.tif")


def test_preview_page_of_a_tiff_does_not_matter():
    with tifffile.TiffWriter("a.tif") as tiff:
        tiff.write(np.moveaxis(stored_numbers(), 0, 2), photometric="minisblack", planarconfig="contig")
        tiff.write(np.zeros((8, 8), np.uint8))
    np.testing.assert_array_equal(read("a.tif"), stored_numbers())


@pytest.mark.parametrize("options", [{"tiled": True}, {"BIGTIFF": "YES"}, {"interleave": "pixel"}, {"compress": "lzw"}])
def test_layouts_of_tiff(options):
    blocks = {"blockxsize": 16, "blockysize": 32} if "tiled" in options else {}
    path = write_gdal("a.tif", stored_numbers(), "GTiff", set_scales, **options, **blocks)
    np.testing.assert_allclose(read(path), reflectance(), atol=2e-4)


@pytest.mark.parametrize("header", ["a.hdr", "a.HDR", "a.Hdr", "a.img.hdr", "a.img.HDR", "a.img.Hdr", "A.hdr"])
@pytest.mark.parametrize("archive", [False, True])
def test_names_of_headers(header, archive):
    path = scaled_envi()
    Path("a.hdr").rename(header)
    if not archive:
        assert [*File(path=path).pixel_files()] == [path, header]
    np.testing.assert_allclose(read(pack("a.zip", path, header) if archive else path), reflectance(), atol=2e-4)


def test_header_as_path():
    scaled_envi()
    with pytest.raises(DataError, match="it is an ENVI header: name the file with the pixels"):
        read("a.hdr")


def test_empty_fields_declare_nothing():
    path = write_envi("a", stored_numbers())
    add_fields("a.hdr", wavelength="{}", data_ignore_value="", bbl="{ }", data_gain_values="{,}", fwhm="")
    assert problems_of(path) == ""
    np.testing.assert_array_equal(read(path), stored_numbers())


def test_free_text_in_items_is_no_list():
    path = item_of_file(stored_numbers(), wavelength="400-2500 nm", bbl="see paper", scale_factor="none")
    assert problems_of(path) == ""
    assert describe(path).nanometres is None


def test_two_headers():
    path = scaled_envi()
    Path("a.img.hdr").write_text(Path("a.hdr").read_text())
    np.testing.assert_allclose(read(path), reflectance(), atol=2e-4)
    add_fields("a.img.hdr", description="another")
    with pytest.raises(DataError, match="its headers a.hdr and a.img.hdr differ"):
        read(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"major_frame_offsets": "{12, 0}"}, "major frame offsets"),
        ({"minor_frame_offsets": "{0, 4}"}, "minor frame offsets"),
        ({"read_procedures": "{my_spectral, my_spatial}"}, "read procedures"),
        ({"file_compression": "1"}, "compressed"),
        ({"bands": "6"}, "'bands' twice"),
    ],
)
def test_headers_that_are_not_supported(fields, message):
    path = write_envi("a", stored_numbers())
    add_fields("a.hdr", **fields)
    with pytest.raises(DataError, match=message):
        read(path)


@pytest.mark.parametrize("fields", [{"major_frame_offsets": "{0, 0}"}, {"default_bands": "{3, 2}"}, {"x_start": "5"}])
def test_fields_that_do_not_change_values(fields):
    path = write_envi("a", stored_numbers())
    add_fields("a.hdr", **fields)
    np.testing.assert_array_equal(read(path), stored_numbers())


def test_spectral_library_is_refused():
    path = write_envi("a", stored_numbers())
    header = Path("a.hdr").read_text()
    Path("a.hdr").write_text(header.replace("ENVI Standard", "ENVI Spectral Library"))
    with pytest.raises(DataError, match="spectral library"):
        read(path)


def test_header_that_does_not_start_with_envi():
    path = write_envi("a", stored_numbers())
    Path("a.hdr").write_text("\n" + Path("a.hdr").read_text())
    with pytest.raises(DataError, match="a.hdr, does not start with the line ENVI"):
        read(path)


def test_header_of_a_raw_file_does_not_count_for_a_tiff_of_the_same_name():
    scaled_envi()
    write_gdal("a.tif", stored_numbers())
    np.testing.assert_array_equal(read("a.tif"), stored_numbers())


def test_header_with_the_name_of_the_tiff_counts():
    scaled_tiff_with_header()
    Path("a.hdr").rename("a.tif.hdr")
    write_envi("a", stored_numbers())
    np.testing.assert_allclose(read("a.tif"), reflectance(), atol=2e-4)
    np.testing.assert_array_equal(read("a.img"), stored_numbers())


def test_tiff_with_another_suffix_and_header():
    scaled_tiff_with_header()
    Path("a.tif").rename("a.dat")
    np.testing.assert_allclose(read("a.dat"), reflectance(), atol=2e-4)


FIRST_VALUES = [
    ("int16", 60, 3132),  # "<", "<\x0c"
    ("int16", 3132, 100),
    ("uint8", 60, 200),
    ("uint8", 91, 40),  # "["
    ("uint8", 123, 40),  # "{"
    ("int16", 0x4949, 42),  # a TIFF
    ("int16", 0x4B50, 0x0403),  # a zip archive
]


@pytest.mark.parametrize(("dtype", "first", "second"), FIRST_VALUES)
def test_header_decides_what_a_raw_file_is(dtype, first, second):
    cube = (reflectance() * 250 + 32).astype(dtype)  # printable as text
    cube[0, 0, :2] = first, second
    file = File(path=write_envi("a", cube))
    np.testing.assert_array_equal(read(file.path), cube)
    assert len(verify_file(file, None)) == 64
    assert problems_of(file.path, invalid=()) == ""


@pytest.mark.parametrize("name", ["a.img", "a.tif"])
def test_web_page_instead_of_a_raster(name):
    Path(name).write_text("<html><title>403</title></html>")
    with pytest.raises(DataError, match="it is a web page, not data"):
        read(name)
    with pytest.raises(DataError, match="is a web page or a message instead of data"):
        verify_file(File(path=name), None)


def test_raw_numbers_that_start_like_text_are_no_text():
    for dtype, first in (("int16", 3132), ("int16", 60), ("uint8", 60), ("uint8", 91), ("uint8", 123)):
        values = (reflectance() * 250 + 32).astype(dtype)
        values[0, 0, 0] = first
        assert not is_text(values.tobytes()[:512])


def test_formats_that_archives_may_hold():
    write_gdal("a.tif", stored_numbers())
    np.savez("a.npz", stored_numbers())
    np.save("a.npy", stored_numbers())
    for name in ("a.tif", "a.npz", "a.npy"):
        with pytest.raises(DataError, match=r"is a (TIFF|zip archive or .npz|.npy).*only ENVI and PCIDSK are read"):
            read(pack("a.zip", name))
    write_envi("b", stored_numbers())
    Path("b.hdr").unlink()
    with pytest.raises(DataError, match="b.img has no ENVI header: only ENVI and PCIDSK are read"):
        read(pack("b.zip", "b.img"))


# --- Properties


@st.composite
def cubes(draw: Any) -> tuple[np.ndarray, Any]:
    """Return a random cube, and a value that marks invalid pixels, None for no mark."""
    dtype = np.dtype(draw(st.sampled_from(["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])))
    shape = draw(st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 7)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind == "f":
        cube = rng.normal(0, 10.0 ** draw(st.integers(-3, 6)), shape).astype(dtype)
    else:
        cube = rng.integers(0, 250, shape).astype(dtype)
    fill = draw(st.none() | st.integers(0, 200) | st.sampled_from([*FILLS, -9999.0, -32768.0, 65535.0]))
    if (
        fill is not None
        and dtype.kind in "iu"
        and not (float(fill).is_integer() and np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max)
    ):
        fill = None
    if fill is not None:
        cube[rng.random(shape) < 0.2] = fill
    return cube, fill


transforms = st.none() | st.tuples(st.floats(1e-5, 1e3), st.floats(-10, 10), st.booleans())


def expected_values(cube: np.ndarray, fill: Any, transform: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the physical values, the gains and the offsets."""
    bands = len(cube)
    gain, offset, varies = transform or (1, 0, False)
    gains = np.array([gain * (1 + i * varies) for i in range(bands)])
    offsets = np.array([offset + i * varies for i in range(bands)])
    values = cube.astype(np.float64) * gains[:, None, None] + offsets[:, None, None]
    if fill is not None:
        values[cube == cube.dtype.type(fill)] = np.nan
    return values, gains, offsets


@settings(max_examples=60, deadline=None)
@given(cubes(), transforms, st.sampled_from(["bsq", "bil", "bip"]), st.booleans(), st.booleans(), st.booleans())
def test_envi_round_trip(cube_and_fill, transform, interleave, big_endian, gdal, zipped):
    cube, fill = cube_and_fill
    expected, gains, offsets = expected_values(cube, fill, transform)
    for name in Path().glob("r.*"):
        name.unlink()
    if gdal:
        options = {"interleave": interleave, **({} if fill is None else {"nodata": fill})}

        def change(raster: Any) -> None:
            if transform:
                raster.scales, raster.offsets = gains, offsets

        write_gdal("r.img", cube, "ENVI", change, **options)
    else:
        metadata = {} if fill is None else {"data ignore value": repr(float(fill))}
        if transform:
            metadata |= {"data gain values": list(gains), "data offset values": list(offsets)}
        spectral.io.envi.save_image(
            "r.hdr",
            np.moveaxis(cube, 0, 2),
            dtype=cube.dtype,
            interleave=interleave,
            byteorder=int(big_endian),
            metadata=metadata,
            force=True,
        )
    path = pack("r.zip", "r.img", "r.hdr", *map(str, Path().glob("r.img.aux.xml"))) if zipped else "r.img"
    np.testing.assert_allclose(read(path), expected, rtol=1e-6, atol=1e-6 * np.nanmax(np.abs(gains)))


@settings(max_examples=12, deadline=None)
@given(cubes(), transforms, st.sampled_from(["BAND", "PIXEL", "TILED"]), st.booleans())
def test_pcidsk_round_trip(cube_and_fill, transform, interleaving, turned):
    cube, fill = cube_and_fill
    if cube.dtype not in ("uint8", "int16", "uint16", "float32"):
        cube, fill = cube.astype(np.float32), fill if cube.dtype.kind == "f" else None
    expected, gains, offsets = expected_values(cube, fill, transform)
    for name in Path().glob("r.*"):
        name.unlink()

    def change(raster: Any) -> None:
        if transform:
            raster.scales, raster.offsets = gains, offsets

    options = {"interleaving": interleaving, **({} if fill is None else {"nodata": fill})}
    write_gdal("r.pix", cube, "PCIDSK", change, **options)
    values = read("r.pix", axes="bands columns rows").swapaxes(1, 2) if turned else read("r.pix")
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6 * np.nanmax(np.abs(gains)))


@settings(max_examples=60, deadline=None)
@given(
    cubes(),
    transforms,
    st.sampled_from([{}, {"interleave": "pixel"}, {"compress": "deflate"}, {"BIGTIFF": "YES"}, {"endianness": "BIG"}]),
    st.sampled_from([None, "mask", "file"]),
    st.booleans(),
)
def test_tiff_round_trip(cube_and_fill, transform, options, mask_kind, baseline):
    cube, fill = cube_and_fill
    expected, gains, offsets = expected_values(cube, fill, transform)
    for name in Path().glob("r.tif*"):
        name.unlink()
    mask = np.random.default_rng(0).integers(0, 2, cube.shape[1:]).astype(np.uint8) * 255

    def change(raster: Any) -> None:
        if transform:
            raster.scales, raster.offsets = gains, offsets
        if mask_kind:
            raster.write_mask(mask)

    more = {**options, "photometric": "MINISBLACK", **({} if fill is None else {"nodata": fill})}
    if baseline:
        more["profile"] = "BASELINE"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=mask_kind == "mask"):
        write_gdal("r.tif", cube, "GTiff", change, **more)
    if mask_kind:
        expected[:, mask == 0] = np.nan
    np.testing.assert_allclose(read("r.tif"), expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_field_is_used_or_refused_with_one_sentence(data):
    texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=30)
    numbers = st.lists(st.floats() | st.integers(), max_size=14).map(as_list)
    names = ["wavelength", "wavelength units", "fwhm", "bbl", "data gain values", "data offset values"]
    names += ["data ignore value", "reflectance scale factor", "band names", "z plot titles", "default bands"]
    fields = data.draw(st.dictionaries(st.sampled_from(names), texts | numbers, max_size=4))
    path = write_envi("r", stored_numbers())
    add_fields("r.hdr", **fields)
    try:
        problems = problems_of(path)
    except DataError as error:
        problems = str(error)
    assert problems.isprintable() and (not problems or problems.endswith("."))
    json.dumps(describe_or_none(path))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.booleans())
def test_any_item_is_used_or_refused_with_one_sentence(data, baseline):
    texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=30)
    numbers = (st.floats() | st.integers()).map(str) | st.lists(st.floats(), max_size=14).map(as_list)
    names = ["wavelength", "wavelengths", "wavelength_units", "fwhm", "bbl", "scale_factor", "add_offset", "_FillValue"]
    names += ["NO_DATA_VALUE", "reflectance_scale_factor", "data_gain_values", "data_ignore_value", "description"]
    items = st.dictionaries(st.sampled_from(names), texts | numbers, max_size=4)
    of_bands, of_file, of_envi = (data.draw(items) for _ in range(3))
    description = data.draw(texts | numbers)

    def change(raster: Any) -> None:
        for namespace, tags in ((None, of_file), ("ENVI", of_envi)):
            raster.update_tags(ns=namespace, **tags)
        for band in range(1, 3):
            raster.update_tags(band, **of_bands)
            raster.set_band_description(band, description)

    for name in Path().glob("r.tif*"):
        name.unlink()
    path = write_gdal("r.tif", stored_numbers()[:2], "GTiff", change, **({"profile": "BASELINE"} if baseline else {}))
    try:
        problems = problems_of(path, "1-2")
    except DataError as error:
        problems = str(error)
    assert problems.isprintable() and (not problems or problems.endswith("."))
    json.dumps(describe_or_none(path))


def describe_or_none(path: str) -> Any:
    """Return the description as the manifest has it, None if the file is refused."""
    with ExitStack() as stack:
        try:
            return stack.enter_context(open_cube(File(path=path))).description.to_json()
        except DataError:
            return None
