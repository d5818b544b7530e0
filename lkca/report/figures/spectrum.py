"""The cumulative sum of the normalised singular values of the upsampling layers (Fig. 4)."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lkca.core.paths import SPECTRUM_FILE
from lkca.core.result_files import SpectrumFile, read_result
from lkca.report.figures.data import FigureData, RowKey
from lkca.report.figures.layout import Page, add_legend, wrap_name
from lkca.report.figures.style import MUTED, WHITE_OUTLINE, method_style, text_colour

MAX_INDEX = 600  # number of singular values that the paper shows
LINE_WIDTHS = 2.0, 0.8  # points: of the first and of the last row, so that coinciding curves stay visible


def draw_spectrum(data: FigureData) -> Page:
    """Draw the figure: two curves for each layer, trained and at the start, with their ranks at 90 %."""
    spectra = {
        row: read_result(run.path.with_name(SPECTRUM_FILE), SpectrumFile)["layers"] for row, (run,) in data.runs.items()
    }
    layers = [layer for layers_of_row in spectra.values() for layer in layers_of_row]
    counts = sorted({len(layer["trained"]) for layer in layers})
    last_index = min(MAX_INDEX, max(counts))
    height = max(3.6, 0.36 * len(layers) + 0.6)
    page = Page(data, height, _describe(data, spectra))
    axes = page.add_axes(0.5, 0.05, 4.1, height - 0.5)
    axes.axhline(0.9, color=MUTED, linewidth=0.7)
    several_scenes = len(data.settings.scenes) > 1
    several_labels = len({label for _, label in data.runs}) > 1
    rank_colours: dict[int, str] = {}
    handles = []
    linewidths = np.linspace(*LINE_WIDTHS, len(spectra))
    for number, ((scene, label), layers_of_row) in enumerate(spectra.items()):
        style = method_style(-1 - number if several_scenes else data.settings.looks[label])
        row_style = {name: style[name] for name in ("color", "marker")}
        names = [data.title(scene)] * (several_scenes or not several_labels) + [label] * several_labels
        for i, layer in enumerate(layers_of_row):
            title = ", ".join(names)
            if len(layers_of_row) > 1:
                title += f", layer {i + 1} of {len(layers_of_row)}"
            ranks, count = layer["rank90"], len(layer["trained"])
            legend = f"{wrap_name(title)}:\n90 % at {ranks['trained']} of {count}, at the start {ranks['start']}"
            for weights, dashes in (("trained", "-"), ("start", "--")):
                rank = ranks[weights]
                sums = np.cumsum(layer[weights]) / np.sum(layer[weights])
                (curve,) = axes.plot(
                    np.arange(1, count + 1),
                    sums,
                    **row_style,
                    linestyle=dashes,
                    linewidth=linewidths[number] / (1 + i),  # later layers of a network are thinner
                    markevery=[rank - 1],
                    markersize=3.5 + 1.5 * linewidths[number],
                    markerfacecolor="white" if weights == "start" else None,
                    label=legend,
                )
                if weights == "trained":
                    handles.append(curve)
                axes.vlines(rank, 0, sums[rank - 1], style["color"], ":", linewidth=0.9)
                if rank <= last_index:
                    rank_colours.setdefault(rank, style["color"])
    _write_ranks(axes, rank_colours, last_index)
    axes.set(
        xlim=(0, last_index),
        ylim=(0, 1.02),
        yticks=(0, 0.2, 0.4, 0.6, 0.8, 0.9, 1),
        ylabel="cumulative sum of normalised singular values",
    )
    totals = f"{counts[0]} to {counts[-1]}" if len(counts) > 2 else " or ".join(map(str, counts))
    axes.set_xlabel(f"index of the singular value (the first {last_index} of {totals})")
    add_legend(
        axes,
        handles,
        loc="upper left",
        bbox_to_anchor=(1.03, 1.02),
        borderaxespad=0,
        labelspacing=0.9,
        title="solid, full mark: trained\ndashed, hollow mark: default start\nmarks and numbers: 90 % of the sum",
        alignment="left",
    )
    return page


def _describe(data: FigureData, spectra: dict[RowKey, list[dict[str, Any]]]) -> str:
    ranks = {
        row: " and ".join(
            f"{layer['rank90']['trained']} of {len(layer['trained'])} (at the start {layer['rank90']['start']})"
            for layer in layers
        )
        for row, layers in spectra.items()
    }
    return (
        "Cumulative sums of the normalised singular values of the upsampling layers, as curves. "
        f"Values that hold 90 % of the sum after training, {data.list_facts(ranks)}"
    )


def _write_ranks(axes: Axes, colours: dict[int, str], last_index: int) -> None:
    """Write the ranks vertically at the x axis, moved to the right where they would overlap."""
    min_distance, x = 0.03 * last_index, -float(last_index)
    for rank, colour in sorted(colours.items()):
        x = max(rank - min_distance / 2, x + min_distance)
        axes.text(
            x,
            0.015,
            str(rank),
            ha="center",
            color=text_colour(colour),
            size=7,
            rotation=90,
            path_effects=[WHITE_OUTLINE],
        )
