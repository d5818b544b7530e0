"""One table: our scores beside what the paper printed, in four formats, judged and compared."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from html import escape
from math import floor, log10
from pathlib import Path
from typing import Any, NamedTuple

from lkca.config.schema import NOT_POSSIBLE
from lkca.core.files import atomic_write, read_csv, read_json, write_csv
from lkca.errors import LkcaError
from lkca.paper.columns import COSTS, PRINTED_COLUMNS, Column, column_values, table_columns
from lkca.paper.comparisons import COMPARISON_FIELDS, compare
from lkca.paper.statistics import CONFIDENCE_LEVEL, Summary, summarize
from lkca.paper.verdicts import SIGNS, Verdict, judge_row
from lkca.report.render import render
from lkca.scoring.metrics import SCORES

NOT_RUN = "not run"
NOT_PRINTED = "–"


class Cell(NamedTuple):
    mean: float
    std: float | None  # over seeds; None: one seed has no spread
    interval: tuple[float, float] | None  # over test images and seeds; None: the row's `unknown` says why
    best: bool


class Row(NamedTuple):
    scale: int
    label: str
    model: str | None
    missing: str  # why there are no scores of ours; empty where there are
    runs: list[dict[str, Any]]  # scores.json by seed
    ours: dict[str, Cell]  # by column
    unknown: frozenset[str]  # why there are no intervals
    printed: dict[str, str]  # by column, as printed; empty: the paper has no such row
    note: str
    verdicts: dict[str, Verdict]  # by column, those that are printed

    @property
    def seeds(self) -> list[int]:
        return [run["seed"] for run in self.runs]

    @property
    def images(self) -> int:
        return len(self.runs[0]["images"])

    @property
    def steps(self) -> str:
        """The steps of a training; one that did not see all patches once is as good as none."""
        steps = self.runs[0]["steps"]
        return f"untrained: {steps} step{'' if steps == 1 else 's'}" if self.runs[0]["untrained"] else f"{steps:,}"


def table(
    settings: str,
    scores: list[Path],
    printed: Path,
    csv: Path,
    markdown: Path,
    latex: Path,
    html: Path,
    verdicts: Path,
    comparisons: Path,
) -> None:
    """Set the scores of one table beside the paper's numbers and write it in four formats; judge and compare them.

    Args:
        settings: The table as JSON text: name, title, scene, scene_title, scales, header, rows (label -> model, null
            when it is not run, or "not possible: " and why), seeds and the sentence about stand-in data or null.
        scores: scores.json of the runs, in any order; several seeds of one model become mean and sample standard
            deviation. A row without any is "not run".
        printed: The paper's numbers, lkca/paper/paper_tables.csv. A row is the paper's when table, scene,
            scale and label are.
        csv: Written: a comment line, then one line for each scale and row, at full precision.
        markdown: Written: a table for a README.
        latex: Written: a float that needs the package booktabs.
        html: Written: a `<table>` for the report.
        verdicts: Written as CSV: a line for each number that the paper prints in this table; its low and high are the
            interval of our mean over seeds, by which it is judged.
        comparisons: Written as CSV: a line for each pair of rows that were run, and each score.

    Raises:
        LkcaError: If seeds of one row differ in steps or cost, so that their mean would say nothing, or if test images
            differ.
    """
    chosen = json.loads(settings)
    lines = read_csv(printed)
    every = {(line["table"], line["scene"], int(line["scale"]), line["row"]): line for line in lines}
    paper = {key[2:]: line for key, line in every.items() if key[:2] == (chosen["name"], chosen["scene"])}
    rows = _rows(chosen, [read_json(path) for path in scores], paper)
    judged = _judged(chosen, rows, paper)
    _write_csv(csv, chosen, rows)
    _write(markdown, _markdown(chosen, rows))
    _write(latex, _latex(chosen, rows))
    _write(html, _html(chosen, rows, judged))
    write_csv(verdicts, VERDICT_FIELDS, judged)
    write_csv(comparisons, COMPARISON_FIELDS, _compared(chosen, rows))


def _rows(
    chosen: dict[str, Any], runs: list[dict[str, Any]], paper: Mapping[tuple[int, str], dict[str, str]]
) -> list[Row]:
    rows = []
    for scale in chosen["scales"]:
        group = {
            label: sorted(
                (r for r in runs if (r["scene"], r["scale"], r["model"]) == (chosen["scene"], scale, model)),
                key=lambda run: run["seed"],
            )
            for label, model in chosen["rows"].items()
        }
        means = {label: _summaries(label, of_row) for label, of_row in group.items() if of_row}
        best = {
            name: max((of_row[name].mean for of_row in means.values()), key=lambda value: column.direction * value)
            for name, column in table_columns().items()
            if column.direction and len(means) > 1
        }
        for label, of_row in group.items():
            line, model = paper.get((scale, label)), chosen["rows"][label] or ""
            impossible = model.startswith(NOT_POSSIBLE)
            summaries = means.get(label, {})
            ours = {
                name: Cell(summary.mean, summary.std, summary.interval, best.get(name) == summary.mean)
                for name, summary in summaries.items()
            }
            why = model if impossible else f"there are no scores of {model}" if model else "the row has no model"
            rows.append(
                Row(
                    scale=scale,
                    label=label,
                    model=None if impossible else model,
                    missing="" if of_row else model if impossible else NOT_RUN,
                    runs=of_row,
                    ours=ours,
                    unknown=frozenset().union(*(summary.missing_reasons for summary in summaries.values())),
                    printed={name: line[name] for name in PRINTED_COLUMNS} if line else {},
                    note=line["note"] if line else "",
                    verdicts=judge_row(line, of_row, why, chosen["stand_in"]) if line else {},
                )
            )
    return rows


def _summaries(label: str, runs: list[dict[str, Any]]) -> dict[str, Summary]:
    """Return the summary of each column over the seeds of a row."""
    if len({(run["steps"], run["params"], run["macs"]) for run in runs}) > 1:
        raise LkcaError(f"the seeds of {label!r} differ in steps or cost: train them again with the same settings.")
    costs = {name: Summary(column_values(runs, name)[0], None, None, frozenset()) for name in COSTS}
    return costs | {name: summarize(runs, name) for name in SCORES}


VERDICT_FIELDS = ["table", "scene", "scale", "row", "column", "printed", "ours", "std", "low", "high", "seeds"]
VERDICT_FIELDS += ["images", "tolerance", "verdict", "why"]


def _judged(
    chosen: dict[str, Any], rows: list[Row], paper: Mapping[tuple[int, str], dict[str, str]]
) -> list[dict[str, Any]]:
    """A line for each number that the paper prints in this table, also of rows that this experiment does not have."""
    lines = []
    for row in rows:
        for name, verdict in row.verdicts.items():
            ours = {}
            if row.runs:
                ours = {"ours": row.ours[name].mean, "std": row.ours[name].std}
                ours |= {"seeds": " ".join(map(str, row.seeds)), "images": row.images}
            key = {"scale": row.scale, "row": row.label, "column": name, "printed": row.printed[name]}
            lines.append({**key, **ours, **verdict._asdict()})
    shown = {(row.scale, row.label) for row in rows}
    for (scale, label), line in paper.items():
        if (scale, label) not in shown:
            left = judge_row(line, [], "this experiment has no such row", chosen["stand_in"])
            key = {"scale": scale, "row": label}
            lines += [{**key, "column": n, "printed": line[n], **verdict._asdict()} for n, verdict in left.items()]
    return [{"table": chosen["name"], "scene": chosen["scene"], **line} for line in lines]


def _compared(chosen: dict[str, Any], rows: list[Row]) -> list[dict[str, Any]]:
    """A line for each pair of rows that were run, scale and score."""
    lines = []
    for scale in chosen["scales"]:
        pairs = compare({row.label: row.runs for row in rows if row.scale == scale and row.runs})
        said = "stand-in data; " if chosen["stand_in"] else ""
        lines += [{"scale": scale, **pair, "why": f"{said}{pair['why']}"} for pair in pairs]
    return lines


# What every format says -------------------------------------------------------------------------------------------


def _title(chosen: dict[str, Any]) -> str:
    return f"Table {chosen['name']}. {chosen['title'].rstrip('.')}."


def _caption(
    chosen: dict[str, Any], rows: list[Row], where_printed: str, where_best: str = "", intervals: str = ""
) -> str:
    """All but the title.

    Args:
        chosen: The table's settings.
        rows: Its rows.
        where_printed: Says where this format has the paper's numbers.
        where_best: Says how it marks the best of ours.
        intervals: Says what it has of intervals.
    """
    images = " or ".join(str(n) for n in sorted({row.images for row in rows if row.runs}))
    mean_over = f"mean over {images} test image{'' if images == '1' else 's'}" if images else "nothing was run"
    seeds = max(len(row.seeds) for row in rows)
    if seeds > 1:
        mean_over += f" and {seeds} seeds (± sample standard deviation over seeds)"
    said = [f"Scene: {chosen['scene_title']}, {mean_over}"]
    said += [intervals] * bool(intervals)
    said.append("MACs are multiply-accumulates on a 16 × 16 low-resolution input, what the paper prints as Flops")
    if _has_print(rows):
        said.append(where_printed)
    if where_best and any(cell.best for row in rows for cell in row.ours.values()):
        said.append(where_best)
    return " ".join(f"{sentence}." for sentence in said)


def _has_print(rows: list[Row]) -> bool:
    return any(row.printed for row in rows)


def _arrow(column: Column) -> str:
    return {1: " ↑", -1: " ↓", 0: ""}[column.direction]


def _value(name: str, cell: Cell) -> str:
    """For example 40.31 ± 0.02, with the paper's decimals; a cost of nothing is a plain 0."""
    if not cell.mean and not table_columns()[name].direction:
        return "0"
    spread = "" if cell.std is None else f" ± {cell.std:.{table_columns()[name].decimals}f}"
    return f"{cell.mean:.{table_columns()[name].decimals}f}{spread}"


