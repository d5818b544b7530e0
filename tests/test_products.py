"""EnMAP L2A, DESIS L2A, PRISMA L2D and EMIT L2A are read as public readers read them, or refused with one sentence.

tests/products.py writes the files and computes the expected values; no official file was available.
"""

import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from cubes import call_directly, cut_and_load

from lkca.data import bands, scenes
from lkca.data.catalog import Cube, File
from lkca.data.inspection import inspect_file
from lkca.data.readers import open_cube
from lkca.data.readers.products import metadata, prisma
from lkca.errors import DataError
from tests.products import (
    COLUMNS,
    EMPTY,
    PRISMA_BANDS,
    ROWS,
    UTM32,
    Product,
    write_desis,
    write_emit,
    write_enmap,
    write_prisma,
    write_tiff,
)

GOOD = {"EnMAP L2A": write_enmap, "DESIS L2A": write_desis, "PRISMA L2D": write_prisma, "EMIT L2A": write_emit}


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """Run each test in its own folder, without the process of the sandbox."""
    monkeypatch.chdir(tmp_path)
    for module in (scenes, bands):
        monkeypatch.setattr(module, "run_sandboxed", call_directly)


def open_product(stack: ExitStack, path: Path, **entry: Any) -> Any:
    return stack.enter_context(open_cube(File(path=str(path), **entry)))


def read_all(path: Path, **entry: Any) -> np.ndarray:
    with ExitStack() as stack:
        reader = open_product(stack, path, **entry)
        return reader.read(0, reader.shape[2], slice(0, reader.shape[0]), slice(0, reader.shape[1]))


def assert_equal(values: np.ndarray, expected: np.ndarray) -> None:
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)  # also that NaN is at the same pixels


def good_values(product: Product) -> np.ndarray:
    return np.delete(product.values, [number - 1 for number in product.bad_bands], 0)


@pytest.mark.parametrize("name", GOOD)
def test_product_is_described_and_its_values_are_physical(name):
    product = GOOD[name](Path())
    with ExitStack() as stack:
        reader = open_product(stack, product.path)
        description = reader.description
        values = reader.read(0, reader.shape[2], slice(0, ROWS), slice(0, COLUMNS))
    assert description.format == name
    assert description.shape == (ROWS, COLUMNS, len(product.values))
    assert list(description.nanometres) == product.nanometres
    assert list(description.fwhm) == product.fwhm
    assert list(description.bad_bands) == product.bad_bands
    assert not description.unusable
    good = [number - 1 for number in description.good_bands()]
    assert_equal(values[good], good_values(product))
    if name == "EMIT L2A":  # on the grid of the sensor
        assert description.crs is None and description.geotransform is None
    else:
        assert rasterio.crs.CRS.from_wkt(description.crs) == UTM32
        assert description.geotransform == (628785, 30, 0, 5294265, 0, -30)


@pytest.mark.parametrize("name", GOOD)
def test_scene_of_a_product_needs_only_its_path(name):
    product = GOOD[name](Path())
    cube = bands.resolve_bands(Cube(files=[File(path=str(product.path))]))
    array, manifest = cut_and_load(cube, len(cube.band_numbers()))
    values = good_values(product)
    expected = np.where(np.isnan(values).any(0), np.nan, values / np.nanmax(values))
    np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)
    assert manifest["nanometres"] == [centre for centre in product.nanometres if centre and _good(product, centre)]
    assert manifest["invalid_pixels"] == np.isnan(values).any(0).sum()
    assert manifest["areas"][0]["description"]["format"] == name


def _good(product: Product, centre: float) -> bool:
    return product.nanometres.index(centre) + 1 not in product.bad_bands


@pytest.mark.parametrize("name", GOOD)
def test_verify_says_what_the_product_declares(name):
    product = GOOD[name](Path())
    cube = bands.resolve_bands(Cube(files=[File(path=str(product.path))]))
    properties, problems, _ = inspect_file(cube, cube.files[0], cube.band_numbers())
    assert problems == []
    assert properties["format"] == name
    used = [centre for centre in product.nanometres if centre and _good(product, centre)]
    assert properties["wavelengths"].startswith(f"{used[0]:g} to {used[-1]:g} nm (")
    assert properties["units"] == "surface reflectance"


