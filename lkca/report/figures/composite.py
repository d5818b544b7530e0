"""Composites and error maps of one test image, each with a zoom; the ground truth is first (Figs. 6 to 8)."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from lkca.report.figures.data import FigureData, format_steps
from lkca.report.figures.layout import Page, hide_frame, wrap_name, wrap_words, write_below
from lkca.report.figures.style import FAINT, MUTED, PAGE_WIDTH, RED, WHITE_OUTLINE
from lkca.report.images import error_limit, find_worst_window, stretch, stretch_limits

GAP, LEFT = 0.05, 0.2  # inches
TRUTH = "Ground truth"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def draw_composite(data: FigureData) -> Page:
    """Draw the figure: a column for each method with composite, zoom, error map and zoom below each other.

    Narrow columns without pictures name the untrained methods.
    """
    ((scene, shown),) = data.settings.scenes.items()
    images = data.load_images(scene, data.labels(scene))
    first = next(iter(images.values()))
    hr = first["hr"]  # (rows, columns, 3)
    errors = {label: arrays["error"] for label, arrays in images.items()}  # each (rows, columns)
    side = min(hr.shape[:2]) // 5
    zoom = shown.zoom or [*find_worst_window(next(iter(errors.values())), side), side]
    limits, max_error = stretch_limits(hr), error_limit(errors)

    notes = [f"{wrap_name(label)}\nuntrained: {format_steps(steps)}" for (_, label), steps in data.untrained.items()]
    strip = 0.06 + 0.12 * max((note.count("\n") + 1 for note in notes), default=0)
    strip = min(strip, (PAGE_WIDTH - LEFT) / (1 + len(data.settings.rows)) - GAP)
    width = min((PAGE_WIDTH - LEFT - 0.1 - len(notes) * (strip + GAP)) / (1 + len(images)) - GAP, 2.3)
    height = width * hr.shape[0] / hr.shape[1]
    names = {label: "\n".join(wrap_words(label, int((width + GAP) / 0.067))) for label in (TRUTH, *images)}
    title_height = 0.2 + 0.13 * max(name.count("\n") + 1 for name in names.values())
    tops = np.cumsum([title_height, height + GAP, width + GAP, height + GAP, width])
    names_of_bands = [data.bands[scene].name(band - 1) for band in first["bands"]]
    bands = ", ".join(name.replace(" ", NO_BREAK_SPACE) for name in names_of_bands)
    image_note = f"{data.image_note(scene)}. Red, green and blue are the file's bands {bands}."
    mean_title = wrap_words("mean of the map", int(width / 0.055))
    page = Page(data, tops[-1] + 0.08 + 0.12 * len(mean_title), _describe(data, scene, errors), image_note)

    def add_column(number: int, title: str, composite: np.ndarray) -> list[Axes]:
        """Add the four axes of a method with its composite and the zoom into it."""
        x = LEFT + number * (width + GAP)
        axes = [page.add_axes(x, top, width, high) for top, high in zip(tops[:4], (height, width) * 2, strict=True)]
        for ax in axes:
            hide_frame(ax)
        _show_with_zoom(axes[:2], stretch(composite, limits), zoom)
        axes[0].set_title(title, pad=3)
        return axes

    truth_axes = add_column(0, f"{names[TRUTH]}\n", hr)
    for ax, name in zip(truth_axes, ("composite", "zoom", "error", "zoom"), strict=True):
        ax.text(-0.05 / width, 0.5, name, transform=ax.transAxes, rotation=90, va="center", ha="right", color=MUTED)
    write_below(truth_axes[3], "\n".join(mean_title))
    for number, (label, arrays) in enumerate(images.items(), 1):
        axes = add_column(number, f"{names[label]}\n{_read_psnr(data, scene, label):.2f} dB", arrays["sr"])
        error_map = _show_with_zoom(axes[2:], errors[label], zoom, vmin=0, vmax=max_error, cmap="magma")
        write_below(axes[3], f"{errors[label].mean():.4f}")
    for number, note in enumerate(notes):
        x = LEFT + (1 + len(images)) * (width + GAP) + number * (strip + GAP)
        _add_note(page.add_axes(x, tops[0], strip, tops[-1] - tops[0]), note)
    bar_axes = truth_axes[2].inset_axes((0.08, 0.4, 0.8, 0.09))
    bar = page.figure.colorbar(error_map, cax=bar_axes, orientation="horizontal", extend="max")
    bar.set_ticks([0, max_error], labels=["0", f"{max_error:.3f}"], size=7)
    bar.ax.set_title("mean |error|\nover all bands", size=7, pad=3)
    return page


def _read_psnr(data: FigureData, scene: str, label: str) -> float:
    """Return the MPSNR of the test image that is shown, dB."""
    image = data.first(scene, label).content["images"][data.settings.scenes[scene].image]
    return float(image["scores"]["MPSNR"])


def _describe(data: FigureData, scene: str, errors: dict[str, np.ndarray]) -> str:
    facts = {
        (scene, label): f"{_read_psnr(data, scene, label):.2f} dB and {error.mean():.4f}"
        for label, error in errors.items()
    }
    return (
        f"{data.image_note(scene)}: composites of the ground truth and of each method's reconstruction, maps of the "
        f"mean absolute error, and a zoom into each. MPSNR of the image and mean of the map, {data.list_facts(facts)}"
    )


def _add_note(axes: Axes, note: str) -> None:
    """Write a note from the top of axes to the bottom, instead of pictures."""
    hide_frame(axes)
    axes.set_facecolor(FAINT)
    axes.text(0.5, 0.99, note, rotation=90, ha="center", va="top", size=7, color=MUTED)


def _show_with_zoom(axes: list[Axes], image: np.ndarray, zoom: list[int], **options: Any) -> AxesImage:
    """Show an image with a frame around a detail in the first axes, and the detail in the second; return the image."""
    whole, detail = axes
    row, column, size = zoom
    whole.add_patch(
        Rectangle((column - 0.5, row - 0.5), size, size, fill=False, color=RED, path_effects=[WHITE_OUTLINE])
    )
    detail.spines[:].set(visible=True, color=RED)
    detail.imshow(image[row : row + size, column : column + size], interpolation="nearest", **options)
    return whole.imshow(image, **options)
