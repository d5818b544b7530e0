"""Comparisons of each pair of methods: the difference, its intervals, and which method is better."""

import csv
import json
from itertools import combinations
from pathlib import Path

import fake_results
import numpy as np
import pytest
from scipy.stats import ttest_rel

from lkca.errors import StaleInput

A, B = [38.0, 41.5, 40.0, 43.0, 39.5], [37.2, 41.0, 39.6, 41.7, 39.2]  # scores of five images


def compare_runs(root: Path, runs: list[Path], **changes) -> list[dict[str, str]]:
    """Return the lines of comparisons.csv."""
    return list(csv.DictReader(fake_results.write_table(root, runs, **changes)["comparisons.csv"].splitlines()))


def find_line(lines: list[dict[str, str]], a: str, b: str, score: str = "MPSNR", scale: str = "4") -> dict[str, str]:
    (line,) = (x for x in lines if (x["scale"], x["a"], x["b"], x["score"]) == (scale, a, b, score))
    return line


def untrained_run(root: Path, model: str, **scores) -> Path:
    """Write a run of a method without training."""
    return fake_results.write_run(root, model, steps=0, **scores)


ROWS = {"Bicubic": "bicubic", "LKCA-Net": "lkca"}


@pytest.mark.parametrize("score", ["MPSNR", "SAM", "RMSE"])
def test_interval_without_training_is_paired_t_test(tmp_path, score):
    runs = [untrained_run(tmp_path, "bicubic", **{score: A}), untrained_run(tmp_path, "lkca", **{score: B})]
    line = find_line(compare_runs(tmp_path, runs, rows=ROWS), "Bicubic", "LKCA-Net", score)
    expected = ttest_rel(A, B).confidence_interval(0.95)
    assert [float(line["low"]), float(line["high"])] == pytest.approx([expected.low, expected.high], rel=1e-9)
    assert float(line["difference"]) == pytest.approx(np.mean(A) - np.mean(B))
    assert (line["images"], line["seeds"]) == ("5", "3000")
    assert expected.low > 0  # so `a` is better if higher is better
    assert (line["outcome"], line["why"]) == (
        "a better" if score == "MPSNR" else "b better",
        "the interval lies above 0",
    )


def test_order_of_rows_changes_sign_not_winner(tmp_path):
    runs = [untrained_run(tmp_path, "bicubic", MPSNR=A, CC=B), untrained_run(tmp_path, "lkca", MPSNR=B, CC=A)]
    forward = compare_runs(tmp_path, runs, rows=ROWS)
    backward = compare_runs(tmp_path, runs, rows=dict(reversed(ROWS.items())))
    for score, winners in (("MPSNR", ("a better", "b better")), ("CC", ("b better", "a better"))):
        first, second = find_line(forward, *ROWS, score), find_line(backward, *reversed(ROWS), score)
        assert (first["outcome"], second["outcome"]) == winners
        assert float(first["difference"]) == -float(second["difference"])
        assert float(first["low"]) == pytest.approx(-float(second["high"]))
    assert find_line(backward, "LKCA-Net", "Bicubic")["why"] == "the interval lies below 0"


def test_interval_that_holds_0_is_not_resolved(tmp_path):
    runs = [untrained_run(tmp_path, "bicubic", MPSNR=A), untrained_run(tmp_path, "lkca", MPSNR=A[::-1])]
    line = find_line(compare_runs(tmp_path, runs, rows=ROWS), "Bicubic", "LKCA-Net")
    assert float(line["low"]) < 0 < float(line["high"])
    assert (line["outcome"], line["why"]) == ("not resolved", "the interval holds 0")


def test_spread_over_seeds_widens_interval(tmp_path):
    """The differences of the images are the same; only the seeds are further apart."""
    lines = []
    for spread in (0.0, 0.2, 2.0):
        seeds = {seed: {"MPSNR": [b + spread * (seed - 2) for b in B]} for seed in (1, 2, 3)}
        runs = [untrained_run(tmp_path, "bicubic", MPSNR=A), *fake_results.write_runs(tmp_path, "lkca", seeds)]
        lines.append(find_line(compare_runs(tmp_path, runs, rows=ROWS), "Bicubic", "LKCA-Net"))
    widths = [float(line["high"]) - float(line["low"]) for line in lines]
    assert widths == sorted(widths) and widths[2] > 3 * widths[0]
    assert [float(line["difference"]) for line in lines] == pytest.approx([0.66] * 3)
    assert [line["outcome"] for line in lines] == ["a better", "a better", "not resolved"]
    assert lines[0]["seeds"] == "3000 1 2 3"


@pytest.mark.parametrize(
    ("trained", "images", "why"),
    [
        (True, A, "one seed cannot carry an interval"),
        (False, A[:2], "2 test images cannot carry an interval"),
        (True, A[:2], "2 test images and one seed cannot carry an interval"),
        (False, A[:1], "1 test image cannot carry an interval"),
    ],
)
def test_too_few_data_are_not_resolved(tmp_path, trained, images, why):
    lkca = fake_results.write_run(tmp_path, "lkca", steps=1200 if trained else 0, MPSNR=[value + 3 for value in images])
    lines = compare_runs(tmp_path, [untrained_run(tmp_path, "bicubic", MPSNR=images), lkca], rows=ROWS)
    line = find_line(lines, "Bicubic", "LKCA-Net")
    assert (line["outcome"], line["why"], line["low"], line["high"]) == ("not resolved", why, "", "")
    assert float(line["difference"]) == pytest.approx(-3)
    assert float(line["low_blocks"]) < -2 and float(line["high_blocks"]) < -2  # for these images, the blocks decide