@pytest.mark.parametrize("block_bytes", [2**26, 5000])
def test_windows_of_prisma_are_parts_of_the_whole(block_bytes, monkeypatch):
    monkeypatch.setattr(prisma, "BLOCK_BYTES", block_bytes)
    product = write_prisma(Path())
    number = len(product.values)
    rng = np.random.default_rng(0)
    with ExitStack() as stack:
        reader = open_product(stack, product.path)
        for _ in range(30):
            (first, last), (top, bottom), (left, right) = (
                sorted(rng.choice(size + 1, 2, replace=False)) for size in (number - 2, ROWS, COLUMNS)
            )
            window = reader.read(first, last, slice(top, bottom), slice(left, right))
            assert_equal(window, product.values[first:last, top:bottom, left:right])


def test_bands_of_both_prisma_cubes_ascend_and_those_of_one_keep_their_order():
    product = write_prisma(Path())
    known = [centre for centre in product.nanometres if centre]
    assert known == sorted(known) == sorted(c for centres, _ in PRISMA_BANDS.values() for c in centres if c)
    name = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_Cube"
    with ExitStack() as stack:
        description = open_product(stack, product.path, variable=name).description
    assert [centre or 0 for centre in description.nanometres] == PRISMA_BANDS["Swir"][0]
    values = read_all(product.path, variable=name)
    for i, centre in enumerate(PRISMA_BANDS["Swir"][0][:-1]):
        assert_equal(values[i], product.values[product.nanometres.index(centre)])


def test_black_prisma_pixel_is_valid_and_pixel_outside_the_swath_is_not():
    values = read_all(write_prisma(Path()).path)[:-2]  # all but the bands that were not acquired
    assert np.isnan(values[:, 0, 0]).all()
    assert sorted(values[:, 20, 20])[:2] == [0, np.float32(0.02)]  # where the scales of the detectors start


def test_prisma_band_without_a_flag_is_bad():
    product = write_prisma(Path())
    with h5py.File(product.path, "a") as file:
        file.attrs["List_Cw_Vnir_Flags"] = np.array([0, 1, 1, 1, 1, 1, 0, 1], np.int32)  # 550.5 nm, too
    with ExitStack() as stack:
        description = open_product(stack, product.path).description
    assert 550.5 not in description.nanometres
    assert len(description.good_bands()) == len(product.values) - 3


def test_prisma_corners_are_optional():
    product = write_prisma(Path())
    with h5py.File(product.path, "a") as file:
        del file.attrs["Epsg_Code"]
    with ExitStack() as stack:
        description = open_product(stack, product.path).description
    assert description.crs is None and description.geotransform is None


def test_flags_of_good_wavelengths_are_no_wavelengths():
    product = write_emit(Path())
    with h5py.File(product.path, "a") as file:
        file.attrs["instrument"] = "another sensor with this layout"
    with ExitStack() as stack:
        description = open_product(stack, product.path, variable="reflectance", axes="rows columns bands").description
    assert description.format == "NetCDF 4"
    assert list(description.nanometres) == product.nanometres
    assert list(description.bad_bands) == product.bad_bands


def test_gain_that_emit_declares_is_applied():
    product = write_emit(Path())
    with h5py.File(product.path, "a") as file:
        file["reflectance"].attrs["scale_factor"] = np.float32(0.5)
    values = read_all(product.path)
    assert_equal(values, product.values / 2)


def test_emit_without_flags_has_no_bad_bands():
    product = write_emit(Path())
    with h5py.File(product.path, "a") as file:
        del file["sensor_band_parameters/good_wavelengths"]
    with ExitStack() as stack:
        assert open_product(stack, product.path).description.bad_bands == ()