def _notes(rows: list[Row]) -> dict[str, str]:
    """Marks a, b, ... and the notes they stand for, in the order of the rows; one mark for one note."""
    notes = dict.fromkeys(row.note for row in rows if row.note)
    return {note: chr(ord("a") + i) for i, note in enumerate(notes)}


def _interval_words(rows: list[Row], mark: str) -> str:
    """What the intervals mean, and why there are none; `mark` says where this format has them."""
    run = [row for row in rows if row.runs]
    unknown = " and ".join(sorted(frozenset().union(*(row.unknown for row in run))))
    told = f"{mark}: {100 * CONFIDENCE_LEVEL:g} % interval of the mean over test images and seeds"
    if not unknown:
        return told if run else ""
    if all(row.unknown for row in run):
        return f"No intervals: {unknown} cannot carry one"
    return f"{told}; where there is none, {unknown} cannot carry it"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


# The four formats -------------------------------------------------------------------------------------------------


def _write_csv(path: Path, chosen: dict[str, Any], rows: list[Row]) -> None:
    caption = _caption(
        chosen,
        rows,
        "Columns ending in _printed: what the paper prints, empty where it prints none",
        intervals=_interval_words(rows, "Columns ending in _low and _high"),
    )
    lines = []
    for row in rows:
        line = {"scale": row.scale, "row": row.label, "model": row.model or row.missing}
        line["seeds"] = " ".join(str(seed) for seed in row.seeds) or row.missing
        line["steps"] = row.missing or row.steps.replace(",", "")
        for name, column in table_columns().items():
            line[name] = row.missing or row.ours[name].mean
            if column.direction:
                line[f"{name}_std"] = row.missing or row.ours[name].std
                low, high = (row.missing, row.missing) if row.missing else row.ours[name].interval or (None, None)
                line |= {f"{name}_low": low, f"{name}_high": high}
            if _has_print(rows) and name in PRINTED_COLUMNS:
                line[f"{name}_printed"] = row.printed.get(name)
        lines.append({**line, "note": row.note})
    comment = "# " + " ".join(f"{_title(chosen)} {caption} {chosen['stand_in'] or ''}".split()) + "\n"
    write_csv(path, list(lines[0]), lines, comment)


