"""Comparisons: every pair of methods, the better one by the direction of the score, and how sure that is."""

import csv
import json
from itertools import combinations
from pathlib import Path

import made_up
import numpy as np
import pytest
from scipy.stats import ttest_rel

from lkca.errors import LkcaError

A, B = [38.0, 41.5, 40.0, 43.0, 39.5], [37.2, 41.0, 39.6, 41.7, 39.2]  # of five images


def compared(root: Path, runs: list[Path], **changes) -> list[dict[str, str]]:
    """The lines of comparisons.csv."""
    return list(csv.DictReader(made_up.table(root, runs, **changes)["comparisons.csv"].splitlines()))


def the(lines: list[dict[str, str]], a: str, b: str, score: str = "MPSNR", scale: str = "4") -> dict[str, str]:
    (line,) = (x for x in lines if (x["scale"], x["a"], x["b"], x["score"]) == (scale, a, b, score))
    return line


def fixed(root: Path, model: str, **scores) -> Path:
    """A run of a method without chance."""
    return made_up.run(root, model, steps=0, **scores)


ROWS = {"Bicubic": "bicubic", "LKCA-Net": "lkca"}


@pytest.mark.parametrize("score", ["MPSNR", "SAM", "RMSE"])
def test_without_chance_in_training_the_interval_is_that_of_the_paired_t_test(tmp_path, score):
    runs = [fixed(tmp_path, "bicubic", **{score: A}), fixed(tmp_path, "lkca", **{score: B})]
    line = the(compared(tmp_path, runs, rows=ROWS), "Bicubic", "LKCA-Net", score)
    expected = ttest_rel(A, B).confidence_interval(0.95)
    assert [float(line["low"]), float(line["high"])] == pytest.approx([expected.low, expected.high], rel=1e-9)
    assert float(line["difference"]) == pytest.approx(np.mean(A) - np.mean(B))
    assert (line["images"], line["seeds"]) == ("5", "3000")
    assert expected.low > 0  # so more is better where more is better
    assert (line["outcome"], line["why"]) == (
        "a better" if score == "MPSNR" else "b better",
        "the interval lies above 0",
    )


def test_the_other_order_of_rows_turns_the_sign_and_not_the_winner(tmp_path):
    runs = [fixed(tmp_path, "bicubic", MPSNR=A, CC=B), fixed(tmp_path, "lkca", MPSNR=B, CC=A)]
    there = compared(tmp_path, runs, rows=ROWS)
    back = compared(tmp_path, runs, rows=dict(reversed(ROWS.items())))
    for score, winners in (("MPSNR", ("a better", "b better")), ("CC", ("b better", "a better"))):
        one, other = the(there, "Bicubic", "LKCA-Net", score), the(back, "LKCA-Net", "Bicubic", score)
        assert (one["outcome"], other["outcome"]) == winners
        assert float(one["difference"]) == -float(other["difference"])
        assert float(one["low"]) == pytest.approx(-float(other["high"]))
    assert the(back, "LKCA-Net", "Bicubic")["why"] == "the interval lies below 0"


def test_a_difference_that_images_do_not_agree_on_is_not_resolved(tmp_path):
    runs = [fixed(tmp_path, "bicubic", MPSNR=A), fixed(tmp_path, "lkca", MPSNR=A[::-1])]
    line = the(compared(tmp_path, runs, rows=ROWS), "Bicubic", "LKCA-Net")
    assert float(line["low"]) < 0 < float(line["high"])
    assert (line["outcome"], line["why"]) == ("not resolved", "the interval holds 0")


def test_the_chance_of_training_widens_the_interval(tmp_path):
    """The images' differences are the same; only the seeds lie further apart."""
    found = []
    for apart in (0.0, 0.2, 2.0):
        seeds = {seed: {"MPSNR": [b + apart * (seed - 2) for b in B]} for seed in (1, 2, 3)}
        runs = [fixed(tmp_path, "bicubic", MPSNR=A), *made_up.runs(tmp_path, "lkca", seeds)]
        found.append(the(compared(tmp_path, runs, rows=ROWS), "Bicubic", "LKCA-Net"))
    widths = [float(line["high"]) - float(line["low"]) for line in found]
    assert widths == sorted(widths) and widths[2] > 3 * widths[0]
    assert [float(line["difference"]) for line in found] == pytest.approx([0.66] * 3)
    assert [line["outcome"] for line in found] == ["a better", "a better", "not resolved"]
    assert found[0]["seeds"] == "3000 1 2 3"


