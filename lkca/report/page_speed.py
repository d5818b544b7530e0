"""The measured speed on the page: MACs and time, also as multiples of those of a reference network."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lkca.config.settings import REFERENCE, ReportSettings
from lkca.core.result_files import EfficiencyFile, read_result
from lkca.errors import StaleInput
from lkca.report.page_runs import ReportRun, RowLabel, RowLabels, select_main_rows


class SpeedRow(NamedTuple):
    """A network on one scene at one scale."""

    label: str
    models: list[str]  # which have this network
    params: int
    macs: int  # on one LR image of 16 x 16 pixels
    cost: dict[str, Any]  # as in efficiency/*.json
    macs_ratio: float  # to the reference; 0 without one
    time_ratio: dict[str, float] | None  # value, low and high; None without a reference or if disturbed
    disturbed: str  # why its times cannot be quoted; empty if they can


class SpeedGroup(NamedTuple):
    """The networks on one scene at one scale."""

    scene: str
    title: str
    scale: int
    rows: list[SpeedRow]

    def find(self, model: str) -> SpeedRow | None:
        """Return the row of a network; None if it was not measured here.

        Args:
            model: The first of the models that have the network.
        """
        return next((row for row in self.rows if row.models[0] == model), None)


class DeviceSpeed(NamedTuple):
    """The measurements on a device."""

    name: str
    groups: list[SpeedGroup]

    @property
    def networks(self) -> dict[str, str]:
        """The networks: the first of the models that have it -> its label where it was first measured."""
        labels: dict[str, str] = {}
        for group in self.groups:
            for row in group.rows:
                labels.setdefault(row.models[0], row.label)
        return labels

    @property
    def disturbed(self) -> int:
        """The number of measurements whose times cannot be quoted."""
        return sum(bool(row.disturbed) for group in self.groups for row in group.rows)

    @property
    def costliest(self) -> tuple[SpeedGroup, SpeedRow] | None:
        """The network with the highest ratio of MACs of those with a ratio of times; None if there is none."""
        rows = [(group, row) for group in self.groups for row in group.rows if row.macs_ratio and row.time_ratio]
        return max(rows, key=lambda pair: pair[1].macs_ratio) if rows else None


def collect_speed(
    settings: ReportSettings, labels: RowLabels, runs: Iterable[ReportRun], measurements: Iterable[Path]
) -> list[DeviceSpeed]:
    """Return the measured time and memory by device, beside the size of the networks.

    Args:
        settings: The report.
        labels: Scene and scale -> the labels of the models.
        runs: The runs, whose scores have the sizes. A network without a run is left out.
        measurements: Paths of efficiency/*.json.

    Raises:
        DataError: If one is missing or damaged.
        StaleInput: If one is of a scene or a scale that the report does not have.
    """
    devices: dict[str, DeviceSpeed] = {}
    sizes: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    for run in runs:
        sizes.setdefault((run.scene, run.scale), {})[run.model] = (run.scores["params"], run.scores["macs"])
    for path in measurements:
        content = read_result(path, EfficiencyFile)
        scene, scale = content["scene"], content["scale"]
        if (scene, scale) not in labels or scene not in settings.scenes:
            raise StaleInput(f"{path} is of {scene} x{scale}, which the report does not have: run snakemake again.")
        for measured in content["measured"]:
            name = measured["name"]
            if measured["device"] == "cpu":
                name += f", {format_threads(measured['threads'])}"
            device = devices.setdefault(name, DeviceSpeed(name, []))
            rows = _build_rows(labels[scene, scale], sizes.get((scene, scale), {}), measured["models"])
            device.groups.append(SpeedGroup(scene, settings.scenes[scene].title, scale, rows))
    return list(devices.values())


def reference_label(labels: RowLabels) -> str:
    """Return the label of the reference network; the name of its model if it has none."""
    names = (rows[REFERENCE].label for rows in labels.values() if REFERENCE in rows)
    return next(names, REFERENCE)


def format_threads(number: int) -> str:
    """Return a number of threads in words."""
    return f"{number} thread{'' if number == 1 else 's'}"


def _build_rows(
    models: Mapping[str, RowLabel], sizes: Mapping[str, tuple[int, int]], costs: Mapping[str, dict[str, Any]]
) -> list[SpeedRow]:
    """Return a row for each network; models of the same network, which have the same numbers, share a row.

    Args:
        models: Model -> its label.
        sizes: Model -> its parameters and MACs.
        costs: Model -> its measured costs.
    """
    main_rows = select_main_rows(models)
    networks: dict[str, list[str]] = {}
    for model in models:
        if model in costs:
            networks.setdefault(json.dumps(costs[model]), []).append(model)
    reference = sizes[REFERENCE][1] if REFERENCE in models and REFERENCE in costs and REFERENCE in sizes else 0
    rows = []
    for first, *others in networks.values():
        size = next((sizes[model] for model in (first, *others) if model in sizes), None)
        if size is None:
            continue
        cost, row, (params, macs) = costs[first], models[first], size
        main = [main_rows[model] for model in (first, *others) if model in main_rows]
        rows.append(
            SpeedRow(
                label=", ".join(main) or f"{row.label} ({row.source})",
                models=[first, *others],
                params=params,
                macs=macs,
                cost=cost,
                macs_ratio=macs / reference if reference else 0,
                time_ratio=cost["time_ratio"] if reference else None,
                disturbed=cost["disturbed"],
            )
        )
    return rows
