"""The paper's figures and some more, drawn from what evaluation, analysis and measurement wrote."""

import json
from collections.abc import Callable, Collection
from functools import partial
from itertools import combinations
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from lkca.core.files import atomic_write, read_csv, read_json

WIDTH = 7.2  # inches: the text width of a printed page, so that fonts keep their size
BLUE, GREY = "#0072B2", "#C4C8CC"
RED, INK, MUTED, FAINT = "#E3120B", "#1F2328", "#5B6370", "#E4E7EA"
# Paul Tol's "muted": told apart by colour-blind eyes. Dashes and markers tell the same in print without colours.
COLOURS = [MUTED, "#999933", "#88CCEE", "#117733", "#AA4499", "#CC6677", "#332288", "#44AA99", "#882255"]
DASHES = ["-", (0, (5, 1.5)), (0, (5, 1.2, 1, 1.2)), (0, (1.5, 1))]
MARKERS = "osD^vPX<>*"
MACS = "MACs of one 16 × 16 LR image (G)"
FAR = 6.0  # dB: a method so far below the best one sets no axis, or nothing else could be told apart
lines_of = partial(wrap, break_on_hyphens=False)  # names stay whole
HALO = withStroke(linewidth=2.2, foreground="white")  # seen on dark, on light and without colours
INKED = withStroke(linewidth=2.2, foreground=INK)
SURE = {"color": BLUE, "linewidth": 4, "solid_capstyle": "butt", "alpha": 0.55}
ON_BLOCKS = {"color": INK, "linewidth": 0.9, "marker": "|", "markersize": 3}
POINT = {"color": INK, "marker": "o", "markersize": 4}
LINEAR = 0.1  # to both sides of 0 an axis of differences is linear, beyond logarithmic
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
ABOVE = {"xycoords": "axes fraction", "textcoords": "offset points"}
LEADER = {"arrowstyle": "-", "linewidth": 0.4, "color": MUTED, "shrinkA": 1, "shrinkB": 2}
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "pdf.fonttype": 42,
}


class Run(NamedTuple):
    path: Path
    facts: dict[str, Any]  # what the file says


Runs = dict[tuple[str, str], list[Run]]  # by (scene, label) in the order of the settings; one for each seed


def figure(
    settings: str,
    scores: list[Path],
    spectra: list[Path],
    images: list[Path],
    histories: list[Path],
    efficiency: list[Path],
    png: Path,
    pdf: Path,
) -> None:
    """Draw one figure and write it as PNG (200 dpi) and PDF; the same input gives the same bytes.

    Args:
        settings: The figure as JSON text: name, kind (a key of FIGURES), title, scale, rows (label -> model, null when
            it is not run), seeds that it shows, looks (label -> number of its colour, dashes and marker), the sentence
            about stand-in data or null, and scenes: name -> title, nanometres (of the first and the last band) and of
            its pictures image (number of the test image), bands (from 1) and zoom ([row, column, size] or null: where
            the first method errs most).
        scores: scores.json of the runs; other scales and seeds are left out.
        spectra: spectrum.json of the runs, for the kind "spectrum".
        images: image.npz of the runs, each beside its scores.json, for the kinds "composite" and "pixels".
        histories: history.csv of the runs, each beside its scores.json, for the kind "curves".
        efficiency: What was measured of each scene, for the kind "speed".
        png: Written.
        pdf: Written.
    """
    chosen = json.loads(settings)
    kind, measured = chosen["kind"], map(read_json, efficiency)
    chosen["efficiency"] = {facts["scene"]: facts for facts in measured if facts["scale"] == chosen["scale"]}
    if name := BESIDE.get(kind):
        scores = [path for path in scores if path.with_name(name) in {*images, *histories}]
    runs = _rows(chosen, spectra if kind == "spectrum" else scores)
    with rc_context(STYLE):
        drawn = FIGURES[kind](chosen, runs) if runs else _page(chosen, 0, runs)[0]
        for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None, "Title": chosen["title"]})):
            with atomic_write(path) as part:
                drawn.savefig(part, dpi=200, metadata=metadata)


