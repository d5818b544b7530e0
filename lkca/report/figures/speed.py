"""MPSNR against multiply-accumulates and measured times: a row of panels for each scene, a column for each device."""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from lkca.report.figures.data import FigureData, RowKey, find_outliers
from lkca.report.figures.labels import draw_marks, label_points
from lkca.report.figures.layout import Page, format_log_axis, pad_limits, set_ylabel, wrap_name, wrap_words
from lkca.report.figures.style import MUTED, PAGE_WIDTH, method_style

LEFT, GAP, ROW_HEIGHT = 0.63, 0.28, 2.0  # inches
MACS = "MACs of one 16 × 16 LR image (G)"
TIME = "time of one 16 × 16 LR image (ms)"
Costs = dict[RowKey, np.ndarray]  # median, lower and upper quartile


class Psnr(NamedTuple):
    """MPSNR of a row, dB; std is 0 for a single seed."""

    mean: float
    std: float


def draw_speed(data: FigureData) -> Page:
    """Draw the figure."""
    psnr = {
        row: _compute_mean_and_std([run.content["mean"]["MPSNR"] for run in runs]) for row, runs in data.runs.items()
    }
    outliers = find_outliers({row: value.mean for row, value in psnr.items()})
    costs = _read_costs(data)
    width = (PAGE_WIDTH - LEFT - 0.15 - GAP * (len(costs) - 1)) / len(costs)
    xlabels = {
        name: [line for part in name.split("\n") for line in wrap_words(part, int(width / 0.055))] for name in costs
    }
    height = len(data.scenes) * ROW_HEIGHT + 0.05 + 0.13 * max(map(len, xlabels.values()))
    page = Page(data, height, _describe(data, psnr, costs), *_compose_notes(data, costs))
    for i, scene in enumerate(data.scenes):
        last_row = i + 1 == len(data.scenes)
        ylim = _compute_psnr_limits(data, scene, psnr, outliers)
        for j, (name, by_row) in enumerate(costs.items()):
            axes = page.add_axes(LEFT + j * (width + GAP), i * ROW_HEIGHT + 0.2, width, ROW_HEIGHT - 0.4)
            start, end = _compute_cost_limits(by_row)
            axes.set(xscale="log", xlim=(start, end), ylim=ylim)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if end < 100 * start else (1,)))
            format_log_axis(axes)
            axes.tick_params(labelbottom=last_row, labelleft=j == 0)
            if last_row:
                axes.set_xlabel("\n".join(xlabels[name]))
            if j == 0:
                axes.set_title(data.title(scene), loc="left", weight="bold")
                set_ylabel(axes, "MPSNR (dB)", width)
            scene_costs = {label: by_row[scene, label] for label in data.labels(scene) if (scene, label) in by_row}
            if not scene_costs:
                axes.text(0.5, 0.5, "no times", transform=axes.transAxes, ha="center", color=MUTED)
                continue
            _draw_methods(
                axes,
                scene_costs,
                {label: psnr[scene, label] for label in scene_costs},
                data.settings.looks,
                "G" if name == MACS else "ms",
            )
            if name != MACS:
                macs = {label: costs[MACS][scene, label] for label in scene_costs}
                axes.set_title(_describe_swapped_pairs(scene_costs, macs), loc="right", size=7, color=MUTED)
    return page


def _compute_mean_and_std(values: list[float]) -> Psnr:
    return Psnr(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)


def _read_costs(data: FigureData) -> dict[str, Costs]:
    """Return the costs of the methods: name of the cost -> costs by row; first MACs, then the times on each device.

    Times that were disturbed are left out.
    """
    costs = {MACS: {row: np.full(3, runs[0].content["macs"] / 1e9) for row, runs in data.runs.items()}}
    for scene, content in data.efficiency.items():
        for device in content["measured"]:
            times = costs.setdefault(f"{TIME}\n{_format_device_name(device)}", {})
            for label in data.labels(scene):
                measured = device["models"].get(data.first(scene, label).content["model"])
                if measured and not measured["disturbed"]:
                    seconds = [measured[name] for name in ("latency_s", "latency_low_s", "latency_high_s")]
                    times[scene, label] = 1e3 * np.array(seconds)
    return costs


def _find_disturbed(data: FigureData) -> dict[str, set[RowKey]]:
    """Return the methods whose times were disturbed: name of the device -> rows."""
    disturbed: dict[str, set[RowKey]] = {}
    for scene, content in data.efficiency.items():
        for device in content["measured"]:
            for label in data.labels(scene):
                measured = device["models"].get(data.first(scene, label).content["model"])
                if measured and measured["disturbed"]:
                    disturbed.setdefault(_format_device_name(device), set()).add((scene, label))
    return disturbed


