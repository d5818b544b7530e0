"""Splits: the numbers of patches of the paper's protocol, disjoint parts, and settings that are refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lkca.config.schema import Experiment
from lkca.config.settings import make_split_settings
from lkca.data.settings import SplitSettings
from lkca.data.splits import Area, grid, make_split, write_split
from lkca.errors import ConfigError
from tests.conftest import manifest_of, split_settings

SIZES = {"chikusei": (2304, 2048), "houston2018": (4172, 1202), "pavia_centre": (1096, 715)}
COUNTS = [  # scene, scale, patches of the whole grid, training patches and validation patches
    ("chikusei", 4, 3465, 3024, 378),
    ("chikusei", 8, 837, 713, 93),
    ("houston2018", 4, 4068, 3600, 432),
    ("houston2018", 8, 952, 833, 102),
    ("pavia_centre", 4, 546, 462, 63),
    ("pavia_centre", 8, 120, 90, 20),
]
CASES = pytest.mark.parametrize(("scene", "scale"), [case[:2] for case in COUNTS])


def make_area(rows: int, columns: int, use: str = "both", row: int = 0) -> Area:
    return {"use": use, "row": row, "rows": rows, "columns": columns}


def paper_split(paper: Experiment, scene: str, scale: int, **changes: Any):
    """Return the settings of a split of the paper, with changes, and the split."""
    settings = make_split_settings(paper, scene, scale).model_copy(update=changes)
    return settings, make_split(settings, [make_area(*SIZES[scene])], scene)


def cover(settings: SplitSettings, corners: list[tuple[int, int]], size: tuple[int, int]) -> np.ndarray:
    """Return how many patches cover each pixel."""
    counts = np.zeros(size, int)
    for row, column in corners:
        counts[row : row + settings.size, column : column + settings.size] += 1
    return counts


@pytest.mark.parametrize(("scene", "scale", "whole", "train", "validation"), COUNTS)
def test_numbers_of_patches_are_those_of_the_paper(paper, scene, scale, whole, train, validation):
    _, parts = paper_split(paper, scene, scale)
    assert (parts.num_grid_patches, len(parts.train), len(parts.validation)) == (whole, train, validation)


@pytest.mark.parametrize(
    ("scene", "number", "side"), [("chikusei", 4, 512), ("houston2018", 8, 256), ("pavia_centre", 3, 224)]
)
def test_test_images_are_those_of_the_paper(paper, scene, number, side):
    _, parts = paper_split(paper, scene, 4)
    assert len(parts.test) == number
    assert {window[2:] for window in parts.test} == {(side, side)}


@CASES
@pytest.mark.parametrize("sampling", ["grid", "random"])
def test_no_pixel_is_in_two_parts(paper, scene, scale, sampling):
    settings, parts = paper_split(paper, scene, scale, sampling=sampling)
    test = np.zeros(SIZES[scene], int)
    for row, column, rows, columns in parts.test:
        test[row : row + rows, column : column + columns] += 1
    assert test.max() == 1  # test images do not overlap
    used = [cover(settings, corners, SIZES[scene]) > 0 for corners in (parts.train, parts.validation)]
    assert (used[0].astype(int) + used[1] + test).max() == 1


@CASES
def test_random_patches_are_as_many_as_those_of_the_grid(paper, scene, scale):
    settings, on_grid = paper_split(paper, scene, scale)
    _, parts = paper_split(paper, scene, scale, sampling="random")
    assert [len(part) for part in parts[1:]] == [len(part) for part in on_grid[1:]]
    assert parts.train != on_grid.train and parts.test == on_grid.test
    for corners, reference in ((parts.train, on_grid.train), (parts.validation, on_grid.validation)):
        rows, columns = zip(*corners, strict=True)
        assert min(row for row, _ in reference) <= min(rows) and max(rows) <= max(row for row, _ in reference)
        assert min(columns) >= 0 and max(columns) + settings.size <= SIZES[scene][1]
    assert len({row % settings.stride for row, _ in parts.train}) > 10  # not on the grid
    assert paper_split(paper, scene, scale, sampling="random")[1] == parts  # the same each time


def test_random_patches_may_touch_the_last_column():
    """If the scene is as wide as a patch, every patch starts at column 0."""
    test = {"rows": 16, "columns": 16, "tile": [16, 16]}
    parts = make_split(split_settings(sampling="random", test=test), [make_area(80, 16)], "x")
    assert {column for _, column in parts.train + parts.validation} == {0}


def test_test_images_may_be_strips(paper):
    test = make_split_settings(paper, "chikusei", 4).test.model_copy(update={"rows": 2048, "tile": [512, 2048]})
    for scale, whole in ((4, 441), (8, 93)):
        _, parts = paper_split(paper, "chikusei", scale, test=test)
        assert parts.num_grid_patches == whole
        assert parts.test == [(512 * i, 0, 512, 2048) for i in range(4)]


def test_each_file_is_divided_by_its_use():
    """100 x 60 for training, 40 x 80 for testing, 90 x 50 for both; patches of 16 every 8, test images of 32 x 32."""
    areas = [make_area(100, 60, "train", 0), make_area(40, 80, "test", 100), make_area(90, 50, "both", 140)]
    test = {"rows": 32, "columns": 32, "tile": [32, 32]}
    parts = make_split(split_settings(validation=0.1, test=test), areas, "x")
    assert parts.test == [(100, 0, 32, 32), (140, 0, 32, 32)]
    corners = parts.train + parts.validation
    first = [(row, column) for row, column in corners if row < 100]
    last = [(row, column) for row, column in corners if row >= 172]
    assert len(first) + len(last) == len(corners)  # none in the file for testing, none in test rows
    assert max(row for row, _ in first) + 16 <= 100 and max(column for _, column in first) + 16 <= 60
    assert max(row for row, _ in last) + 16 <= 230 and max(column for _, column in last) + 16 <= 50
    assert parts.num_grid_patches == 11 * 6 + 6 * 5
    assert (len(parts.train), len(parts.validation)) == (11 * 6 + 3 * 5, 2 * 5)


def test_grid_covers_whole_patches_only():
    assert grid(range(10, 15), range(7), size=3, stride=2) == [
        [(10, 0), (10, 2), (10, 4)],
        [(12, 0), (12, 2), (12, 4)],
    ]
    assert grid(range(2), range(7), size=3, stride=2) == []


@pytest.mark.parametrize(
    ("rows", "message"), [(600, "chikusei: .*no room for training and validation"), (500, "512 x 2048 does not fit")]
)
def test_small_scene_is_refused(paper, rows, message):
    settings = make_split_settings(paper, "chikusei", 4)
    with pytest.raises(ConfigError, match=message):
        make_split(settings, [make_area(rows, 2048)], "chikusei")


def test_split_writes_parts_numbers_and_hashes(tmp_path: Path):
    manifest, out = tmp_path / "scene.json", tmp_path / "split.json"
    manifest.write_text(json.dumps(manifest_of((2, 80, 64))))
    write_split(split_settings(), manifest, out)
    written = json.loads(out.read_text())
    parts = make_split(split_settings(), manifest_of((2, 80, 64))["areas"], "x")
    names = ("train", "validation", "test")
    for name, part in zip(names, parts[1:], strict=True):
        assert written[name] == [list(window) for window in part] and written["numbers"][name] == len(part)
    assert written["numbers"]["grid"] == parts.num_grid_patches
    assert written["scene_sha256"] == "c0" * 32 and written["crops"] == [[0, 80, 0, 64]]
    text = json.dumps({name: written[name] for name in names})
    assert written["windows_sha256"] == hashlib.sha256(text.encode()).hexdigest()
