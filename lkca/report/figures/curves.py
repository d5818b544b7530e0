"""Validation MPSNR over the training steps, a curve for each seed; a mark shows the epoch whose weights were kept."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from lkca.core.paths import HISTORY_FILE
from lkca.core.result_files import damaged, read_history
from lkca.report.figures.data import OUTLIER_GAP_DB, FigureData, find_outliers
from lkca.report.figures.labels import draw_marks
from lkca.report.figures.layout import Page, key_height, method_handles, pad_limits, set_ylabel
from lkca.report.figures.style import PAGE_WIDTH, method_style

PANEL_WIDTH, ROW_HEIGHT = PAGE_WIDTH - 0.83, 1.95  # inches


class Curve(NamedTuple):
    """The training curve of a run, over its epochs."""

    steps: np.ndarray
    psnr: np.ndarray  # validation MPSNR, dB
    best: int  # index of the best epoch, whose weights were kept


def draw_curves(data: FigureData) -> Page:
    """Draw the figure: a panel for each scene."""
    curves = {
        row: [_read_curve(run.path.with_name(HISTORY_FILE), run.content["epoch"]) for run in runs]
        for row, runs in data.runs.items()
    }
    best_psnr = {row: float(np.mean([curve.psnr[curve.best] for curve in seeds])) for row, seeds in curves.items()}
    outliers = find_outliers(best_psnr)
    labels = data.all_labels(without=outliers)
    notes = ["Marks: the epoch that was kept, by validation.", data.outlier_note(outliers)]
    key = key_height(labels)
    kept = {
        row: f"{best_psnr[row]:.2f} dB at step {' and '.join(f'{curve.steps[curve.best]:g}' for curve in seeds)}"
        for row, seeds in curves.items()
        if row not in outliers
    }
    description = (
        f"MPSNR on validation over the steps of training, as curves. Epochs that were kept, {data.list_facts(kept)}"
    )
    page = Page(data, key + len(data.scenes) * ROW_HEIGHT + 0.15, description, *notes)
    page.add_key(method_handles(data, labels))
    for i, scene in enumerate(data.scenes):
        axes = page.add_axes(0.63, key + i * ROW_HEIGHT + 0.2, PANEL_WIDTH, ROW_HEIGHT - 0.45)
        shown, marks = [], []
        for label in labels:
            for curve in curves.get((scene, label), []) if (scene, label) not in outliers else []:
                style = method_style(data.settings.looks[label])
                if len(data.settings.seeds) > 1:
                    style["linewidth"] /= 2
                axes.plot(curve.steps, curve.psnr, **style | {"marker": ""}, label=label)
                marks.append((curve.steps[curve.best], curve.psnr[curve.best], label, style))
                shown.append(curve)
        axes.set_ylim(*_compute_psnr_limits(shown))
        axes.set_xlim(0, 1.02 * max(curve.steps[-1] for curve in shown))
        draw_marks(axes, marks)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        set_ylabel(axes, "validation MPSNR (dB)", PANEL_WIDTH)
        axes.grid(True)
        axes.set_title(data.title(scene), loc="left", weight="bold")
        if i + 1 == len(data.scenes):
            axes.set_xlabel("steps")
    return page


def _read_curve(history: Path, best_epoch: int) -> Curve:
    epochs = read_history(history, "epoch", "steps", "val_mpsnr")
    steps, psnr = (np.array([float(epoch[name]) for epoch in epochs]) for name in ("steps", "val_mpsnr"))
    numbers = [int(epoch["epoch"]) for epoch in epochs]
    if best_epoch not in numbers:
        raise damaged(history, f"it has no epoch {best_epoch}, whose weights were scored")
    return Curve(steps, psnr, numbers.index(best_epoch))


def _compute_psnr_limits(curves: list[Curve]) -> tuple[float, float]:
    """Return limits that cut off the first epochs, which are so low that later differences would not be visible."""
    highest = max(curve.psnr.max() for curve in curves)
    lowest_from_best = max(min(curve.psnr[curve.best :].min() for curve in curves), highest - OUTLIER_GAP_DB)
    lowest = min(curve.psnr.min() for curve in curves)
    return pad_limits(max(lowest_from_best - 0.4 * (highest - lowest_from_best), lowest), highest, 0.06, 0.05)
