"""Prepare a cube of the user's own: cut it to a scene, fill its invalid pixels, and divide it for a training."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt

from lkca.core.files import atomic_write
from lkca.data.arrays import NPY_AXES
from lkca.data.bands import resolve_bands
from lkca.data.catalog import ALL_BANDS, Cube, File, describe_path
from lkca.data.scenes import cut_scene
from lkca.data.settings import MIN_TILE, SceneSettings, SplitSettings, TestTiles
from lkca.data.windows import Area, InvalidPixels, SplitProblem, divide
from lkca.errors import ConfigError

UNNAMED_FORMATS = ("GeoTIFF", "ENVI", "PCIDSK", "NumPy")
SCENE = "cube"  # key of the scene in run.json
SCENE_FILE, MANIFEST_FILE, FILLED_FILE = "scene.npy", "scene.json", "filled.npy"
FILL_REACH = 32  # pixels from a valid one that get its values; those further away get the mean spectrum
TEST_SHARE = 0.2  # of the rows, for the test images
VALIDATION_SHARE = 0.1  # of the rows of the grid of patches
MAX_TILE_SIDE = 32  # LR pixels of a test image
MIN_TEST_IMAGES = 4
PATCH_SIDES = 16, 12, 8  # LR pixels of a patch, the best first
MIN_PATCHES = 1000  # training patches that a larger overlap is used for
MIN_TRAINING_PATCHES = 32


FILE_SETTINGS = ("variable", "axes", "pixels", "gain", "offset", "invalid", "mask")  # of lkca.data.catalog.File
NUMBERS = ("gain", "offset", "invalid")
CUBE_SETTINGS = ("crop", "nanometres", "fwhm")  # of lkca.data.catalog.Cube


def describe_input(path: Path, bands: str, settings: Sequence[str]) -> Cube:
    """Return the cube in a file that a user names, with the numbers of its bands.

    Args:
        path: The file.
        bands: The bands to use, as in `1-103, 109-149`, or `all` for those that the file does not declare as bad.
        settings: What replaces or adds to what the file says of itself: KEY=VALUE with a key of FILE_SETTINGS or
            CUBE_SETTINGS and a value in YAML.

    Raises:
        ConfigError: If `bands` is no list of bands, or a setting is wrong.
        DataError: If the file is missing or cannot be read as described.
    """
    values = _parse_settings(settings)
    if path.suffix.lower() == ".npy":
        values = {"axes": NPY_AXES} | values
    facts = {key: value for key, value in values.items() if key in FILE_SETTINGS}
    describe_path(path)  # what is wrong with the path itself
    try:
        file = File(path=str(path), **facts)
    except ValidationError as error:
        raise ConfigError(f"--set {_describe(error)}.") from None
    try:
        Cube(files=(file,), bands=bands)
    except ValidationError:
        raise ConfigError(
            f"--bands {bands}: list at least two bands in ascending order, as in 1-103, 109-149, or write {ALL_BANDS}."
        ) from None
    try:
        cube = Cube(files=(file,), bands=bands, **{key: values[key] for key in values if key in CUBE_SETTINGS})
    except ValidationError as error:
        raise ConfigError(f"--set {_describe(error)}.") from None
    cube.resolve_files()
    return resolve_bands(cube)


def _parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return the values of settings KEY=VALUE.

    Raises:
        ConfigError: If a setting has another form, an unknown key, or occurs twice.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in (*FILE_SETTINGS, *CUBE_SETTINGS):
            names = ", ".join((*FILE_SETTINGS, *CUBE_SETTINGS))
            raise ConfigError(f"--set {setting} is no setting: write KEY=VALUE with a key of {names}.")
        if key in values:
            raise ConfigError(f"--set {setting}: {key} is set twice: write it once.")
        try:
            values[key] = yaml.safe_load(text)
            if key in NUMBERS and isinstance(values[key], str):
                with suppress(ValueError):  # YAML reads 1e30 as text, because it has no point
                    values[key] = float(text)
        except yaml.YAMLError:
            raise ConfigError(
                f"--set {setting}: {text} is no value of YAML, such as 0 or [0, 1]: correct it."
            ) from None
    return values


def _describe(error: ValidationError) -> str:
    """Return the first setting that a model refuses, and why."""
    first = error.errors(include_url=False)[0]
    key = first["loc"][0] if first["loc"] else "settings"
    reason = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list, as in [1, 2]")
    return f"{key}: {reason[:300].rstrip('.')}: correct it"


def cut_cube(cube: Cube, folder: Path) -> None:
    """Write the scene of a cube, scene.npy, and its manifest, scene.json, to a folder.

    The scene is float32, (bands, rows, columns), divided by the maximum, and NaN at invalid pixels.

    Args:
        cube: The cube, with one file and the numbers of its bands.
        folder: The folder.

    Raises:
        LkcaError: As in `lkca.data.scenes.cut_scene`.
    """
    settings = SceneSettings(
        name=SCENE, cube_name=None, cube=cube, bands=len(cube.band_numbers()), mirror=[], composite=None
    )
    cut_scene(settings, folder / SCENE_FILE, folder / MANIFEST_FILE)


def check_reading(cube: Cube, manifest: Mapping[str, Any]) -> None:
    """Check that the name of an array was not given for a file that has no names.

    Raises:
        ConfigError: If it was.
    """
    kind = manifest["areas"][0]["description"]["format"]
    if cube.files[0].variable is not None and kind in UNNAMED_FORMATS:
        raise ConfigError(f"--set variable: {cube.files[0].path} is {kind}, which has no named arrays: leave it out.")


def read_mask(scene: Path) -> np.ndarray:
    """Return the invalid pixels of a scene, bool (rows, columns)."""
    return np.isnan(np.load(scene, mmap_mode="r", allow_pickle=False)[0])


def fill_invalid(scene: Path, out: Path) -> None:
    """Write a copy of a scene in which invalid pixels have values, so that a network can be applied to it.

    A pixel gets the values of the nearest valid pixel, so that there is no edge at which a network would add detail. A
    pixel far from all valid ones gets the mean spectrum, so that large invalid areas hardly change what networks pool.

    Args:
        scene: The scene, .npy, float32 (bands, rows, columns), NaN at invalid pixels.
        out: The .npy file to write.
    """
    cube = np.load(scene, mmap_mode="r", allow_pickle=False)
    mask = np.isnan(cube[0])
    with atomic_write(out) as part:
        filled = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=cube.shape)
        with part.open("r+b") as file:  # a full disk fails here; later it would end this process
            os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        if mask.any():
            distances, (rows, columns) = distance_transform_edt(mask, return_indices=True)
            far = distances > FILL_REACH
        for source, target in zip(cube, filled, strict=True):
            if mask.any():
                band = source[rows, columns]
                band[far] = source[~mask].mean(dtype=np.float64)
                target[:] = band
            else:
                target[:] = source
        filled.flush()


def choose_split(rows: int, columns: int, scale: int, invalid: InvalidPixels | None, name: str) -> SplitSettings:
    """Return how a scene is divided: test images in rows across the scene, the rest for training and validation.

    Args:
        rows, columns: Size of the scene.
        scale: Upsampling factor.
        invalid: The invalid pixels; None if there are none.
        name: What error messages call the scene.

    Raises:
        ConfigError: If the scene is too small, or has too few valid pixels.
    """
    area = Area(use="both", row=0, rows=rows, columns=columns)
    best: tuple[int, SplitSettings] | None = None
    for side in PATCH_SIDES:
        for test in _propose_tests(rows, columns, scale):
            for stride in _propose_strides(side * scale, scale):
                settings = SplitSettings(
                    scale=scale,
                    size=side * scale,
                    stride=stride,
                    sampling="grid",
                    validation=VALIDATION_SHARE,
                    test=test,
                )
                try:
                    split = divide(settings, [area], invalid)
                except SplitProblem:
                    continue
                if len(split.test) < MIN_TEST_IMAGES or len(split.train) < MIN_TRAINING_PATCHES:
                    continue
                if len(split.train) >= MIN_PATCHES:
                    return settings
                if best is None or len(split.train) > best[0]:
                    best = len(split.train), settings
    if best is None:
        smallest = PATCH_SIDES[-1] * scale
        raise ConfigError(
            f"{name} has too few valid pixels, in {rows} rows and {columns} columns, to train at x{scale} and to hold "
            f"out blocks for a test: {4 * smallest} rows and {5 * smallest} columns of valid pixels suffice; use a "
            "larger cube or a smaller --scale."
        )
    return best[1]


def _propose_strides(size: int, scale: int) -> list[int]:
    """Return steps between patches, the largest first; odd ones, so that patches have every phase on the LR grid."""
    return sorted({max(1, size // divisor) | 1 for divisor in (2, 4, 8, 16)}, reverse=True)


def _propose_tests(rows: int, columns: int, scale: int) -> list[TestTiles]:
    """Return areas of test images, in the middle of the scene, at its top and at its bottom."""
    band = int(TEST_SHARE * rows) // scale * scale
    count = -(-band // (MAX_TILE_SIDE * scale))
    side = band // max(1, count) // scale * scale
    if side < max(MIN_TILE, 2 * scale) or columns < side:
        return []
    height, width = side * count, columns // side * side
    tops = [(rows - height) // 2, 0, rows - height, (rows - height) // 4, 3 * (rows - height) // 4]
    return [
        TestTiles(row=top, column=(columns - width) // 2, rows=height, columns=width, tile=[side, side], invalid="drop")
        for top in tops
    ]
