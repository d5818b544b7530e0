"""Splits and patches: the counts of the protocol, disjoint pixels, the eight orientations."""

import json

import numpy as np
import pytest
import torch

from lkca.data.patches import ORIENTATIONS, gather
from lkca.data.splits import grid, split
from lkca.errors import LkcaError
from tests.conftest import manifest_of, split_settings

# scene, scale: patches of the whole grid, then training and validation after the overlap is dropped
COUNTS = [
    ("chikusei", (2304, 2048), 4, 3465, 3024, 378),
    ("chikusei", (2304, 2048), 8, 837, 713, 93),
    ("houston2018", (4172, 1202), 4, 4068, 3600, 432),
    ("houston2018", (4172, 1202), 8, 952, 833, 102),
    ("pavia_centre", (1096, 715), 4, 546, 462, 63),
    ("pavia_centre", (1096, 715), 8, 120, 90, 20),
]


@pytest.mark.parametrize("name, size, scale, whole, training, validation", COUNTS)
def test_patch_counts_of_the_paper(paper, tmp_path, name, size, scale, whole, training, validation):
    patches, test = paper.patches[f"x{scale}"], paper.scenes[name].test
    lines = grid(range(test.rows, size[0]), range(size[1]), patches.size, patches.stride)
    assert sum(len(line) for line in lines) == whole
    made = make_split(tmp_path, size, scale, patches, paper.validation, test)
    assert (len(made["train"]), len(made["validation"])) == (training, validation)


@pytest.mark.parametrize("name, size, scale", [case[:3] for case in COUNTS])
def test_no_pixel_serves_twice(paper, tmp_path, name, size, scale):
    patches, test = paper.patches[f"x{scale}"], paper.scenes[name].test
    made = make_split(tmp_path, size, scale, patches, paper.validation, test)
    use = {kind: np.zeros(size, bool) for kind in ("train", "validation", "test")}
    for kind in ("train", "validation"):
        for row, column in made[kind]:
            use[kind][row : row + patches.size, column : column + patches.size] = True
    for row, column, height, width in made["test"]:
        assert not use["test"][row : row + height, column : column + width].any()  # test images are apart too
        use["test"][row : row + height, column : column + width] = True
    assert (use["train"].astype(int) + use["validation"] + use["test"]).max() == 1


@pytest.mark.parametrize(
    ("name", "images", "side"), [("chikusei", 4, 512), ("houston2018", 8, 256), ("pavia_centre", 3, 224)]
)
def test_test_images_of_the_paper(paper, tmp_path, name, images, side):
    size = next(case[1] for case in COUNTS if case[0] == name)
    made = make_split(tmp_path, size, 4, paper.patches["x4"], paper.validation, paper.scenes[name].test)
    assert len(made["test"]) == images
    assert {tuple(window[2:]) for window in made["test"]} == {(side, side)}


@pytest.mark.parametrize("name, size, scale", [case[:3] for case in COUNTS])
def test_patches_anywhere_are_as_many_and_no_pixel_serves_twice(paper, tmp_path, name, size, scale):
    patches, test = paper.patches[f"x{scale}"], paper.scenes[name].test
    grid, made = (
        make_split(tmp_path, size, scale, patches, paper.validation, test, sampling=kind) for kind in ("grid", "random")
    )
    assert made["numbers"] == grid["numbers"] and made["train"] != grid["train"]
    rows = {kind: [row for row, _ in made[kind]] for kind in ("train", "validation")}
    columns = [column for kind in rows for _, column in made[kind]]
    assert min(rows["train"]) >= test.rows and min(columns) >= 0
    assert max(rows["train"]) + patches.size <= min(row for row, _ in grid["validation"]) <= min(rows["validation"])
    assert max(rows["validation"]) + patches.size <= size[0] and max(columns) + patches.size <= size[1]
    assert len({row % patches.stride for row in rows["train"]}) > 10  # not on the grid
    again = make_split(tmp_path, size, scale, patches, paper.validation, test, sampling="random")
    assert again == made


def test_the_literal_strips_of_chikusei_leave_the_patches_that_arithmetic_says(paper, tmp_path):
    strips = paper.scenes["chikusei"].test.model_copy(update={"rows": 2048, "tile": [512, 2048]})
    for scale, whole in ((4, 441), (8, 93)):
        made = make_split(tmp_path, (2304, 2048), scale, paper.patches[f"x{scale}"], paper.validation, strips)
        assert made["numbers"]["grid"] == whole
        assert made["test"] == [[512 * i, 0, 512, 2048] for i in range(4)]


def test_several_files_are_split_one_by_one(tmp_path):
    """100 x 60 for training, 40 x 80 for testing, 90 x 50 for both; patches of 16 every 8, tests of 32 x 32."""
    areas = []
    for use, rows, columns in (("train", 100, 60), ("test", 40, 80), ("both", 90, 50)):
        top = sum(area["rows"] for area in areas)
        areas.append({"use": use, "row": top, "rows": rows, "columns": columns, "crop": [0, rows, 0, columns]})
    manifest = tmp_path / "scene.json"
    manifest.write_text(json.dumps(manifest_of((2, 230, 80)) | {"areas": areas}))
    test = {"rows": 32, "columns": 32, "tile": [32, 32]}
    split(split_settings(validation=0.1, test=test), manifest, tmp_path / "split.json")
    made = json.loads((tmp_path / "split.json").read_text())
    assert made["test"] == [[100, 0, 32, 32], [140, 0, 32, 32]]
    corners = made["train"] + made["validation"]
    first = [(row, column) for row, column in corners if row < 100]
    last = [(row, column) for row, column in corners if row >= 172]
    assert len(first) + len(last) == len(corners)  # none in the file for testing, none in test rows
    assert max(row for row, _ in first) + 16 <= 100 and max(column for _, column in first) + 16 <= 60
    assert max(row for row, _ in last) + 16 <= 230 and max(column for _, column in last) + 16 <= 50
    assert made["numbers"] == {"grid": 11 * 6 + 6 * 5, "train": 11 * 6 + 3 * 5, "validation": 2 * 5, "test": 2}


def make_split(folder, size, scale, patches, validation, test, **more):
    manifest, out = folder / "scene.json", folder / "split.json"
    manifest.write_text(json.dumps(manifest_of((2, *size))))
    area = {"rows": test.rows, "columns": test.columns, "tile": test.tile_shape()}
    settings = {"size": patches.size, "stride": patches.stride, "validation": validation, "test": area, **more}
    split(split_settings(scale=scale, **settings), manifest, out)
    return json.loads(out.read_text())


def test_a_scene_without_room_is_refused(tmp_path, paper):
    with pytest.raises(LkcaError, match="no room for training"):
        make_split(tmp_path, (600, 2048), 4, paper.patches["x4"], 0.1, paper.scenes["chikusei"].test)
    assert not (tmp_path / "split.json").exists()
    with pytest.raises(LkcaError, match="does not fit"):
        make_split(tmp_path, (500, 2048), 4, paper.patches["x4"], 0.1, paper.scenes["chikusei"].test)


def test_the_eight_orientations_are_all_different_and_all_of_them(rng):
    scene = torch.rand(3, 9, 11)
    made = gather(scene, {"size": 6}, np.array([[2, 1, i] for i in range(ORIENTATIONS)]), "cpu").numpy()
    patch = scene[:, 2:8, 1:7].numpy()
    wanted = [np.rot90(flipped, k, (1, 2)) for flipped in (patch, patch[:, :, ::-1]) for k in range(4)]
    assert made.tobytes() == np.ascontiguousarray(wanted).tobytes()
