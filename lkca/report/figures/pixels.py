"""Spectra of the ground truth and of every method at three pixels of a test image, and their differences."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lkca.report.figures.data import FigureData, find_outliers
from lkca.report.figures.layout import (
    Page,
    band_label_height,
    hide_frame,
    key_height,
    label_band_axes,
    method_handles,
    plot_over_bands,
    set_ylabel,
)
from lkca.report.figures.style import DARK_OUTLINE, curve_style
from lkca.report.images import stretch, stretch_limits

ROW_HEIGHT, PANEL_WIDTH, PANEL_HEIGHT = 2.55, 1.38, 1.0  # inches
TRUTH = "Ground truth"
Pixel = tuple[str, int, int]  # why it is shown, its row and its column in the grid of spectra


def draw_pixels(data: FigureData) -> Page:
    """Draw the figure: for each scene the image, then for each pixel a panel of spectra above one of differences."""
    psnr = {
        (scene, label): run.content["images"][data.settings.scenes[scene].image]["scores"]["MPSNR"]
        for (scene, label), (run,) in data.runs.items()
    }
    outliers = find_outliers(psnr)
    labels = data.all_labels(without=outliers)
    truth = Line2D([], [], color="black", linewidth=2, label=TRUTH)
    key = key_height([TRUTH, *labels])
    notes = [f"{data.title(scene)}: {data.image_note(scene)}." for scene in data.scenes]
    notes += ["C has the median of the first method's errors.", data.wavelengths_note(), data.outlier_note(outliers)]
    images = {
        scene: data.load_images(scene, [label for label in data.labels(scene) if (scene, label) not in outliers])
        for scene in data.scenes
    }
    pixels = {scene: _pick_pixels(next(iter(arrays.values()))) for scene, arrays in images.items()}
    row_height = ROW_HEIGHT + band_label_height(data)
    page = Page(data, key + len(data.scenes) * row_height + 0.1, _describe(data, images, pixels), *notes)
    page.add_key([truth, *method_handles(data, labels)])
    lower_by_scene: dict[str, list[Axes]] = {}
    for i, scene in enumerate(data.scenes):
        top = key + i * row_height + 0.2
        first = next(iter(images[scene].values()))
        image_axes = _draw_image(page, first["hr"], top)
        image_axes.set_title(data.title(scene), loc="left", weight="bold")
        max_differences, lower_panels = [], []
        for j, (letter, (reason, row, column)) in enumerate(zip("ABC", pixels[scene], strict=True)):
            _mark_pixel(image_axes, first, row, column, letter)
            upper, lower = (page.add_axes(2.05 + j * 1.78, top + down, PANEL_WIDTH, PANEL_HEIGHT) for down in (0, 1.08))
            true_spectrum = first["spectra_hr"][:, row, column]
            spectra = {label: image["spectra_sr"][:, row, column] for label, image in images[scene].items()}
            plot_over_bands(upper, data.bands[scene], true_spectrum, color="black", linewidth=2, label=TRUTH)
            lower.axhline(0, color="black", linewidth=0.8)
            for label, spectrum in spectra.items():
                style = curve_style(data.settings.looks[label], len(spectrum)) | {"label": label}
                plot_over_bands(upper, data.bands[scene], spectrum, **style)
                plot_over_bands(lower, data.bands[scene], spectrum - true_spectrum, **style)
            upper.set(xlim=data.bands[scene].limits(), title=f"{letter}: {reason}")
            upper.tick_params(labelbottom=False)
            lower.tick_params(labelleft=j == 0)
            if j == 0:
                set_ylabel(upper, "spectrum", PANEL_WIDTH)
                set_ylabel(lower, "less the truth", PANEL_WIDTH)
            upper.grid(True)
            lower.grid(True)
            max_differences.append(max(np.abs(spectrum - true_spectrum).max() for spectrum in spectra.values()))
            lower_panels.append(lower)
        limit = 1.05 * max(max_differences) or 1
        for panel in lower_panels:
            panel.set_ylim(-limit, limit)
        lower_by_scene[scene] = lower_panels
    label_band_axes(data, lower_by_scene)
    return page


def _describe(
    data: FigureData, images: dict[str, dict[str, dict[str, np.ndarray]]], pixels: dict[str, list[Pixel]]
) -> str:
    facts = {}
    for scene, by_label in images.items():
        for label, arrays in by_label.items():
            errors = np.abs(arrays["spectra_sr"] - arrays["spectra_hr"]).mean(0)
            facts[scene, label] = ", ".join(f"{errors[row, column]:.4f}" for _, row, column in pixels[scene])
    reasons = ", ".join(reason for reason, _, _ in next(iter(pixels.values())))
    return (
        f"Spectra of three pixels (A, B, C: {reasons}) and their differences from the ground truth, as curves. "
        f"Mean absolute differences at A, B and C, {data.list_facts(facts)}"
    )


def _draw_image(page: Page, hr: np.ndarray, top: float) -> Axes:
    """Draw the test image (rows, columns, 3) at the left of the page."""
    aspect = hr.shape[0] / hr.shape[1]
    width = min(1.3, (ROW_HEIGHT - 0.5) / aspect)
    axes = page.add_axes(0.1, top, width, width * aspect)
    axes.imshow(stretch(hr, stretch_limits(hr)))
    hide_frame(axes)
    return axes


def _mark_pixel(axes: Axes, arrays: dict[str, np.ndarray], row: int, column: int, letter: str) -> None:
    """Mark a pixel of the grid in the image, with its letter next to it and inside the image."""
    position = arrays["columns"][column], arrays["rows"][row]
    axes.plot(*position, "o", color="white", markersize=5, markerfacecolor="none", path_effects=[DARK_OUTLINE])
    offset = -8 if column + 1 == len(arrays["columns"]) else 3, 3 if row else -9  # points
    axes.annotate(
        letter,
        position,
        offset,
        textcoords="offset points",
        color="white",
        weight="bold",
        path_effects=[DARK_OUTLINE],
    )


def _pick_pixels(arrays: dict[str, np.ndarray]) -> list[Pixel]:
    """Pick three different pixels of the grid of spectra.

    Args:
        arrays: image.npz of the first method.
    """
    grid = np.ix_(arrays["rows"], arrays["columns"])
    error = arrays["error"][grid]
    criteria = {
        "brightest": arrays["spectra_hr"].mean(0),
        "strongest edge": np.hypot(*np.gradient(arrays["hr"].mean(-1)))[grid],
        "median error": -np.abs(error - np.quantile(error, 0.5, method="lower")),
    }
    pixels: list[Pixel] = []
    for reason, values in criteria.items():
        candidates = np.array(values, float)
        for _, row, column in pixels:
            candidates[row, column] = -np.inf
        best = np.unravel_index(candidates.argmax(), candidates.shape)
        pixels.append((reason, int(best[0]), int(best[1])))
    return pixels
