"""The paper's figures, drawn from scores, spectra and one reconstructed test image of each method."""

import json
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lkca.files import read_json, replacing

WIDTH = 7.2  # inches: the text width of a printed page, so that fonts keep their size
BLUE, GREY = "#0072B2", "#C4C8CC"
COLOURS = [BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Okabe & Ito 2008: safe for colour-blind eyes
RED, INK, MUTED = "#E3120B", "#1F2328", "#5B6370"
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": INK,
    "ytick.color": INK,
    "pdf.fonttype": 42,
}


class Run(NamedTuple):
    path: Path
    facts: dict[str, Any]  # what the file says


Runs = dict[tuple[str, str], Run]  # by (scene title, label), in the order of the settings


def figure(settings: str, scores: list[Path], spectra: list[Path], images: list[Path], png: Path, pdf: Path) -> None:
    """Draw one figure and write it as PNG (200 dpi) and PDF; the same input gives the same bytes.

    Args:
        settings: The figure as JSON text: name, kind (a key of FIGURES), title, scenes, scene_titles, scale, rows
            (label -> model, null when it is not run), zoom ([row, column, size] or null: where the first method errs
            most), image (number of the test image), seed, and the sentence about stand-in data or null.
        scores: scores.json of the runs; other scales and seeds are left out.
        spectra: spectrum.json of the runs, for the kind "spectrum".
        images: image.npz of the runs, each beside its scores.json, for the kind "composite".
        png: Written.
        pdf: Written.
    """
    chosen = json.loads(settings)
    with_image = [path for path in scores if path.with_name("image.npz") in images]
    runs = _rows(chosen, {"share": scores, "spectrum": spectra, "composite": with_image}[chosen["kind"]])
    with rc_context(STYLE):
        drawn = FIGURES[chosen["kind"]](chosen, runs) if runs else _page(chosen, 0, runs)[0]
        for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None, "Title": chosen["title"]})):
            with replacing(path) as part:
                drawn.savefig(part, dpi=200, metadata=metadata)


def share(chosen: dict[str, Any], runs: Runs) -> Figure:
    """The share of the parameters in the learnable upsampling layer, a bar for each network (Fig. 1)."""
    scenes = list(dict.fromkeys(scene for scene, _ in runs))
    lines = [line for scene in scenes for line in ((scene, None), *((s, label) for s, label in runs if s == scene))]
    height = 0.24 * (len(lines) + 1)
    drawn, place = _page(chosen, height, runs)
    axes = place(0.95, 0, 3.55, height)
    _bare(axes)
    axes.set(xlim=(0, 1), ylim=(len(lines) - 0.5, -1.5))  # one line above for the key
    for x, colour, part in ((0, BLUE, "learnable upsampling layer"), (0.52, GREY, "backbone")):
        axes.barh(-1, 0.03, left=x, height=0.5, color=colour)
        axes.text(x + 0.045, -1, part, va="center")
    ends = (1.22, 1.46, 1.7)  # where the columns of numbers end, in lengths of a whole bar
    for x, heading in zip(ends, ("upsampling", "backbone", "total"), strict=True):
        axes.text(x, -1, heading, va="center", ha="right", color=MUTED)
    for y, (scene, label) in enumerate(lines):
        if label is None:
            axes.text(-0.24, y, f"{scene}, ×{chosen['scale']}", va="center", weight="bold")
            continue
        upsampler, total = (runs[scene, label].facts[name] for name in ("upsampler_params", "params"))
        axes.text(-0.02, y, label, va="center", ha="right")
        for x, number in zip(ends, (upsampler, total - upsampler, total), strict=True):
            axes.text(x, y, f"{number / 1e6:.3f} M", va="center", ha="right")
        if not total:
            axes.text(0, y, "no parameters", va="center", color=MUTED)
            continue
        part = upsampler / total
        axes.barh(y, [part, 1 - part], left=[0, part], height=0.7, color=[BLUE, GREY])
        wide = part > 0.2  # the number fits into its own bar
        axes.text(part, y, f" {part:.1%} ", va="center", ha="right" if wide else "left", color="white" if wide else INK)
    return drawn


