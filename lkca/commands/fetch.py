"""`lkca fetch` and `lkca verify`: download and check the files of a scene."""

from pathlib import Path

from lkca.commands.scene_check import check_scene
from lkca.config.load import find_config_files, locate_errors, read_config
from lkca.config.schema import Experiment
from lkca.core.files import is_file, sha256
from lkca.data.catalog import CUBES, Cube, File, describe_path
from lkca.data.checksums import verify_file
from lkca.data.inspection import inspect_file, spread_bands
from lkca.data.sandbox import run_sandboxed
from lkca.data.scenes import fetch_cube
from lkca.data.summary import find_remarks
from lkca.errors import ConfigError, DataError

ARRAY_SUFFIXES = {".mat", ".h5", ".hdf5", ".npy"}


def fetch(scene: str, accept_terms: bool, config: list[Path]) -> None:
    """Download the missing files of a scene and check all files.

    Args:
        scene: Key of the scene in config.yaml.
        accept_terms: Whether the user accepts the terms of the scene's owner; later calls do not need it again.
        config: Overlays of config.yaml, or other files: see `find_config_files`.

    Raises:
        LkcaError: If a file cannot be downloaded or is not the right one, or the terms are not accepted; the message
            says what the user can do.
    """
    fetch_cube(scene, find_cube(scene, config), accept_terms, receipt=None)


def verify(scene: str, file: Path | None, config: list[Path]) -> None:
    """Print what a scene's files hold, check that they are the right ones, and check all that a run will check.

    Args:
        scene: Key of the scene in config.yaml.
        file: The file, if it is not at the path in config.yaml or the catalog. Only this file is checked.
        config: Overlays of config.yaml, or other files: see `find_config_files`.

    Raises:
        ConfigError: If there is no such scene, or its settings do not fit its files.
        DataError: If a file is missing or not the right one; if it is another known file, the message names it.
    """
    experiment = _find_experiment(scene, config)
    cube = experiment.scenes[scene].resolve_cube() if experiment else CUBES[scene]
    files = cube.resolve_files() if file is None else (_describe_file(cube, file),)
    bands = cube.band_numbers()
    if experiment and file is None:
        bands = spread_bands(cube, experiment.scenes[scene].bands)
    digests, measurements = [], []
    remarks: set[str] = set()
    for description in files:
        digest = sha256(description.local_path())
        remark = "none is published"
        if description.sha256:
            remark = "as published" if digest == description.sha256 else "not the published one"
        print(f"{description.path}\n  {'SHA-256':<12} {digest} ({remark})", flush=True)
        properties, problems, measured = run_sandboxed(inspect_file, cube, description, bands)
        for name, value in properties.items():
            print(f"  {name:<12} {value}")
        remarks |= find_remarks(measured).keys()
        if problems:
            raise DataError(" ".join(problems))
        verify_file(description, cube.source)
        digests.append(digest)
        measurements.append(measured)
    if experiment and file is None:
        with locate_errors(experiment):
            check_scene(experiment, scene, files, digests, measurements)
    if remarks:
        print(f"{scene}: no error found, but read what is above at: {', '.join(sorted(remarks))}.")
    elif all(description.sha256 for description in files):
        print(f"{scene}: the published content, unchanged.")
    else:
        print(f"{scene}: no problem found, but no published hash proves that the content is unchanged.")


def find_cube(scene: str, config: list[Path]) -> Cube:
    """Return the cube of a scene of the configuration; in a folder without config.yaml, a cube of the catalog.

    Raises:
        ConfigError: If there is no such scene.
    """
    experiment = _find_experiment(scene, config)
    return experiment.scenes[scene].resolve_cube() if experiment else CUBES[scene]


def _find_experiment(scene: str, config: list[Path]) -> Experiment | None:
    """Return the experiment that has a scene; None in a folder without config.yaml if the catalog has the scene.

    Raises:
        ConfigError: If there is no such scene.
    """
    if scene in CUBES and config == [Path("config.yaml")] and not config[0].exists():
        return None
    experiment = read_config(find_config_files(config))
    if scene not in experiment.scenes:
        raise ConfigError(f"there is no scene {scene}: choose one of {', '.join(sorted(experiment.scenes))}.")
    return experiment


def _describe_file(cube: Cube, path: Path) -> File:
    """Return a description of a file at any path: that of the cube's file with the same suffix, with this path.

    If no file of the cube has this suffix, only the path and the axes are described.

    Raises:
        DataError: If the file does not exist.
    """
    suffix = ".zip" if ".zip/" in str(path) else path.suffix.lower()
    if not is_file(describe_path(path, axes=cube.files[0].axes).local_path()):
        raise DataError(f"{path} does not exist: name the file to verify.")
    for known in (*cube.files, *cube.forms):
        if known.local_path().suffix == suffix:
            member = f"/{known.archive_member()}" if suffix == ".zip" and path.suffix == ".zip" else ""
            return known.model_copy(update={"path": f"{path}{member}", "sources": ()})
    return describe_path(path, axes="rows columns bands" if suffix in ARRAY_SUFFIXES else cube.files[0].axes)
