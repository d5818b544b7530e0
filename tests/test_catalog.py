"""The catalog: paths of files, alternatives, band numbers, and the published cubes."""

import os
import site
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from lkca.data.catalog import CUBES, Cube, File, describe_path
from lkca.errors import DataError

PAPER = {"chikusei": (2304, 2048), "houston2018": (4172, 1202), "pavia_centre": (1096, 715)}


@pytest.mark.parametrize("name", PAPER)
def test_crop_has_the_size_that_the_paper_states(name):
    top, bottom, left, right = CUBES[name].crop or (0, CUBES[name].shape[0], 0, CUBES[name].shape[1])
    assert (bottom - top, right - left) == PAPER[name]


@pytest.mark.parametrize(
    ("path", "local_path", "member"),
    [
        ("a b/ü.mat", "a b/ü.mat", None),
        ("/x/a.b:c.mat", "/x/a.b:c.mat", None),
        ("x.ZIP/y/z.bsq", "x.ZIP", "y/z.bsq"),
        ("folder.zip/z.bsq", "folder.zip/z.bsq", None),
        ("folder.zip/x.zip/z.bsq", "folder.zip/x.zip", "z.bsq"),
        ("there:is.npy", "there:is.npy", None),
        ("~/x.npy", str(Path.home() / "x.npy"), None),
    ],
)
def test_path_is_a_file_or_in_an_archive(tmp_path, monkeypatch, path, local_path, member):
    monkeypatch.chdir(tmp_path)
    Path("folder.zip").mkdir()
    Path("there:is.npy").touch()
    file = File(path=path, axes="rows columns bands")
    assert (str(file.local_path()), file.archive_member(), file.package()) == (local_path, member, None)


def test_path_is_in_a_package():
    file = CUBES["indian_pines"].files[0]
    assert file.package() == "tensorly" and file.local_path().is_file()


@pytest.mark.parametrize("path", ["nosuch:x.npy", "nosuch.pkg:x.npy", "numpy.nosuch:x.npy"])
def test_missing_package_is_named(path):
    with pytest.raises(DataError, match=r"x.npy is missing: .*pip install [\w.]*nosuch"):
        File(path=path, axes="rows columns bands").local_path()


EVIL = "from pathlib import Path\nPath('canary').touch()\n"
LOCATE = """
import sys
from lkca.data.catalog import File
from lkca.errors import DataError
sys.path.insert(0, "")
for package in sys.argv[1:]:
    try:
        print(File(path=f"{package}:cube.npy").local_path())
    except DataError as error:
        print(error)
"""


@pytest.mark.parametrize("on_path", [False, True])
def test_package_of_the_checkout_is_not_imported(tmp_path, on_path):
    for folder in ("evil", "evil/deep", "evil/deep/er", "tensorly", "evil-1.dist-info", "evil.egg-info"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cube.npy").touch()
        (tmp_path / folder / "__init__.py").write_text(EVIL)
    (tmp_path / "evil_module.py").write_text(EVIL)
    (tmp_path / "evil-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (tmp_path / "evil-1.dist-info/RECORD").write_text("evil/cube.npy,,\nevil/deep/cube.npy,,\n")
    path = os.pathsep.join([str(tmp_path)] * on_path + [str(Path(__file__).parents[1])])
    packages = ["evil", "evil.deep", "evil.deep.er", "evil_module", "tensorly"]
    command, environment = [sys.executable, "-c", LOCATE, *packages], {**os.environ, "PYTHONPATH": path}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    *refused, installed = run.stdout.splitlines()
    assert not (tmp_path / "canary").exists()
    assert all("belongs to the Python package evil" in line for line in refused) and len(refused) == 4
    assert Path(installed).parent.name == "tensorly" and not Path(installed).is_relative_to(tmp_path)


def test_installed_package_is_not_imported(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path / "none"), str(tmp_path)])
    (tmp_path / "mine/data").mkdir(parents=True)
    (tmp_path / "mine/__init__.py").write_text(EVIL)
    (tmp_path / "mine/data/a.npy").touch()
    for path in ("mine:data/a.npy", "mine.data:a.npy", "mine:./data//a.npy"):
        assert File(path=path).local_path() == tmp_path / "mine/data/a.npy"
    assert "mine" not in sys.modules


@pytest.mark.parametrize("path", ["tensorly:../secret.npy", "tensorly:a/../../b.npy", "os.x:./../b.npy"])
def test_path_stays_in_the_package(path):
    with pytest.raises(ValidationError, match=r"a path in a Python package has no \.\."):
        File(path=path)


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("a/./b.tif", "a/b.tif"),
        ("a//b.tif", "a/b.tif"),
        ("./a.tif", "a.tif"),
        ("//a/b.tif", "/a/b.tif"),
        ("a.zip//d/./c.bsq", "a.zip/d/c.bsq"),
        ("../a.tif", "../a.tif"),
        ("a/../b.tif", "a/../b.tif"),  # a may be a link to another folder
        (" {a} .tif", " {a} .tif"),
        ("~nobody_here/a.tif", "~nobody_here/a.tif"),
    ],
)
def test_path_has_one_form(path, normal):
    assert File(path=path).path == normal == File(path="a.tif", mask=path).mask
    assert File(path=path).local_path().suffix in (".tif", ".zip")


