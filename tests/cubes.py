"""A small synthetic cube, and functions that write it and cut scenes from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data import scenes
from lkca.data.catalog import Cube, File
from lkca.data.settings import SceneSettings
from tests import generated_cubes

MAXIMUM = 5000
SHAPE = ROWS, COLUMNS, BANDS = 40, 36, 12
PIXELS = np.stack(list(generated_cubes.Scene(*SHAPE, MAXIMUM)), 2)  # (rows, columns, bands), uint16
PIXELS.flags.writeable = False
CROP = (2, 38, 1, 33)


def make_cube(*files: File, **changes: Any) -> Cube:
    """Return a cube that consists of these files."""
    facts = {"sensor": "synthetic", "gsd_m": 1, "nanometres": (380, 1050), "source": "https://x.org/y", "citation": ""}
    return Cube(**{"files": files, "bands": f"1-{BANDS}", "crop": CROP, "terms": "none", **facts, **changes})


def array_file(path: str, variable: str | None = None, **more: Any) -> File:
    """Return the description of a file that holds an array (rows, columns, bands)."""
    return File(path=path, variable=variable, axes="rows columns bands", **more)


def save_cube(**changes: Any) -> Cube:
    """Write the synthetic cube to a.npy; return its description."""
    np.save("a.npy", PIXELS)
    return make_cube(array_file("a.npy"), **changes)


def cut_and_load(
    cube: Cube, bands: int = BANDS, mirror: tuple[str, ...] = (), composite: list[int | str] | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Cut a scene as the workflow does; return the array and the manifest."""
    settings = SceneSettings(name="x", cube_name=None, cube=cube, bands=bands, mirror=[*mirror], composite=composite)
    out, manifest = Path("out/scene.npy"), Path("out/scene.json")
    scenes.cut_scene(settings, out, manifest)
    return np.load(out), json.loads(manifest.read_text())


def call_directly(function: Any, *args: Any) -> Any:
    """Replace `run_sandboxed` by a call in this process; test_readers.py and test_sandbox.py use the original."""
    return function(*args)
