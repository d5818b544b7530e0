"""The measured speed on the page."""

from types import SimpleNamespace

from lkca.report.page_runs import RowLabel
from lkca.report.page_speed import collect_speed, reference_label

SETTINGS = SimpleNamespace(scenes={"chikusei": SimpleNamespace(title="Chikusei")})


def measurement(costs: dict[str, tuple[int, float]]) -> dict:
    models = {model: {"macs": macs, "latency_s": seconds} for model, (macs, seconds) in costs.items()}
    return {"scene": "chikusei", "scale": 4, "measured": [{"device": "cuda", "name": "H100", "models": models}]}


def test_the_reference_is_a_model_whatever_its_label():
    labels = {("chikusei", 4): {"lkca": RowLabel("Big", "Table V"), "lkca_lr": RowLabel("Small", "Table V")}}
    (device,) = collect_speed(SETTINGS, labels, [measurement({"lkca": (30, 0.2), "lkca_lr": (10, 0.1)})])
    assert reference_label(labels) == "Small"
    assert [(row.label, row.macs_ratio, row.time_ratio) for row in device.groups[0].rows] == [
        ("Big", 3.0, 2.0),
        ("Small", 1.0, 1.0),
    ]
    assert device.costliest[1].label == "Big"


def test_equal_networks_share_a_row():
    labels = {("chikusei", 4): {"a": RowLabel("A", "Table V"), "b": RowLabel("B", "Table V")}}
    (device,) = collect_speed(SETTINGS, labels, [measurement({"a": (10, 0.1), "b": (10, 0.1)})])
    assert [row.label for row in device.groups[0].rows] == ["A, B"]
    assert device.costliest is None  # without the reference there are no ratios
