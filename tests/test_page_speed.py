"""The measured speed on the page."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from lkca.report.page_runs import RowLabel
from lkca.report.page_speed import collect_speed, reference_label

SETTINGS = SimpleNamespace(scenes={"chikusei": SimpleNamespace(title="Chikusei")})


@pytest.fixture
def measure(tmp_path):
    """Return a function that writes the measurements of models: model -> multiplications and seconds."""

    def write(costs: dict[str, tuple[int, float]]) -> Path:
        others = {"params": 1, "latency_low_s": 0.1, "latency_high_s": 0.3, "batch": 1, "throughput_per_s": 1}
        others |= {"memory_mib": 1, "energy_j": None}
        models = {model: {"macs": macs, "latency_s": seconds, **others} for model, (macs, seconds) in costs.items()}
        measured = {"device": "cuda", "name": "H100", "threads": 1, "models": models}
        path = tmp_path / "chikusei_x4.json"
        path.write_text(json.dumps({"scene": "chikusei", "scale": 4, "measured": [measured]}))
        return path

    return write


def test_the_reference_is_a_model_whatever_its_label(measure):
    labels = {("chikusei", 4): {"lkca": RowLabel("Big", "Table V"), "lkca_lr": RowLabel("Small", "Table V")}}
    (device,) = collect_speed(SETTINGS, labels, [measure({"lkca": (30, 0.2), "lkca_lr": (10, 0.1)})])
    assert reference_label(labels) == "Small"
    assert [(row.label, row.macs_ratio, row.time_ratio) for row in device.groups[0].rows] == [
        ("Big", 3.0, 2.0),
        ("Small", 1.0, 1.0),
    ]
    assert device.costliest[1].label == "Big"


def test_equal_networks_share_a_row(measure):
    labels = {("chikusei", 4): {"a": RowLabel("A", "Table V"), "b": RowLabel("B", "Table V")}}
    (device,) = collect_speed(SETTINGS, labels, [measure({"a": (10, 0.1), "b": (10, 0.1)})])
    assert [row.label for row in device.groups[0].rows] == ["A, B"]
    assert device.costliest is None  # without the reference there are no ratios