@pytest.mark.parametrize(
    ("trained", "images", "why"),
    [
        (True, A, "one seed cannot carry an interval"),
        (False, A[:2], "2 test images cannot carry an interval"),
        (True, A[:2], "2 test images and one seed cannot carry an interval"),
        (False, A[:1], "1 test image cannot carry an interval"),
    ],
)
def test_what_the_data_cannot_carry_is_not_resolved_and_says_why(tmp_path, trained, images, why):
    lkca = made_up.run(tmp_path, "lkca", steps=1200 if trained else 0, MPSNR=[value + 3 for value in images])
    lines = compared(tmp_path, [fixed(tmp_path, "bicubic", MPSNR=images), lkca], rows=ROWS)
    line = the(lines, "Bicubic", "LKCA-Net")
    assert (line["outcome"], line["why"], line["low"], line["high"]) == ("not resolved", why, "", "")
    assert float(line["difference"]) == pytest.approx(-3)
    assert float(line["low_blocks"]) < -2 and float(line["high_blocks"]) < -2  # of these images the blocks say it


def test_every_pair_of_rows_that_were_run_is_compared_at_every_scale_and_in_every_score(tmp_path):
    rows = {"Bicubic": "bicubic", "VDSR": "vdsr", "SSPSR": None, "LKCA-Net": "lkca", "3DFCNN": "not possible: no"}
    runs = [made_up.run(tmp_path, model, scale=scale) for model in ("lkca", "vdsr", "bicubic") for scale in (4, 8)]
    lines = compared(tmp_path, runs[:-1], rows=rows, scales=[4, 8])  # bicubic at x8 is missing
    pairs = [("4", *pair) for pair in combinations(("Bicubic", "VDSR", "LKCA-Net"), 2)] + [("8", "VDSR", "LKCA-Net")]
    found = [(line["scale"], line["a"], line["b"], line["score"]) for line in lines]
    assert found == [(*pair, score) for pair in pairs for score in made_up.SCORES]


@pytest.mark.parametrize("models", [[], ["lkca"]])
def test_fewer_than_two_rows_make_no_pair(tmp_path, models):
    text = made_up.table(tmp_path, [made_up.run(tmp_path, model) for model in models])["comparisons.csv"]
    assert text.startswith("scale,a,b,score,difference,") and text.count("\n") == 1


def test_the_interval_over_blocks_is_of_the_pair_alone(tmp_path):
    """It is the same whatever else stands in the table, and holds what the mean over equal blocks must."""
    runs = [made_up.run(tmp_path, model, MPSNR=mean) for model, mean in (("lkca", 41), ("vdsr", 40), ("bicubic", 36))]
    rows = {"VDSR": "vdsr", "LKCA-Net": "lkca"}
    alone = the(compared(tmp_path, runs, rows=rows), "VDSR", "LKCA-Net")
    among = the(compared(tmp_path, runs, rows={"Bicubic": "bicubic", **rows}), "VDSR", "LKCA-Net")
    for end in ("low_blocks", "high_blocks"):
        assert float(alone[end]) == pytest.approx(float(among[end]), abs=1e-12)
    assert float(alone["low_blocks"]) < float(alone["difference"]) == -1 < float(alone["high_blocks"])


def test_images_too_small_for_blocks_have_no_interval_over_them(tmp_path):
    runs = [fixed(tmp_path, "bicubic", MPSNR=A), fixed(tmp_path, "lkca", MPSNR=B)]
    for path in runs:
        scores = json.loads(path.read_text())
        scores["images"][0]["without_block"]["MPSNR"][5] = None
        path.write_text(json.dumps(scores))
    lines = compared(tmp_path, runs, rows=ROWS)
    line = the(lines, "Bicubic", "LKCA-Net")
    assert (line["low_blocks"], line["high_blocks"], line["outcome"]) == ("", "", "a better")
    assert the(lines, "Bicubic", "LKCA-Net", "ERGAS")["low_blocks"]


def test_stand_ins_are_compared_all_the_same_and_called_so(tmp_path):
    runs = [fixed(tmp_path, "bicubic", MPSNR=A), fixed(tmp_path, "lkca", MPSNR=B)]
    line = the(compared(tmp_path, runs, rows=ROWS, stand_in=made_up.STAND_IN), "Bicubic", "LKCA-Net")
    assert (line["outcome"], line["why"]) == ("a better", "stand-in data; the interval lies above 0")


def moved(path: Path) -> Path:
    """The same run on other test images."""
    scores = json.loads(path.read_text())
    scores["images"][1]["window"][0] += 4
    path.write_text(json.dumps(scores))
    return path


def test_other_test_images_are_refused_among_seeds_and_among_methods(tmp_path):
    runs = [fixed(tmp_path, "bicubic"), moved(fixed(tmp_path, "lkca"))]
    with pytest.raises(LkcaError, match="'Bicubic' and 'LKCA-Net' have different test images"):
        compared(tmp_path, runs, rows=ROWS)
    seeds = [made_up.run(tmp_path, "lkca", seed=1), moved(made_up.run(tmp_path, "lkca", seed=2))]
    with pytest.raises(LkcaError, match="the seeds of chikusei x4 lkca have different test images"):
        compared(tmp_path, seeds, rows=ROWS)