def share(chosen: dict[str, Any], runs: Runs) -> Figure:
    """The share of the parameters in the learnable upsampling layer, a bar for each network (Fig. 1)."""
    lines = [line for scene in _scenes(chosen, runs) for line in (None, *_labels(runs, scene))]
    scenes = iter(_scenes(chosen, runs))
    height = 0.24 * (len(lines) + 1)
    drawn, place = _page(chosen, height, runs)
    left = _room(_shown(chosen, runs))
    width = (WIDTH - left - 0.2) / 1.7
    axes = place(left, 0, width, height)
    _bare(axes)
    axes.set(xlim=(0, 1), ylim=(len(lines) - 0.5, -1.5))  # one line above for the key
    for x, colour, part in ((0, BLUE, "learnable upsampling layer"), (0.56, GREY, "backbone")):
        axes.barh(-1, 0.03, left=x, height=0.5, color=colour)
        axes.text(x + 0.045, -1, part, va="center")
    ends = (1.22, 1.46, 1.7)  # where the columns of numbers end, in lengths of a whole bar
    for x, heading in zip(ends, ("upsampling", "backbone", "total"), strict=True):
        axes.text(x, -1, heading, va="center", ha="right", color=MUTED)
    for y, label in enumerate(lines):
        if label is None:
            scene = next(scenes)
            heading = f"{_title(chosen, scene)}, ×{chosen['scale']}"
            axes.text((0.1 - left) / width, y, heading, va="center", weight="bold")
            continue
        upsampler, total = (runs[scene, label][0].facts[name] for name in ("upsampler_params", "params"))
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
    layers = [layer for (run,) in runs.values() for layer in run.facts["layers"]]
    sizes = sorted({len(layer["trained"]) for layer in layers})
    end = min(600, max(sizes))  # the paper shows 600
    height = max(3.6, 0.36 * len(layers) + 0.6)
    drawn, place = _page(chosen, height, runs)
    axes = place(0.5, 0.05, 4.1, height - 0.5)
    axes.axhline(0.9, color=MUTED, linewidth=0.7)
    scenes, several = len(chosen["scenes"]) > 1, len({label for _, label in runs}) > 1
    feet, handles = {}, []  # rank -> colour
    for number, ((scene, label), (run,)) in enumerate(runs.items()):
        look = _look(-1 - number if scenes else chosen["looks"][label])
        of_run = run.facts["layers"]
        for i, layer in enumerate(of_run):
            title = ", ".join([_title(chosen, scene)] * (scenes or not several) + [label] * several)
            title += f", layer {i + 1} of {len(of_run)}" if len(of_run) > 1 else ""
            ranks, count = layer["rank90"], len(layer["trained"])
            legend = f"{title}:\n90 % at {ranks['trained']} of {count}, at the start {ranks['start']}"
            for values, line in (("trained", "-"), ("start", "--")):
                total = np.cumsum(layer[values]) / np.sum(layer[values])
                (curve,) = axes.plot(
                    np.arange(1, count + 1),
                    total,
                    **(look | {"linestyle": line}),
                    linewidth=1.4 / (1 + i),  # later layers of a network are thinner
                    markevery=[ranks[values] - 1],
                    markersize=5,
                    markerfacecolor="white" if values == "start" else None,
                    label=legend,
                )
                handles += [curve] * (values == "trained")
                axes.vlines(ranks[values], 0, total[ranks[values] - 1], look["color"], ":", linewidth=0.9)
                if ranks[values] <= end:
                    feet.setdefault(ranks[values], look["color"])
    apart, last = 0.03 * end, -end  # of the numbers at the feet
    for rank, colour in sorted(feet.items()):
        last = max(rank - apart / 2, last + apart)
        of_rank = {"color": _dark(colour), "size": 7, "rotation": 90, "path_effects": [HALO]}
        axes.text(last, 0.015, str(rank), ha="center", **of_rank)
    axes.set(
        xlim=(0, end),
        ylim=(0, 1.02),
        yticks=(0, 0.2, 0.4, 0.6, 0.8, 0.9, 1),
        ylabel="cumulative sum of normalised singular values",
    )
    counts = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 2 else " or ".join(map(str, sizes))
    axes.set_xlabel(f"index of the singular value (the first {end} of {counts})")
    _legend(
        axes,
        handles,
        loc="upper left",
        bbox_to_anchor=(1.03, 1.02),
        borderaxespad=0,
        labelspacing=0.9,
        title="solid, full mark: trained\ndashed, hollow mark: default start\nmarks and numbers: 90 % of the sum",
        alignment="left",
    )
    return drawn


