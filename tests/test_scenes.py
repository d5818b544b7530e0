"""Cutting scenes from files in the official formats, and telling a wrong file from the right one."""

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import official
import pytest
import rasterio
from scipy.io import savemat

from lkca.commands import fetch
from lkca.core.locks import exclusive_lock
from lkca.data import inspection, scenes
from lkca.data.catalog import CUBES, Cube, File
from lkca.data.sandbox import run_sandboxed
from lkca.data.settings import SceneSettings
from lkca.errors import LkcaError

PAPER = {"chikusei": (2304, 2048), "houston2018": (4172, 1202), "pavia_centre": (1096, 715)}
MADE = official.Scene(40, 36, 12, 5000)  # rows, columns, bands, largest value
CROP = (2, 38, 1, 33)
CONFIG = [Path("config.yaml")]  # which is not there


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Paths of cubes are relative to the checkout; no process of its own for each file (test_readers.py has them)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scenes, "run_sandboxed", lambda function, *args: function(*args))


@pytest.fixture(scope="session")
def made():
    """(rows, columns, bands), uint16."""
    return np.stack(list(MADE), 2)


def described(*files: File, **changes) -> Cube:
    """A cube of those files."""
    facts = {"sensor": "made up", "gsd_m": 1, "nanometres": (380, 1050), "source": "https://x.org/y", "citation": ""}
    return Cube(**{"files": files, "bands": f"1-{MADE.bands}", "crop": CROP, "terms": "none", **facts, **changes})


def cut(cube: Cube, bands: int = MADE.bands, mirror: tuple[str, ...] = ()) -> tuple[np.ndarray, dict]:
    """The scene of a cube and its manifest, by the command of the workflow."""
    settings = SceneSettings(name="x", cube_name=None, cube=cube, bands=bands, mirror=[*mirror])
    out, manifest = Path("out/scene.npy"), Path("out/scene.json")
    scenes.scene(settings, out, manifest)
    return np.load(out), json.loads(manifest.read_text())


def array(path: str, variable: str | None = "cube", **more) -> File:
    return File(path=path, variable=variable, axes="rows columns bands", **more)


@pytest.mark.parametrize("name", PAPER)
def test_the_crop_has_the_size_that_the_paper_states(name):
    top, bottom, left, right = CUBES[name].crop or (0, CUBES[name].shape[0], 0, CUBES[name].shape[1])
    assert (bottom - top, right - left) == PAPER[name]


def test_indian_pines_comes_with_a_package():
    cube, told = cut(CUBES["indian_pines"], 200)
    assert cube.shape == (200, 145, 145) and cube.dtype == np.float32
    assert cube.max() == 1 and told["maximum"] == told["divisor"] == 9604  # the largest value of the published cube
    assert cube.min() == np.float32(955 / 9604)


def chikusei_zip(made):
    official.chikusei_envi(Path("x.zip"), made)
    return File(path=f"x.zip/{official.CHIKUSEI_FOLDER}/{official.CHIKUSEI}.bsq", axes="bands rows columns")


def chikusei_matlab(made):
    official.matlab73(Path("x.mat"), "chikusei", made, chunks=(5, 7, 7))
    return array("x.mat", "chikusei")


def chikusei_double(made):
    official.matlab73(Path("x.mat"), "chikusei", made, "float64", chunks=None)
    return array("x.mat", "chikusei")


def houston_zip(made):
    official.houston_zip(Path("x.zip"), made.transpose(1, 0, 2))
    path = f"x.zip/{official.HOUSTON_FOLDER}/FullHSIDataset/{official.HOUSTON}.pix"
    return File(path=path, axes="bands columns rows")


def houston_raw(made):
    official.houston(Path("."), made.transpose(1, 0, 2), pcidsk=False)
    return File(path=f"{official.HOUSTON}.pix", axes="bands columns rows")


def pavia(made):
    official.pavia_centre(Path("x.mat"), made)
    return array("x.mat", "pavia")


FORMATS = [chikusei_zip, chikusei_matlab, chikusei_double, houston_zip, houston_raw, pavia]


