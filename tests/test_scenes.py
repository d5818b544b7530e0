"""Scenes that are cut from files in the official formats: pixels, manifests, and files that are refused."""

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cubes import BANDS, CROP, PIXELS, array_file, call_directly, cut_and_load, make_cube, save_cube
from scipy.io import savemat

from lkca.core.locks import exclusive_lock
from lkca.data import inspection, scenes
from lkca.data.catalog import CUBES, File
from lkca.data.sandbox import run_sandboxed
from lkca.errors import ConfigError, DataError, LkcaError, ResourceError
from tests import generated_cubes


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """Run each test in its own folder, without the process of the sandbox; paths of cubes are relative."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scenes, "run_sandboxed", call_directly)


def test_indian_pines_is_read_from_its_package():
    scene, manifest = cut_and_load(CUBES["indian_pines"], 200)
    assert scene.shape == (200, 145, 145) and scene.dtype == np.float32
    assert scene.max() == 1 and manifest["maximum"] == manifest["divisor"] == 9604  # the published cube's maximum
    assert scene.min() == np.float32(955 / 9604)


# The official formats. Each function writes pixels (rows, columns, bands) as the published file holds them.


def chikusei_zip(pixels: np.ndarray) -> File:
    generated_cubes.write_chikusei_zip(Path("x.zip"), pixels)
    return File(
        path=f"x.zip/{generated_cubes.CHIKUSEI_FOLDER}/{generated_cubes.CHIKUSEI}.bsq", axes="bands rows columns"
    )


def chikusei_matlab(pixels: np.ndarray) -> File:
    generated_cubes.write_matlab73(Path("x.mat"), "chikusei", pixels, chunks=(5, 7, 7))
    return array_file("x.mat", "chikusei")


def chikusei_double(pixels: np.ndarray) -> File:
    generated_cubes.write_matlab73(Path("x.mat"), "chikusei", pixels, "float64", chunks=None)
    return array_file("x.mat", "chikusei")


def houston_zip(pixels: np.ndarray) -> File:
    generated_cubes.write_houston_zip(Path("x.zip"), pixels.transpose(1, 0, 2))
    path = f"x.zip/{generated_cubes.HOUSTON_FOLDER}/FullHSIDataset/{generated_cubes.HOUSTON}.pix"
    return File(path=path, axes="bands columns rows")


def houston_raw(pixels: np.ndarray) -> File:
    generated_cubes.write_houston(Path("."), pixels.transpose(1, 0, 2), pcidsk=False)
    return File(path=f"{generated_cubes.HOUSTON}.pix", axes="bands columns rows")


def pavia(pixels: np.ndarray) -> File:
    generated_cubes.write_pavia_centre(Path("x.mat"), pixels)
    return array_file("x.mat", "pavia")


FORMATS = [chikusei_zip, chikusei_matlab, chikusei_double, houston_zip, houston_raw, pavia]


@pytest.mark.parametrize("write", FORMATS)
def test_official_formats_give_the_same_scene(write):
    """The brightest pixels are outside of the crop and of the bands: they must not set the maximum."""
    pixels = PIXELS.copy()
    pixels[0, 0], pixels[:, :, 11] = 15000, 15000
    last = 899 if "chikusei" in write.__name__ else 1047  # nm, the wavelength of band 10 in the headers
    scene, manifest = cut_and_load(make_cube(write(pixels), bands="1-10", nanometres=(368, last)), 4)
    crop = pixels[2:38, 1:33, [0, 3, 6, 9]].transpose(2, 0, 1).astype(np.float64)
    assert (scene == (crop / crop.max()).astype(np.float32)).all()
    assert (manifest["maximum"], manifest["bands"], manifest["shape"]) == (crop.max(), [1, 4, 7, 10], [4, 36, 32])
    assert manifest["areas"][0]["crop"] == list(CROP)


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("bands_per_block", [1, 3, 7])
def test_large_cubes_are_read_in_blocks(write, bands_per_block, monkeypatch):
    """Blocks of any size give the same pixels, in whatever pieces the file is stored."""
    cube = make_cube(write(PIXELS), bands="2-4, 6, 9-10", nanometres=(400, 1000))
    for module in (inspection, scenes):
        monkeypatch.setattr(module, "BLOCK_BYTES", bands_per_block * 4 * 36 * 32)
    monkeypatch.setattr(inspection, "WAVELENGTH_TOLERANCE", 200)
    scene, manifest = cut_and_load(cube, bands=6)
    crop = PIXELS[2:38, 1:33, [1, 2, 3, 5, 8, 9]].transpose(2, 0, 1)
    assert (scene == crop.astype(np.float32) / np.float32(manifest["divisor"])).all()


def test_composite_is_checked_before_the_scene_is_cut():
    """The synthetic cube reaches from 380 to 1050 nm."""
    cut_and_load(save_cube(), composite=["0.66 um", 5, 1])
    Path("out/scene.npy").unlink()
    with pytest.raises(ConfigError, match=r"scenes\.x\.composite\.bands: no band is near 2 um; the nearest is band 12"):
        cut_and_load(save_cube(), composite=["2 um", 5, 1])
    assert not Path("out/scene.npy").exists()
    with pytest.raises(ConfigError, match=r"composite\.bands: 660 nm stands for no band, because the wavelengths"):
        cut_and_load(save_cube(nanometres=None), composite=["660 nm", 5, 1])


def test_alternative_file_is_used_if_the_first_is_missing():
    generated_cubes.write_matlab73(Path("second.mat"), "chikusei", PIXELS)
    missing = File(path="first.bsq", axes="bands rows columns")
    forms = (array_file("missing.mat", "cube"), array_file("second.mat", "chikusei"))
    scene, manifest = cut_and_load(make_cube(missing, forms=forms))
    assert manifest["areas"][0]["file"] == "second.mat" and scene.shape == (12, 36, 32)


def test_several_files_are_placed_below_each_other():
    """Both are divided by the same number; the narrower one is padded with zeros."""
    for name, pixels in (("a", PIXELS), ("b", PIXELS[:30, :20] // 2)):
        np.save(f"{name}.npy", pixels)
    files = array_file("a.npy", use="train"), array_file("b.npy", use="test")
    scene, manifest = cut_and_load(make_cube(*files, crop=None))
    expected = np.zeros((12, 70, 36), np.float32)
    expected[:, :40] = PIXELS.transpose(2, 0, 1)
    expected[:, 40:, :20] = (PIXELS[:30, :20] // 2).transpose(2, 0, 1)
    assert (scene == expected / np.float32(5000)).all()
    assert [tuple(area[key] for key in ("file", "use", "row", "rows", "columns")) for area in manifest["areas"]] == [
        ("a.npy", "train", 0, 40, 36),
        ("b.npy", "test", 40, 30, 20),
    ]


@pytest.mark.parametrize(
    ("mirror", "rows", "columns"),
    [((), slice(2, 38), slice(1, 33)), (("rows",), slice(37, 1, -1), slice(1, 33))]
    + [(("columns",), slice(2, 38), slice(32, 0, -1)), (("rows", "columns"), slice(37, 1, -1), slice(32, 0, -1))],
)
def test_scene_is_mirrored(mirror, rows, columns):
    scene, manifest = cut_and_load(save_cube(), mirror=mirror)
    assert (scene == (PIXELS[rows, columns].transpose(2, 0, 1) / manifest["divisor"]).astype(np.float32)).all()
    assert manifest["mirror"] == [*mirror]


def test_divide_by_sets_the_divisor():
    scene, manifest = cut_and_load(save_cube(divide_by=10000))
    assert (manifest["divisor"], manifest["maximum"]) == (10000, 5000)
    assert scene.max() == np.float32(0.5)


def test_divisor_must_fit_the_values():
    with pytest.raises(ConfigError, match=r"a\.npy has the maximum 5000 after .* another divide_by"):
        cut_and_load(save_cube(divide_by=1))


def test_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"chikusei/.*ENVI.zip or .*\.mat is missing: get it from https://www.sal"):
        cut_and_load(CUBES["chikusei"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["chikusei", "houston2018", "pavia_centre"])
def test_web_page_instead_of_data_is_refused(name):
    path = CUBES[name].files[0].local_path()
    path.parent.mkdir(parents=True)
    path.write_text("<!doctype html><title>403 Forbidden</title>" * 9)
    with pytest.raises(LkcaError, match="the published one is|is a web page"):
        cut_and_load(CUBES[name], 48)
    assert not list(Path("out").glob("*"))


def test_same_file_under_two_names_is_refused():
    """Otherwise the networks would be tested on their training data."""
    for name in "ab":
        np.save(f"{name}.npy", PIXELS)
    with pytest.raises(ConfigError, match="scenes.x: two files are the same"):
        cut_and_load(make_cube(array_file("a.npy", use="train"), array_file("b.npy", use="test")))
    assert not list(Path("out").iterdir())


def test_only_a_right_file_is_recorded_and_then_expected(tmp_path):
    """The hash of a wrong file that existed first is not recorded, so that the right file is accepted later."""
    path = tmp_path / "data/raw/x/x.mat"
    path.parent.mkdir(parents=True)
    file = array_file("data/raw/x/x.mat", "pavia", sources=["http://127.0.0.1:9/x.mat"])
    cube, receipt = make_cube(file, least_maximum=1000), Path("receipt.json")
    for content in (b"", b"%PDF-1.4 or anything", None):
        path.write_bytes(content or b"")
        if content is None:
            savemat(path, {"pavia": PIXELS / 5000})
        for use in (lambda: scenes.fetch_files("x", cube, receipt), lambda: cut_and_load(cube)):
            with pytest.raises(LkcaError, match="x.mat (cannot be read|is not what it should be|is a web page)"):
                use()
        assert [path.name for path in path.parent.iterdir()] == ["x.mat"] and not receipt.exists()
    generated_cubes.write_pavia_centre(path, PIXELS)
    scenes.fetch_files("x", cube, receipt)
    assert cut_and_load(cube)[1]["areas"][0]["sha256"] == json.loads(receipt.read_text())["files"][0]["sha256"]
    generated_cubes.write_pavia_centre(path, PIXELS // 2)
    for use in (lambda: scenes.fetch_files("x", cube, receipt), lambda: cut_and_load(cube)):
        with pytest.raises(LkcaError, match="was recorded at first use"):
            use()
    assert not Path("out/.scene.part.npy").exists()


def test_two_processes_do_not_write_one_scene():
    with exclusive_lock(Path("out/scene.npy")), pytest.raises(ResourceError, match=r"scene\.npy"):
        cut_and_load(save_cube())
    assert cut_and_load(save_cube())[0].shape == (BANDS, 36, 32)
    assert sorted(path.name for path in Path("out").iterdir()) == ["scene.json", "scene.npy"]


def test_lack_of_disk_space_is_detected_before_writing(monkeypatch):
    monkeypatch.setattr(scenes.shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    with pytest.raises(ResourceError, match="out has 10.0 kB free and the scene takes 55.3 kB"):
        cut_and_load(save_cube())


def test_full_disk_is_not_blamed_on_the_file(monkeypatch):
    monkeypatch.setattr(scenes, "run_sandboxed", run_sandboxed)
    monkeypatch.setattr(scenes, "_cut", fail_without_room)
    with pytest.raises(LkcaError, match="out/scene.npy cannot be written .No space left on device."):
        cut_and_load(save_cube())
    assert not list(Path("out").iterdir())


def fail_without_room(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_folder_that_cannot_be_written_is_named():
    Path("out").touch()
    with pytest.raises(LkcaError, match="out/scene.npy cannot be written"):
        cut_and_load(save_cube())
