"""Verdicts: each printed number has a verdict with its reason, by the tolerances that the rules state."""

import csv
from collections import Counter
from math import sqrt
from pathlib import Path

import fake_results
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lkca.config.load import read_config
from lkca.paper.columns import PRINTED_SCORES
from lkca.paper.verdicts import RULES, SIGNS, tolerance
from lkca.scoring.metrics import scores as score

REPOSITORY = Path(__file__).parents[1]
MPSNR = 40.3106  # of LKCA-Net in Table V, x4
T_975 = {2: 12.706205, 3: 4.302653, 5: 2.776445}  # seeds -> Student's t, as printed in tables


def read_verdicts(root: Path, runs: list[Path], **changes) -> dict[tuple[str, str, str], dict[str, str]]:
    """Return the lines of verdicts.csv by scale, row and column."""
    text = fake_results.write_table(root, runs, **changes)["verdicts.csv"]
    return {(line["scale"], line["row"], line["column"]): line for line in csv.DictReader(text.splitlines())}


def seed_runs(root: Path, values: list[float]) -> list[Path]:
    return [fake_results.write_run(root, "lkca", seed=seed, MPSNR=value) for seed, value in enumerate(values)]


def verdict_and_reason(line: dict[str, str]) -> tuple[str, str]:
    return line["verdict"], line["why"]


# Every number -----------------------------------------------------------------------------------------------------


def test_config_has_a_verdict_for_each_printed_number(tmp_path):
    tables = read_config([REPOSITORY / "config.yaml"]).tables
    verdicts = {name: read_verdicts(tmp_path, [], name=name, **table.model_dump()) for name, table in tables.items()}
    # rows times columns in print: the scores, and two costs where they are printed
    printed = {"I": 6 * 8, "II": 4 * 6, "III": 5 * 6, "IV": 2 * 4, **dict.fromkeys(["V", "VI", "VII"], 2 * (9 * 8 - 2))}
    assert {name: len(lines) for name, lines in verdicts.items()} == {**dict.fromkeys(tables, 0), **printed}
    assert sum(map(len, verdicts.values())) == 530
    for name, lines in verdicts.items():
        for (scale, row, _), line in lines.items():
            model = tables[name].rows[row]
            assert verdict_and_reason(line) == ("not run", f"there are no scores of {model}")
            assert (line["table"], line["scene"], line["ours"]) == (name, tables[name].scene, "")
            assert int(scale) in tables[name].scales


def test_each_cell_of_html_shows_its_verdict(tmp_path):
    runs = [
        fake_results.write_run(tmp_path, "lkca"),
        fake_results.write_run(tmp_path, "bicubic", params=0, macs=0, steps=0),
    ]
    files = fake_results.write_table(tmp_path, runs)
    lines = list(csv.DictReader(files["verdicts.csv"].splitlines()))
    counts = Counter(line["verdict"] for line in lines if line["scale"] == "4" and line["row"] in ROWS)
    assert counts == {"match": 2, "outside": 6, "not resolved": 6, "not run": 16}
    for verdict, count in counts.items():
        assert files["html"].count(f'data-verdict="{verdict}"') == count
        sign = f'<span aria-hidden="true">{SIGNS[verdict]}</span>'
        assert files["html"].count(f'{sign} <span class="visually-hidden">{verdict}; paper:</span>') == count
    assert len(lines) == 140
    summary = "Printed numbers: 140, of them 2 match (✓), 6 outside (✗), 6 not resolved (?), 126 not run (–)."
    assert summary in files["html"]


ROWS = ("Bicubic", "VDSR", "SSPSR", "LKCA-Net")


# What 0.1 dB means ------------------------------------------------------------------------------------------------


def test_tolerance_is_what_a_tenth_of_a_decibel_does():
    """An error that is 0.1 dB stronger changes the scores of a textured image by the tolerances."""
    rng = np.random.default_rng(0)
    hr = gaussian_filter(rng.random((8, 64, 64)), (1, 2, 2))
    hr = 0.2 + 0.6 * (hr - hr.min()) / np.ptp(hr)
    error = 0.003 * rng.standard_normal(hr.shape)
    weak, strong = (score(hr + factor * error, hr, 4)["scores"] for factor in (1, 10 ** (0.1 / 20)))
    for name in PRINTED_SCORES:
        printed = f"{weak[name]:.9f}"  # enough digits to make rounding negligible
        assert abs(strong[name] - weak[name]) == pytest.approx(tolerance(name, printed, trained=True), rel=0.03)
    assert tolerance("MPSNR", "40.3106", trained=True) == pytest.approx(0.10005)
    assert tolerance("RMSE", "0.0114", trained=True) == pytest.approx(0.0114 * 0.011579 + 0.00005, rel=1e-4)


