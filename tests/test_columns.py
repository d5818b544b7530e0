"""The columns that the paper prints, and those of our tables, which a new score extends."""

import json

import fake_results
import numpy as np
import pytest

from lkca.cli import main
from lkca.config.settings import BicubicCheckSettings
from lkca.paper.bicubic_check import bicubic_check
from lkca.paper.columns import PRINTED_COLUMNS, PRINTED_SCORES, table_columns
from lkca.scoring.metrics import SCORES, Score, ScoreValues, scores


@pytest.fixture
def register_bias(monkeypatch):
    """Return a function that registers a seventh score."""

    def mean_error(pair):
        bands = abs(pair.block_means(lambda x, y: x - y))
        return ScoreValues(bands.mean(0), bands[:, 0])

    return lambda: monkeypatch.setitem(SCORES, "Bias", Score(mean_error, "Mean bias", "%", 2, -1))


def add_bias(path):
    """Add the seventh score to a fake scores.json: a tenth of its ERGAS."""
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["scores"]["Bias"] = image["scores"]["ERGAS"] / 10
        image["without_block"]["Bias"] = [value / 10 for value in image["without_block"]["ERGAS"]]
    content["mean"]["Bias"] = content["mean"]["ERGAS"] / 10
    path.write_text(json.dumps(content))


def test_printed_columns_are_those_of_the_file():
    header = fake_results.PRINTED.read_text().splitlines()[0].split(",")
    assert header == ["table", "scene", "scale", "row", *PRINTED_COLUMNS, "note"]
    assert list(table_columns())[: len(PRINTED_COLUMNS)] == list(PRINTED_COLUMNS)


def test_new_score_is_computed(register_bias):
    rng = np.random.default_rng(0)
    hr = rng.random((3, 16, 16))
    before = scores(hr + 0.25, hr, 4)
    register_bias()
    after = scores(hr + 0.25, hr, 4)
    assert after["scores"]["Bias"] == pytest.approx(0.25)
    assert after["bands"]["Bias"] == pytest.approx([0.25] * 3)
    assert after["without_block"]["Bias"] == pytest.approx([0.25] * 16)
    for part in before:
        assert after[part].items() >= before[part].items()


def test_new_score_is_in_every_format_of_a_table(tmp_path, register_bias):
    runs = [fake_results.write_run(tmp_path, model, seed=seed) for model in ("lkca", "vdsr") for seed in (1, 2)]
    before = fake_results.write_table(tmp_path, runs, seeds=[1, 2])
    register_bias()
    for path in runs:
        add_bias(path)
    after = fake_results.write_table(tmp_path, runs, seeds=[1, 2])
    for suffix, name in (("md", "Mean bias"), ("tex", "Mean bias"), ("html", "Mean bias"), ("csv", "Bias_low")):
        assert name in after[suffix] and name not in before[suffix]
    assert "0.50" in after["md"]  # two decimals
    assert main(["score-tables", str(tmp_path / "table.csv")]) == 0
    assert after["verdicts.csv"] == before["verdicts.csv"]
    lines = after["comparisons.csv"].splitlines()
    others = [line for line in lines if ",Bias," not in line]
    assert len(others) < len(lines) and others == before["comparisons.csv"].splitlines()


def test_new_score_changes_nothing_about_print(tmp_path, register_bias, capsys):
    """The checks of the bicubic rows and of printed tables give the same text."""
    run = fake_results.write_run(tmp_path, "bicubic", steps=0)
    manifest = fake_results.write_scene(tmp_path)
    settings = BicubicCheckSettings(experiment="demo", scenes={}, stand_in=None, absent={})

    def check() -> str:
        bicubic_check(settings, [run], [manifest], fake_results.PRINTED, tmp_path / "out.json", tmp_path / "out.md")
        assert main(["score-tables", str(fake_results.PRINTED)]) == 0
        return (tmp_path / "out.json").read_text() + capsys.readouterr().out

    before = check()
    register_bias()
    add_bias(run)
    assert check() == before
    assert "Bias" not in PRINTED_SCORES
