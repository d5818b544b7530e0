"""`lkca fetch` and `lkca verify`: what they print, what they refuse, and how they describe a file of the user."""

from pathlib import Path

import pytest
from cubes import PIXELS, array_file, call_directly, make_cube, save_cube

from lkca.commands import fetch
from lkca.core.files import sha256
from lkca.data.catalog import CUBES, File
from lkca.errors import ConfigError, DataError
from tests import generated_cubes
from tests.conftest import REPOSITORY

CONFIG = [Path("config.yaml")]  # does not exist in the folder of the test


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """Run each test in its own folder, without the process of the sandbox; paths of cubes are relative."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch, "run_sandboxed", call_directly)


def test_verify_prints_what_the_file_holds(monkeypatch, capsys):
    generated_cubes.write_chikusei_zip(Path("mine.zip"), PIXELS)
    path = f"data/raw/x.zip/{generated_cubes.CHIKUSEI_FOLDER}/{generated_cubes.CHIKUSEI}.bsq"
    cube = make_cube(File(path=path, axes="bands rows columns"), nanometres=(363, 1018))
    monkeypatch.setitem(CUBES, "chikusei", cube)
    fetch.verify("chikusei", Path("mine.zip"), CONFIG)
    printed = capsys.readouterr().out
    crop = PIXELS[2:38, 1:33]
    for fact in (
        sha256(Path("mine.zip")),
        "40 rows, 36 columns, 12 bands",
        f"{crop.min()} to {crop.max()} in the valid part",
        "362.59 to 1018.02 nm",
        "no published hash",
    ):
        assert fact in printed
    monkeypatch.setitem(CUBES, "chikusei", cube.model_copy(update={"nanometres": (430, 860)}))
    with pytest.raises(DataError, match="its bands reach from 362.59 to 1018.02 nm instead of 430 to 860"):
        fetch.verify("chikusei", Path("mine.zip"), CONFIG)


@pytest.mark.parametrize("published", [True, False])
def test_verify_compares_the_published_hash(monkeypatch, capsys, published):
    save_cube()
    digest = sha256(Path("a.npy")) if published else "0" * 64
    monkeypatch.setitem(CUBES, "chikusei", make_cube(array_file("a.npy", sha256=digest)))
    if published:
        fetch.verify("chikusei", None, CONFIG)
        assert "chikusei: the published content, unchanged" in capsys.readouterr().out
    else:
        with pytest.raises(DataError, match=r"a\.npy"):
            fetch.verify("chikusei", None, CONFIG)
        assert "not the published one" in capsys.readouterr().out


def test_verify_names_another_published_file():
    generated_cubes.write_pavia_university(Path("PaviaU.mat"), generated_cubes.Scene(610, 340, 103, 8000))
    with pytest.raises(DataError, match="PaviaU.mat is not what it should be: it is Pavia University, another scene"):
        fetch.verify("pavia_centre", Path("PaviaU.mat"), CONFIG)


@pytest.mark.parametrize(
    ("path", "described"),
    [
        ("mine.zip", f"mine.zip/{generated_cubes.CHIKUSEI_FOLDER}/{generated_cubes.CHIKUSEI}.bsq"),
        ("mine.zip/inside/x.bsq", "mine.zip/inside/x.bsq"),
        ("mine.MAT", "mine.MAT"),
    ],
)
def test_file_is_described_by_its_suffix(path, described):
    for name in ("mine.zip", "mine.MAT"):
        Path(name).touch()
    file = fetch._describe_file(CUBES["chikusei"], Path(path))
    assert file.path == described and not file.sources
    assert file.axes == ("rows columns bands" if "MAT" in path else "bands rows columns")
    assert file.variable == ("chikusei" if "MAT" in path else None)


def test_missing_file_is_named():
    with pytest.raises(DataError, match="none.mat does not exist"):
        fetch.verify("chikusei", Path("none.mat"), CONFIG)


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_unknown_scene_is_refused(command):
    config = [REPOSITORY / "config.yaml"]
    with pytest.raises(ConfigError, match="no scene chikusai: choose one of chikusei, houston2018, pavia_centre"):
        if command == "fetch":
            fetch.fetch("chikusai", False, config)
        else:
            fetch.verify("chikusai", None, config)