NAMES = {  # image -> metadata
    "-SPECTRAL_IMAGE.TIF": "-METADATA.XML",
    "-SPECTRAL_IMAGE.tiff": "-METADATA.xml",
    "-SPECTRAL_IMAGE_COG.TIF": "-METADATA.XML.XML",
}


@pytest.mark.parametrize("image", NAMES)
def test_enmap_metadata_are_found_by_each_of_their_names(image):
    product = write_enmap(Path(), image=image, metadata=NAMES[image], declare_nodata=False)
    assert_equal(np.delete(read_all(product.path), [10, 11], 0), good_values(product))


def test_enmap_files_without_the_name_of_the_product_are_recognised():
    product = write_enmap(Path())
    path = product.path.rename("SPECTRAL_IMAGE.TIF")
    next(Path().glob("*-METADATA.XML")).rename("METADATA.XML")
    assert_equal(np.delete(read_all(path), [10, 11], 0), good_values(product))


def test_enmap_envi_image_is_recognised():
    product = write_enmap(Path())
    path = product.path.with_suffix(".BSQ")
    rasterio.shutil.copy(product.path, path, driver="ENVI")
    assert_equal(np.delete(read_all(path), [10, 11], 0), good_values(product))


def test_enmap_background_of_the_metadata_does_not_count():
    product = write_enmap(Path())  # the metadata say 0
    with rasterio.open(product.path, "r+") as file:
        pixels = file.read(1)
        pixels[20, 20] = 0
        file.write(pixels, 1)
    values = read_all(product.path)
    assert values[0, 20, 20] == 0
    assert np.isnan(values[0, 0, 0])


def test_enmap_empty_bands_without_statistics_are_named():
    product = write_enmap(Path(), statistics=False)
    cube = bands.resolve_bands(Cube(files=[File(path=str(product.path))]))
    _, problems, _ = inspect_file(cube, cube.files[0], cube.band_numbers())
    assert len(problems) == 1
    assert "bands 11-12 have no valid pixel" in problems[0] and "bands: 1-10, 13-14" in problems[0]


@pytest.mark.parametrize("write", [write_enmap, write_desis])
def test_image_without_its_metadata_can_be_used_with_settings(write):
    product = write(Path(), **({"metadata": None} if write is write_enmap else {"header": False}))
    used = "1-10, 13-14" if write is write_enmap else "1-12"
    facts = {"nanometres": [centre for centre in product.nanometres if _good(product, centre)]}
    for settings, expected in (({}, "is not next to it|is missing"), ({"gain": 0.0001, "offset": 0}, None)):
        cube = Cube(files=[File(path=str(product.path), **settings)], bands=used, **(facts if settings else {}))
        _, problems, _ = inspect_file(cube, cube.files[0], cube.band_numbers())
        if expected:
            assert len(problems) == 1 and re.search(expected, problems[0])
            assert re.search("METADATA.XML|SPECTRAL_IMAGE.hdr", problems[0])
        else:
            assert problems == []
    assert_equal(
        np.delete(read_all(product.path, gain=0.0001), [b - 1 for b in product.bad_bands], 0), good_values(product)
    )


@pytest.mark.parametrize("write", [write_enmap, write_desis])
@pytest.mark.parametrize(("scale", "fits"), [(0.0001, True), (0.001, False)])
def test_gains_of_an_image_must_be_those_next_to_it(write, scale, fits):
    product = write(Path())
    with rasterio.open(product.path, "r+") as file:
        file.scales = [scale] * file.count
    with ExitStack() as stack:
        description = open_product(stack, product.path).description
    assert ("contradict each other: set gain" in description.unusable.get("gains", "")) == (not fits)
    with ExitStack() as stack:
        description = open_product(stack, product.path, gain=0.001, offset=0).description
    assert not description.unusable and {*description.gains} == {0.001}


def test_prisma_pixels_outside_the_swath_can_be_declared_valid():
    product = write_prisma(Path())
    values = read_all(product.path, invalid=[])
    assert not np.isnan(values).any()
    assert (values[:-2, 0, 0] < 0.021).all()  # where the scales of the detectors start


