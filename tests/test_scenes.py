"""Cutting a scene: crop, one maximum, chosen bands, and files that are not what they should be."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import rasterio
from scipy.io import savemat

from lkca import scenes
from lkca.errors import InputError

PAPER = {"chikusei": (2304, 2048), "houston2018": (4172, 1202), "pavia_centre": (1096, 715)}


@pytest.mark.parametrize("name", PAPER)
def test_the_crop_has_the_size_that_the_paper_states(name):
    top, bottom, left, right = scenes.CUBES[name].crop
    assert (bottom - top, right - left) == PAPER[name]


def test_indian_pines_comes_with_a_package(tmp_path):
    out, manifest = tmp_path / "scene.npy", tmp_path / "scene.json"
    scenes.scene("x", "indian_pines", 200, out, manifest)
    array, told = np.load(out), json.loads(manifest.read_text())
    assert array.shape == (200, 145, 145) and array.dtype == np.float32
    assert array.max() == 1 and told["maximum"] == 9604  # the largest value of the published cube
    assert array.min() == np.float32(955 / 9604)


def write_matlab73(path, cube):
    with h5py.File(path, "w") as file:
        file["cube"] = cube.transpose(2, 1, 0)


def write_matlab5(path, cube):
    savemat(path, {"cube": cube})


def write_raster(path, cube):
    rows, columns, bands = cube.shape
    with rasterio.open(path, "w", driver="ENVI", width=rows, height=columns, count=bands + 2, dtype=cube.dtype) as file:
        file.write(np.concatenate([cube, cube[:, :, :2] * 0 + 30000], 2).transpose(2, 1, 0))


@pytest.fixture
def files(tmp_path, monkeypatch, rng):
    """A small cube in each of the three official formats, entered in CUBES with a crop."""
    cube = rng.integers(1, 5000, (12, 10, 5), dtype=np.int16)
    cube[0, 0] = 9000  # outside the crop: must not set the maximum
    for name, write in (("chikusei", write_matlab73), ("pavia_centre", write_matlab5), ("houston2018", write_raster)):
        path = tmp_path / name
        write(path, cube)
        facts = scenes.CUBES[name]
        changed = replace(
            facts, file=str(path), variable="cube", rows=12, columns=10, bands=5, crop=(2, 12, 0, 8), sha256=None
        )
        monkeypatch.setitem(scenes.CUBES, name, changed)
    return cube


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", PAPER)
def test_each_official_format_gives_the_same_scene(files, tmp_path, name):
    out = tmp_path / "scene.npy"
    scenes.scene("x", name, 3, out, tmp_path / "scene.json")
    crop = files[2:, :8].transpose(2, 0, 1)[[0, 2, 4]]
    assert np.load(out) == pytest.approx(crop / crop.max(), abs=1e-7)
    told = json.loads((tmp_path / "scene.json").read_text())
    assert (told["maximum"], told["bands"], told["shape"]) == (crop.max(), [1, 3, 5], [3, 10, 8])


def test_a_missing_file_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"data/raw/chikusei/.*\.mat is missing: get it from https://www.sal"):
        scenes.scene("x", "chikusei", 128, tmp_path / "a.npy", tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_another_size_or_another_file_is_refused(files, tmp_path, monkeypatch):
    cube = scenes.CUBES["pavia_centre"]
    for change, told in (({"rows": 13}, "instead of"), ({"sha256": "0" * 64}, "is not the published file")):
        monkeypatch.setitem(scenes.CUBES, "pavia_centre", replace(cube, **change))
        with pytest.raises(InputError, match=told):
            scenes.scene("x", "pavia_centre", 5, tmp_path / "out" / "a.npy", tmp_path / "out" / "a.json")
        assert not list(tmp_path.glob("out/*"))


def test_a_cube_with_a_hole_is_refused(tmp_path, monkeypatch, rng):
    cube = rng.random((12, 10, 5))
    cube[4, 4, 3] = np.nan
    write_matlab5(tmp_path / "cube.mat", cube)
    facts = dict(file=str(tmp_path / "cube.mat"), variable="cube", rows=12, columns=10, bands=5, crop=(0, 12, 0, 10))
    monkeypatch.setitem(scenes.CUBES, "pavia_centre", replace(scenes.CUBES["pavia_centre"], **facts))
    with pytest.raises(InputError, match="no reflectance"):
        scenes.scene("x", "pavia_centre", 5, tmp_path / "out" / "a.npy", tmp_path / "out" / "a.json")
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("name", ["chikusei", "pavia_centre"])  # Houston's file has a published hash
def test_a_file_that_is_something_else_is_refused(files, tmp_path, name):
    """For instance the page of a server that refuses downloads by programs."""
    (tmp_path / name).write_text("<!doctype html><title>403 Forbidden</title>" * 9)
    with pytest.raises(InputError, match="cannot be read .*: it is damaged or another file; get it from http"):
        scenes.scene("x", name, 5, tmp_path / "out" / "a.npy", tmp_path / "out" / "a.json")
    assert not list(tmp_path.glob("out/*"))
