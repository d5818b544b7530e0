"""Splits: the numbers of patches of the paper's protocol, disjoint parts, and settings that are refused."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.ndimage import rotate

from lkca.config.schema import Experiment
from lkca.config.settings import make_split_settings
from lkca.core.files import sha256
from lkca.data.settings import SplitSettings
from lkca.data.splits import describe_split, make_split, propose_patches, read_invalid_pixels, uses_few, write_split
from lkca.data.windows import Area, InvalidPixels, SplitProblem, divide, grid
from lkca.errors import ConfigError, StaleInput
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
FIRST_SPLITS = {  # SHA-256 of the parts as the first version of this package divided the scenes
    ("chikusei", 4): "0a79b740747b7c15",
    ("chikusei", 8): "7a24c45caca7b17a",
    ("houston2018", 4): "dd9480068e6c2f99",
    ("houston2018", 8): "65b0b133feea0021",
    ("pavia_centre", 4): "565880123162f41f",
    ("pavia_centre", 8): "7f0eeffadbd8963c",
}
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


@CASES
def test_splits_of_the_paper_stay_the_same(paper, scene, scale):
    """Also with an empty mask."""
    settings, parts = paper_split(paper, scene, scale)
    text = json.dumps({name: getattr(parts, name) for name in ("train", "validation", "test")})
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == FIRST_SPLITS[scene, scale]
    assert divide(settings, [make_area(*SIZES[scene])], InvalidPixels(np.zeros(SIZES[scene], bool))) == parts


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
    assert parts.numbers == on_grid.numbers
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
    write_split(split_settings(), 0, tmp_path / "scene.npy", manifest, out)
    written = json.loads(out.read_text())
    parts = make_split(split_settings(), manifest_of((2, 80, 64))["areas"], "x")
    names = ("train", "validation", "test")
    for name in names:
        part = getattr(parts, name)
        assert written[name] == [list(window) for window in part] and written["numbers"][name] == len(part)
    assert written["numbers"]["grid"] == parts.num_grid_patches
    assert written["scene_sha256"] == "c0" * 32 and written["crops"] == [[0, 80, 0, 64]]
    text = json.dumps({name: written[name] for name in names})
    assert written["windows_sha256"] == hashlib.sha256(text.encode()).hexdigest()


# Scenes with invalid pixels, and test areas at other places.


def changed(settings: SplitSettings, text: str) -> SplitSettings:
    """Return settings changed as the YAML in a message says."""
    values = settings.model_dump()
    for part in re.findall(r"(?:test|patches): \{.*?\}+", text):
        entry = yaml.safe_load(part)
        test, patches = entry.get("test", {}), entry.get("patches", {}).get(f"x{settings.scale}", {})
        if isinstance(test.get("tile"), int):
            test["tile"] = [test["tile"]] * 2
        values = {**values, **patches, "test": {**values["test"], **test}}
    return SplitSettings(**values)


def rotated_mask(rows: int, columns: int, degrees: float) -> np.ndarray:
    """Return the frame that is invalid around a rectangle that is turned, as in a georeferenced scene."""
    return rotate(np.ones((rows, columns)), degrees, order=0) < 0.5


def one_area(mask: np.ndarray) -> list[Area]:
    return [make_area(*mask.shape)]


@st.composite
def masked_scenes(draw):
    """Draw settings, a scene of one or two files, and its mask: single pixels, rectangles and a triangle."""
    rows, columns = draw(st.integers(30, 70)), draw(st.integers(20, 50))
    uses = draw(st.sampled_from([["both"], ["train", "test"], ["both", "train"], ["both", "both"]]))
    areas = [make_area(rows, columns, use, i * rows) for i, use in enumerate(uses)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random((rows * len(uses), columns)) < draw(st.sampled_from([0, 0.001, 0.01]))
    for _ in range(draw(st.integers(0, 3))):
        top, left = rng.integers(0, mask.shape)
        mask[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
    slope = draw(st.sampled_from([0, 0.2, 0.5]))
    row, column = np.indices(mask.shape)
    mask |= row + column < slope * columns
    tile = draw(st.sampled_from([8, 12]))
    test = {
        "row": draw(st.integers(0, 30)),
        "column": draw(st.integers(0, 10)),
        "rows": tile * draw(st.integers(1, 2)),
        "columns": tile * draw(st.integers(1, 2)),
        "tile": [tile, tile],
        "invalid": draw(st.sampled_from(["refuse", "drop"])),
    }
    settings = split_settings(
        size=4 * draw(st.integers(1, 4)),
        stride=draw(st.integers(2, 20)),
        sampling=draw(st.sampled_from(["grid", "random"])),
        validation=draw(st.sampled_from([0.1, 0.3, 0.5])),
        test=test,
    )
    return settings, areas, mask


@hypothesis_settings(max_examples=300, deadline=None)
@given(masked_scenes())
def test_split_of_a_masked_scene(case):
    """Brute force over the pixels: parts are valid and apart, and no other patch could have been used."""
    settings, areas, mask = case
    size, test = settings.size, settings.test
    tops = []  # of the rows of the grid
    for area in areas:
        start, stop = area["row"], area["row"] + area["rows"]
        middle = [start + test.row, start + test.row + test.rows] if area["use"] == "both" else [start, start]
        for first, last in ((start, middle[0]), (middle[1], stop)):
            tops += [top for top in range(first, last, settings.stride) if top + size <= last and area["use"] != "test"]
    lefts = [left for left in range(0, mask.shape[1], settings.stride) if left + size <= mask.shape[1]]
    on_grid = [(top, left) for top in tops for left in lefts]
    valid = [(top, left) for top, left in on_grid if not mask[top : top + size, left : left + size].any()]
    try:
        split = divide(settings, areas, InvalidPixels(mask))
    except SplitProblem as problem:
        numbers = re.search(r"(\d+) of (\d+) test images", str(problem))
        if numbers:
            assert 0 < int(numbers[1]) <= int(numbers[2])
            assert test.invalid == "refuse" or numbers[1] == numbers[2]
        elif "room" in str(problem):
            valid_tops = [top for top, _ in valid]
            needed = settings.validation * len(valid) - 1e-9
            first = max((top for top in valid_tops if sum(other >= top for other in valid_tops) >= needed), default=0)
            assert all(top + size > first for top in valid_tops)
        else:
            assert test.row + test.rows > areas[0]["rows"] or test.column + test.columns > mask.shape[1]
        return
    covered = np.zeros(mask.shape, int)
    for part in (split.train, split.validation):
        covered += cover(settings, part, mask.shape) > 0
    for row, column, height, width in split.test:
        covered[row : row + height, column : column + width] += 1
    assert covered.max() == 1 and not covered[mask].any()
    num_tiles = test.rows * test.columns // test.tile[0] ** 2 * sum(area["use"] != "train" for area in areas)
    assert len(split.test) + split.num_invalid_tests == num_tiles
    numbers = split.numbers
    assert numbers["grid"] == len(on_grid) and split.num_invalid == len(on_grid) - len(valid)
    assert numbers["train"] and numbers["validation"] >= settings.validation * len(valid) - 1e-9
    if settings.sampling == "grid":
        assert {*split.train, *split.validation} <= {*valid}
        first_row = min(row for row, _ in split.validation)
        others = {*valid} - {*split.train, *split.validation}
        assert all(row < first_row < row + size for row, _ in others)  # they share rows with validation patches
        fewer = [corner for corner in split.validation if corner[0] > first_row]
        assert len(fewer) < settings.validation * len(valid) + 1e-9  # without its first row, it would be too small
    else:
        on_grid = divide(settings.model_copy(update={"sampling": "grid"}), areas, InvalidPixels(mask))
        assert on_grid.numbers == numbers and divide(settings, areas, InvalidPixels(mask)) == split


@hypothesis_settings(max_examples=100, deadline=None)
@given(masked_scenes())
def test_proposed_settings_fit(case):
    """Each alternative that a refusal names makes the split possible."""
    settings, areas, mask = case
    invalid = InvalidPixels(mask)
    try:
        make_split(settings, areas, "x", invalid)
    except ConfigError as error:
        _, _, remedies = str(error).removesuffix(".").removeprefix("x: ").partition(": ")
        for remedy in [] if remedies == "use a larger scene" else remedies.split(", or "):
            assert divide(changed(settings, remedy), areas, invalid).train


@pytest.mark.parametrize("sampling", ["grid", "random"])
def test_rotated_scene(sampling):
    """A scene that is turned by 20 degrees: its top left is invalid; the message has a test area that is valid."""
    mask = rotated_mask(250, 300, 20)
    settings = split_settings(
        size=32, stride=16, sampling=sampling, test={"rows": 64, "columns": 128, "tile": [64, 64]}
    )
    with pytest.raises(ConfigError, match=r"x: 2 of 2 test images contain invalid pixels \(0-1, counted from 0\)") as e:
        make_split(settings, one_area(mask), "x", InvalidPixels(mask))
    with pytest.raises(ConfigError, match="2 of 2"):  # nothing would be left
        make_split(changed(settings, "test: {invalid: drop}"), one_area(mask), "x", InvalidPixels(mask))
    moved = changed(settings, str(e.value))
    split = make_split(moved, one_area(mask), "x", InvalidPixels(mask))
    assert moved.test.row > 0 and len(split.test) == 2 and len(split.train) > 30
    assert split.valid_share == pytest.approx(1 - mask[np.r_[: moved.test.row, moved.test.row + 64 : len(mask)]].mean())


def test_patches_are_above_and_below_the_test_rows():
    """80 rows, test images in rows 32 to 47; patches of 16 every 8 fit 3 times above and 3 times below them."""
    settings = split_settings(
        validation=0.1, test={"row": 32, "column": 20, "rows": 16, "columns": 32, "tile": [16, 16]}
    )
    split = make_split(settings, [make_area(80, 64)], "x")
    assert split.test == [(32, 20, 16, 16), (32, 36, 16, 16)]
    assert sorted({row for row, _ in split.train}) == [0, 8, 16, 48] and {row for row, _ in split.validation} == {64}
    assert split.numbers["grid"] == 6 * 7 and len(split.train) + len(split.validation) == 5 * 7


def test_test_images_with_invalid_pixels():
    mask = np.zeros((120, 96), bool)
    mask[40, 10] = mask[3, 70] = True  # in images 3 and 2 of 2 x 3
    settings = split_settings(test={"rows": 64, "columns": 96, "tile": [32, 32]})
    with pytest.raises(ConfigError, match=r"2 of 6 test images .* \(2-3, counted from 0\).*test: \{invalid: drop\}"):
        make_split(settings, one_area(mask), "x", InvalidPixels(mask))
    dropped = make_split(changed(settings, "test: {invalid: drop}"), one_area(mask), "x", InvalidPixels(mask))
    assert dropped.test == [(0, 0, 32, 32), (0, 32, 32, 32), (32, 32, 32, 32), (32, 64, 32, 32)]
    assert dropped.num_invalid_tests == 2
    assert dropped[:2] == make_split(settings, one_area(mask), "x")[:2]  # the patches do not change


def test_split_reads_the_mask_from_the_scene(tmp_path: Path, capsys):
    scene = np.ones((2, 80, 64), np.float32)
    scene[:, 40:44, 60:] = scene[:, 5, 40] = np.nan
    paths = [tmp_path / name for name in ("scene.npy", "scene.json", "split.json")]
    np.save(paths[0], scene)
    facts = {**manifest_of(scene.shape, sha256(paths[0])), "invalid_pixels": 17}
    paths[1].write_text(json.dumps(facts))
    write_split(split_settings(test={"invalid": "drop"}), 0, *paths)
    written = json.loads(paths[2].read_text())
    left_out = written["left_out"]
    assert left_out["test"] == 1 and written["test"] == [[0, 0, 32, 32]]
    assert left_out["patches"] == 2  # of 5 x 7 patches: those at row 32 and columns 48, and at row 40
    assert left_out["valid_share"] == pytest.approx(1 - 16 / (48 * 64))
    assert "2 (6 %) unused (invalid pixels); 1 test image, 1 unused (invalid pixels)" in capsys.readouterr().out
    with pytest.raises(
        ConfigError, match="composite.image is 1, but 1 test images .* are left out: choose from 0 to 0"
    ):
        write_split(split_settings(test={"invalid": "drop"}), 1, *paths)
    paths[1].write_text(json.dumps({**facts, "invalid_pixels": 16}))
    with pytest.raises(StaleInput, match="scene.npy is not the scene that its manifest describes"):
        write_split(split_settings(test={"invalid": "drop"}), 0, *paths)
    assert read_invalid_pixels(tmp_path / "missing.npy", manifest_of((2, 8, 8))) is None  # not read without need


def test_few_used_patches_are_said_with_better_settings():
    """Patches of 32 every 5 on 100 x 100: most of them share rows with the one row of validation patches."""
    areas = [make_area(100, 100)]
    settings = split_settings(size=32, stride=5, validation=0.1, test={"columns": 96})
    split = make_split(settings, areas, "x")
    assert split.numbers == {"grid": 112, "train": 14, "validation": 14, "test": 3}
    text = describe_split(settings, areas, split)
    assert "84 (75 %) unused (overlap with validation)" in text
    better = make_split(changed(settings, text), areas, "x")
    assert f"{len(better.train)} of them for training" in text and len(better.train) > 14
    assert not uses_few(better.numbers, {}) and uses_few(split.numbers, {})
    assert propose_patches(settings, [make_area(64, 64)], split) is None


def test_paper_uses_most_patches(paper):
    """The paper's protocol gets no proposal."""
    for scene, scale, *_ in COUNTS:
        settings, split = paper_split(paper, scene, scale)
        assert "would use" not in describe_split(settings, [make_area(*SIZES[scene])], split)
