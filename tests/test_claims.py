"""Claims on results whose truth is known: the paper's own numbers, with and without chance."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from lkca.cli import main
from lkca.config.load import read_config
from lkca.errors import LkcaError
from lkca.paper.claims import claims, contradictions, judge, of_results, of_table, on_results, read_claims
from lkca.paper.columns import PRINTED_SCORES

RESOURCES = Path(__file__).parents[1] / "lkca/paper"
CLAIMS = {claim.id: claim for claim in read_claims().claims}
TABLES = [claim for claim in CLAIMS.values() if claim.needs == "tables"]
CONFIG = read_config([Path(__file__).parents[1] / "config.yaml"])
ROWS = {name: table.rows for name, table in CONFIG.tables.items()}
MODELS = {name: model.model_dump() for name, model in CONFIG.models.items()}
with (RESOURCES / "paper_tables.csv").open(encoding="utf-8", newline="") as file:
    PRINTED = list(csv.DictReader(file))


def results(noise=0.0, seeds=(3000, 3001, 3002), images=4):
    """scores.json as if our trainings had come out as printed: the mean over seeds and images is print's.

    Args:
        noise: Of a seed and of an image, as a share of the number.
    """
    made = {}
    for line in PRINTED:
        model = ROWS[line["table"]][line["row"]]
        for seed in seeds:
            made.setdefault((line["scene"], int(line["scale"]), model, seed), {}).update(
                {name: float(text) for name, text in line.items() if name not in ("scale", "row") and _number(text)}
            )
    rng, found, chance = np.random.default_rng(0), [], {}
    for (scene, scale, model, seed), cell in sorted(made.items()):
        trained = MODELS[model]["train"] is not None
        drawn = chance.setdefault(
            (scene, scale, model), rng.normal(0, noise, (len(seeds), len(PRINTED_SCORES), images))
        )
        of_seed = drawn[seeds.index(seed)] - drawn.mean((0, 2), keepdims=True)[0] if trained else 0 * drawn[0]
        found.append(
            {
                "scene": scene,
                "scale": scale,
                "model": model,
                "seed": seed,
                "params": cell.get("Param_M", 0) * 1e6,
                "macs": cell.get("MACs_G", 0) * 1e9,
                "weights_sha256": "11" * 32 if trained else None,
                "untrained": False,
                "images": [
                    {
                        "window": [0, 512 * i, 512, 512],
                        "bands": {"RMSE": [0.9 * cell.get("RMSE", 0)]},
                        "mae": 0.01,
                        "mae_edges": 0.02,
                        "scores": {
                            name: cell.get(name, 0) * (1 + of_seed[k][i]) for k, name in enumerate(PRINTED_SCORES)
                        },
                    }
                    for i in range(images)
                ],
            }
        )
    return found


def _number(text):
    return text.replace(".", "").isdigit()


def outcomes(runs, stand_in=False, **changes):
    functions = of_results(runs, [], ROWS, MODELS) | changes
    return {claim.id: on_results(claim, functions, stand_in) for claim in TABLES}


def test_the_papers_numbers_without_chance_give_the_papers_outcomes():
    paper, ours = of_table(PRINTED), outcomes(results())
    for claim in TABLES:
        holds = judge(claim, paper, claim.replication or claim.expression).holds
        assert ours[claim.id]["outcome"] == ("reproduced" if holds else "contradicted"), claim.id


def test_small_differences_drown_in_chance_and_large_ones_do_not():
    ours = {name: each["outcome"] for name, each in outcomes(results(noise=0.002)).items()}  # 0.08 dB of 40 dB
    assert ours["C7"] == ours["T2a"] == ours["T2d"] == "not resolved"  # 0.07 dB, 0.003 dB, 0.002 dB
    assert ours["X3"] == ours["P10"] == ours["H3"] == "reproduced"  # a few dB
    assert ours["H10"] == "contradicted"  # 0.54 dB, not within 0.3 dB
    costs = ("A1", "C6", "U1", "M3")
    assert {ours[name] for name in costs} == {"reproduced"}  # nothing is left to chance


def test_one_seed_and_two_images_settle_nothing_but_costs():
    for runs, why in ((results(seeds=(3000,)), "one seed"), (results(images=2), "2 test images")):
        ours = outcomes(runs)
        assert ours["X3"]["outcome"] == "not resolved" and ours["X3"]["points_to"] == "holds"
        assert ours["X1"]["points_to"] == "fails" and "pavia_centre ×8" in ours["X1"]["why"]
        assert why in ours["X3"]["why"] and ours["A1"]["outcome"] == "reproduced"
        assert next(iter(ours["C5"]["values"].values()))["low"] is None


def test_what_was_not_run_is_named():
    without = [run for run in results() if run["model"] != "msdformer"]
    ours = outcomes(without)
    assert ours["C7"]["outcome"] == "not run" and "MSDformer on chikusei x4" in ours["C7"]["why"]
    assert ours["C9"]["outcome"] == "reproduced"
    assert {each["outcome"] for each in outcomes([]).values()} == {"not run"}


def test_an_untrained_network_decides_nothing_but_costs():
    runs = [run | {"untrained": run["model"] == "msdformer"} for run in results()]
    ours = outcomes(runs)
    assert ours["C5"]["outcome"] == "not run" and "MSDformer on chikusei x4 whose training" in ours["C5"]["why"]
    assert ours["C6"]["outcome"] == ours["C9"]["outcome"] == "reproduced"


def test_a_stand_in_never_decides():
    ours = outcomes(results(), stand_in=True)
    assert {each["outcome"] for each in ours.values()} == {"stand-in"}
    assert ours["X3"]["points_to"] == "holds" and ours["X1"]["points_to"] == "fails"
    assert {each["outcome"] for each in outcomes([], stand_in=True).values()} == {"stand-in"}
    arithmetic = on_results(CLAIMS["U4"], of_results([], [], ROWS, MODELS), True)
    assert arithmetic["outcome"] == "contradicted"  # no data enter


def test_the_numbers_shown_have_the_interval_of_student():
    shown = outcomes(results(noise=0.001))["C5"]["values"]
    (number,) = shown.values()
    assert number["low"] < 40.3106 - 40.1000 < number["high"]
    assert number["value"] == pytest.approx(40.3106 - 40.1000)
    assert number["value"] - number["low"] == pytest.approx(number["high"] - number["value"])


def spectra(ranks):
    return [
        {
            "scene": scene,
            "scale": 4,
            "model": "lkca",
            "seed": seed,
            "layers": [{"rank90": {"trained": n, "start": 500}}],
        }
        for scene, numbers in ranks.items()
        for seed, n in enumerate(numbers)
    ]


@pytest.mark.parametrize(
    "chikusei, houston, pavia, wanted",
    [
        ([60, 61, 62], [58, 59, 60], [130, 131, 132], ("reproduced", "reproduced", "reproduced")),
        ([20, 21, 22], [58, 59, 60], [170, 171, 172], ("contradicted", "contradicted", "reproduced")),
        ([81, 81], [58, 58], [130, 130], ("not resolved", "reproduced", "reproduced")),  # equal ranks are not certain
        ([60, 61, 62], [40, 79, 60], [130, 131, 132], ("not resolved", "reproduced", "reproduced")),
        ([60], [58], [130], ("not resolved",) * 3),
    ],
)
def test_ranks_are_weighed_over_seeds(chikusei, houston, pavia, wanted):
    ranks = spectra({"chikusei": chikusei, "houston2018": houston, "pavia_centre": pavia})
    functions = of_results([], ranks, ROWS, MODELS)
    found = tuple(on_results(CLAIMS[name], functions, False)["outcome"] for name in ("U5", "U6", "U7"))
    assert found == wanted


def test_code_and_settings_are_asked_for():
    functions = of_results([], [], ROWS, MODELS)
    found = {name: on_results(CLAIMS[name], functions, True)["outcome"] for name in ("M1", "M2", "K1", "S8", "U10")}
    # a grouped convolution has full rank as an operator: linear algebra, whatever was trained
    assert found == dict.fromkeys(("M1", "M2", "K1", "S8"), "reproduced") | {"U10": "contradicted"}


def test_the_files_hold_every_claim(tmp_path, capsys):
    paths = []
    for i, run in enumerate(results(noise=0.001)):
        paths.append(tmp_path / f"{i}.json")
        paths[-1].write_text(json.dumps(run))
    out, table = tmp_path / "claims.json", tmp_path / "claims.csv"
    settings = json.dumps({"rows": ROWS, "models": MODELS, "stand_in": None})
    claims(settings, paths, [], RESOURCES / "paper_tables.csv", RESOURCES / "claims.yaml", out, table)
    found = json.loads(out.read_text())
    assert [each["id"] for each in found["claims"]] == list(CLAIMS)
    with table.open(newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == list(CLAIMS)
    assert {each["paper"]["outcome"] for each in found["claims"]} == {"holds", "fails", "cannot be told"}
    assert "reproduced" in capsys.readouterr().out


def damaged(tmp_path, change):
    content = yaml.safe_load((RESOURCES / "claims.yaml").read_text())
    change(content)
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda c: c["claims"][0].pop("says"), "claims.0.says: field required"),
        (lambda c: c["claims"][0].update(need="x"), "claims.0.need: extra inputs"),
        (lambda c: c["claims"][0].update(needs="luck"), "claims.0.needs"),
        (lambda c: c["claims"][1].update(id=c["claims"][0]["id"]), "A1 stands there twice"),
        (lambda c: c["claims"][0].update(values={"x": 3}), "claims.0.values.x"),
        (lambda c: c["contradictions"][0].update(about=["Z9"]), "about Z9, which is no claim"),
    ],
)
def test_a_wrong_entry_is_one_sentence(tmp_path, change, told):
    with pytest.raises(LkcaError, match=told):
        read_claims(damaged(tmp_path, change))


@pytest.mark.parametrize("text", ["", "- 1", "claims: [", "!!python/object/apply:os.system ['true']"])
def test_what_is_no_file_of_claims_is_refused(tmp_path, text):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(LkcaError, match="claims.yaml"):
        read_claims(tmp_path / "claims.yaml")


@pytest.mark.parametrize("slot", ["{low:1000000000}", "{low.real}", "{low}", "{none:.1f}", "{low:.1f"])
def test_a_sentence_has_plain_slots_only(tmp_path, slot):
    read = read_claims(damaged(tmp_path, lambda c: c["contradictions"][0].update(says=f"It is {slot}.")))
    with pytest.raises(LkcaError, match="its sentence cannot be filled"):
        contradictions(read, of_table(PRINTED))


def test_a_wrong_expression_stops_the_command_and_writes_nothing(tmp_path, capsys):
    path = damaged(tmp_path, lambda c: c["claims"][3].update(expression="open('x')"))
    words = ["claims", "--settings", json.dumps({"rows": {}, "models": {}, "stand_in": None}), "--scores", "--spectra"]
    words += ["--printed", str(RESOURCES / "paper_tables.csv"), "--claims", str(path)]
    assert main([*words, "--out", str(tmp_path / "out.json"), "--csv", str(tmp_path / "out.csv")]) == 2
    assert "'open' is no function" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
