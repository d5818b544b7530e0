"""Claims on results with known truth: the paper's own numbers, with and without noise."""

import csv
import json
from typing import Any

import fake_results
import pytest

from lkca.cli import main
from lkca.config.settings import ClaimsSettings
from lkca.core import fingerprint
from lkca.core.files import read_json
from lkca.errors import DataError
from lkca.paper.claims.check import (
    check_claims,
    check_on_results,
    check_on_table,
    collect_claims,
    collect_contradictions,
)
from lkca.paper.claims.definitions import claim, source
from lkca.paper.claims.logic import Truth, exact
from lkca.paper.claims.numbers import MeasuredNumbers, MissingNumber, Numbers, PrintedNumbers
from tests.conftest import REPOSITORY
from tests.printed_results import LINES, SETTINGS, runs, spectra

PRINTED = REPOSITORY / "lkca/paper/paper_tables.csv"
CLAIMS = {claim.id: claim for claim in collect_claims()}
TABLE_CLAIMS = [claim for claim in CLAIMS.values() if claim.needs == "tables"]


def check(scores: list[dict[str, Any]], stand_in: bool = False) -> dict[str, dict[str, Any]]:
    """Check the claims about tables on results."""
    measured = MeasuredNumbers(scores, [], SETTINGS)
    return {claim.id: check_on_results(claim, measured, stand_in) for claim in TABLE_CLAIMS}


def test_results_as_printed_give_the_papers_outcomes():
    printed, ours = PrintedNumbers(LINES), check(runs())
    for each in TABLE_CLAIMS:
        holds = (each.replication or each.test)(printed).holds
        assert ours[each.id]["outcome"] == ("reproduced" if holds else "contradicted"), each.id


def test_noise_hides_small_differences_only():
    ours = {name: result["outcome"] for name, result in check(runs(noise=0.003)).items()}  # 0.12 dB of 40 dB
    assert ours["C7"] == ours["T2a"] == ours["T2d"] == "not resolved"  # 0.07 dB, 0.003 dB, 0.002 dB
    assert ours["X3"] == ours["P10"] == ours["H3"] == "reproduced"  # a few dB
    assert ours["H10"] == "contradicted"  # 0.54 dB, not within 0.3 dB
    assert {ours[name] for name in ("A1", "C6", "U1", "M3")} == {"reproduced"}  # costs are exact


@pytest.mark.parametrize("options, reason", [({"seeds": (3000,)}, "one seed"), ({"images": 2}, "2 test images")])
def test_one_seed_or_two_images_decide_costs_only(options, reason):
    ours = check(runs(**options))
    assert ours["X3"]["outcome"] == "not resolved" and ours["X3"]["points_to"] == "holds"
    assert ours["X1"]["points_to"] == "fails" and "pavia_centre ×8" in ours["X1"]["why"]
    assert reason in ours["X3"]["why"] and ours["A1"]["outcome"] == "reproduced"
    assert next(iter(ours["C5"]["values"].values()))["low"] is None


def test_missing_run_is_named():
    ours = check([run for run in runs() if run["model"] != "msdformer"])
    assert ours["C7"]["outcome"] == "not run" and "MSDformer on chikusei x4" in ours["C7"]["why"]
    assert ours["C9"]["outcome"] == "reproduced"
    assert {result["outcome"] for result in check([]).values()} == {"not run"}


def test_untrained_network_decides_costs_only():
    ours = check([run | {"untrained": run["model"] == "msdformer"} for run in runs()])
    assert ours["C5"]["outcome"] == "not run" and "MSDformer on chikusei x4 whose training" in ours["C5"]["why"]
    assert ours["C6"]["outcome"] == ours["C9"]["outcome"] == "reproduced"


def test_stand_in_data_decide_nothing_but_arithmetic():
    ours = check(runs(), stand_in=True)
    assert {result["outcome"] for result in ours.values()} == {"stand-in"}
    assert ours["X3"]["points_to"] == "holds" and ours["X1"]["points_to"] == "fails"
    assert {result["outcome"] for result in check([], stand_in=True).values()} == {"stand-in"}
    no_results = MeasuredNumbers([], [], SETTINGS)
    assert check_on_results(CLAIMS["U4"], no_results, stand_in=True)["outcome"] == "contradicted"


def test_values_have_intervals():
    (value,) = check(runs(noise=0.001))["C5"]["values"].values()
    assert value["low"] < 40.3106 - 40.1000 < value["high"]
    assert value["value"] == pytest.approx(40.3106 - 40.1000)
    assert value["value"] - value["low"] == pytest.approx(value["high"] - value["value"])


