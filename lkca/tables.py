"""One table: our scores beside what the paper printed, as CSV, Markdown, LaTeX and HTML."""

import json
import re
from csv import DictReader, DictWriter
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from lkca.config import NOT_POSSIBLE
from lkca.errors import InputError
from lkca.files import read_json, replacing
from lkca.templates import render

NOT_RUN = "not run"
NOT_PRINTED = "–"


class Column(NamedTuple):
    heading: str
    unit: str
    decimals: int  # as the paper prints
    better: int  # 1: more, -1: less, 0: a cost, of which none is called best


COLUMNS = {
    "Param_M": Column("Params", "M", 3, 0),
    "MACs_G": Column("MACs", "G", 3, 0),
    "MPSNR": Column("MPSNR", "dB", 4, 1),
    "MSSIM": Column("MSSIM", "", 4, 1),
    "SAM": Column("SAM", "degrees", 4, -1),
    "CC": Column("CC", "", 4, 1),
    "RMSE": Column("RMSE", "", 4, -1),
    "ERGAS": Column("ERGAS", "", 4, -1),
}


class Cell(NamedTuple):
    mean: float
    std: float | None  # over seeds; None: one seed has no spread
    best: bool


class Row(NamedTuple):
    scale: int
    label: str
    model: str | None
    missing: str  # why there are no scores of ours; empty where there are
    seeds: list[int]
    steps: str
    images: int
    ours: dict[str, Cell]  # by column
    printed: dict[str, str]  # by column, as printed; empty: the paper has no such row
    note: str


def table(settings: str, scores: list[Path], printed: Path, csv: Path, markdown: Path, latex: Path, html: Path) -> None:
    """Set the scores of one table beside the paper's numbers and write it in four formats.

    Args:
        settings: The table as JSON text: name, title, scene, scene_title, scales, header, rows (label -> model, null
            when it is not run, or "not possible: " and why), seeds and the sentence about stand-in data or null.
        scores: scores.json of the runs, in any order; several seeds of one model become mean and sample standard
            deviation. A row without any is "not run".
        printed: The paper's numbers, workflow/resources/paper_tables.csv. A row is the paper's when table, scene,
            scale and label are.
        csv: Written: a comment line, then one line for each scale and row, at full precision.
        markdown: Written: a table for a README.
        latex: Written: a float that needs the package booktabs.
        html: Written: a `<table>` for the report.

    Raises:
        InputError: If seeds of one row differ in steps or cost, so that their mean would say nothing.
    """
    chosen = json.loads(settings)
    rows = _rows(chosen, [read_json(path) for path in scores], printed)
    _write_csv(csv, chosen, rows)
    _write(markdown, _markdown(chosen, rows))
    _write(latex, _latex(chosen, rows))
    _write(html, _html(chosen, rows))


def _rows(chosen: dict[str, Any], runs: list[dict[str, Any]], printed: Path) -> list[Row]:
    with printed.open(encoding="utf-8", newline="") as file:
        paper = {(line["table"], line["scene"], line["scale"], line["row"]): line for line in DictReader(file)}
    rows = []
    for scale in chosen["scales"]:
        group = {
            label: sorted(
                (r for r in runs if (r["scene"], r["scale"], r["model"]) == (chosen["scene"], scale, model)),
                key=lambda run: run["seed"],
            )
            for label, model in chosen["rows"].items()
        }
        means = {label: _numbers(label, of_row) for label, of_row in group.items() if of_row}
        best = {
            name: max((of_row[name][0] for of_row in means.values()), key=lambda value: column.better * value)
            for name, column in COLUMNS.items()
            if column.better and len(means) > 1
        }
        for label, of_row in group.items():
            line = paper.get((chosen["name"], chosen["scene"], str(scale), label), {})
            ours = {name: Cell(*cell, best=best.get(name) == cell[0]) for name, cell in means.get(label, {}).items()}
            model = chosen["rows"][label] or ""
            rows.append(
                Row(
                    scale=scale,
                    label=label,
                    model=None if model.startswith(NOT_POSSIBLE) else model,
                    missing="" if of_row else model if model.startswith(NOT_POSSIBLE) else NOT_RUN,
                    seeds=[run["seed"] for run in of_row],
                    steps=_steps(of_row[0]) if of_row else "",
                    images=len(of_row[0]["images"]) if of_row else 0,
                    ours=ours,
                    printed={name: line[name] for name in COLUMNS} if line else {},
                    note=line.get("note", ""),
                )
            )
    return rows


def _steps(run: dict[str, Any]) -> str:
    """The steps of a training; one that did not see all patches once is as good as none."""
    steps = run["steps"]
    return f"untrained: {steps} step{'' if steps == 1 else 's'}" if run["untrained"] else f"{steps:,}"


def _numbers(label: str, runs: list[dict[str, Any]]) -> dict[str, tuple[float, float | None]]:
    """Mean and sample standard deviation over seeds, by column."""
    if len({(run["steps"], run["params"], run["macs"]) for run in runs}) > 1:
        raise InputError(f"the seeds of {label!r} differ in steps or cost: train them again with the same settings.")
    values = [{"Param_M": run["params"] / 1e6, "MACs_G": run["macs"] / 1e9, **run["mean"]} for run in runs]
    return {
        name: (mean(v[name] for v in values), stdev(v[name] for v in values) if column.better and values[1:] else None)
        for name, column in COLUMNS.items()
    }