def spectrum(chosen: dict[str, Any], runs: Runs) -> Figure:
    """The cumulative sum of the normalised singular values of the upsampling layers (Fig. 4)."""
    layers = [layer for run in runs.values() for layer in run.facts["layers"]]
    sizes = sorted({len(layer["trained"]) for layer in layers})
    end = min(600, max(sizes))  # the paper shows 600
    height = max(3.3, 0.34 * len(layers) + 0.6)
    drawn, place = _page(chosen, height, runs)
    axes = place(0.5, 0.05, 4.1, height - 0.5)
    axes.axhline(0.9, color=MUTED, linewidth=0.7)
    scenes, several = len(chosen["scenes"]) > 1, len({label for _, label in runs}) > 1
    for ((scene, label), run), colour in zip(runs.items(), cycle(COLOURS), strict=False):
        of_run = run.facts["layers"]
        for i, layer in enumerate(of_run):
            title = ", ".join([scene] * (scenes or not several) + [label] * several)
            title += f", layer {i + 1} of {len(of_run)}" if len(of_run) > 1 else ""
            ranks, count = layer["rank90"], len(layer["trained"])
            legend = f"{title}:\n90 % at {ranks['trained']} of {count}, at the start {ranks['start']}"
            for values, line in (("trained", "-"), ("start", "--")):
                total = np.cumsum(layer[values]) / np.sum(layer[values])
                index = np.arange(1, count + 1)
                rank = ranks[values]
                axes.plot(
                    index,
                    total,
                    line,
                    color=colour,
                    linewidth=1.4 / (1 + i),  # later layers of a network are thinner
                    label=legend if values == "trained" else None,
                )
                axes.plot([rank, rank], [0, total[rank - 1]], ":", color=colour, linewidth=0.9)
                axes.plot(rank, total[rank - 1], "o", color=colour, markersize=4.5, markerfacecolor="white")
    axes.set(
        xlim=(0, end),
        ylim=(0, 1.02),
        yticks=(0, 0.2, 0.4, 0.6, 0.8, 0.9, 1),
        ylabel="cumulative sum of normalised singular values",
    )
    counts = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 2 else " or ".join(map(str, sizes))
    axes.set_xlabel(f"index of the singular value (the first {end} of {counts})")
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.03, 1.02),
        borderaxespad=0,
        labelspacing=0.9,
        title="solid: trained\ndashed: default start",
        alignment="left",
    )
    return drawn