def _format_device_name(device: dict[str, Any]) -> str:
    threads = f", {device['threads']} thread{'' if device['threads'] == 1 else 's'}"
    return f"CPU: {device['name']}{threads}" if device["device"] == "cpu" else f"GPU: {device['name']}"


def _compose_notes(data: FigureData, costs: dict[str, Costs]) -> list[str]:
    measured = {row for name, by_row in costs.items() if name != MACS for row in by_row}
    disturbed = _find_disturbed(data)
    unmeasured = data.runs.keys() - measured - {row for rows in disturbed.values() for row in rows}
    notes = ["Error bars: standard deviation over seeds, quartiles of the time."]
    if len(costs) > 1:
        notes.append("Swapped: the one with fewer MACs takes longer; pairs whose times overlap do not count.")
    for name, rows in disturbed.items():
        notes.append(f"No time, because other work disturbed its measurement ({name}): {data.name_rows(rows)}.")
    if unmeasured:
        notes.append(f"Not measured: {data.name_rows(unmeasured)}.")
    return notes


def _describe(data: FigureData, psnr: dict[RowKey, Psnr], costs: dict[str, Costs]) -> str:
    names = "; ".join(" on ".join(name.split("\n")) for name in costs)

    def format_costs(row: RowKey) -> str:
        return ", ".join(
            f"{float(f'{by_row[row][0]:.3g}'):g}" if row in by_row else "no time" for by_row in costs.values()
        )

    facts = {row: f"{value.mean:.2f} dB ({format_costs(row)})" for row, value in psnr.items()}
    return f"MPSNR against cost, as points; in brackets {names}; {data.list_facts(facts)}"


def _compute_psnr_limits(
    data: FigureData, scene: str, psnr: dict[RowKey, Psnr], outliers: set[RowKey]
) -> tuple[float, float]:
    """Return limits that show all but the outliers, with room below for outliers at the edge and their names."""
    rows = [(scene, label) for label in data.labels(scene)]
    near = [psnr[row] for row in rows if row not in outliers]
    lowest, highest = min(one.mean - one.std for one in near), max(one.mean + one.std for one in near)
    bottom, top = pad_limits(lowest, highest, 0.2, 0.05)
    if len(near) < len(rows):
        bottom -= 0.4 * (top - bottom)
    return bottom, top


def _compute_cost_limits(costs: Costs) -> tuple[float, float]:
    """Return limits of a logarithmic axis for all costs above 0."""
    ends = [x for quartiles in costs.values() for x in quartiles if x > 0] or [1.0]
    low, high = np.log10([min(ends), max(ends)])
    start, end = 10.0 ** np.array(pad_limits(low, high, 0.12, 0.1))
    return float(start), float(end)


def _draw_methods(
    axes: Axes, costs: dict[str, np.ndarray], psnr: dict[str, Psnr], styles: dict[str, int], unit: str
) -> None:
    """Draw a mark with error bars for each label; marks outside of the axes move to the edge, with their number."""
    start, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    marks, points = [], []
    for label, (cost, low, high) in costs.items():
        mean, std = psnr[label]
        style = method_style(styles[label])
        x, y = max(cost, start), max(mean, bottom)
        axes.plot([low, high], [y] * 2, "-", color=style["color"], linewidth=0.9)
        axes.plot([x] * 2, mean + std * np.array([-1, 1]), "-", color=style["color"], linewidth=0.9)
        marks.append((x, y, label, style))
        name = [label]
        if cost < start:
            name.append(f"{cost:g} {unit}")
        if mean < bottom:
            name.append(f"{mean:.1f} dB")
        points.append((x, y, wrap_name(", ".join(name)), style["color"]))
    draw_marks(axes, marks)
    label_points(axes, points)


def _describe_swapped_pairs(times: dict[str, np.ndarray], macs: dict[str, np.ndarray]) -> str:
    """Return how many pairs of networks have opposite orders by time and by MACs.

    Methods without MACs and pairs whose quartiles of the time overlap do not count.
    """
    networks = [label for label in times if macs[label][0] > 0]
    clear = [
        (a, b)
        for a, b in combinations(networks, 2)
        if max(times[a][1], times[b][1]) > min(times[a][2], times[b][2])  # lower and upper quartiles
    ]
    swapped = [(times[a][0] - times[b][0]) * (macs[a][0] - macs[b][0]) < 0 for a, b in clear]
    return f"{sum(swapped)} of {len(swapped)} pairs swapped against MACs"