def composite(chosen: dict[str, Any], runs: Runs) -> Figure:
    """Composites and error maps of one test image and a zoom into both, the truth first (Figs. 6 to 8)."""
    ((scene, facts),) = chosen["scenes"].items()
    arrays = {label: _arrays(runs[scene, label]) for label in _labels(runs, scene)}
    hr = next(iter(arrays.values()))["hr"]  # (rows, columns, 3)
    errors = {label: of_method["error"] for label, of_method in arrays.items()}  # each (rows, columns)
    row, column, size = facts["zoom"] or _worst_window(next(iter(errors.values())), min(hr.shape[:2]) // 5)
    low, high = _stretch(hr)
    limit = max(float(np.quantile(errors[label], 0.995)) for label in _trained(runs, scene))

    gap, left = 0.05, 0.2
    width = min((WIDTH - left - 0.1) / (1 + len(runs)) - gap, 2.3)
    height = width * hr.shape[0] / hr.shape[1]
    names = {label: "\n".join(lines_of(label, int(width / 0.07))) for label in ("Ground truth", *arrays)}
    top = 0.2 + 0.13 * max(name.count("\n") + 1 for name in names.values())
    steps = np.cumsum([top, height + gap, width + gap, height + gap, width])  # down the page
    image = f"{_image(runs, scene, facts)}; bands {', '.join(map(str, facts['bands']))} as red, green and blue."
    drawn, place = _page(chosen, steps[-1] + 0.2, runs, image, _untrained(chosen, runs))
    sizes = ((width, height), (width, width)) * 2

    def framed(axes: tuple[Axes, Axes], picture: np.ndarray, **shown: Any) -> AxesImage:
        """Show a picture and the zoom into it."""
        whole, zoom = axes
        whole.add_patch(Rectangle((column - 0.5, row - 0.5), size, size, fill=False, color=RED, path_effects=[HALO]))
        zoom.spines[:].set(visible=True, color=RED)
        zoom.imshow(picture[row : row + size, column : column + size], interpolation="nearest", **shown)
        return whole.imshow(picture, **shown)

    for i, (label, picture) in enumerate({"Ground truth": hr, **{k: a["sr"] for k, a in arrays.items()}}.items()):
        x = left + i * (width + gap)
        axes = [place(x, down, *wide_high) for down, wide_high in zip(steps[:4], sizes, strict=True)]
        for each in axes:
            _bare(each)
        framed(axes[:2], np.clip((picture - low) / (high - low), 0, 1))
        if label == "Ground truth":
            axes[0].set_title(names[label] + "\n", pad=3)
            scale_axes = axes[2]
            for each, name in zip(axes, ("composite", "zoom", "error", "zoom"), strict=True):
                each.text(
                    -0.05 / width,
                    0.5,
                    name,
                    transform=each.transAxes,
                    rotation=90,
                    va="center",
                    ha="right",
                    color=MUTED,
                )
            _below(axes[3], "mean of the map")
        else:
            psnr = runs[scene, label][0].facts["images"][facts["image"]]["scores"]["MPSNR"]
            axes[0].set_title(f"{names[label]}\n{psnr:.2f} dB", pad=3)
            error_map = framed(axes[2:], errors[label], vmin=0, vmax=limit, cmap="magma")
            _below(axes[3], f"{errors[label].mean():.4f}")
    bar_axes = scale_axes.inset_axes([0.08, 0.4, 0.8, 0.09])
    bar = drawn.colorbar(error_map, cax=bar_axes, orientation="horizontal", extend="max")
    bar.set_ticks([0, limit], labels=["0", f"{limit:.3f}"], size=7)
    bar.ax.set_title("mean |error|\nover all bands", size=7, pad=3)
    return drawn


def speed(chosen: dict[str, Any], runs: Runs) -> Figure:
    """MPSNR against multiply-accumulates and measured times: a row of panels a scene, a column a device."""
    scenes, costs = _scenes(chosen, runs), _costs(chosen, runs)
    means = {key: [run.facts["mean"]["MPSNR"] for run in of] for key, of in runs.items()}
    heights = {key: float(np.mean(of_seeds)) for key, of_seeds in means.items()}
    spreads = {key: float(np.std(of_seeds, ddof=1)) if len(of_seeds) > 1 else 0.0 for key, of_seeds in means.items()}
    left, down, gap, far = 0.63, 2.0, 0.28, _far(heights)
    width = (WIDTH - left - 0.15 - gap * (len(costs) - 1)) / len(costs)
    below = {cost: [line for part in cost.split("\n") for line in lines_of(part, int(width / 0.055))] for cost in costs}
    unmeasured = runs.keys() - {key for cost, of_rows in costs.items() if cost != MACS for key in of_rows}
    notes = ["Error bars: standard deviation over seeds, quartiles of the time."]
    notes += ["Swapped: the one with fewer MACs takes longer."] if len(costs) > 1 else []
    notes += [f"Not measured: {_named(chosen, unmeasured)}."] if unmeasured else []
    height = len(scenes) * down + 0.05 + 0.13 * max(map(len, below.values()))
    drawn, place = _page(chosen, height, runs, *notes, _untrained(chosen, runs))
    for i, scene in enumerate(scenes):
        near = [(scene, label) for label in _labels(runs, scene) if (scene, label) not in far]
        lowest = min(heights[key] - spreads[key] for key in near)
        bottom, top = _padded(lowest, max(heights[key] + spreads[key] for key in near), 0.2, 0.05)
        bottom -= 0.4 * (top - bottom) * (len(near) < len(_labels(runs, scene)))  # room for names at the edge
        for j, (cost, of_rows) in enumerate(costs.items()):
            axes = place(left + j * (width + gap), i * down + 0.2, width, down - 0.4)
            ends = [x for three in of_rows.values() for x in three if x > 0] or [1.0]
            start, end = 10.0 ** np.array(_padded(*np.log10([min(ends), max(ends)]), 0.12, 0.1))
            axes.set(xscale="log", xlim=(start, end), ylim=(bottom, top))
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if end < 100 * start else (1,)))
            _plain(axes)
            axes.tick_params(labelbottom=i + 1 == len(scenes), labelleft=j == 0)
            if i + 1 == len(scenes):
                axes.set_xlabel("\n".join(below[cost]))
            if j == 0:
                axes.set_title(_title(chosen, scene), loc="left", weight="bold")
                _ylabel(axes, "MPSNR (dB)", width)
            here = [label for label in _labels(runs, scene) if (scene, label) in of_rows]
            if not here:
                axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=MUTED)
                continue
            marks = []
            for label in here:
                (x, low, high), y, look = of_rows[scene, label], heights[scene, label], _look(chosen["looks"][label])
                at = max(x, start), max(y, bottom)  # what is beyond stands at the edge, with its number
                beyond = [f"{x:g} {'G' if cost == MACS else 'ms'}"] * int(x < start) + [f"{y:.1f} dB"] * int(y < bottom)
                axes.plot([low, high], [at[1]] * 2, "-", color=look["color"], linewidth=0.9)
                axes.plot(
                    [at[0]] * 2, y + spreads[scene, label] * np.array([-1, 1]), "-", color=look["color"], linewidth=0.9
                )
                axes.plot(*at, **look | {"linestyle": "none"}, markersize=5, clip_on=False, label=label)
                marks.append((*at, ", ".join([label, *beyond]), look["color"]))
            _beside(axes, marks)
            both = [key for key in of_rows if key[0] == scene and costs[MACS][key][0] > 0]
            signs = [
                (of_rows[a][0] - of_rows[b][0]) * (costs[MACS][a][0] - costs[MACS][b][0])
                for a, b in combinations(both, 2)
            ]
            if j:
                told = f"{sum(sign < 0 for sign in signs)} of {len(signs)} pairs swapped against MACs"
                axes.set_title(told, loc="right", size=7, color=MUTED)
    return drawn


