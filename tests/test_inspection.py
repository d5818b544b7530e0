"""A wrong file is recognised by its shape, values and wavelengths; a known lookalike is named in the message."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from cubes import PIXELS, array_file, call_directly, cut_and_load, make_cube, save_cube
from scipy.io import savemat

from lkca.data import scenes
from lkca.data.catalog import CUBES, Cube, File
from lkca.data.inspection import inspect_file, spread_bands
from lkca.data.measurement import measure_band
from lkca.errors import DataError
from tests import generated_cubes


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """Run each test in its own folder, without the process of the sandbox; paths of cubes are relative."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scenes, "run_sandboxed", call_directly)


def add_nan(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.astype(float)
    pixels[10, 10, 5] = np.nan
    return pixels


def shuffle(pixels: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permuted(pixels.ravel()).reshape(pixels.shape)


WRONG = {  # name -> (function that changes the pixels of 40 rows, 36 columns and 12 bands, message)
    "infinity": (lambda pixels: np.where(np.isnan(add_nan(pixels)), np.inf, pixels), "band 6 holds 1 infinite values"),
    "constant band": (lambda pixels: pixels * (np.arange(12) != 5), "band 6 has one value everywhere"),
    "negative": (lambda pixels: -pixels.astype(np.int16), "none of its values is positive"),
    "byte order": (lambda pixels: pixels.byteswap(), "hardly correlated"),
    "noise": (shuffle, "hardly correlated"),
    "divided by its maximum": (lambda pixels: pixels / pixels.max(), "it was divided already"),
    "bytes": (lambda pixels: (pixels / 5000 * 255).astype(np.uint8), "it was divided already"),
    "transposed": (lambda pixels: pixels.transpose(2, 0, 1), "another order, 12 x 40 x 36 instead of 40 x 36"),
    "one row less": (lambda pixels: pixels[1:], "39 x 36 x 12 rows, columns and bands instead of 40 x 36 x 12"),
    "lookalike": (lambda pixels: pixels[:20], "it is the little one; get the scene from https://x.org/y"),
    "transposed lookalike": (lambda pixels: pixels[:20].transpose(2, 1, 0), "it is the little one"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_file_is_described(wrong, tmp_path):
    change, message = WRONG[wrong]
    savemat("cube.mat", {"cube": change(PIXELS)})
    facts = {"shape": (40, 36, 12), "least_maximum": 1000, "not_this": [((20, 36, 12), "the little one")]}
    with pytest.raises(DataError, match=f"cube.mat is not what it should be: .*{message}"):
        cut_and_load(make_cube(array_file("cube.mat", "cube"), **facts))
    assert not list(tmp_path.glob("out/*"))


def test_lookalike_is_recognised_by_an_array_of_another_name():
    savemat("cube.mat", {"other": PIXELS[:20]})
    cube = make_cube(array_file("cube.mat", "cube"), not_this=[((20, 36, 12), "the little one")])
    with pytest.raises(DataError, match="it is the little one"):
        cut_and_load(cube)


def test_right_file_has_no_problems():
    cube = save_cube()
    properties, problems, _ = inspect_file(cube, cube.files[0], cube.band_numbers())
    assert problems == []
    crop = PIXELS[2:38, 1:33]
    assert properties["shape"] == "40 rows, 36 columns, 12 bands"
    assert properties["type"] == "uint16" and properties["valid part"] == "1152 of 1152 pixels"
    assert properties["values"] == f"{crop.min()} to {crop.max()} in the valid part"


def test_file_smaller_than_the_crop_is_refused():
    np.save("a.npy", PIXELS[:30])
    with pytest.raises(DataError, match=r"a\.npy has 30 x 36 pixels, too few for the crop \[2, 38, 1, 33\]"):
        cut_and_load(make_cube(array_file("a.npy")))


def test_too_few_bands_are_refused():
    with pytest.raises(DataError, match="it has 12 bands, not 20"):
        cut_and_load(save_cube(bands="1-20"))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("declared", [True, False])
def test_pixels_without_data_are_marked_or_named(declared):
    pixels = PIXELS.copy()
    pixels[10:12, 10:13] = 65535
    profile = {"driver": "GTiff", "width": 36, "height": 40, "count": 12, "dtype": "uint16"}
    with rasterio.open("a.tif", "w", nodata=65535 if declared else None, **profile) as raster:
        raster.write(pixels.transpose(2, 0, 1))
    file = File(path="a.tif", axes="bands rows columns")
    if not declared:
        with pytest.raises(
            DataError, match="its value 65535 in 6 pixels of band 1, the first at row 10, column 10, is a "
        ):
            cut_and_load(make_cube(file))
        file = file.model_copy(update={"invalid": (65535,)})
    scene, manifest = cut_and_load(make_cube(file))
    invalid = np.zeros((36, 32), bool)
    invalid[8:10, 9:12] = True  # the crop starts at row 2, column 1
    np.testing.assert_array_equal(np.isnan(scene), np.broadcast_to(invalid, scene.shape))
    assert manifest["invalid_pixels"] == 6 and manifest["maximum"] == PIXELS[2:38, 1:33][~invalid].max()


def change_at(value: float, *pixels: tuple[int, ...]) -> np.ndarray:
    """Return the cube as float32 reflectance up to 0.5, with a value at some (row, column) or (row, column, band)."""
    cube = (PIXELS / 10_000).astype(np.float32)
    for pixel in pixels:
        cube[pixel] = value
    return cube


SUSPICIOUS = {  # name -> (cube, message)
    "one huge value": (
        change_at(1e30, (20, 20, 4)),
        r"its value 1e\+30 in 1 pixel of band 5, the first at row 20, column 20, is a usual mark of invalid pixels",
    ),
    "one fill value": (change_at(-9999, (20, 20, 4)), "its value -9999 in 1 pixel of band 5"),
    "frame": (change_at(-999, (slice(0, 9),)), "value -999 in 224 pixels of band 1, the first at row 2, column 1,"),
    "outlier": (change_at(300, (20, 20, 4)), "is far from all others"),
    "saturated row": (
        np.where(np.arange(40)[:, None, None] == 30, 65535, PIXELS).astype(np.uint16),
        "its value 65535 in 32 pixels of band 1, the first at row 30, column 1, is a usual",
    ),
    "negative": (
        change_at(-0.4, (slice(5, 9), slice(5, 9))),
        "its value -0.4 in band 1, row 5, column 5, is far below zero",
    ),
    "zero bands": (
        change_at(0, (..., slice(3, 5)), (..., 9)),
        "bands 4-5, 10 have one value everywhere; leave them out with bands: 1-3, 6-9, 11-12",
    ),
}


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_suspicious_values_are_named(name):
    pixels, message = SUSPICIOUS[name]
    np.save("a.npy", pixels)
    with pytest.raises(DataError, match=message):
        cut_and_load(make_cube(array_file("a.npy")))


def test_bright_objects_on_dark_ground_are_no_marks():
    ground = (PIXELS * 1e-6).astype(np.float32)  # water
    ground[20:23, 20:23] = np.linspace(0.4, 0.9, 12)  # a boat
    np.save("a.npy", ground)
    assert cut_and_load(make_cube(array_file("a.npy")))[1]["maximum"] == pytest.approx(0.9)
    ground[20:23, 20:23] = 0.9  # the same in all bands
    np.save("a.npy", ground)
    with pytest.raises(DataError, match="its value 0.9 in 9 pixels of band 1, .* is far from all others"):
        cut_and_load(make_cube(array_file("a.npy")))


def test_user_may_declare_suspicious_values():
    np.save("a.npy", change_at(3, (20, 20, 4)))
    _, manifest = cut_and_load(make_cube(array_file("a.npy", invalid=())))
    assert manifest["maximum"] == 3 and manifest["invalid_pixels"] == 0
    np.save("a.npy", change_at(-9999, (20, 20, 4)))
    scene, manifest = cut_and_load(make_cube(array_file("a.npy", invalid=(-9999,))))
    assert manifest["invalid_pixels"] == 1 and np.isnan(scene[:, 18, 19]).all()


@pytest.mark.parametrize(
    "mask, message",
    [
        (
            np.ones((40, 36)),
            "no pixel is valid; correct its invalid or its mask, mask.npy, in which 0 stands for valid",
        ),
        (
            np.zeros((36, 40)),
            "its mask mask.npy has 36 rows, 40 columns and 1 bands, but the file has 40 rows and 36 c",
        ),
        (None, "mask.npy, the mask of a.npy, is missing: correct mask in its entry"),
    ],
)
def test_masks_that_do_not_fit_are_named(mask, message):
    np.save("a.npy", PIXELS)
    if mask is not None:
        np.save("mask.npy", mask)
    with pytest.raises(DataError, match=message):
        cut_and_load(make_cube(array_file("a.npy", mask="mask.npy")))


def test_pixels_that_are_invalid_in_one_band_count_in_none():
    cube = change_at(np.nan, (20, 20, 4))
    cube[20, 20, 0] = 3
    np.save("a.npy", cube)
    file = array_file("a.npy")
    described = make_cube(file)
    measured = inspect_file(described, file, described.band_numbers())[2]
    _, manifest = cut_and_load(described)
    largest = np.delete(cube[2:38, 1:33].reshape(-1, 12), 18 * 32 + 19, 0).max()
    assert max(band.maximum for band in measured.statistics) == manifest["maximum"] == largest < 1


def test_band_that_is_constant_at_valid_pixels_is_refused():
    cube = change_at(0.25, (..., 3))
    cube[:10, :, 3], cube[:10, :, 4] = 0.3, np.nan
    np.save("a.npy", cube)
    with pytest.raises(DataError, match="band 4 has one value everywhere; leave it out with bands: 1-3, 5-12"):
        cut_and_load(make_cube(array_file("a.npy")))


def test_files_in_different_units_are_refused():
    np.save("train.npy", PIXELS)
    np.save("test.npy", change_at(0))
    files = array_file("train.npy", use="train"), array_file("test.npy", use="test")
    with pytest.raises(DataError, match="test.npy and train.npy are in different units: their mean values are 0."):
        cut_and_load(make_cube(*files))
    scene, _ = cut_and_load(make_cube(files[0].model_copy(update={"gain": 1e-4}), files[1]))
    np.testing.assert_allclose(scene[:, :36], scene[:, 36:], rtol=1e-6)


def test_published_cube_holds_no_nan():
    np.save("a.npy", change_at(np.nan, (20, 20, 4)))
    with pytest.raises(DataError, match="it holds NaN, .*first in band 5, row 20, column 20; download it again"):
        cut_and_load(make_cube(array_file("a.npy"), shape=(40, 36, 12)))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("houston2018", (601, 2384, 50), "labelled part that phase 1"),
        ("houston2018", (1202, 4768, 50), "resampled to 0.5 m"),
        ("houston2018", (601, 2384, 48), "HoustonU"),
        ("houston2018", (210, 954, 48), "Houston18.mat"),
        ("houston2018", (349, 1905, 144), "contest of 2013"),
        ("houston2018", (4172, 1202, 50), "another order"),
        ("pavia_centre", (610, 340, 103), "Pavia University"),
        ("pavia_centre", (1096, 1096, 102), "blank strip"),
        ("pavia_centre", (102, 715, 1096), "another order"),
        ("chikusei", (2304, 2048, 128), "already cut out"),
        ("chikusei", (128, 2335, 2517), "another order"),
    ],
)
def test_published_lookalikes_are_named(name, shape, message):
    """The shape suffices: the file contains only zeros. The rows of Houston's raster are the scene's columns."""
    np.lib.format.open_memmap("x.npy", mode="w+", dtype=np.int16, shape=shape)
    file = File(path="x.npy", axes="columns rows bands" if name == "houston2018" else "rows columns bands")
    with pytest.raises(DataError, match=f"x.npy is not what it should be: .*{message}"):
        inspect_file(CUBES[name], file, [1])


@pytest.mark.parametrize(("published", "problem"), [((372, 1010), False), ((340, 1018), True), ((363, 1040), True)])
def test_wavelengths_are_compared(published, problem):
    """The file has 362.59 to 1018.02 nm; a difference of 15 nm is tolerated."""
    generated_cubes.write_chikusei_zip(Path("x.zip"), PIXELS)
    file = File(
        path=f"x.zip/{generated_cubes.CHIKUSEI_FOLDER}/{generated_cubes.CHIKUSEI}.bsq", axes="bands rows columns"
    )
    cube = make_cube(file, nanometres=published)
    properties, problems, _ = inspect_file(cube, file, cube.band_numbers())
    assert properties["wavelengths"] == "362.59 to 1018.02 nm (wavelength in its header)"
    assert bool(problems) == problem and all("362.59 to 1018.02 nm instead of" in text for text in problems)


CONFUSED = {  # name -> function that lays out the numbers of a cube (rows, columns, bands) as a confused program does
    "bands first": lambda cube: cube.transpose(2, 0, 1),
    "bands second": lambda cube: cube.transpose(0, 2, 1),
    "lines of pixels as pixels": lambda cube: cube.transpose(0, 2, 1).reshape(cube.shape),  # bil read as bip
    "lines of pixels as images": lambda cube: cube.transpose(0, 2, 1).reshape(200, 140, 145).transpose(1, 2, 0),
}


@pytest.mark.parametrize("confused", [None, *CONFUSED])
def test_axis_that_looks_like_bands_is_named(confused):
    """In a real scene, the values differ between bands far more than between rows or columns."""
    cube = np.load(CUBES["indian_pines"].files[0].local_path())[:140]
    np.save("a.npy", CONFUSED[confused](cube) if confused else cube)
    file = array_file("a.npy")
    properties, problems, _ = inspect_file(Cube(files=(file,), bands="1-140"), file, range(1, 141))
    assert ("axes wrong?" in properties) == bool(confused) and not problems


@pytest.mark.parametrize("value", [0, -50, 7])
def test_pixels_of_one_value_in_all_bands_are_named(value):
    """The value is the stored one, which `invalid` of the entry needs, not the physical one."""
    pixels = PIXELS.astype(np.int16)
    pixels[5:9, 4:10] = value
    np.save("a.npy", pixels)
    for calibration in ({}, {"gain": tuple(np.linspace(1e-4, 3e-4, 12)), "offset": 0.02}):
        file = array_file("a.npy", **calibration)
        properties, problems, _ = inspect_file(Cube(files=(file,), bands="1-12"), file, range(1, 13))
        assert properties["constant"].startswith(f"24 pixels are {value} in all bands; set invalid: [{value}] in")
        assert not problems
        marked = file.model_copy(update={"invalid": (value,)})
        assert "constant" not in inspect_file(Cube(files=(marked,), bands="1-12"), marked, range(1, 13))[0]


def test_correlation_distinguishes_images_and_noise():
    rng = np.random.default_rng(0)
    image = np.add.outer(np.sin(np.arange(50) / 9), np.cos(np.arange(60) / 7)).astype(np.float32)
    assert measure_band(image).correlation > 0.9
    noise = rng.normal(size=(50, 60)).astype(np.float32)
    assert abs(measure_band(noise).correlation) < 0.1
    stripes = np.tile(rng.normal(size=60), (50, 1)).astype(np.float32)  # all rows are equal, and noise along a row
    assert abs(measure_band(stripes).correlation) < 0.3


def test_statistics_are_those_of_the_valid_pixels():
    image = np.array([[1, 2], [np.nan, 3], [np.inf, 6]], np.float32)
    statistics = measure_band(image)
    assert statistics[:3] == (1, 6, 3)
    assert (statistics.positions, statistics.infinite, statistics.invalid) == (((0, 0), (2, 1)), 1, 1)
    assert np.isnan(measure_band(np.full((2, 2), np.nan, np.float32)).minimum)


@pytest.mark.parametrize(("number", "expected"), [(1, [1]), (2, [1, 12]), (4, [1, 5, 8, 12]), (12, [*range(1, 13)])])
def test_bands_are_spread_evenly(number, expected):
    assert spread_bands(make_cube(array_file("a.npy")), number) == expected