@pytest.mark.parametrize("other", ["./a.tif", ".//a.tif", "a.tif"])
def test_file_is_listed_once_whatever_its_spelling(other):
    with pytest.raises(ValidationError, match="duplicate file"):
        Cube(files=(File(path="a.tif"), File(path=other)), bands="1-3")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a\nb.tif", "control characters"),
        ("a\0.tif", "control characters"),
        ("\x1b[31ma.tif", "control characters"),
        ("https://x.org/a.tif", "URL"),
        ("zip+s3://x/a.zip!b.tif", "URL"),
        ("/vsicurl/https://x.org/a.tif", "only GDAL knows"),
        ("/vsizip/{a.zip}/b.bsq", "only GDAL knows"),
        ("//vsimem/a.tif", "only GDAL knows"),
        ("/./vsimem/a.tif", "only GDAL knows"),
        ('NETCDF:"a.nc":cube', "only GDAL knows"),
        ("GTIFF_DIR:2:a.tif", "only GDAL knows"),
        ("HDF5:a.h5://cube", "only GDAL knows"),
        ("folder/", "names a folder"),
        ("a.zip/d/", "names a folder"),
    ],
)
def test_path_that_is_none_is_refused(path, message):
    for facts in ({"path": path}, {"path": "a.tif", "mask": path}):
        with pytest.raises(ValidationError, match=message):
            File(**facts)
    with pytest.raises(DataError, match=rf"cannot be read: .*{message}.*\.$"):
        describe_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "lkca/evil.py",
        "Snakefile",
        "data",
        "data/../Snakefile",
        "/data/raw/a.npy",
        "~/.bashrc",
        "database/a.npy",
        "../data/a.npy",
        "tensorly:data/evil.py",
        "data.x:data/a.npy",
        "data.zip/a.bsq",
        "DATA/a.npy",
    ],
)
def test_file_is_downloaded_into_data_only(path):
    assert File(path=path)
    with pytest.raises(ValidationError, match="a file with sources is downloaded into data/"):
        File(path=path, sources=("https://x.org/a",))
    assert File(path="./data//raw/a.zip/d/c.bsq", sources=("https://x.org/a",)).path == "data/raw/a.zip/d/c.bsq"


@pytest.mark.parametrize("path", ["data/SHA256SUMS", "data/raw/a/TERMS", "data/raw/./terms", "data//Sha256Sums"])
def test_download_forges_no_hashes_and_no_confirmation(path):
    assert File(path=path)
    with pytest.raises(ValidationError, match="a file that lkca writes itself"):
        File(path=path, sources=("https://x.org/a",))


def test_name_that_is_not_utf8_is_refused():
    with pytest.raises(DataError, match=r"has bytes in its name that are not UTF-8: rename it\.$"):
        describe_path("\udcff.npy")


def test_pixel_files_include_envi_headers_in_any_case(tmp_path):
    for name in ("q.bsq", "Q.HDR", "q.bsq.HDR", "q.hdr", "other.hdr", "x.zip"):
        (tmp_path / name).touch()
    file = File(path=str(tmp_path / "q.bsq"), axes="bands rows columns")
    assert [Path(path).name for path in file.pixel_files()] == ["q.bsq", "Q.HDR", "q.bsq.HDR", "q.hdr"]
    archive = File(path=f"{tmp_path}/x.zip/inside/q.bsq", axes="bands rows columns")
    assert [Path(path).name for path in archive.pixel_files()] == ["x.zip"]


def test_alternative_is_used_if_a_file_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [File(path=f"{name}.npy", axes="rows columns bands") for name in "abc"]
    cube = CUBES["indian_pines"].model_copy(update={"files": (files[0],), "forms": tuple(files[1:])})
    with pytest.raises(DataError, match=r"a.npy or b.npy or c.npy is missing: get it from .*tensorly"):
        cube.resolve_files()
    assert cube.pixel_files() == {}
    for name in "cba":  # an earlier file in the list is preferred
        Path(f"{name}.npy").touch()
        assert [file.path for file in cube.resolve_files()] == [f"{name}.npy"]
        assert cube.pixel_files() == {f"{name}.npy": f"{name}.npy"}


@pytest.mark.parametrize(
    "bands, numbers",
    [("1-3", [1, 2, 3]), ("1-2, 5, 8-9", [1, 2, 5, 8, 9]), ("2,4", [2, 4]), ([1, "3-4"], [1, 3, 4]), ("1-10000", None)],
)
def test_band_numbers_expand_ranges(bands, numbers):
    cube = Cube.model_validate(CUBES["chikusei"].model_dump() | {"bands": bands})
    assert cube.band_numbers() == (numbers or list(range(1, 10_001)))


@pytest.mark.parametrize("bands", ["", "0-3", "3", "3-1", "1,1", "5-6, 2-3", "1-2;4", "1-x", "1-10001", "1-3, 3-5"])
def test_wrong_bands_are_refused(bands):
    with pytest.raises(ValidationError, match="at least two bands"):
        Cube.model_validate(CUBES["chikusei"].model_dump() | {"bands": bands})


@pytest.mark.parametrize("path", [r"C:\data\x.bsq", "d:/data/x.bsq"])
def test_path_of_windows_is_no_package(path):
    file = File(path=path)
    assert file.package() is None
    with pytest.raises(DataError, match="is a path of Windows"):
        Cube(files=(file,), bands="1-3").resolve_files()


def test_wavelengths_in_micrometres_are_refused():
    with pytest.raises(ValidationError, match=r"0\.4 nm is no wavelength of light: give nm, which are 1000 times"):
        Cube(files=(File(path="a.tif"),), nanometres=(0.4, 2.5))


def test_one_invalid_value_needs_no_list():
    assert File(path="a.tif", invalid=-9999).invalid == (-9999.0,) == File(path="a.tif", invalid=[-9999]).invalid
    with pytest.raises(ValidationError):
        File(path="a.tif", invalid=True)


def test_missing_file_of_ones_own_may_have_a_wrong_path():
    with pytest.raises(DataError, match=r"^no.tif is missing: correct its path, or get it and put it there\.$"):
        Cube(files=(File(path="no.tif"),)).resolve_files()