def test_float_image_of_enmap_is_not_scaled_twice():
    product = write_enmap(Path())
    with rasterio.open(product.path) as file:
        profile, pixels = file.profile, file.read()
    with rasterio.open(product.path, "w", **{**profile, "dtype": "float32"}) as file:
        file.write(np.where(pixels == EMPTY, EMPTY, pixels * 1e-4).astype(np.float32))
    for settings, expected in (
        ({}, ["are float32, but those of EnMAP L2A are integers"]),
        ({"gain": 1, "offset": 0}, []),
    ):
        cube = Cube(files=[File(path=str(product.path), **settings)], bands="1-10, 13-14")
        _, problems, _ = inspect_file(cube, cube.files[0], cube.band_numbers())
        assert len(problems) == len(expected)
        assert all(text in problem for text, problem in zip(expected, problems, strict=True))
    assert_equal(np.delete(read_all(product.path, gain=1, offset=0), [10, 11], 0), good_values(product))


def test_desis_metadata_are_optional_if_the_name_has_the_level():
    product = write_desis(Path(), metadata=False)
    assert_equal(read_all(product.path), product.values)


@pytest.mark.parametrize("image", ["-SPECTRAL_IMAGE.tif", "-SPECTRAL_IMAGE.TIF"])
def test_desis_gains_of_the_header_are_applied_band_by_band(image):
    product = write_desis(Path(), image=image)
    header = next(Path().glob("*.hdr"))
    gains = np.linspace(1, 3, len(product.values)) * 1e-4
    offsets = np.linspace(0, 0.2, len(product.values))
    lists = [re.sub(r"\n", "", text) for text in (",\n".join(map(str, values)) for values in (gains, offsets))]
    text = header.read_text()
    for key, values in zip(("data gain values", "data offset values"), lists, strict=True):
        text = re.sub(rf"{key} = \{{[^}}]*\}}", f"{key} = {{{values}}}", text)
    header.write_text(text)
    stored = product.values / 1e-4
    assert_equal(read_all(product.path), stored * gains[:, None, None] + offsets[:, None, None])