def composite(chosen: dict[str, Any], runs: Runs) -> Figure:
    """Composites, a zoom and error maps of one test image: the truth first, then every method (Figs. 6 to 8)."""
    arrays = {label: np.load(run.path.with_name("image.npz")) for (_, label), run in runs.items()}
    hr = next(iter(arrays.values()))["hr"]  # (rows, columns, 3)
    errors = {label: of_method["error"] for label, of_method in arrays.items()}  # each (rows, columns)
    row, column, size = chosen["zoom"] or _worst_window(next(iter(errors.values())), min(hr.shape[:2]) // 5)
    low, high = np.percentile(hr, (2, 98), axis=(0, 1))  # one stretch a band, the truth's, for all
    untrained = {label: run.facts["steps"] for (_, label), run in runs.items() if run.facts["untrained"]}
    shown = errors.keys() - untrained.keys() or errors  # whose errors set the colours
    limit = max(float(np.quantile(errors[label], 0.995)) for label in shown)

    gap, left = 0.05, 0.2
    width = min((WIDTH - left - 0.1) / (1 + len(runs)) - gap, 2.3)
    height = width * hr.shape[0] / hr.shape[1]
    tops = (0.32, 0.32 + height + gap, 0.32 + height + width + 2 * gap)
    note = ", ".join(f"{label} ({steps} step{'' if steps == 1 else 's'})" for label, steps in untrained.items())
    drawn, place = _page(chosen, tops[2] + height + 0.05, runs, f"Untrained: {note}." if note else "")
    for i, (label, picture) in enumerate({"Ground truth": hr, **{k: a["sr"] for k, a in arrays.items()}}.items()):
        x = left + i * (width + gap)
        stretched = np.clip((picture - low) / (high - low), 0, 1)
        whole, zoom = place(x, tops[0], width, height), place(x, tops[1], width, width)
        whole.imshow(stretched)
        whole.add_patch(Rectangle((column - 0.5, row - 0.5), size, size, fill=False, color=RED, linewidth=1))
        zoom.imshow(stretched[row : row + size, column : column + size], interpolation="nearest")
        below = place(x, tops[2], width, height)
        for axes in (whole, zoom, below):
            _bare(axes)
        zoom.spines[:].set(visible=True, color=RED, linewidth=1)
        if label == "Ground truth":
            whole.set_title(label + "\n", pad=3)
            scale_axes, names = below, ("composite", "zoom", "error")
            for axes, name in zip((whole, zoom, below), names, strict=True):
                axes.text(-0.04, 0.5, name, transform=axes.transAxes, rotation=90, va="center", ha="right", color=MUTED)
        else:
            psnr = runs[chosen["scene_titles"][0], label].facts["images"][chosen["image"]]["scores"]["MPSNR"]
            whole.set_title(f"{label}\n{psnr:.2f} dB", pad=3)
            error_map = below.imshow(errors[label], vmin=0, vmax=limit, cmap="magma")
    bar_axes = scale_axes.inset_axes([0.08, 0.4, 0.8, 0.09])
    bar = drawn.colorbar(error_map, cax=bar_axes, orientation="horizontal", extend="max")
    bar.set_ticks([0, limit], labels=["0", f"{limit:.3f}"], size=7)
    bar.ax.set_title("mean |error|\nover all bands", size=7, pad=3)
    return drawn


FIGURES = {"share": share, "spectrum": spectrum, "composite": composite}


# What they share --------------------------------------------------------------------------------------------------


def _rows(chosen: dict[str, Any], paths: list[Path]) -> Runs:
    """The files of this figure's rows, scale and seed."""
    found = {}
    for path in paths:
        facts = read_json(path)
        if (facts["scale"], facts["seed"]) == (chosen["scale"], chosen["seed"]):
            found[facts["scene"], facts["model"]] = Run(path, facts)
    return {
        (title, label): found[scene, model]
        for scene, title in zip(chosen["scenes"], chosen["scene_titles"], strict=True)
        for label, model in chosen["rows"].items()
        if (scene, model) in found
    }


def _page(chosen: dict[str, Any], height: float, runs: Runs, note: str = "") -> tuple[Figure, Callable[..., Axes]]:
    """A page with a title, an empty body, and a footer: what was not run, a note, what stands in for data.

    Returns:
        The page, and `place(left, down, wide, high)`, which adds axes to its body; all in inches.
    """
    titles = chosen["scene_titles"]
    missing = [(title, label) for title in titles for label in chosen["rows"] if (title, label) not in runs]
    not_run = ", ".join(label if len(titles) == 1 else f"{label} ({title})" for title, label in missing)
    title = wrap(chosen["title"], 80)
    footer = wrap(f"Not run: {not_run}.", 125) if not_run else []
    footer += wrap(note, 125) + wrap(chosen["stand_in"] or "", 125)
    top, bottom = 0.2 + 0.17 * len(title), 0.15 + 0.13 * len(footer)
    total = top + height + bottom
    drawn = Figure((WIDTH, total))
    drawn.text(0.1 / WIDTH, 1 - 0.08 / total, "\n".join(title), size=10, weight="bold", va="top")
    drawn.text(0.1 / WIDTH, 0.06 / total, "\n".join(footer), size=7, color=MUTED, va="bottom")

    def place(left: float, down: float, wide: float, high: float) -> Axes:
        return drawn.add_axes((left / WIDTH, 1 - (top + down + high) / total, wide / WIDTH, high / total))

    return drawn, place


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _worst_window(error: np.ndarray, size: int) -> tuple[int, int, int]:
    """Row, column and size of the square window with the largest mean error."""
    total = np.pad(error, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    sums = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    row, column = np.unravel_index(sums.argmax(), sums.shape)
    return int(row), int(column), size