@pytest.mark.parametrize(
    "chikusei, houston, pavia, outcomes",
    [
        ([60, 61, 62], [58, 59, 60], [130, 131, 132], ("reproduced", "reproduced", "reproduced")),
        ([20, 21, 22], [58, 59, 60], [170, 171, 172], ("contradicted", "contradicted", "reproduced")),
        ([81, 81], [58, 58], [130, 130], ("not resolved", "reproduced", "reproduced")),  # equal ranks are not certain
        ([60, 61, 62], [40, 79, 60], [130, 131, 132], ("not resolved", "reproduced", "reproduced")),
        ([60], [58], [130], ("not resolved",) * 3),
    ],
)
def test_ranks_vary_over_seeds(chikusei, houston, pavia, outcomes):
    ranks = spectra({"chikusei": chikusei, "houston2018": houston, "pavia_centre": pavia})
    measured = MeasuredNumbers([], ranks, SETTINGS)
    assert tuple(check_on_results(CLAIMS[name], measured, False)["outcome"] for name in ("U5", "U6", "U7")) == outcomes


def test_claims_about_code_need_no_results():
    no_results = MeasuredNumbers([], [], SETTINGS)
    ours = {
        name: check_on_results(CLAIMS[name], no_results, True)["outcome"] for name in ("M1", "M2", "K1", "S8", "U10")
    }
    # U10: as an operator, a grouped convolution has full rank with any weights
    assert ours == dict.fromkeys(("M1", "M2", "K1", "S8"), "reproduced") | {"U10": "contradicted"}


@pytest.mark.parametrize("name, path", [("K1", "train.sam"), ("S8", "train.cosine_to"), ("M2", "args.blocks")])
def test_other_settings_contradict(name, path):
    models = {key: model.model_dump() for key, model in SETTINGS.items()}
    section, key = path.split(".")
    for model in ("lkca", "lkca_kd"):
        models[model][section][key] = 1e-5 if section == "train" else 15
    changed = {key: type(SETTINGS[key]).model_validate(model) for key, model in models.items()}
    assert check_on_results(CLAIMS[name], MeasuredNumbers([], [], changed), False)["outcome"] == "contradicted"


def test_missing_setting_is_named():
    with pytest.raises(MissingNumber, match=r"train\.sam of bicubic"):
        MeasuredNumbers([], [], SETTINGS).setting("bicubic", "train.sam")


def test_zero_in_a_table_is_named():
    lines = [line | {"MACs_G": "0" if line["row"] == "LKCA-LR" else line["MACs_G"]} for line in LINES]
    with pytest.raises(DataError, match="claim A1"):
        check_on_table(CLAIMS["A1"], PrintedNumbers(lines))


@pytest.mark.parametrize("copied", ["LKCA-Net", "LKCA-LR", "Bicubic", "32"])
def test_equal_rows_are_no_error(copied):
    """Two methods may have the same scores, so that the gain of one over the other is zero."""
    same = next(line for line in LINES if line["row"] == copied)
    places = "table", "scene", "scale", "row"
    lines = [{**same, **{name: line[name] for name in places}} for line in LINES]
    assert all(check_on_table(each, PrintedNumbers(lines))["outcome"] for each in CLAIMS.values())


def test_ids_are_unique_and_contradictions_are_about_claims():
    assert len({claim.id for claim in collect_claims()}) == len(collect_claims())
    assert all(name in CLAIMS for contradiction in collect_contradictions() for name in contradiction.about)


@claim("Z1", "I", "test", "One is less than two.")
def one_is_less(_: Numbers) -> Truth:
    one = 1
    return exact(one < 2)


def test_source_is_the_code_of_a_test():
    assert source(one_is_less.test) == "one = 1; exact(one < 2)"


def test_fingerprint_covers_every_claim():
    package, reached = fingerprint.current_package(), [fingerprint.STEPS["claims"]]
    for key in reached:  # the loop extends the list
        reached += {*package.references(key)} - {*reached}
    tests = [claim.test for claim in collect_claims()] + [each.sentence for each in collect_contradictions()]
    assert {f"{test.__module__}:{test.__name__}" for test in tests} <= {*reached}


def test_job_writes_every_claim(tmp_path, capsys):
    paths = []
    for i, run in enumerate(runs(noise=0.001)):
        paths.append(tmp_path / f"{i}.json")
        paths[-1].write_text(json.dumps(fake_results.complete_scores(run)))
    out, table = tmp_path / "claims.json", tmp_path / "claims.csv"
    check_claims(ClaimsSettings(models=SETTINGS, stand_in=None), paths, [], PRINTED, out, table)
    written = read_json(out)
    assert [each["id"] for each in written["claims"]] == list(CLAIMS)
    with table.open(encoding="utf-8", newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == list(CLAIMS)
    assert {each["paper"]["outcome"] for each in written["claims"]} == {"holds", "fails", "cannot be told"}
    assert len(written["contradictions"]) == len(collect_contradictions())
    assert "reproduced" in capsys.readouterr().out


def test_table_without_needed_numbers_stops_the_command(tmp_path, capsys):
    settings, table = tmp_path / "settings.json", tmp_path / "table.csv"
    settings.write_text(json.dumps({"models": {}, "stand_in": None}))
    table.write_text("table,scene,scale,row,MPSNR\nV,chikusei,4,VDSR,38\n")
    command = ["claims", "--settings", str(settings), "--scores", "--spectra", "--printed", str(table)]
    assert main([*command, "--out", str(tmp_path / "out.json"), "--csv", str(tmp_path / "out.csv")]) == 2
    assert str(table) in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