def _markdown(chosen: dict[str, Any], rows: list[Row]) -> str:
    caption = _caption(
        chosen,
        rows,
        f"In brackets: what the paper prints, {NOT_PRINTED} where it prints none",
        "Bold: the best of ours at that scale",
    )
    notes = _notes(rows)
    lines = [f"**{_md(_title(chosen))}** {_md(caption)}", ""]
    if chosen["stand_in"]:
        lines += [f"> {_md(chosen['stand_in'])}", ""]
    units = [f" ({column.unit})" if column.unit else "" for column in table_columns().values()]
    scores = [c.heading + _arrow(c) + unit for c, unit in zip(table_columns().values(), units, strict=True)]
    headings = ["Scale", _md(chosen["header"]), "Steps", *scores]
    lines += [f"| {' | '.join(headings)} |", f"| ---: | :--- |{' ---: |' * (len(headings) - 2)}"]
    for row in rows:
        mark = f" <sup>{notes[row.note]}</sup>" if row.note else ""
        cells = [f"×{row.scale}", _md(row.label) + mark, _md(row.missing) or row.steps]
        for name in table_columns():
            ours = _value(name, row.ours[name]) if row.ours else row.missing.partition(":")[0]
            if row.ours and row.ours[name].best:
                ours = f"**{ours}**"
            cells.append(f"{ours} ({row.printed.get(name) or NOT_PRINTED})" if _has_print(rows) else ours)
        lines.append(f"| {' | '.join(cells)} |")
    lines += [line for note, mark in notes.items() for line in ("", f"<sup>{mark}</sup> {_md(note)}")]
    return "\n".join(lines) + "\n"