def test_rules_state_the_tolerances():
    for part in ("0.1 dB of MPSNR", "1.16 % of RMSE, ERGAS and SAM", "2.33 % of 1 - MSSIM and 1 - CC", "0.12 dB"):
        assert part in " ".join(RULES)
    assert all(f"{sign} {verdict}:" in RULES[-1] for verdict, sign in SIGNS.items())


# Trained rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected", "where"),
    [
        ([MPSNR - 0.03, MPSNR, MPSNR + 0.03], "match", "within"),  # 4.3 x 0.03 / sqrt(3) = 0.0745
        ([MPSNR - 0.05, MPSNR, MPSNR + 0.05], "not resolved", "across the edge of"),  # 0.124 to both sides
        ([MPSNR + 0.01, MPSNR + 0.04, MPSNR + 0.07], "not resolved", "across the edge of"),
        ([MPSNR - 0.33, MPSNR - 0.3, MPSNR - 0.27], "outside", "beyond"),
        ([MPSNR + 0.17, MPSNR + 0.2, MPSNR + 0.23], "outside", "beyond"),
        ([MPSNR + 0.09] * 3, "match", "within"),
        ([MPSNR - 0.09] * 2, "match", "within"),
        ([MPSNR + 0.11] * 2, "outside", "beyond"),
        ([MPSNR - 0.006, MPSNR + 0.006], "match", "within"),  # 12.7 x 0.006 = 0.076
        ([MPSNR - 0.009, MPSNR + 0.009], "not resolved", "across the edge of"),  # 12.7 x 0.009 = 0.114
        ([MPSNR - 0.06, MPSNR - 0.06, MPSNR, MPSNR + 0.06, MPSNR + 0.06], "match", "within"),  # 2.78 x 0.06 / sqrt(5)
    ],
)
def test_interval_over_seeds_against_tolerance(tmp_path, values, expected, where):
    line = read_verdicts(tmp_path, seed_runs(tmp_path, values))["4", "LKCA-Net", "MPSNR"]
    mean, count = sum(values) / len(values), len(values)
    half = T_975[count] * sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
    assert [float(line[end]) for end in ("low", "high")] == pytest.approx([mean - half, mean + half], abs=1e-6)
    assert (line["verdict"], line["printed"], line["seeds"]) == (expected, "40.3106", " ".join(map(str, range(count))))
    assert line["why"].startswith(f"off by {mean - MPSNR:+.5f} dB, 95 % interval {mean - half - MPSNR:+.5f} to ")
    assert line["why"].endswith(f"over {count} seeds: {where} the tolerance of ±0.10005 dB")


@pytest.mark.parametrize(("off", "where"), [(0.03, "within"), (-0.2, "beyond")])
def test_one_seed_is_not_resolved(tmp_path, off, where):
    line = read_verdicts(tmp_path, seed_runs(tmp_path, [MPSNR + off]))["4", "LKCA-Net", "MPSNR"]
    reason = (
        f"one seed: its spread over trainings is not known; off by {off:+.5f} dB, {where} the tolerance of ±0.10005 dB"
    )
    assert verdict_and_reason(line) == ("not resolved", reason)
    assert (line["std"], line["low"], line["high"]) == ("", "", "")


def test_each_score_has_its_tolerance(tmp_path):
    """All scores first a little within their tolerances, then a little beyond."""
    paper = {"MPSNR": 40.3106, "MSSIM": 0.9438, "SAM": 2.2728, "CC": 0.9561, "RMSE": 0.0114, "ERGAS": 4.9765}
    amplitude = 10 ** (0.1 / 20) - 1
    allowed = {"MPSNR": 0.1, "MSSIM": 0.0562 * 0.02329, "CC": 0.0439 * 0.02329}
    allowed |= {name: paper[name] * amplitude for name in ("SAM", "RMSE", "ERGAS")}
    for more, expected in ((-0.00001, "match"), (0.00001, "outside")):
        values = {name: paper[name] + allowed[name] + 0.00005 + more for name in paper}
        runs = fake_results.write_runs(tmp_path, "lkca", {1: values, 2: values})
        verdicts = read_verdicts(tmp_path, runs)
        assert {name: verdicts["4", "LKCA-Net", name]["verdict"] for name in paper} == dict.fromkeys(paper, expected)


# Rows and numbers without training --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (37.63774, ("match", "equal in every printed digit")),
        (37.63782, ("match", "off by 1 in the last digit, which rounding can explain")),
        (37.63756, ("match", "off by 1 in the last digit, which rounding can explain")),
        (37.63787, ("outside", "off by +0.00017 dB, more than rounding")),
        (37.0, ("outside", "off by -0.63770 dB, more than rounding")),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_bicubic_must_equal_print_to_rounding(tmp_path, ours, expected, count):
    runs = [fake_results.write_run(tmp_path, "bicubic", seed=seed, steps=0, MPSNR=ours) for seed in range(count)]
    line = read_verdicts(tmp_path, runs)["4", "Bicubic", "MPSNR"]
    assert verdict_and_reason(line) == expected
    assert (line["printed"], float(line["tolerance"])) == ("37.6377", 0.0001)


