"""The cubes of the catalog, and where the path of a file leads."""

from pathlib import Path

import pytest

from lkca.data.catalog import CUBES, File
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