def bands(chosen: dict[str, Any], runs: Runs) -> Figure:
    """PSNR band by band, mean over the test images, and how far it lies above the first method's."""
    psnr = {key: np.mean([image["bands"]["MPSNR"] for image in run.facts["images"]], 0) for key, (run,) in runs.items()}
    scenes, down = _scenes(chosen, runs), 1.85
    far = _far({at: values.mean() for at, values in psnr.items()})
    labels = _near(chosen, runs, far)
    key, even = _key_height(labels), "Wavelengths are those of bands evenly spaced over the cube's range."
    drawn, place = _page(
        chosen, key + len(scenes) * down + 0.15, runs, _left_out(chosen, far), even, _untrained(chosen, runs)
    )
    _key(place(0.1, 0, WIDTH - 0.2, key), _handles(chosen, labels))
    for i, scene in enumerate(scenes):
        base, *_ = here = _labels(runs, scene)
        lines = {label: psnr[scene, label] for label in here if (scene, label) not in far}
        nanometres = np.linspace(*chosen["scenes"][scene]["nanometres"], len(psnr[scene, base]))
        for j, (what, less) in enumerate((("PSNR (dB)", 0), (f"above {base} (dB)", psnr[scene, base]))):
            axes = place(0.63 + j * 3.6, key + i * down + 0.2, 2.83, down - 0.45)
            for label, values in lines.items():
                axes.plot(nanometres, values - less, **_line(chosen["looks"][label], len(values)), label=label)
            ends = [end for values in lines.values() for end in ((values - less).min(), (values - less).max())]
            axes.set(xlim=nanometres[[0, -1]], ylim=_padded(min(ends), max(ends), 0.05, 0.05))
            axes.grid(True)
            _ylabel(axes, what, 2.83)
            axes.set_title("" if j else _title(chosen, scene), loc="left", weight="bold")
            if i + 1 == len(scenes):
                axes.set_xlabel("wavelength (nm)")
    return drawn


def pixels(chosen: dict[str, Any], runs: Runs) -> Figure:
    """Spectra at three pixels of a test image, the truth's and every method's, and their differences."""
    scenes, down, truth = _scenes(chosen, runs), 2.55, Line2D([], [], color="black", linewidth=2, label="Ground truth")
    image = {scene: chosen["scenes"][scene]["image"] for scene in scenes}
    far = _far({key: run.facts["images"][image[key[0]]]["scores"]["MPSNR"] for key, (run,) in runs.items()})
    labels = _near(chosen, runs, far)
    key = _key_height([truth.get_label(), *labels])
    notes = [f"{_title(chosen, scene)}: {_image(runs, scene, chosen['scenes'][scene])}." for scene in scenes]
    notes += ["C has the median of the first method's errors.", _left_out(chosen, far), _untrained(chosen, runs)]
    drawn, place = _page(chosen, key + len(scenes) * down + 0.1, runs, *notes)
    _key(place(0.1, 0, WIDTH - 0.2, key), [truth, *_handles(chosen, labels)])
    for i, scene in enumerate(scenes):
        near = [label for label in labels if (scene, label) in runs.keys() - far]
        arrays, top = {label: _arrays(runs[scene, label]) for label in near}, key + i * down + 0.2
        first = next(iter(arrays.values()))
        low, high = _stretch(first["hr"])
        tall = first["hr"].shape[0] / first["hr"].shape[1]
        wide = min(1.3, (down - 0.5) / tall)
        whole = place(0.1, top, wide, wide * tall)
        whole.imshow(np.clip((first["hr"] - low) / (high - low), 0, 1))
        _bare(whole)
        whole.set_title(_title(chosen, scene), loc="left", weight="bold")
        below = []
        for j, (letter, (why, row, column)) in enumerate(zip("ABC", _picked(first), strict=True)):
            spectra, differences = (place(2.05 + j * 1.78, top + over, 1.38, 1) for over in (0, 1.08))
            at = first["columns"][column], first["rows"][row]
            whole.plot(*at, "o", color="white", markersize=5, markerfacecolor="none", path_effects=[INKED])
            beside = -8 if column + 1 == len(first["columns"]) else 3, 3 if row else -9  # inside the image
            named = {"textcoords": "offset points", "color": "white", "weight": "bold", "path_effects": [INKED]}
            whole.annotate(letter, at, beside, **named)
            expected = first["spectra_hr"][:, row, column]
            nanometres = np.linspace(*chosen["scenes"][scene]["nanometres"], len(expected))
            found = {label: of_method["spectra_sr"][:, row, column] for label, of_method in arrays.items()}
            spectra.plot(nanometres, expected, color="black", linewidth=2, label=truth.get_label())
            differences.axhline(0, color="black", linewidth=0.8)
            for label, values in found.items():
                look = _line(chosen["looks"][label], len(values)) | {"label": label}
                spectra.plot(nanometres, values, **look)
                differences.plot(nanometres, values - expected, **look)
            spectra.set(xlim=nanometres[[0, -1]], title=f"{letter}: {why}")
            spectra.tick_params(labelbottom=False)
            differences.tick_params(labelleft=j == 0)
            below.append((differences, max(np.abs(values - expected).max() for values in found.values())))
            if j == 0:
                _ylabel(spectra, "spectrum", 1.38)
                _ylabel(differences, "less the truth", 1.38)
            if i + 1 == len(scenes):
                differences.set_xlabel("wavelength (nm)")
            for axes in (spectra, differences):
                axes.grid(True)
        most = 1.05 * max(largest for _, largest in below) or 1
        for axes, _ in below:  # on one scale
            axes.set(xlim=nanometres[[0, -1]], ylim=(-most, most))
    return drawn


