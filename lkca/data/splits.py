"""Write the split of a scene, say how much of the scene it uses, and propose settings that fit or use more."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from lkca.core.files import open_file, write_json
from lkca.core.result_files import ManifestFile, SplitFile, damaged, read_result
from lkca.data.settings import MIN_TILE, SplitSettings, TestTiles, count_patches
from lkca.data.windows import Area, InvalidPixels, Split, SplitProblem, divide
from lkca.errors import ConfigError, DataError, LkcaError, StaleInput

MIN_USED = 0.75  # a split that uses less of the patches gets a proposal
MIN_LR_SIDE = 4  # pixels, of proposed LR patches
MAX_AREAS = 50  # that are tried for a smaller test area
NUM_POSITIONS = 20  # that are tried for a test area on valid pixels
NUM_SIZES = 8  # of patches that are tried for a proposal
MAX_TRIED = 300  # settings that are tried for one kind of change
MAX_TRIED_PATCHES = 10**5  # settings that give more are not tried


def write_split(settings: SplitSettings, image: int, scene: Path, manifest: Path, out: Path) -> None:
    """Divide a scene and write its split: the job `split` of the workflow.

    Args:
        settings: How the scene is divided.
        image: Number of the test image that figures will show, from 0.
        scene: The scene, .npy; it is only read if it has invalid pixels.
        manifest: The manifest of the scene.
        out: JSON file to write. It contains the corners of the patches, the windows of the test images, the number of
            each and of those that are left out, crops and divisor of the scene, and hashes.

    Raises:
        ConfigError: If the scene is too small for these settings or has too many invalid pixels, or if there is no such
            test image.
        StaleInput: If the scene is not that of the manifest.
    """
    facts = read_result(manifest, ManifestFile)
    areas, invalid = facts["areas"], read_invalid_pixels(scene, facts)
    split = make_split(settings, areas, f"scenes.{facts['scene']}", invalid)
    check_image(facts["scene"], image, split)
    parts: dict[str, Sequence[Any]] = {"train": split.train, "validation": split.validation, "test": split.test}
    write_json(
        out,
        {
            "scene": facts["scene"],
            "scale": settings.scale,
            "size": settings.size,
            "stride": settings.stride,
            "sampling": settings.sampling,
            "crops": [area["crop"] for area in areas],
            "divisor": facts["divisor"],
            "numbers": split.numbers,
            "scene_sha256": facts["sha256"],
            "windows_sha256": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
            **parts,
            # Only if it is not empty: the hash of this file decides whether networks are trained again.
            **({"left_out": split.left_out} if split.left_out else {}),
        },
    )
    print(f"{facts['scene']} x{settings.scale}: {describe_split(settings, areas, split, invalid)}")


def check_scene_files(scene: Path, split: Path | None) -> None:
    """Check the files of a scene before a job reads them.

    Args:
        scene: The scene, .npy, or its manifest, .json.
        split: The split, if the job reads one; its patches and test images have to be inside of the scene.

    Raises:
        DataError: If one of the files is damaged.
        StaleInput: If they do not belong together.
    """
    if scene.suffix == ".json":
        read_result(scene, ManifestFile)
        return
    if split is None:
        return
    content, (_, rows, columns) = read_result(split, SplitFile), _open_scene(scene).shape
    size = content["size"]
    ends = [(row + size, column + size) for row, column in [*content["train"], *content["validation"]]]
    ends += [(row + height, column + width) for row, column, height, width in content["test"]]
    if max(row for row, _ in ends) > rows or max(column for _, column in ends) > columns:
        raise StaleInput(f"{split} has patches outside of {scene}: run snakemake again.")


def _open_scene(scene: Path) -> np.ndarray:
    """Return a scene, (bands, rows, columns), which is read from its file when it is used.

    Raises:
        DataError: If the file is missing, damaged, or not such an array.
    """
    try:
        open_file(scene).close()  # np.load would wait for the writer of a pipe
        array: np.ndarray = np.load(scene, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{scene} does not exist: run snakemake again.") from None
    except (ValueError, TypeError, OverflowError, EOFError, SyntaxError, TokenError, MemoryError) as error:
        raise error if isinstance(error, LkcaError) else damaged(scene, error) from error
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype != np.float32 or not array.size:
        raise damaged(scene, "it is not an array of float32 with the axes (bands, rows, columns)")
    return array


def read_invalid_pixels(scene: Path, manifest: Mapping[str, Any]) -> InvalidPixels | None:
    """Return the invalid pixels of a scene, which are NaN in all bands; None if it has none.

    Args:
        scene: The scene, .npy.
        manifest: The content of its manifest.

    Raises:
        StaleInput: If the scene has another number of invalid pixels than its manifest says.
    """
    if not manifest.get("invalid_pixels"):
        return None
    mask = np.isnan(_open_scene(scene)[0])
    if np.count_nonzero(mask) != manifest["invalid_pixels"]:
        raise StaleInput(f"{scene} is not the scene that its manifest describes: delete both and run snakemake again.")
    return InvalidPixels(mask)


def check_image(scene: str, image: int, split: Split) -> None:
    """Check that a split has the test image that figures show.

    Raises:
        ConfigError: If it does not.
    """
    if image >= len(split.test):
        raise ConfigError(
            f"scenes.{scene}.composite.image is {image}, but {split.num_invalid_tests} test images with invalid pixels "
            f"are left out: choose from 0 to {len(split.test) - 1}."
        )


def make_split(
    settings: SplitSettings, areas: Sequence[Area], name: str, invalid: InvalidPixels | None = None
) -> Split:
    """Divide the areas of a scene into test images, training patches and validation patches, as `divide` does.

    Args:
        settings: How the scene is divided.
        areas: The areas of the scene, from top to bottom.
        name: What error messages call the scene.
        invalid: The invalid pixels of the scene; None if it has none.

    Raises:
        ConfigError: If the scene is too small for these settings or has too many invalid pixels. The message has
            settings that fit.
    """
    try:
        return divide(settings, areas, invalid)
    except SplitProblem as problem:
        remedies = [problem.remedy] if problem.remedy else _find_fitting_settings(settings, areas, invalid)
        raise ConfigError(f"{name}: {problem}: {', or '.join(remedies) or 'use a larger scene'}.") from None


# What a split uses ----------------------------------------------------------------------------------------------------


def describe_split(
    settings: SplitSettings, areas: Sequence[Area], split: Split, invalid: InvalidPixels | None = None
) -> str:
    """Return how many patches a split uses and why it leaves others out, and settings that use more if it uses few."""
    text = describe_numbers(split.numbers, split.left_out)
    if not uses_few(split.numbers, split.left_out):
        return text
    proposal = propose_patches(settings, areas, split, invalid)
    if proposal is None:
        return f"{text}; no smaller patches of {MIN_LR_SIDE * settings.scale} pixels or more use more of it"
    patches, better = proposal
    train, used = better.numbers["train"], better.numbers["train"] + better.numbers["validation"]
    return (
        f"{text}; {_write_patches(patches)} would use {_percent(used, better.num_grid_patches)} of its "
        f"{better.num_grid_patches} patches, {train} of them for training"
    )


def describe_numbers(numbers: Mapping[str, int], left_out: Mapping[str, float]) -> str:
    """Return how many patches a split uses, and how many it leaves out for which reason.

    Args:
        numbers: The entry `numbers` of the split.
        left_out: Its entry `left_out`, empty if it has none.

    Example:
        >>> numbers = {"grid": 9, "train": 6, "validation": 2, "test": 3}
        >>> describe_numbers(numbers, {"patches": 1, "test": 0})
        '9 patches: 6 (67 %) for training, 2 (22 %) for validation, 1 (11 %) unused (invalid pixels); 3 test images'
    """
    invalid = int(left_out.get("patches", 0))
    parts = {
        "for training": numbers["train"],
        "for validation": numbers["validation"],
        "unused (overlap with validation)": numbers["grid"] - numbers["train"] - numbers["validation"] - invalid,
        "unused (invalid pixels)": invalid,
    }
    shown = [f"{number} ({_percent(number, numbers['grid'])}) {what}" for what, number in parts.items() if number]
    tests, unused = numbers["test"], left_out.get("test", 0)
    more = f", {unused} unused (invalid pixels)" if unused else ""
    return f"{numbers['grid']} patches: {', '.join(shown)}; {tests} test image{'s' * (tests != 1)}{more}"


def uses_few(numbers: Mapping[str, int], left_out: Mapping[str, float]) -> bool:
    """Return whether a split uses few of the patches, compared with the share of valid pixels.

    Args:
        numbers: The entry `numbers` of the split.
        left_out: Its entry `left_out`, empty if it has none.
    """
    valid_share = left_out.get("valid_share", 1)
    return numbers["train"] + numbers["validation"] < MIN_USED * valid_share * numbers["grid"]


def propose_patches(
    settings: SplitSettings, areas: Sequence[Area], split: Split, invalid: InvalidPixels | None = None
) -> tuple[SplitSettings, Split] | None:
    """Return settings of smaller patches that use more of a scene, and their split; None if none are found.

    They are the largest patches, and of these the ones with the smallest stride, that use enough of the patches and
    give more training patches than the given settings.

    Args:
        settings: How the scene is divided.
        areas: The areas of the scene.
        split: The split with these settings.
        invalid: The invalid pixels of the scene.
    """
    unit, smallest = settings.scale, MIN_LR_SIDE * settings.scale
    sizes = {settings.size * i // NUM_SIZES // unit * unit for i in range(1, NUM_SIZES + 1)}
    for size in sorted((size for size in sizes if size >= smallest), reverse=True):
        for stride in (size // 4, size // 2, size):
            changed = settings.model_copy(update={"size": size, "stride": stride})
            better = _try_to_divide(changed, areas, invalid)
            if better and len(better.train) > len(split.train) and not uses_few(better.numbers, better.left_out):
                return changed, better
    return None


def _percent(number: int, total: int) -> str:
    return f"{100 * number / total:.0f} %" if number > total / 200 else "less than 1 %"


# Settings that fit ----------------------------------------------------------------------------------------------------


def _find_fitting_settings(settings: SplitSettings, areas: Sequence[Area], invalid: InvalidPixels | None) -> list[str]:
    """Return changes of settings with which a scene can be divided, each in words; an empty list if none is found."""
    remedies = []
    test_areas = {
        "move the test area": [settings.test],
        "choose a smaller test area": _smaller_areas(settings.test),
        "choose smaller test images": _smaller_tiles(settings),
    }
    for change, tests in test_areas.items():
        if placed := _place_first(settings, tests, areas, invalid):
            remedies.append(f"{change}, such as {_write_test(placed)}")
            break
    if _try_to_divide(_with_test(settings, invalid="drop"), areas, invalid):
        remedies.append("leave these test images out with test: {invalid: drop}")
    for patches in _smaller_patches(settings):
        if _try_to_divide(patches, areas, invalid):
            remedies.append(f"choose smaller patches or strides, at most {_write_patches(patches)}")
            break
    if not remedies:
        for tile in _smaller_tiles(settings):
            size = min(settings.size, tile.rows)
            patches = settings.model_copy(update={"size": size, "stride": max(1, size // 2)})
            if placed := _place_first(patches, [tile], areas, invalid):
                both = f"{_write_test(placed)} and {_write_patches(placed)}"
                return [f"choose smaller test images and patches, such as {both}"]
    return remedies


def _try_to_divide(settings: SplitSettings, areas: Sequence[Area], invalid: InvalidPixels | None) -> Split | None:
    """Return the split of a scene, None if it cannot be divided with these settings, or into very many patches."""
    patches = sum(count_patches(area["rows"], area["columns"], settings.size, settings.stride) for area in areas)
    if patches > MAX_TRIED_PATCHES:
        return None
    try:
        return divide(settings, areas, invalid)
    except SplitProblem:
        return None


def _with_test(settings: SplitSettings, **changes: Any) -> SplitSettings:
    return settings.model_copy(update={"test": settings.test.model_copy(update=changes)})


def _smaller_areas(test: TestTiles) -> Iterator[TestTiles]:
    """Yield some test areas with fewer of the same tiles, the largest first."""
    height, width = test.tile
    sides = product(range(height, test.rows + 1, height), range(width, test.columns + 1, width))
    smaller = sorted(sides, key=lambda side: -side[0] * side[1])[1:]
    for rows, columns in smaller[:: 1 + len(smaller) // MAX_AREAS]:
        yield test.model_copy(update={"rows": rows, "columns": columns})


def _smaller_tiles(settings: SplitSettings) -> Iterator[TestTiles]:
    """Yield test areas of one smaller square tile, the largest first."""
    smallest = -(-MIN_TILE // settings.scale) * settings.scale
    sides = range((min(settings.test.tile) - 1) // settings.scale * settings.scale, smallest - 1, -settings.scale)
    for side in _some(sides):
        yield settings.test.model_copy(update={"rows": side, "columns": side, "tile": [side, side]})


def _smaller_patches(settings: SplitSettings) -> Iterator[SplitSettings]:
    """Yield patches with a smaller stride, then smaller patches, that overlap by up to a half, the largest first."""
    for stride in _some(range(settings.stride - 1, settings.size // 2 - 1, -1)):
        yield settings.model_copy(update={"stride": stride})
    unit = settings.scale
    for size in _some(range((settings.size - 1) // unit * unit, 0, -unit)):
        yield settings.model_copy(update={"size": size, "stride": max(1, min(settings.stride, size // 2))})


def _some(numbers: range) -> range:
    """Return numbers, or MAX_TRIED of them at equal distances if there are more."""
    return numbers[:: -(-len(numbers) // MAX_TRIED) or 1]


def _place_first(
    settings: SplitSettings, tests: Iterable[TestTiles], areas: Sequence[Area], invalid: InvalidPixels | None
) -> SplitSettings | None:
    """Return the settings with the first test area that can be placed on valid pixels, None if none can be placed.

    Of some of the possible positions, the one with the most training patches is chosen.
    """
    for test in tests:
        positions = [(test.row, test.column), *_valid_positions(settings.scale, test, areas, invalid)]
        moved = [_with_test(settings, **dict(test) | {"row": row, "column": column}) for row, column in positions]
        splits = [(split, each) for each in moved if (split := _try_to_divide(each, areas, invalid))]
        if splits:
            return max(splits, key=lambda pair: len(pair[0].train))[1]
    return None


def _valid_positions(
    unit: int, test: TestTiles, areas: Sequence[Area], invalid: InvalidPixels | None
) -> list[tuple[int, int]]:
    """Return some positions of a test area at which no test image contains an invalid pixel: row and column.

    There is at most one in a row, the leftmost one. Rows and columns are multiples of `unit`.
    """
    if invalid is None:
        return [(0, 0)]
    tested = [area for area in areas if area["use"] != "train"]
    rows = range(0, min(area["rows"] for area in tested) - test.rows + 1, unit)
    columns = range(0, min(area["columns"] for area in tested) - test.columns + 1, unit)
    positions = np.stack(np.meshgrid(rows, columns, indexing="ij"), 2).astype(int).reshape(-1, 2)
    counts = sum(invalid.count(np.add(positions, (area["row"], 0)), test.rows, test.columns) for area in tested)
    _, first = np.unique(positions[counts == 0, 0], return_index=True)
    leftmost = positions[counts == 0][first]
    step = 1 + len(leftmost) // NUM_POSITIONS
    return [(int(row), int(column)) for row, column in leftmost[step // 2 :: step]]


def _write_test(settings: SplitSettings) -> str:
    """Return the place of the test area as config.yaml has it."""
    values = settings.test.model_dump(exclude={"invalid"})
    height, width = settings.test.tile
    values["tile"] = height if height == width else [height, width]
    return f"test: {{{', '.join(f'{name}: {value}' for name, value in values.items())}}}"


def _write_patches(settings: SplitSettings) -> str:
    """Return size and stride of the patches as config.yaml has them."""
    return f"patches: {{x{settings.scale}: {{size: {settings.size}, stride: {settings.stride}}}}}"
