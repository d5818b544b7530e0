"""The measured speed on the page."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from lkca.errors import DataError
from lkca.report.page_runs import RowLabel
from lkca.report.page_speed import collect_speed, reference_label

SETTINGS = SimpleNamespace(scenes={"chikusei": SimpleNamespace(title="Chikusei")})


def runs(**macs: int) -> list[SimpleNamespace]:
    """Return the runs of models with these MACs."""
    return [
        SimpleNamespace(scene="chikusei", scale=4, model=model, scores={"params": 1, "macs": number})
        for model, number in macs.items()
    ]


@pytest.fixture
def measure(tmp_path):
    """Return a function that writes the ratios of times of models, or why they have none."""

    def write(costs: dict[str, float | str]) -> Path:
        others = {"latency_s": 0.2, "latency_low_s": 0.1, "latency_high_s": 0.3, "batch": 1}
        others |= {"throughput_per_s": None, "memory_mib": 1, "energy_j": None}
        models = {}
        for model, value in costs.items():
            interval = {"value": value, "low": value, "high": value} if isinstance(value, float) else None
            disturbed = value if isinstance(value, str) else ""
            models[model] = {**others, "time_ratio": interval, "disturbed": disturbed}
        measured = {"device": "cuda", "name": "H100", "threads": 1, "processors": 2, "models": models}
        path = tmp_path / "chikusei_x4.json"
        path.write_text(json.dumps({"scene": "chikusei", "scale": 4, "measured": [measured]}))
        return path

    return write


def test_the_reference_is_a_model_whatever_its_label(measure):
    labels = {("chikusei", 4): {"lkca": RowLabel("Big", "Table V"), "lkca_lr": RowLabel("Small", "Table V")}}
    (device,) = collect_speed(
        SETTINGS, labels, runs(lkca=30, lkca_lr=10), [measure({"lkca": 2.0, "lkca_lr": 1.0, "unknown": 1.0})]
    )
    assert reference_label(labels) == "Small"
    assert [(row.label, row.macs_ratio, row.time_ratio["value"]) for row in device.groups[0].rows] == [
        ("Big", 3.0, 2.0),
        ("Small", 1.0, 1.0),
    ]
    assert device.costliest[1].label == "Big"


def test_equal_networks_share_a_row(measure):
    labels = {("chikusei", 4): {"a": RowLabel("A", "Table V"), "b": RowLabel("B", "Table V")}}
    (device,) = collect_speed(SETTINGS, labels, runs(a=10, b=10), [measure({"a": 1.0, "b": 1.0})])
    assert [row.label for row in device.groups[0].rows] == ["A, B"]
    assert device.costliest is None  # without the reference there are no ratios


def test_costliest_is_of_those_with_a_time(measure):
    labels = {("chikusei", 4): {name: RowLabel(name, "Table V") for name in ("lkca_lr", "lkca", "sspsr")}}
    costs = {"lkca_lr": 1.0, "lkca": 2.0, "sspsr": "Other programs ran."}
    (device,) = collect_speed(SETTINGS, labels, runs(lkca_lr=10, lkca=30, sspsr=90), [measure(costs)])
    assert device.costliest[1].label == "lkca"
    rows = {row.label: row for row in device.groups[0].rows}
    assert (rows["sspsr"].macs_ratio, rows["sspsr"].time_ratio) == (9.0, None)
    assert (rows["sspsr"].disturbed, rows["lkca"].disturbed) == ("Other programs ran.", "")


def test_ratio_of_a_disturbed_measurement_is_refused(measure):
    """A file that has been edited."""
    path = measure({"lkca_lr": 1.0})
    path.write_text(path.read_text().replace('"disturbed": ""', '"disturbed": "Other programs ran."'))
    with pytest.raises(DataError, match=r"a disturbed measurement has no ratio"):
        collect_speed(SETTINGS, {("chikusei", 4): {"lkca_lr": RowLabel("LR", "Table V")}}, runs(lkca_lr=10), [path])