def curves(chosen: dict[str, Any], runs: Runs) -> Figure:
    """Validation MPSNR over the steps of training, a line a seed, and the epoch that was kept."""
    scenes, down, kept, lines = _scenes(chosen, runs), 1.95, {}, {}
    for key, of in runs.items():
        for run in of:
            epochs = read_csv(run.path.with_name("history.csv"))
            x, y = ([float(epoch[name]) for epoch in epochs] for name in ("steps", "val_mpsnr"))
            at = next(i for i, epoch in enumerate(epochs) if int(epoch["epoch"]) == run.facts["epoch"])
            lines.setdefault(key, []).append((x, y, at))
        kept[key] = float(np.mean([y[at] for _, y, at in lines[key]]))
    far = _far(kept)
    labels = _near(chosen, runs, far)
    notes = ["Marks: the epoch that was kept, by validation.", _left_out(chosen, far), _untrained(chosen, runs)]
    key = _key_height(labels)
    drawn, place = _page(chosen, key + len(scenes) * down + 0.15, runs, *notes)
    _key(place(0.1, 0, WIDTH - 0.2, key), _handles(chosen, labels))
    for i, scene in enumerate(scenes):
        axes = place(0.63, key + i * down + 0.2, WIDTH - 0.83, down - 0.45)
        here = [
            (label, line) for label in labels if (scene, label) not in far for line in lines.get((scene, label), [])
        ]
        for label, (x, y, at) in here:
            look = _look(chosen["looks"][label]) | {"markevery": [at], "markersize": 5.5, "label": label}
            axes.plot(x, y, **look, linewidth=1.1 if len(chosen["seeds"]) == 1 else 0.6)
        highest = max(max(y) for _, (_, y, _) in here)
        settled = max(min(min(y[at:]) for _, (_, y, at) in here), highest - FAR)
        lowest = max(settled - 0.4 * (highest - settled), min(min(y) for _, (_, y, _) in here))
        axes.set_ylim(*_padded(lowest, highest, 0.06, 0.05))  # the beginnings, far below, would take all the room
        axes.set_xlim(0, 1.02 * max(x[-1] for _, (x, _, _) in here))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _ylabel(axes, "validation MPSNR (dB)", WIDTH - 0.83)
        axes.grid(True)
        axes.set_title(_title(chosen, scene), loc="left", weight="bold")
        if i + 1 == len(scenes):
            axes.set_xlabel("steps")
    return drawn


def differences(chosen: dict[str, Any], runs: Runs) -> Figure:
    """How far each method's MPSNR and SAM lie from the first row's, paired, with 95 % intervals."""
    base, line, above, under = next(iter(chosen["rows"])), 0.2, 0.4, 0.25
    scenes = {scene: _labels(runs, scene) for scene in _scenes(chosen, runs)}
    scenes = {scene: labels[1:] for scene, labels in scenes.items() if labels[0] == base and len(labels) > 1}
    downs = np.cumsum([0.25, *(above + len(labels) * line + under for labels in scenes.values())])
    found = _compared(runs, base, scenes)
    unknown: dict[str, set[tuple[str, str]]] = {}  # why there is no interval -> rows
    for (scene, label, _), (difference, _) in found.items():
        for why in sorted(difference.unknown):
            unknown.setdefault(why, set()).add((scene, label))
    rows = {(scene, label) for scene, label, _ in found}
    reasons = [why if of == rows else f"{why} ({_named(chosen, of)})" for why, of in sorted(unknown.items())]
    missing = "" if scenes else f"{base}, from which differences are taken, or all others were not run."
    note = f"No interval over test images and seeds: {', '.join(reasons)}." if reasons else ""
    how = "Intervals: Student's t over test images and seeds; bootstrap over the blocks of these test images. "
    how += f"Where there are large differences, the axis is linear to ±{LINEAR:g} and logarithmic beyond."
    drawn, place = _page(chosen, downs[-1], runs, missing, how if scenes else "", note, _untrained(chosen, runs))
    if scenes:
        handles = [
            Line2D([], [], **SURE, label="95 % over images, seeds"),
            Line2D([], [], **ON_BLOCKS, label="95 % over blocks"),
            Line2D(
                [], [], **POINT, linestyle="none", markerfacecolor=INK, label="filled: 0 is outside the first interval"
            ),
        ]
        _key(place(0.1, 0, WIDTH - 0.2, 0.2), handles)
    left = _room([label for _, label, _ in found])
    width = (WIDTH - left - 2.8) / 2  # beside the panels stand the numbers
    for (scene, labels), down in zip(scenes.items(), downs, strict=False):
        for j, (name, unit, side) in enumerate((("MPSNR", "dB", "better →"), ("SAM", "degrees", "← better"))):
            axes = place(left + j * (width + 1.45), down + above - 0.05, width, len(labels) * line)
            axes.axvline(0, color=INK, linewidth=0.8)
            ends = [0.0]
            for y, label in enumerate(labels):
                difference, blocks = found[scene, label, name]
                interval, value = difference.interval(), difference.value
                told = ", no interval" if interval is None else " [{}, {}]".format(*map(_signed, interval))
                told = _signed(value) + told
                axes.text(1.04, y, told, transform=axes.get_yaxis_transform(), va="center", size=7)
                axes.plot(blocks, [y + 0.3] * 2, **ON_BLOCKS)
                if interval:
                    axes.plot(interval, [y] * 2, **SURE)
                sure = interval and not interval[0] <= 0 <= interval[1]
                axes.plot(value, y, **POINT, markerfacecolor=INK if sure else "white")
                ends += [value, *blocks, *(interval or ())]
            widest = max(map(abs, ends))
            if widest > 3 * LINEAR:  # small differences beside large ones
                axes.set_xscale("symlog", linthresh=LINEAR)
            _plain(axes)
            axes.set(ylim=(len(labels) - 0.4, -0.6), yticks=range(len(labels)), yticklabels=labels if j == 0 else [])
            axes.tick_params(axis="y", length=0)
            axes.yaxis.grid(False)
            axes.set_title(f"{name} ({unit}), {side}", loc="left")
            if j == 0:
                heading = f"{_title(chosen, scene)}, differences from {base}"
                axes.annotate(heading, (0, 1), (72 * (0.1 - left), 18), **ABOVE, weight="bold")
    return drawn