@pytest.mark.parametrize("write", FORMATS)
def test_each_official_format_gives_the_same_scene(made, write):
    """The brightest pixel is outside of the crop and of the bands here: it must not set the maximum."""
    made = made.copy()
    made[0, 0], made[:, :, 11] = 15000, 15000
    last = 899 if "chikusei" in write.__name__ else 1047  # nm, of band 10 by the headers
    cube, told = cut(described(write(made), bands="1-10", nanometres=(368, last)), 4)
    crop = made[2:38, 1:33, [0, 3, 6, 9]].transpose(2, 0, 1).astype(np.float64)
    assert (cube == (crop / crop.max()).astype(np.float32)).all()
    assert (told["maximum"], told["bands"], told["shape"]) == (crop.max(), [1, 4, 7, 10], [4, 36, 32])
    assert told["areas"][0]["crop"] == list(CROP)


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("bands_at_once", [1, 3, 7])
def test_parts_make_the_same_whole(made, write, bands_at_once, monkeypatch):
    """Read in parts as a large cube is, in whatever pieces the file has."""
    cube = described(write(made), bands="2-4, 6, 9-10")
    monkeypatch.setattr(inspection, "BLOCK_BYTES", bands_at_once * 4 * 36 * 32)
    monkeypatch.setattr(inspection, "WAVELENGTH_TOLERANCE", 200)
    Path("out").mkdir()
    told = scenes._cut(Path("out/part.npy"), cube, cube.files, cube.band_numbers(), [])
    crop = made[2:38, 1:33, [1, 2, 3, 5, 8, 9]].transpose(2, 0, 1)
    assert (np.load("out/part.npy") == crop.astype(np.float32) / np.float32(told["divisor"])).all()


def test_the_other_forms_of_a_cube_serve_where_the_first_is_missing(made):
    official.matlab73(Path("second.mat"), "chikusei", made)
    bare = File(path="first.bsq", axes="bands rows columns")
    forms = (array("missing.mat"), array("second.mat", "chikusei"))
    cube, told = cut(described(bare, forms=forms))
    assert told["areas"][0]["file"] == "second.mat" and cube.shape == (12, 36, 32)


