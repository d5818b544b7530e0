"""Fixtures of all tests: the paper's experiment, seeded randomness and a tiny scene."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from lkca.config.load import parse_config
from lkca.data.settings import SplitSettings

REPOSITORY = Path(__file__).parents[1]
torch.set_num_threads(1)  # networks are small, and waiting threads slow a busy machine down


def pytest_collection_modifyitems(items):
    """Run the two longest modules first, one in each process."""
    first = ["test_workflow", "test_reruns"]
    items.sort(key=lambda item: first.index(item.path.stem) if item.path.stem in first else len(first))


def copy_checkout(folder: Path) -> Path:
    """Copy the files of the workflow, so that a run there finds no results and leaves none here."""
    for name in ("lkca", "workflow", "profiles"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml", "environment.yml", "Makefile", "tests/tiny.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def clean_shell(folder: Path) -> dict[str, str]:
    """Return the environment of a shell without an activated venv, whose first Python on the PATH is another one."""
    other = folder.parent / "another-python"
    other.mkdir(exist_ok=True)
    for name in ("python", "python3"):
        (other / name).write_text("#!/bin/sh\necho not this Python >&2\nexit 3\n")
        (other / name).chmod(0o755)
    venv_folder = str(Path(sys.executable).parent)
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if entry != venv_folder and ".venv" not in entry]
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return variables | {"PATH": os.pathsep.join([str(other), *path])}


def without_privileges() -> list[str]:
    """Return the start of a command that runs another one with the permissions of files in force, even for root."""
    if os.geteuid():
        return []
    capabilities = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
    if not shutil.which("setpriv") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("root cannot give up its privileges here")
    return command


RECIPE = {
    "epochs": 2,
    "steps": None,
    "batch": 8,
    "learning_rate": 2e-3,
    "cosine_to": 2e-4,
    "step_epochs": None,
    "step_factor": None,
    "sam": 0.5,
    "grad": 0.1,
    "spatial_tv": 0.0,
    "spectral_tv": 0.0,
    "precision": "float32",
    "compile": False,
    "deterministic": True,
}


def manifest_of(shape: tuple[int, int, int], digest: str = "c0" * 32) -> dict:
    """Return the fields of a manifest that a split and an evaluation read, for a scene of one file."""
    bands, rows, columns = shape
    area = {"use": "both", "row": 0, "rows": rows, "columns": columns, "crop": [0, rows, 0, columns]}
    facts = {"scene": "tiny", "shape": shape, "divisor": 1, "nanometres": None, "invalid_pixels": 0}
    return {**facts, "areas": [area], "sha256": digest}


def split_settings(**changes) -> SplitSettings:
    """Return the settings of a small split, with `changes`."""
    test = {"row": 0, "column": 0, "rows": 32, "columns": 64, "tile": [32, 32], "invalid": "refuse"}
    test |= changes.pop("test", {})
    usual = {"scale": 4, "size": 16, "stride": 8, "sampling": "grid", "validation": 0.2, "test": test}
    return SplitSettings(**usual | changes)


def paper_settings(file: Path = REPOSITORY / "config.yaml") -> dict:
    """Return config.yaml with the paper's tables and rows and the supplement's; a user may have added others."""
    with (REPOSITORY / "lkca/paper/paper_tables.csv").open(newline="", encoding="utf-8") as lines:
        printed = [(line["table"], line["row"]) for line in csv.DictReader(lines)]
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    tables = {*(table for table, _ in printed), "S1", "S2"}
    methods = {row for _, row in printed}
    for entry in (*settings["tables"].values(), *settings["figures"].values()):
        rows = entry["rows"].items()
        entry["rows"] = {label: model for label, model in rows if label.removesuffix("-LR") in methods | {"LKCA"}}
    settings["tables"] = {name: table for name, table in settings["tables"].items() if name in tables}
    settings["figures"] = {name: figure for name, figure in settings["figures"].items() if figure["rows"]}
    for kind in ("tables", "figures"):
        settings["report"][kind] = [name for name in settings["report"][kind] if name in settings[kind]]
    return settings


@pytest.fixture(scope="session")
def paper():
    """Return the paper's experiment: config.yaml without what was added to it, see `paper_settings`."""
    return parse_config(paper_settings())


@pytest.fixture
def rng():
    """Return a seeded generator of numpy; torch is seeded, too."""
    torch.manual_seed(0)
    return np.random.default_rng(0)


@pytest.fixture
def tiny(tmp_path, rng):
    """Make a scene of 8 bands with its manifest and a split at x4; `run` writes a run.json of a small LKCA-LR."""
    from lkca.config.run import write_run
    from lkca.config.settings import RunSettings
    from lkca.core.files import sha256
    from lkca.data.splits import write_split

    rows, columns = np.mgrid[0:80, 0:64] / 9
    cube = np.stack([0.5 + 0.3 * np.sin(rows + band / 2) * np.cos(columns - band / 3) for band in range(8)])
    cube = (cube + rng.normal(0, 0.01, cube.shape)).astype(np.float32)
    files = SimpleNamespace(folder=tmp_path, scene=tmp_path / "scene.npy", split=tmp_path / "split.json")
    files.manifest = tmp_path / "scene.json"
    np.save(files.scene, cube)
    files.manifest.write_text(json.dumps(manifest_of(cube.shape, sha256(files.scene))))
    write_split(split_settings(), 0, files.scene, files.manifest, files.split)

    def run(name: str, teacher: Path | None = None, **changes) -> Path:
        """Write a run.json with `changes`."""
        usual = {
            "experiment": "test",
            "scene": "tiny",
            "scale": 4,
            "model": name,
            "bands": 8,
            "arch": "lkca",
            "args": {"width": 16, "blocks": 2, "drop_path": 0.1},
            "upsampler": {"groups": 8},
            "train": RECIPE,
            "distill": None,
        }
        path = tmp_path / name / "run.json"
        seed = changes.pop("seed", 0)
        write_run(RunSettings.model_validate(usual | changes), seed, files.manifest, files.split, teacher, path)
        return path

    files.run = run
    return files