def _md(text: str) -> str:
    """Text that Markdown, and the HTML inside it, shows as it is."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escape(" ".join(text.split()), quote=False))


def _latex(chosen: dict[str, Any], rows: list[Row]) -> str:
    caption = _caption(
        chosen,
        rows,
        f"In italics, below each row: what the paper prints, {NOT_PRINTED} where it prints none",
        "Bold: the best of ours at that scale",
    )
    notes = _notes(rows)
    stand_in = f" \\emph{{{_tex(chosen['stand_in'])}}}" if chosen["stand_in"] else ""
    headings = [
        "Scale",
        chosen["header"],
        "Steps",
        *(column.heading + _arrow(column) for column in table_columns().values()),
    ]
    units = ["", "", "", *(column.unit for column in table_columns().values())]
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table*}",
        "\\centering",
        f"\\caption{{\\textbf{{{_tex(_title(chosen))}}} {_tex(caption)}{stand_in}}}",
        "\\scriptsize",
        "\\setlength{\\tabcolsep}{3pt}",
        f"\\begin{{tabular}}{{@{{}}ll{'r' * (len(headings) - 2)}@{{}}}}",
        "\\toprule",
        " & ".join(map(_tex, headings)) + " \\\\",
        " & ".join(units) + " \\\\",
    ]
    scale = None
    for row in rows:
        if row.scale != scale:
            lines.append("\\midrule")
        mark = f"\\textsuperscript{{{notes[row.note]}}}" if row.note else ""
        cells = [f"$\\times {row.scale}$" if row.scale != scale else "", _tex(row.label) + mark]
        scale = row.scale
        if row.ours:
            cells.append(row.steps)
            for name, cell in row.ours.items():
                value, _, spread = _value(name, cell).partition(" ± ")
                small = f"$_{{\\pm {spread}}}$" if spread else ""
                cells.append((f"\\textbf{{{value}}}" if cell.best else value) + small)
        else:
            cells.append(f"\\multicolumn{{{len(headings) - 2}}}{{l}}{{{_tex(row.missing)}}}")
        lines.append(" & ".join(cells) + " \\\\")
        if row.printed:
            small = [
                f"\\itshape {text}" for text in ("paper", *(row.printed.get(name) or "--" for name in table_columns()))
            ]
            lines.append(" & ".join(["", "", *small]) + " \\\\\\addlinespace[2pt]")
    lines += ["\\bottomrule", "\\end{tabular}"]
    lines += [f"\\par\\smallskip\\raggedright\\textsuperscript{{{m}}} {_tex(note)}" for note, m in notes.items()]
    return "\n".join([*lines, "\\end{table*}"]) + "\n"


_TEX = {
    **{special: f"\\{special}" for special in "{}$&#%_"},
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "×": "$\\times$",
    "±": "$\\pm$",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
    "–": "--",
}


def _tex(text: str) -> str:
    """Text that LaTeX typesets as it is."""
    return " ".join(text.split()).translate(str.maketrans(_TEX))


def _html(chosen: dict[str, Any], rows: list[Row], judged: list[dict[str, Any]]) -> str:
    notes = _notes(rows)
    shown: dict[int, list[dict[str, Any]]] = {scale: [] for scale in chosen["scales"]}
    for row in rows:
        shown[row.scale].append(
            {
                "label": row.label,
                "model": row.model,
                "mark": notes.get(row.note, ""),
                "missing": row.missing,
                "steps": row.runs and {"text": row.steps, "value": row.runs[0]["steps"]},
                "printed": bool(row.printed),
                "cells": [_html_cell(row, name) for name in table_columns()],
            }
        )
    caption = _caption(
        chosen,
        rows,
        "Small, last in a cell: what the paper prints",
        "Marked: the best of ours at that scale",
        _interval_words(rows, "Small, low to high"),
    )
    counts = Counter(line["verdict"] for line in judged)
    return render(
        "table.html.j2",
        name=chosen["name"],
        scene=chosen["scene"],
        title=_title(chosen),
        caption=caption,
        verdicts=[(counts[verdict], verdict, sign) for verdict, sign in SIGNS.items() if verdict in counts],
        numbers=len(judged),
        stand_in=chosen["stand_in"],
        header=chosen["header"],
        columns=list(table_columns().values()),
        scales=shown,
        notes=notes,
    )


def _html_cell(row: Row, name: str) -> dict[str, Any]:
    """What the template shows of a cell; None or empty where there is nothing."""
    ours, verdict = row.ours.get(name), row.verdicts.get(name)
    value, _, spread = _value(name, ours).partition(" ± ") if ours else ("", "", "")
    return {
        "value": value,
        "exact": ours and repr(ours.mean),
        "spread": spread,
        "interval": ours and ours.interval and _interval(name, *ours.interval),
        "best": ours and ours.best,
        "printed": row.printed.get(name),
        "verdict": verdict,
        "sign": verdict and SIGNS[verdict.verdict],
    }


def _interval(name: str, low: float, high: float) -> str:
    """For example 39.1 to 41.5: two digits of its width, at most two more decimals than the paper's."""
    most = table_columns()[name].decimals + 2
    digits = min(most, max(0, 1 - floor(log10(high - low)))) if high > low else most
    return f"{low:.{digits}f} to {high:.{digits}f}"