def truncate(product: Product) -> None:
    content = product.path.read_bytes()
    product.path.write_bytes(content[: len(content) * 6 // 10])


def swap_bands(product: Product) -> None:
    path = next(Path().glob("*METADATA*"))
    path.write_text(path.read_text().replace('number="2"', 'number="9"', 1))


def replace_in_metadata(old: str, new: str) -> Any:
    def change(_: Product) -> None:
        path = next(Path().glob("*METADATA*"))
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return change


def nest(_: Product) -> None:
    path = next(Path().glob("*METADATA*"))
    path.write_text("<level_X>" + "<a>" * 100_000)


def swell(_: Product) -> None:
    with next(Path().glob("*METADATA*")).open("r+b") as file:
        file.truncate(metadata.MAX_BYTES + 1)


def set_attribute(name: str, value: Any) -> Any:
    def change(product: Product) -> None:
        with h5py.File(product.path, "a") as file:
            file.attrs[name] = value

    return change


def shorten(name: str) -> Any:
    def change(product: Product) -> None:
        with h5py.File(product.path, "a") as file:
            values = file[name][()]
            del file[name]
            file[name] = values[:-1]

    return change


def link(name: str) -> Any:
    """Replace an array of a product by a link to the same array of another file."""

    def change(product: Product) -> None:
        shutil.copy(product.path, "elsewhere.h5")
        with h5py.File(product.path, "a") as file:
            del file[name]
            file[name] = h5py.ExternalLink("elsewhere.h5", f"/{name}")

    return change


LOLS = '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]>'
VNIR = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube"
BAD = {  # name -> (function that writes the product, what it changes, message)
    "EnMAP L1B": (
        lambda: write_enmap(Path(), "L1B", image="-SPECTRAL_IMAGE_VNIR.TIF"),
        None,
        "EnMAP L1B, not EnMAP L2A",
    ),
    "EnMAP L1C": (lambda: write_enmap(Path(), "L1C"), None, "EnMAP L1C, not EnMAP L2A, .* order the scene as L2A"),
    "EnMAP with too few bands": (
        lambda: write_enmap(Path(), bands_in_xml=13),
        None,
        "has 14 bands, but its metadata describe 13: get the image and the metadata of one product",
    ),
    "EnMAP with bands in another order": (lambda: write_enmap(Path()), swap_bands, "get the image and the metadata"),
    "EnMAP truncated": (lambda: write_enmap(Path()), truncate, "IReadBlock failed"),
    "EnMAP with entities": (lambda: write_enmap(Path(), doctype=LOLS), None, "METADATA.XML, have a DOCTYPE"),
    "EnMAP with truncated metadata": (
        lambda: write_enmap(Path()),
        lambda product: truncate(product._replace(path=next(Path().glob("*METADATA*")))),
        "METADATA.XML, are not XML",
    ),
    "EnMAP with deep metadata": (lambda: write_enmap(Path()), nest, "METADATA.XML, are nested too deeply"),
    "EnMAP with huge metadata": (lambda: write_enmap(Path()), swell, "METADATA.XML, have more than 32 MiB"),
    "EnMAP with a NaN": (
        lambda: write_enmap(Path()),
        replace_in_metadata("<FWHMOfBand>7.1<", "<FWHMOfBand>nan<"),
        "no number in FWHMOfBand of band 3",
    ),
    "EnMAP without a gain": (
        lambda: write_enmap(Path()),
        replace_in_metadata("<GainOfBand>0.0001<", "<GainOfBand>unknown<"),
        "no number in GainOfBand of band 1",
    ),
    "DESIS L1C": (lambda: write_desis(Path(), "L1C"), None, "DESIS L1C, not DESIS L2A"),
    "DESIS L1C without metadata": (lambda: write_desis(Path(), "L1C", metadata=False), None, "not DESIS L2A"),
    "DESIS with too few bands": (
        lambda: write_desis(Path(), bands_in_header=11),
        None,
        r"48 x 40 x 12 .*SPECTRAL_IMAGE.hdr, describes 48 x 40 x 11: get the image and the header of one product",
    ),
    "DESIS truncated": (lambda: write_desis(Path()), truncate, "IReadBlock failed"),
    "PRISMA L1": (lambda: write_prisma(Path(), "1"), None, "PRISMA L1, not PRISMA L2D, .*: get the scene as L2D"),
    "PRISMA L2C": (lambda: write_prisma(Path(), "2C"), None, "PRISMA L2C, not PRISMA L2D"),
    "PRISMA without wavelengths": (lambda: write_prisma(Path(), wavelengths=False), None, "List_Cw_Vnir is missing"),
    "PRISMA without scales": (lambda: write_prisma(Path(), scales=False), None, "L2ScaleVnirMin is missing"),
    "PRISMA with wrong scales": (
        lambda: write_prisma(Path()),
        set_attribute("L2ScaleSwirMax", np.float32(0.01)),
        "L2ScaleSwirMin and Max are 0.02 and 0.01",
    ),
    "PRISMA with too few wavelengths": (
        lambda: write_prisma(Path()),
        set_attribute("List_Cw_Swir", np.float32([900, 950])),
        "List_Cw_Swir has 2 values instead of 7",
    ),
    "PRISMA with words as wavelengths": (
        lambda: write_prisma(Path()),
        set_attribute("List_Cw_Swir", "four hundred"),
        "List_Cw_Swir is missing or not numbers",
    ),
    "PRISMA with cubes of different sizes": (lambda: write_prisma(Path()), shorten(VNIR), "unlike that of PRISMA"),
    "PRISMA with a link": (lambda: write_prisma(Path()), link(VNIR), "has no HDFEOS.*VNIR_Cube: download it again"),
    "PRISMA truncated": (lambda: write_prisma(Path()), truncate, "truncated file"),
    "EMIT mask": (lambda: write_emit(Path(), "L2A_MASK"), None, "holds mask instead of reflectance: get EMIT_L2A_RFL"),
    "EMIT uncertainty": (lambda: write_emit(Path(), "L2A_RFLUNCERT"), None, "holds reflectance_uncertainty instead"),
    "EMIT radiance": (lambda: write_emit(Path(), "L1B_RAD"), None, "holds radiance instead of reflectance"),
    "EMIT without wavelengths": (
        lambda: write_emit(Path(), wavelengths=False),
        None,
        "wavelengths is missing or does not fit its 12 bands",
    ),
    "EMIT with too few wavelengths": (
        lambda: write_emit(Path()),
        shorten("sensor_band_parameters/wavelengths"),
        "sensor_band_parameters/wavelengths is missing or does not fit its 12 bands: download it again",
    ),
    "EMIT with a link": (lambda: write_emit(Path()), link("reflectance"), "holds no image instead of reflectance"),
    "EMIT truncated": (lambda: write_emit(Path()), truncate, "truncated file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_product_is_refused_with_one_sentence(name):
    write, change, message = BAD[name]
    product = write()
    if change:
        change(product)
    with pytest.raises(DataError, match=message) as error:
        read_all(product.path)
    text = str(error.value)
    assert text.startswith(f"{product.path} cannot be read")
    assert text.endswith(".") and "\n" not in text


@pytest.mark.parametrize("write", [write_prisma, write_emit])
def test_axes_of_an_entry_must_be_those_of_the_product(write):
    product = write(Path())
    with pytest.raises(DataError, match="leave axes out of its entry"):
        read_all(product.path, axes="bands rows columns")


def test_layer_of_a_product_is_a_mask_but_not_a_cube():
    product = write_enmap(Path())
    layer = Path(str(product.path).replace("SPECTRAL_IMAGE", "QL_QUALITY_CLOUD"))
    clouds = np.zeros((1, ROWS, COLUMNS), np.uint8)
    clouds[0, 30:40, 20:25] = 1
    write_tiff(layer, clouds)
    with pytest.raises(DataError, match="it is the layer QL_QUALITY_CLOUD of a product: use its image, ENMAP01.*TIF"):
        read_all(layer)
    values = read_all(product.path, mask=str(layer))
    assert (np.isnan(values).all(0) == (np.isnan(good_values(product)).any(0) | (clouds[0] == 1))).all()


def test_metadata_are_not_an_image():
    write_enmap(Path())
    with pytest.raises(DataError, match="it is XML: name the image that it describes"):
        read_all(next(Path().glob("*METADATA.XML")))


@pytest.mark.parametrize(("write", "sidecars"), [(write_enmap, {".XML"}), (write_desis, {".hdr", ".xml"})])
def test_files_next_to_an_image_count_as_its_pixels(write, sidecars):
    product = write(Path())
    Path("other-METADATA.XML").write_text("<a/>")
    files = File(path=str(product.path)).pixel_files()
    assert {Path(path).suffix for path in files} == {product.path.suffix, *sidecars}
    assert not any("other" in path for path in files)


@pytest.mark.parametrize("name", ["my-SPECTRAL_IMAGE.tif", "SPECTRAL_IMAGE.tif", "scene.tif"])
def test_other_images_are_read_as_before(name):
    product = write_enmap(Path(), metadata=None)
    path = product.path.rename(name)
    if name.startswith("my"):
        Path("my-METADATA.XML").write_text("<my/>")
    with ExitStack() as stack:
        description = open_product(stack, path).description
    assert description.format == "GeoTIFF"
    assert not description.gains and not description.unusable


@pytest.mark.parametrize("write", [write_enmap, write_desis])
def test_image_can_be_transposed(write):
    product = write(Path())
    values = read_all(product.path, axes="bands columns rows")
    good = [number - 1 for number in range(1, len(values) + 1) if number not in product.bad_bands]
    assert_equal(values[good], product.values[good].swapaxes(1, 2))
