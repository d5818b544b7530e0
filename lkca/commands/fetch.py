"""`lkca fetch` and `lkca verify`: the files of a scene."""

from pathlib import Path

from lkca.core.files import sha256
from lkca.data.catalog import CUBES, Cube, File
from lkca.data.download import verify_file
from lkca.data.inspection import inspect_file
from lkca.data.sandbox import run_sandboxed
from lkca.data.scenes import fetch_cube
from lkca.errors import LkcaError


def fetch(scene: str, accept_terms: bool, config: list[Path]) -> None:
    """Download the files of a scene that are not there, from their sources; check those that are.

    Args:
        scene: Its key in config.yaml.
        accept_terms: Confirm the terms of the scene's owner; remembered.
        config: config.yaml and overlays.

    Raises:
        LkcaError: If a file can be had from no source, or the terms are not confirmed; says what to do by hand.
    """
    fetch_cube(scene, named(scene, config), accept_terms, None)


def verify(scene: str, file: Path | None, config: list[Path]) -> None:
    """Tell whether a file is the right one for a scene: hash, shape, type, values, wavelengths.

    Args:
        scene: Its key in config.yaml.
        file: The file, where it does not lie in its place.
        config: config.yaml and overlays.

    Raises:
        LkcaError: If it is not, with what it is as far as it can be told.
    """
    cube = named(scene, config)
    files = cube.resolve_files() if file is None else (_form(cube, file),)
    for each in files:
        digest = sha256(each.local_path())
        known = (
            "none is published" if not each.sha256 else "as published" if digest == each.sha256 else "not the published"
        )
        print(f"{each.path}\n  {'SHA-256':<12} {digest} ({known})", flush=True)
        lines, problems = run_sandboxed(inspect_file, cube, each, cube.band_numbers())
        for name, told in lines.items():
            print(f"  {name:<12} {told}")
        if problems:
            raise LkcaError(" ".join(problems))
        verify_file(each, cube.source)
    if all(each.sha256 for each in files):
        print(f"{scene}: published and unchanged.")
    else:
        print(f"{scene}: nothing speaks against it, but no hash is published that would prove it.")


def named(scene: str, config: list[Path]) -> Cube:
    """The cube of a scene of config.yaml; away from a checkout, one of CUBES.

    Raises:
        LkcaError: If there is none of that name.
    """
    from lkca.config.load import read_config

    if scene in CUBES and config == [Path("config.yaml")] and not config[0].exists():
        return CUBES[scene]
    scenes = read_config(config).scenes
    if scene not in scenes:
        raise LkcaError(f"there is no scene {scene}: choose one of {', '.join(sorted(scenes))}.")
    return scenes[scene].resolve_cube()


def _form(cube: Cube, path: Path) -> File:
    """A file of any name as one of the cube's, by its suffix."""
    suffix = ".zip" if ".zip/" in str(path) else path.suffix.lower()
    if not File(path=str(path), axes=cube.files[0].axes).local_path().is_file():
        raise LkcaError(f"{path} does not exist: name the file to verify.")
    for form in (*cube.files, *cube.forms):
        if form.local_path().suffix == suffix:
            inside = f"/{form.archive_member()}" if suffix == ".zip" and path.suffix == ".zip" else ""
            return form.model_copy(update={"path": f"{path}{inside}", "sources": ()})
    array = suffix in (".mat", ".h5", ".hdf5", ".npy")
    return File(path=str(path), axes="rows columns bands" if array else cube.files[0].axes)