FIGURES = {
    "share": share,
    "spectrum": spectrum,
    "composite": composite,
    "speed": speed,
    "bands": bands,
    "pixels": pixels,
    "curves": curves,
    "differences": differences,
}
BESIDE = {"composite": "image.npz", "pixels": "image.npz", "curves": "history.csv"}  # what a run needs to be drawn


# What they share --------------------------------------------------------------------------------------------------


def _rows(chosen: dict[str, Any], paths: list[Path]) -> Runs:
    """The files of this figure's rows, scale and seeds."""
    found = {}
    for path in paths:
        facts = read_json(path)
        if facts["scale"] == chosen["scale"]:
            found[facts["scene"], facts["model"], facts["seed"]] = Run(path, facts)
    return {
        (scene, label): of
        for scene in chosen["scenes"]
        for label, model in chosen["rows"].items()
        if (of := [found[scene, model, seed] for seed in chosen["seeds"] if (scene, model, seed) in found])
    }


def _scenes(chosen: dict[str, Any], runs: Runs) -> list[str]:
    """The scenes that have a run."""
    return [scene for scene in chosen["scenes"] if any(scene == of for of, _ in runs)]


def _labels(runs: Runs, scene: str) -> list[str]:
    """The rows that were run on a scene."""
    return [label for of, label in runs if of == scene]


def _shown(chosen: dict[str, Any], runs: Runs) -> list[str]:
    """The rows that were run on any scene."""
    return [label for label in chosen["rows"] if any(label == of for _, of in runs)]


def _trained(runs: Runs, scene: str) -> list[str]:
    """The rows whose errors set a scale: not those that were hardly trained, unless there are no others."""
    labels = _labels(runs, scene)
    return [label for label in labels if not runs[scene, label][0].facts["untrained"]] or labels


def _far(scores: dict[tuple[str, str], float]) -> set[tuple[str, str]]:
    """The rows that lie far below the best of their scene."""
    best = {scene: max(value for (of, _), value in scores.items() if of == scene) for scene, _ in scores}
    return {(scene, label) for (scene, label), value in scores.items() if value < best[scene] - FAR}


def _near(chosen: dict[str, Any], runs: Runs, far: set[tuple[str, str]]) -> list[str]:
    """The rows that are near the best on any scene."""
    return [label for label in chosen["rows"] if any((scene, label) in runs.keys() - far for scene in chosen["scenes"])]


def _left_out(chosen: dict[str, Any], far: set[tuple[str, str]]) -> str:
    """The sentence about rows that are too far from the others to be drawn, empty where there are none."""
    return f"Not drawn, more than {FAR:g} dB below the best: {_named(chosen, far)}." if far else ""


def _title(chosen: dict[str, Any], scene: str) -> str:
    return chosen["scenes"][scene]["title"]


def _named(chosen: dict[str, Any], rows: Collection[tuple[str, str]]) -> str:
    """Rows in words, each with its scenes where these are not all."""
    told = []
    for label in chosen["rows"]:
        scenes = [_title(chosen, scene) for scene in chosen["scenes"] if (scene, label) in rows]
        told += [label if len(scenes) == len(chosen["scenes"]) else f"{label} ({', '.join(scenes)})"] if scenes else []
    return ", ".join(told)


def _untrained(chosen: dict[str, Any], runs: Runs) -> str:
    """The sentence about networks that were hardly trained, empty where there are none."""
    steps = {key: max(run.facts["steps"] for run in of) for key, of in runs.items() if of[0].facts["untrained"]}
    if not steps:
        return ""
    most = max(steps.values())
    return f"Untrained ({most} step{'' if most == 1 else 's'} at most): {_named(chosen, steps)}."