def test_several_files_lie_below_each_other(made):
    """One divisor for all; what is narrower has zeros beside it, which no window reaches."""
    for name, part in (("a", made), ("b", made[:30, :20] // 2)):
        np.save(f"{name}.npy", part)
    files = array("a.npy", None, use="train"), array("b.npy", None, use="test")
    cube, told = cut(described(*files, crop=None))
    whole = np.zeros((12, 70, 36), np.float32)
    whole[:, :40], whole[:, 40:, :20] = made.transpose(2, 0, 1), (made[:30, :20] // 2).transpose(2, 0, 1)
    assert (cube == whole / np.float32(5000)).all()
    assert [(a["file"], a["use"], a["row"], a["rows"], a["columns"]) for a in told["areas"]] == [
        ("a.npy", "train", 0, 40, 36),
        ("b.npy", "test", 40, 30, 20),
    ]


def test_mirrored_and_divided_as_asked(made):
    np.save("a.npy", made)
    cube, told = cut(described(array("a.npy", None), divide_by=10000), mirror=("rows",))
    assert (cube == (made[37:1:-1, 1:33].transpose(2, 0, 1) / 10000).astype(np.float32)).all()
    assert (told["divisor"], told["mirror"], told["maximum"]) == (10000, ["rows"], 5000)
    with pytest.raises(LkcaError, match="maximum 5000 after division by 1: choose another divide_by"):
        cut(described(array("a.npy", None), divide_by=1))


def test_a_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(LkcaError, match=r"chikusei/.*ENVI.zip or .*\.mat is missing: get it from https://www.sal"):
        cut(CUBES["chikusei"])
    assert not list(tmp_path.iterdir())


WRONG = {
    "a hole": (
        lambda cube: np.where(np.indices(cube.shape).sum(0) == 30, np.nan, cube.astype(float)),
        "NaN or infinite",
    ),
    "one value in a band": (lambda cube: cube * (np.arange(12) != 5), "band 6 has one value everywhere"),
    "nothing positive": (lambda cube: -cube.astype(np.int16), "none of its values is positive"),
    "other byte order": (lambda cube: cube.byteswap(), "neighbouring pixels are hardly correlated"),
    "noise": (lambda cube: np.random.default_rng(0).permuted(cube.ravel()).reshape(cube.shape), "hardly correlated"),
    "divided by its maximum": (lambda cube: cube / cube.max(), "it was divided already"),
    "in bytes": (lambda cube: (cube / 5000 * 255).astype(np.uint8), "it was divided already"),
    "transposed": (
        lambda cube: cube.transpose(2, 0, 1),
        "its axes are in another order, 12 x 40 x 36 instead of 40 x 36",
    ),
    "one row less": (lambda cube: cube[1:], "it has 39 x 36 x 12 rows, columns and bands instead of 40 x 36 x 12"),
    "a known one": (lambda cube: cube[:20], "it is the little one; get the scene from https://x.org/y"),
    "a known one, transposed": (lambda cube: cube[:20].transpose(2, 1, 0), "it is the little one"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_called_by_its_name(made, wrong, tmp_path):
    change, told = WRONG[wrong]
    savemat("cube.mat", {"cube": change(made)})
    facts = {"shape": (40, 36, 12), "least_maximum": 1000, "not_this": [((20, 36, 12), "the little one")]}
    cube = described(array("cube.mat"), **facts)
    with pytest.raises(LkcaError, match=f"cube.mat is not what it should be: .*{told}"):
        cut(cube)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("name", "shape", "told"),
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
def test_known_traps_are_told(monkeypatch, name, shape, told):
    """Each as an array of zeros in a file whose name says nothing; Houston's raster has its lines for columns."""
    axes = "columns rows bands" if name == "houston2018" else "rows columns bands"
    np.lib.format.open_memmap("x.npy", mode="w+", dtype=np.int16, shape=shape)
    monkeypatch.setitem(CUBES, name, CUBES[name].model_copy(update={"files": (File(path="x.npy", axes=axes),)}))
    with pytest.raises(LkcaError, match=f"x.npy is not what it should be: .*{told}"):
        fetch.verify(name, None, CONFIG)


def test_verify_says_what_it_found(made, monkeypatch, capsys):
    official.chikusei_envi(Path("mine.zip"), made)
    path = f"data/raw/x.zip/{official.CHIKUSEI_FOLDER}/{official.CHIKUSEI}.bsq"
    cube = described(File(path=path, axes="bands rows columns"), nanometres=(363, 1018))
    monkeypatch.setitem(CUBES, "chikusei", cube)
    fetch.verify("chikusei", Path("mine.zip"), CONFIG)
    told = capsys.readouterr().out
    crop = made[2:38, 1:33]
    for fact in (
        "40 rows, 36 columns, 12 bands",
        f"int16, {crop.min()} to {crop.max()} in the valid part",
        "362.59 to 1018.02 nm",
        "none is published",
        "no problem found, but no published hash",
    ):
        assert fact in told
    monkeypatch.setitem(CUBES, "chikusei", cube.model_copy(update={"nanometres": (430, 860)}))
    with pytest.raises(LkcaError, match="its bands reach from 362.59 to 1018.02 nm instead of 430 to 860"):
        fetch.verify("chikusei", Path("mine.zip"), CONFIG)


def test_verify_tells_pavia_university_from_pavia_centre():
    official.pavia_university(Path("PaviaU.mat"), official.Scene(610, 340, 103, 8000))
    with pytest.raises(LkcaError, match="PaviaU.mat is not what it should be: it is Pavia University, another scene"):
        fetch.verify("pavia_centre", Path("PaviaU.mat"), CONFIG)


@pytest.mark.parametrize("name", PAPER)
def test_a_web_page_instead_of_data_is_refused(name):
    place = CUBES[name].files[0].local_path()
    place.parent.mkdir(parents=True)
    place.write_text("<!doctype html><title>403 Forbidden</title>" * 9)
    with pytest.raises(LkcaError, match="the published one is|is a web page"):
        cut(CUBES[name], 48)
    assert not list(Path("out").glob("*"))


def test_a_scene_that_does_not_exist_is_refused(tmp_path):
    from tests.conftest import REPOSITORY

    with pytest.raises(
        LkcaError, match="there is no scene chikusai: choose one of chikusei, houston2018, pavia_centre"
    ):
        fetch.verify("chikusai", None, [REPOSITORY / "config.yaml"])


def test_only_a_file_that_passes_is_recorded_and_holds_from_then_on(made, tmp_path):
    """A wrong one that lay there first does not stand in the right one's way."""
    place = tmp_path / "data/raw/x/x.mat"
    place.parent.mkdir(parents=True)
    file = array("data/raw/x/x.mat", "pavia", sources=["http://127.0.0.1:9/x.mat"])
    cube = described(file, least_maximum=1000)
    for content in (b"", b"%PDF-1.4 or anything", None):
        place.write_bytes(content or b"")
        if content is None:
            savemat(place, {"pavia": made / 5000})
        for act in (lambda: scenes.fetch_files("x", cube, Path("receipt.json")), lambda: cut(cube)):
            with pytest.raises(LkcaError, match="x.mat (cannot be read|is not what it should be|is a web page)"):
                act()
        assert [path.name for path in place.parent.iterdir()] == ["x.mat"] and not Path("receipt.json").exists()
    official.pavia_centre(place, made)
    scenes.fetch_files("x", cube, Path("receipt.json"))
    assert cut(cube)[1]["areas"][0]["sha256"] == json.loads(Path("receipt.json").read_text())["files"][0]["sha256"]
    official.pavia_centre(place, made // 2)
    with pytest.raises(LkcaError, match="was recorded at first use .if this file is right, delete its line in"):
        scenes.fetch_files("x", cube, Path("receipt.json"))
    with pytest.raises(LkcaError, match="was recorded at first use"):
        cut(cube)
    assert not Path("out/.scene.part.npy").exists()


def test_a_scene_is_made_by_one_process_at_a_time(made):
    np.save("a.npy", made)
    with (
        exclusive_lock(Path("out/scene.npy")),
        pytest.raises(LkcaError, match="scene.npy is being written by another process"),
    ):
        cut(described(array("a.npy", None)))
    assert cut(described(array("a.npy", None)))[0].shape == (12, 36, 32)
    assert sorted(path.name for path in Path("out").iterdir()) == ["scene.json", "scene.npy"]


def test_a_full_disk_is_not_blamed_on_the_file(made, monkeypatch):
    np.save("a.npy", made)
    with monkeypatch.context() as full:
        full.setattr(scenes.shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
        with pytest.raises(LkcaError, match="out has 10.0 kB free and the scene takes 55.3 kB"):
            cut(described(array("a.npy", None)))
    monkeypatch.setattr(scenes, "run_sandboxed", run_sandboxed)
    monkeypatch.setattr(scenes, "_cut", no_room)
    with pytest.raises(LkcaError, match="out/scene.npy cannot be written .No space left on device."):
        cut(described(array("a.npy", None)))
    assert not list(Path("out").iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(made):
    np.save("a.npy", made)
    Path("out").touch()
    with pytest.raises(LkcaError, match="out/scene.npy cannot be written"):
        cut(described(array("a.npy", None)))


def no_room(*words):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_file_is_for_training_and_for_testing_under_two_names(made):
    for name in "ab":
        np.save(f"{name}.npy", made)
    with pytest.raises(LkcaError, match="scenes.x: two files are the same"):
        cut(described(array("a.npy", None, use="train"), array("b.npy", None, use="test")))
    assert not list(Path("out").iterdir())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pixels_without_a_value_are_no_reflectance(made):
    made = made.copy()
    made[10:12, 10:12] = 65535
    facts = {"driver": "GTiff", "width": 36, "height": 40, "count": 12, "dtype": "uint16"}
    with rasterio.open("a.tif", "w", nodata=65535, **facts) as file:
        file.write(made.transpose(2, 0, 1))
    file = File(path="a.tif", axes="bands rows columns")
    with pytest.raises(
        LkcaError, match="a.tif is not what it should be: it holds 65535, which it declares to be no data"
    ):
        cut(described(file))
    assert cut(described(file, crop=(12, 40, 0, 36)))[1]["maximum"] <= 5000


@pytest.mark.parametrize(
    ("path", "place", "inside", "package"),
    [
        ("a b/ü.mat", "a b/ü.mat", None, None),
        ("/x/a.b:c.mat", "/x/a.b:c.mat", None, None),
        ("x.ZIP/y/z.bsq", "x.ZIP", "y/z.bsq", None),
        ("folder.zip/z.bsq", "folder.zip/z.bsq", None, None),
        ("folder.zip/x.zip/z.bsq", "folder.zip/x.zip", "z.bsq", None),
        ("there:is.npy", "there:is.npy", None, None),
        ("~/x.npy", str(Path.home() / "x.npy"), None, None),
    ],
)
def test_where_a_path_leads(path, place, inside, package):
    Path("folder.zip").mkdir()
    Path("there:is.npy").touch()
    file = File(path=path, axes="rows columns bands")
    assert (str(file.local_path()), file.archive_member(), file.package()) == (place, inside, package)


@pytest.mark.parametrize("path", ["nosuch:x.npy", "nosuch.pkg:x.npy", "numpy.nosuch:x.npy"])
def test_a_package_that_is_not_there_is_named(path):
    with pytest.raises(LkcaError, match=r"x.npy is missing: .*pip install [\w.]*nosuch"):
        File(path=path, axes="rows columns bands").local_path()