# What every format says -------------------------------------------------------------------------------------------


def _title(chosen: dict[str, Any]) -> str:
    return f"Table {chosen['name']}. {chosen['title'].rstrip('.')}."


def _caption(chosen: dict[str, Any], rows: list[Row], where_printed: str, where_best: str) -> str:
    """All but the title; `where_printed` says where this format has the paper's numbers; `where_best` marks ours."""
    images = " or ".join(str(n) for n in sorted({row.images for row in rows if row.seeds}))
    mean_over = f"mean over {images} test image{'' if images == '1' else 's'}" if images else "nothing was run"
    seeds = max(len(row.seeds) for row in rows)
    if seeds > 1:
        mean_over += f" and {seeds} seeds (± sample standard deviation over seeds)"
    said = [f"Scene: {chosen['scene_title']}, {mean_over}"]
    said.append("MACs are multiply-accumulates on a 16 × 16 low-resolution input, what the paper prints as Flops")
    if _has_print(rows):
        said.append(where_printed)
    if where_best and any(cell.best for row in rows for cell in row.ours.values()):
        said.append(where_best)
    return " ".join(f"{sentence}." for sentence in said)


def _has_print(rows: list[Row]) -> bool:
    return any(row.printed for row in rows)


def _arrow(column: Column) -> str:
    return {1: " ↑", -1: " ↓", 0: ""}[column.better]


def _value(name: str, cell: Cell) -> str:
    """For example 40.31 ± 0.02, with the paper's decimals; a cost of nothing is a plain 0."""
    if not cell.mean and not COLUMNS[name].better:
        return "0"
    spread = "" if cell.std is None else f" ± {cell.std:.{COLUMNS[name].decimals}f}"
    return f"{cell.mean:.{COLUMNS[name].decimals}f}{spread}"


def _notes(rows: list[Row]) -> dict[str, str]:
    """Marks a, b, ... and the notes they stand for, in the order of the rows; one mark for one note."""
    notes = dict.fromkeys(row.note for row in rows if row.note)
    return {note: chr(ord("a") + i) for i, note in enumerate(notes)}


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


# The four formats -------------------------------------------------------------------------------------------------


def _write_csv(path: Path, chosen: dict[str, Any], rows: list[Row]) -> None:
    caption = _caption(
        chosen, rows, "Columns ending in _printed: what the paper prints, empty where it prints none", ""
    )
    lines = []
    for row in rows:
        line = {"scale": row.scale, "row": row.label, "model": row.model or row.missing}
        line["seeds"] = " ".join(str(seed) for seed in row.seeds) or row.missing
        line["steps"] = row.missing or row.steps.replace(",", "")
        for name, column in COLUMNS.items():
            line[name] = row.missing or row.ours[name].mean
            if column.better:
                line[f"{name}_std"] = row.missing or row.ours[name].std
            if _has_print(rows):
                line[f"{name}_printed"] = row.printed.get(name)
        lines.append({**line, "note": row.note})
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write("# " + " ".join(f"{_title(chosen)} {caption} {chosen['stand_in'] or ''}".split()) + "\n")
        writer = DictWriter(file, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


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
    units = [f" ({column.unit})" if column.unit else "" for column in COLUMNS.values()]
    scores = [c.heading + _arrow(c) + unit for c, unit in zip(COLUMNS.values(), units, strict=True)]
    headings = ["Scale", _md(chosen["header"]), "Steps", *scores]
    lines += [f"| {' | '.join(headings)} |", f"| ---: | :--- |{' ---: |' * (len(headings) - 2)}"]
    for row in rows:
        mark = f" <sup>{notes[row.note]}</sup>" if row.note else ""
        cells = [f"×{row.scale}", _md(row.label) + mark, _md(row.missing) or row.steps]
        for name in COLUMNS:
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
    headings = ["Scale", chosen["header"], "Steps", *(column.heading + _arrow(column) for column in COLUMNS.values())]
    units = ["", "", "", *(column.unit for column in COLUMNS.values())]
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
            small = [f"\\itshape {text}" for text in ("paper", *(row.printed[name] or "--" for name in COLUMNS))]
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


def _html(chosen: dict[str, Any], rows: list[Row]) -> str:
    notes = _notes(rows)
    shown = [
        {
            "label": row.label,
            "mark": notes.get(row.note, ""),
            "missing": row.missing,
            "steps": row.steps,
            "ours": [(*_value(name, cell).partition(" ± ")[::2], cell.best) for name, cell in row.ours.items()],
            "printed": [row.printed[name] or NOT_PRINTED for name in COLUMNS] if row.printed else [],
        }
        for row in rows
    ]
    scales = {row.scale: [s for s, other in zip(shown, rows, strict=True) if other.scale == row.scale] for row in rows}
    caption = _caption(
        chosen,
        rows,
        f"Small, below each row: what the paper prints, {NOT_PRINTED} where it prints none",
        "Marked: the best of ours at that scale",
    )
    return render(
        "table.html.j2",
        name=chosen["name"],
        title=_title(chosen),
        caption=caption,
        stand_in=chosen["stand_in"],
        header=chosen["header"],
        columns=list(COLUMNS.values()),
        scales=scales,
        notes=notes,
    )