def _image(runs: Runs, scene: str, facts: dict[str, Any]) -> str:
    """Which test image it is, in words."""
    images = next(of for (name, _), of in runs.items() if name == scene)[0].facts["images"]
    row, column, rows, columns = images[facts["image"]]["window"]
    return f"Test image {facts['image'] + 1} of {len(images)}, {rows} × {columns} pixels from ({row}, {column})"


def _device(facts: dict[str, Any]) -> str:
    """A device that was measured, in words."""
    threads = f", {facts['threads']} thread{'' if facts['threads'] == 1 else 's'}"
    return f"CPU: {facts['name']}{threads}" if facts["device"] == "cpu" else f"GPU: {facts['name']}"


def _arrays(of: list[Run]) -> dict[str, np.ndarray]:
    """The image.npz of a run."""
    with np.load(of[0].path.with_name("image.npz")) as arrays:
        return dict(arrays)


def _costs(chosen: dict[str, Any], runs: Runs) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """What the methods cost: kind of cost -> row -> median and quartiles; first MACs, then times on each device."""
    costs = {MACS: {key: np.full(3, of[0].facts["macs"] / 1e9) for key, of in runs.items()}}
    for scene, facts in chosen["efficiency"].items():
        for device in facts["measured"]:
            times = costs.setdefault(f"time of one 16 × 16 LR image (ms)\n{_device(device)}", {})
            for label in _labels(runs, scene):
                if found := device["models"].get(runs[scene, label][0].facts["model"]):
                    three = [found[name] for name in ("latency_s", "latency_low_s", "latency_high_s")]
                    times[scene, label] = 1e3 * np.array(three)
    return costs


def _compared(
    runs: Runs, base: str, scenes: dict[str, list[str]]
) -> dict[tuple[str, str, str], tuple[Any, np.ndarray]]:
    """Differences of rows from the row `base`: (scene, row, score) -> the quantity, and its interval over blocks."""
    from lkca.paper.statistics import blocks_intervals, influence, score  # here: scipy.stats takes its time to import

    found = {}
    for scene, labels in scenes.items():
        facts = {label: [run.facts for run in runs[scene, label]] for label in (base, *labels)}
        for name in ("MPSNR", "SAM"):
            blocks = {label: influence(of, name) for label, of in facts.items()}
            intervals = blocks_intervals(np.stack([blocks[label] - blocks[base] for label in labels]))
            for label, of_blocks in zip(labels, intervals, strict=True):
                found[scene, label, name] = score(facts[label], name) - score(facts[base], name), of_blocks
    return found


def _stretch(hr: np.ndarray) -> np.ndarray:
    """Darkest and brightest of each band that are shown, the truth's for all methods: (2, 3)."""
    low, high = np.percentile(hr, (2, 98), axis=(0, 1))
    return np.stack([low, np.maximum(high, low + 1e-6)])


