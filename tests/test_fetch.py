"""`lkca fetch` and `lkca verify`: what they print, what they refuse, and how they describe a file of the user."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cubes import PIXELS, array_file, call_directly, make_cube, save_cube

from lkca.commands import fetch
from lkca.config.load import read_config
from lkca.config.settings import make_scene_settings, make_split_settings
from lkca.core.files import sha256
from lkca.data import bands, scenes
from lkca.data.catalog import CUBES, File
from lkca.data.splits import write_split
from lkca.errors import ConfigError, DataError
from tests import generated_cubes
from tests.conftest import REPOSITORY

CONFIG = [Path("config.yaml")]  # does not exist in the folder of the test


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """Run each test in its own folder, without the process of the sandbox; paths of cubes are relative."""
    monkeypatch.chdir(tmp_path)
    for module in (fetch, bands, scenes):
        monkeypatch.setattr(module, "run_sandboxed", call_directly)


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


# The scene as a whole: `verify` refuses what the jobs of a run refuse.


def write_overlay(**changes: Any) -> list[Path]:
    """Write an overlay with a scene of 40 x 36 pixels at x4 and x8; return the files of the configuration.

    Args:
        changes: The settings of the scene that differ, and `patches`.
    """
    patches = {"x4": {"size": 8, "stride": 4}, "x8": {"size": 8, "stride": 4}} | changes.pop("patches", {})
    test = {"rows": 8, "columns": 16, "tile": 8} | changes.pop("test", {})
    cube = {"files": [{"path": "a.npy", "axes": "rows columns bands"}]} | changes.pop("cube", {})
    table = {"title": "t", "header": "h", "scene": "mine", "scales": [4, 8], "rows": {"Bicubic": "bicubic"}}
    overlay = {
        "report": {"tables": ["T"], "figures": []},
        "scenes": {"mine": {"cube": cube, "test": test, **changes}},
        "patches": patches,
        "tables": {"T": table},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(overlay))
    return [REPOSITORY / "config.yaml", Path("mine.yaml")]


def run_jobs(config: list[Path]) -> None:
    """Run the jobs of a run that read the scene."""
    experiment = read_config(config)
    files = Path("scene.npy"), Path("scene.json")
    scenes.cut_scene(make_scene_settings(experiment, "mine"), *files)
    for scale in (4, 8):
        settings = make_split_settings(experiment, "mine", scale)
        write_split(settings, experiment.scenes["mine"].composite.image, *files, Path("split.json"))


@pytest.mark.parametrize("use", ["both", "train"])
def test_verify_tells_how_the_scene_is_divided(capsys, use):
    """Of one file, or of two files of different widths that are mirrored."""
    pixels = PIXELS / np.float32(5000)
    pixels[20, 30] = np.nan
    np.save("a.npy", pixels)
    np.save("b.npy", pixels[::-1, 2:34])
    files = [{"path": "a.npy", "axes": "rows columns bands", "use": use}]
    files += [{"path": "b.npy", "axes": "rows columns bands", "use": "test"}] * (use == "train")
    config = write_overlay(test={"row": 4}, cube={"files": files}, mirror=["rows", "columns"])
    fetch.verify("mine", None, config)
    printed = capsys.readouterr().out
    assert f"pixels       {40 * len(files)} x 36, {len(files)} of them invalid" in printed
    run_jobs(config)
    splits = [line.split("x", 1)[1] for line in printed.splitlines() if line.startswith("  split")]
    written = [line.split("x", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert [line.split(maxsplit=1)[1] for line in splits] == [line.split(maxsplit=1)[1] for line in written]
    manifest = json.loads(Path("scene.json").read_text())
    assert manifest["invalid_pixels"] == len(files) and f"divisor      {manifest['divisor']:g}" in printed


TWICE = [
    {"path": name, "axes": "rows columns bands", "use": use} for name, use in (("a.npy", "train"), ("b.npy", "test"))
]
NANOMETRES = {"nanometres": [400, 900]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"test": {"rows": 48}},
            "48 x 16 does not fit into 40 x 36 pixels: choose a smaller test area, such as test: {",
        ),
        (
            {"test": {"row": 40}},
            "at row 40 and column 0 does not fit .*: move the test area, such as test: {row: 24, col",
        ),
        (
            {"test": {"row": 16}},
            r"1 of 2 test images contain invalid pixels \(1,.*or leave .* with test: {invalid: drop}",
        ),
        (
            {"test": {"row": 16, "invalid": "drop"}, "composite": {"image": 1}},
            "composite.image is 1.*choose from 0 to 0",
        ),
        (
            {"patches": {"x8": {"size": 24, "stride": 4}}},
            "24 pixels .*: choose smaller patches .*at most patches: {x8: {",
        ),
        ({"cube": {"divide_by": 1e-6}}, "a.npy has the maximum .* after division by 1e-06: choose another divide_by"),
        ({"cube": {"files": TWICE}}, "scenes.mine: two files are the same"),
        ({"composite": {"bands": ["660 nm", "550 nm", "480 nm"]}}, "660 nm stands for no band.*not known"),
        ({"composite": {"bands": ["660 nm", "550 nm", "2480 nm"]}, "cube": NANOMETRES}, "no band is near 2480 nm"),
    ],
)
def test_verify_refuses_what_a_run_refuses(capsys, changes, message):
    pixels = PIXELS / np.float32(5000)
    pixels[20, 10] = np.nan
    for name in ("a.npy", "b.npy"):
        np.save(name, pixels)
    config = write_overlay(**changes)
    with pytest.raises(ConfigError, match=message):
        fetch.verify("mine", None, config)
    assert "no problem" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match=message):
        run_jobs(config)
    fetch.verify("mine", Path("a.npy"), config)  # only the file
    assert "no problem" in capsys.readouterr().out


def test_verify_names_all_problems_of_a_scene():
    np.save("a.npy", PIXELS / np.float32(5000))
    config = write_overlay(test={"rows": 48}, cube={"divide_by": 1e-6})
    with pytest.raises(ConfigError, match=r"after division by 1e-06.*\. scenes.mine: a test area of 48 x 16") as e:
        fetch.verify("mine", None, config)
    assert str(e.value).count("does not fit") == 1  # the same for both scales


def test_verify_compares_files():
    np.save("a.npy", PIXELS)
    np.save("b.npy", PIXELS[::-1] / np.float32(5000))
    with pytest.raises(ConfigError, match="b.npy and a.npy are in different units"):
        fetch.verify("mine", None, write_overlay(cube={"files": TWICE}))


def test_verify_says_that_no_split_was_checked(capsys):
    np.save("a.npy", PIXELS / np.float32(5000))
    config = write_overlay(test={"rows": 48})
    text = config[1].read_text()
    config[1].write_text(text.replace("tables: [T]", "tables: []").replace("tables:\n  - T", "tables: []"))
    fetch.verify("mine", None, config)
    assert "none, because no table or figure of the report shows the scene" in capsys.readouterr().out