def test_costs_must_equal_print_to_rounding(tmp_path):
    rows = {"VDSR": "vdsr", "LKCA-Net": "lkca"}
    runs = [fake_results.write_run(tmp_path, "lkca", scene="pavia_centre", scale=8, macs=2_184_000_000)]
    runs += [
        fake_results.write_run(tmp_path, "vdsr", scene="pavia_centre", scale=8, params=1_000_000, macs=2_000_000_000)
    ]
    verdicts = read_verdicts(tmp_path, runs, name="VII", scene="pavia_centre", scales=[8], rows=rows)
    assert verdict_and_reason(verdicts["8", "LKCA-Net", "MACs_G"]) == (
        "match",
        "equal in every printed digit",
    )  # 2.18: two decimals
    assert verdicts["8", "VDSR", "Param_M"]["verdict"] == "outside"
    assert verdicts["8", "VDSR", "Param_M"]["why"].endswith(" M, more than rounding")


def test_swapped_costs_of_table_vi_are_outside_and_explained(tmp_path):
    sizes = {"vdsr": (1_134_000, 290_000_000), "fcnn3d": (1_268_000, 324_000_000)}  # by the note of paper_tables.csv
    runs = []
    for model, (params, macs) in sizes.items():
        size = {"scene": "houston2018", "params": params, "macs": macs}
        runs += fake_results.write_runs(tmp_path, model, {1: {}, 2: {}}, **size)
    verdicts = read_verdicts(tmp_path, runs, name="VI", scene="houston2018", rows={"VDSR": "vdsr", "3DFCNN": "fcnn3d"})
    for row in ("VDSR", "3DFCNN"):
        for column in ("Param_M", "MACs_G"):
            verdict, why = verdict_and_reason(verdicts["4", row, column])
            assert verdict == "outside"
            assert "The paper prints the Param and Flops of VDSR and 3DFCNN in each other's row" in why
        verdict, why = verdict_and_reason(verdicts["4", row, "MPSNR"])  # which the note does not mention
        assert verdict == "outside" and "each other's row" not in why


# Nothing to compare -----------------------------------------------------------------------------------------------


def test_row_that_was_not_run_says_why(tmp_path):
    rows = {"LKCA-Net": "lkca", "VDSR": "vdsr", "SSPSR": None, "3DFCNN": "not possible: 3 does not divide 2048"}
    runs = [fake_results.write_run(tmp_path, "lkca", steps=2, untrained=True)]
    verdicts = read_verdicts(tmp_path, runs, rows=rows)
    assert verdict_and_reason(verdicts["4", "VDSR", "MPSNR"]) == ("not run", "there are no scores of vdsr")
    assert verdict_and_reason(verdicts["4", "SSPSR", "SAM"]) == ("not run", "the row has no model")
    assert verdict_and_reason(verdicts["4", "3DFCNN", "CC"]) == ("not run", "not possible: 3 does not divide 2048")
    assert verdict_and_reason(verdicts["4", "LKCA-LR", "RMSE"]) == ("not run", "this experiment has no such row")
    assert verdict_and_reason(verdicts["8", "LKCA-Net", "ERGAS"]) == ("not run", "this experiment has no such row")
    assert verdict_and_reason(verdicts["4", "LKCA-Net", "MPSNR"]) == (
        "not run",
        "the training did not see all patches once",
    )
    assert verdicts["4", "LKCA-Net", "Param_M"]["verdict"] == "match"  # the network can be counted without training
    assert len(verdicts) == 140


def test_stand_in_data_have_no_verdict(tmp_path):
    runs = [
        fake_results.write_run(tmp_path, "lkca"),
        fake_results.write_run(tmp_path, "bicubic", steps=0, MPSNR=37.6377),
    ]
    verdicts = read_verdicts(tmp_path, runs, stand_in=fake_results.STAND_IN)
    assert {verdict_and_reason(line) for line in verdicts.values()} == {("stand-in", fake_results.STAND_IN)}
    assert float(verdicts["4", "Bicubic", "MPSNR"]["ours"]) == pytest.approx(37.6377)


@pytest.mark.parametrize("changes", [{"name": "S9"}, {"scene": "houston2018"}])
def test_own_table_has_no_verdicts(tmp_path, changes):
    assert (
        read_verdicts(
            tmp_path, [fake_results.write_run(tmp_path, "lkca", scene=changes.get("scene", "chikusei"))], **changes
        )
        == {}
    )