def _worst_window(error: np.ndarray, size: int) -> tuple[int, int, int]:
    """Row, column and size of the square window with the largest mean error."""
    total = np.pad(error, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    sums = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    row, column = np.unravel_index(sums.argmax(), sums.shape)
    return int(row), int(column), size


def _picked(arrays: dict[str, np.ndarray]) -> list[tuple[str, int, int]]:
    """Three different pixels of the grid: why they are shown, row and column in the grid."""
    at = np.ix_(arrays["rows"], arrays["columns"])
    error = arrays["error"][at]
    measures = {
        "brightest": arrays["spectra_hr"].mean(0),
        "strongest edge": np.hypot(*np.gradient(arrays["hr"].mean(-1)))[at],
        "median error": -np.abs(error - np.quantile(error, 0.5, method="lower")),
    }
    picked: list[tuple[str, int, int]] = []
    for why, measure in measures.items():
        measure = np.array(measure, float)
        for _, row, column in picked:
            measure[row, column] = -np.inf
        picked.append((why, *map(int, np.unravel_index(measure.argmax(), measure.shape))))
    return picked


# How they look ----------------------------------------------------------------------------------------------------


def _page(chosen: dict[str, Any], height: float, runs: Runs, *notes: str) -> tuple[Figure, Callable[..., Axes]]:
    """A page with a title, an empty body, and a footer: what was not run, notes, what stands in for data.

    Returns:
        The page, and `place(left, down, wide, high)`, which adds axes to its body; all in inches.
    """
    not_run = [(scene, label) for scene in chosen["scenes"] for label in chosen["rows"] if (scene, label) not in runs]
    title = lines_of(f"{chosen['title']}, ×{chosen['scale']}", 80)
    seeds = f"Seed{'s' * (len(chosen['seeds']) > 1)} {', '.join(map(str, chosen['seeds']))}."
    told = [
        f"Not run: {_named(chosen, not_run)}." if not_run else "",
        *notes,
        seeds if chosen["kind"] != "share" else "",
    ]
    footer = lines_of(" ".join(filter(None, told)), 125) + lines_of(chosen["stand_in"] or "", 125)
    top, bottom = 0.2 + 0.17 * len(title), 0.15 + 0.13 * len(footer)
    total = top + height + bottom
    drawn = Figure((WIDTH, total))
    drawn.text(0.1 / WIDTH, 1 - 0.08 / total, "\n".join(title), size=10, weight="bold", va="top")
    drawn.text(0.1 / WIDTH, 0.06 / total, "\n".join(footer), size=7, color=MUTED, va="bottom")

    def place(left: float, down: float, wide: float, high: float) -> Axes:
        return drawn.add_axes((left / WIDTH, 1 - (top + down + high) / total, wide / WIDTH, high / total))

    return drawn, place


def _look(number: int) -> dict[str, Any]:
    """Colour, dashes and marker of a method."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def _line(number: int, points: int) -> dict[str, Any]:
    """The look of a line, with a few markers along it, elsewhere on each."""
    apart = max(points // 4, 1)
    return _look(number) | {"linewidth": 0.9, "markersize": 3, "markevery": (number * apart // 7 % apart, apart)}


def _handles(chosen: dict[str, Any], labels: list[str]) -> list[Line2D]:
    """The looks of rows, for a key."""
    return [Line2D([], [], **_look(chosen["looks"][label]), markersize=4, label=label) for label in labels]


def _room(names: list[str]) -> float:
    """What names at the left of axes need, in inches."""
    return max([0.95, *(0.15 + 0.065 * len(name) for name in names)])


def _columns(names: list[str]) -> int:
    """How many columns of a key fit on the page."""

    def width(columns: int) -> float:
        return sum(0.55 + 0.065 * max(map(len, column)) for column in np.array_split(names, columns))

    return next((n for n in range(len(names), 1, -1) if width(n) < WIDTH - 0.2), 1)


def _key_height(names: list[str]) -> float:
    return 0.16 * ceil(len(names) / _columns(names)) + 0.08


def _key(axes: Axes, handles: list[Line2D]) -> None:
    """A key in axes of its own."""
    _bare(axes)
    columns = _columns([handle.get_label() for handle in handles])
    _legend(axes, handles, ncols=columns, loc="upper left", borderaxespad=0, borderpad=0, handlelength=3)


def _legend(axes: Axes, handles: list[Line2D], **options: Any) -> None:
    """A legend in which a name may also begin with an underscore; matplotlib would leave it out."""
    legend = axes.legend(handles, [""] * len(handles), **options)
    for text, handle in zip(legend.get_texts(), handles, strict=True):
        text.set_text(handle.get_label())


def _padded(low: float, high: float, share: float, least: float = 1e-6) -> tuple[float, float]:
    """Limits with some room, also around a single number."""
    room = max(share * (high - low), least)
    return low - room, high + room


def _signed(value: float) -> str:
    """A difference in three decimals.

    Example:
        >>> _signed(-0.1234), _signed(0.5), _signed(-1e-9)
        ('−0.123', '+0.500', '0.000')
    """
    return f"{value:+.3f}".replace("-", "−") if abs(value) >= 5e-4 else "0.000"


def _ylabel(axes: Axes, text: str, width: float) -> None:
    """A label at the same distance from axes of any width (in inches), so that those below each other are in line."""
    axes.set_ylabel(text)
    axes.yaxis.set_label_coords(-0.47 / width, 0.5)


def _plain(axes: Axes) -> None:
    """Numbers at a logarithmic axis as one writes them, and a grid."""
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}".replace("-", "−"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True)


def _dark(colour: str) -> np.ndarray:
    """A colour for text: half of it ink."""
    return (np.array(to_rgb(colour)) + np.array(to_rgb(INK))) / 2


def _below(axes: Axes, text: str) -> None:
    axes.text(0.5, -0.03, text, transform=axes.transAxes, size=7, ha="center", va="top")


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _beside(axes: Axes, points: list[tuple[float, float, str, str]]) -> None:
    """Write a name at each point (x, y, name, colour), where it covers and crowds least of the others."""
    renderer, scale = FigureCanvasAgg(axes.figure).get_renderer(), axes.figure.dpi / 72  # pixels a point
    places = axes.transData.transform([point[:2] for point in points])
    inside = axes.get_window_extent(renderer).get_points()
    taken = list(np.stack([places - 7 * scale, places + 7 * scale], 1))  # boxes: (lowest and highest, x and y)
    distances, sides = np.repeat([5, 13, 21, 29], len(SIDES))[:, None], np.tile(SIDES, (4, 1))
    for i, (x, y, name, colour) in enumerate(points):
        text = axes.annotate(
            name, (x, y), (0, 0), textcoords="offset points", size=7, ha="center", va="center", color=_dark(colour)
        )
        size = text.get_window_extent(renderer).size
        middles = sides * (distances * scale + size / 2)  # from the point: (32, 2)
        boxes = np.stack([middles - size / 2, middles + size / 2], 1) + places[i]
        others = np.array(taken[:i] + taken[i + 1 :]).reshape(-1, 2, 2)
        covered = _overlap(boxes, others).sum(1) - 3 * _overlap(boxes, inside[None])[:, 0]
        best = int((covered + 3 * distances[:, 0]).argmin())  # some covered pixels for a name that is nearer
        text.set_position(middles[best] / scale)
        taken.append(boxes[best])
        if distances[best] > 5:
            end = np.clip(places[i], *boxes[best]) - places[i]
            axes.annotate("", (x, y), end / scale, textcoords="offset points", arrowprops=LEADER)


def _overlap(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The areas that boxes (n, 2, 2) share with others (m, 2, 2): (n, m)."""
    sides = np.minimum(some[:, None, 1], others[:, 1]) - np.maximum(some[:, None, 0], others[:, 0])
    return np.maximum(sides, 0).prod(-1)
