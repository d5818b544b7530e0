"""PSNR band by band, mean over the test images, and its difference from the first method's."""

import numpy as np
from matplotlib.axes import Axes

from lkca.report.figures.data import FigureData, find_outliers
from lkca.report.figures.layout import (
    Page,
    band_label_height,
    key_height,
    label_band_axes,
    method_handles,
    pad_limits,
    plot_over_bands,
    set_ylabel,
)
from lkca.report.figures.style import curve_style

PANEL_WIDTH, ROW_HEIGHT = 2.83, 1.85  # inches


def draw_bands(data: FigureData) -> Page:
    """Draw the figure: a row of two panels for each scene."""
    psnr = {
        row: np.mean([image["bands"]["MPSNR"] for image in run.content["images"]], 0)
        for row, (run,) in data.runs.items()
    }
    outliers = find_outliers({row: float(values.mean()) for row, values in psnr.items()})
    labels = data.all_labels(without=outliers)
    key = key_height(labels)
    notes = [data.outlier_note(outliers), data.wavelengths_note()]
    row_height = ROW_HEIGHT + band_label_height(data)
    means = {row: f"{values.mean():.2f} dB" for row, values in psnr.items() if row not in outliers}
    description = "PSNR of each band and its difference from the first method's, as curves. Mean of the bands "
    page = Page(data, key + len(data.scenes) * row_height + 0.15, description + data.list_facts(means), *notes)
    page.add_key(method_handles(data, labels))
    panels: dict[str, list[Axes]] = {scene: [] for scene in data.scenes}
    for i, scene in enumerate(data.scenes):
        first_label, *_ = scene_labels = data.labels(scene)
        reference = psnr[scene, first_label]
        curves = {label: psnr[scene, label] for label in scene_labels if (scene, label) not in outliers}
        for j, (name, subtrahend) in enumerate((("PSNR (dB)", 0), (f"above {first_label} (dB)", reference))):
            axes = page.add_axes(0.63 + j * 3.6, key + i * row_height + 0.2, PANEL_WIDTH, ROW_HEIGHT - 0.45)
            shown = {label: values - subtrahend for label, values in curves.items()}
            for label, values in shown.items():
                style = curve_style(data.settings.looks[label], len(values))
                plot_over_bands(axes, data.bands[scene], values, **style, label=label)
            low, high = min(map(np.min, shown.values())), max(map(np.max, shown.values()))
            axes.set_ylim(pad_limits(low, high, 0.05, 0.05))
            axes.grid(True)
            set_ylabel(axes, name, PANEL_WIDTH)
            axes.set_title("" if j else data.title(scene), loc="left", weight="bold")
            panels[scene].append(axes)
    label_band_axes(data, panels)
    return page