def test_untrained_network_is_not_resolved(tmp_path):
    lkca = fake_results.write_run(tmp_path, "lkca", steps=2, untrained=True, MPSNR=B)
    line = find_line(compare_runs(tmp_path, [untrained_run(tmp_path, "bicubic", MPSNR=A), lkca], rows=ROWS), *ROWS)
    assert (line["outcome"], line["why"]) == ("not resolved", "the training of LKCA-Net did not see all patches once")


def test_all_pairs_scales_and_scores_are_compared(tmp_path):
    rows = {"Bicubic": "bicubic", "VDSR": "vdsr", "SSPSR": None, "LKCA-Net": "lkca", "3DFCNN": "not possible: no"}
    runs = [
        fake_results.write_run(tmp_path, model, scale=scale)
        for model in ("lkca", "vdsr", "bicubic")
        for scale in (4, 8)
    ]
    lines = compare_runs(tmp_path, runs[:-1], rows=rows, scales=[4, 8])  # bicubic at x8 is missing
    pairs = [("4", *pair) for pair in combinations(("Bicubic", "VDSR", "LKCA-Net"), 2)] + [("8", "VDSR", "LKCA-Net")]
    compared = [(line["scale"], line["a"], line["b"], line["score"]) for line in lines]
    assert compared == [(*pair, score) for pair in pairs for score in fake_results.SCORES]


@pytest.mark.parametrize("models", [[], ["lkca"]])
def test_fewer_than_two_rows_make_no_pair(tmp_path, models):
    text = fake_results.write_table(tmp_path, [fake_results.write_run(tmp_path, model) for model in models])[
        "comparisons.csv"
    ]
    assert text.startswith("scale,a,b,score,difference,") and text.count("\n") == 1


def test_block_interval_depends_only_on_the_pair(tmp_path):
    """The interval does not depend on the other rows of the table, and it contains the difference."""
    runs = [
        fake_results.write_run(tmp_path, model, MPSNR=mean)
        for model, mean in (("lkca", 41), ("vdsr", 40), ("bicubic", 36))
    ]
    rows = {"VDSR": "vdsr", "LKCA-Net": "lkca"}
    two_rows = find_line(compare_runs(tmp_path, runs, rows=rows), "VDSR", "LKCA-Net")
    three_rows = find_line(compare_runs(tmp_path, runs, rows={"Bicubic": "bicubic", **rows}), "VDSR", "LKCA-Net")
    for end in ("low_blocks", "high_blocks"):
        assert float(two_rows[end]) == pytest.approx(float(three_rows[end]), abs=1e-12)
    assert float(two_rows["low_blocks"]) < float(two_rows["difference"]) == -1 < float(two_rows["high_blocks"])


def test_small_image_has_no_block_interval(tmp_path):
    runs = [untrained_run(tmp_path, "bicubic", MPSNR=A), untrained_run(tmp_path, "lkca", MPSNR=B)]
    for path in runs:
        scores = json.loads(path.read_text())
        scores["images"][0]["without_block"]["MPSNR"][5] = None
        path.write_text(json.dumps(scores))
    lines = compare_runs(tmp_path, runs, rows=ROWS)
    line = find_line(lines, "Bicubic", "LKCA-Net")
    assert (line["low_blocks"], line["high_blocks"], line["outcome"]) == ("", "", "a better")
    assert find_line(lines, "Bicubic", "LKCA-Net", "ERGAS")["low_blocks"]


def test_stand_ins_are_compared_and_marked(tmp_path):
    runs = [untrained_run(tmp_path, "bicubic", MPSNR=A), untrained_run(tmp_path, "lkca", MPSNR=B)]
    line = find_line(compare_runs(tmp_path, runs, rows=ROWS, stand_in=fake_results.STAND_IN), "Bicubic", "LKCA-Net")
    assert (line["outcome"], line["why"]) == ("a better", "stand-in data; the interval lies above 0")


def move_images(path: Path) -> Path:
    """Move a test image of a run; return the path of its scores.json."""
    scores = json.loads(path.read_text())
    scores["images"][1]["window"][0] += 4
    path.write_text(json.dumps(scores))
    return path


def test_different_test_images_are_refused(tmp_path):
    runs = [untrained_run(tmp_path, "bicubic"), move_images(untrained_run(tmp_path, "lkca"))]
    with pytest.raises(StaleInput, match="'Bicubic' and 'LKCA-Net' have different test images"):
        compare_runs(tmp_path, runs, rows=ROWS)
    seeds = [
        fake_results.write_run(tmp_path, "lkca", seed=1),
        move_images(fake_results.write_run(tmp_path, "lkca", seed=2)),
    ]
    with pytest.raises(StaleInput, match="the seeds of chikusei x4 lkca have different test images"):
        compare_runs(tmp_path, seeds, rows=ROWS)
