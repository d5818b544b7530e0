"""A table of our scores next to the printed ones, in four formats, with its verdicts and comparisons."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lkca.config.settings import TableSettings
from lkca.core.files import atomic_write, read_csv, write_csv
from lkca.paper.columns import PRINTED_COLUMNS, table_columns
from lkca.paper.comparisons import COMPARISON_FIELDS, compare
from lkca.paper.statistics import CONFIDENCE_LEVEL
from lkca.paper.verdicts import SIGNS, judge_row
from lkca.report.render import render
from lkca.report.table_rows import PrintedRows, Row, build_rows, mark_best
from lkca.scoring.score_files import read_scores

NOT_PRINTED = "–"
PRINTED_NAME_OF_MACS = ", what the paper prints as Flops"
UNTRAINED = "Untrained: the training ended before it had shown every patch in each of its orientations"
VERDICT_FIELDS = ["table", "scene", "scale", "row", "column", "printed", "ours", "std", "low", "high", "seeds"]
VERDICT_FIELDS += ["images", "tolerance", "verdict", "why"]


def write_table(
    settings: TableSettings,
    scores: list[Path],
    printed: Path,
    csv: Path,
    markdown: Path,
    latex: Path,
    html: Path,
    verdicts: Path,
    comparisons: Path,
) -> None:
    """Write a table of our scores and the paper's numbers in four formats, with its verdicts and comparisons.

    Args:
        settings: What the table shows.
        scores: scores.json of the runs, in any order; several seeds of one model become mean and sample standard
            deviation. A row without scores is "not run".
        printed: The paper's numbers, lkca/paper/paper_tables.csv. A row of ours is compared with the row of the paper
            that has the same table, scene, scale and label.
        csv: The CSV to write: a comment line, then a line for each scale and row, at full precision.
        markdown: The Markdown to write, a table for a README.
        latex: The LaTeX to write, a float that needs the package booktabs.
        html: The HTML to write, a `<table>` for the report.
        verdicts: The CSV of verdicts to write: a line for each number that the paper prints in this table; `low` and
            `high` are the interval of our mean over seeds, which decides the verdict.
        comparisons: The CSV of comparisons to write: a line for each pair of rows that were run, and each score.

    Raises:
        StaleInput: If the seeds of a row differ in steps or costs, or if runs differ in their test images.
    """
    printed_rows = _read_printed(printed, settings)
    rows = build_rows(settings, map(read_scores, scores), printed_rows)
    comparison_lines = _build_comparison_lines(settings, rows)
    mark_best(rows, comparison_lines)
    verdict_lines = _build_verdict_lines(settings, rows, printed_rows)
    lines = _build_csv_lines(settings, rows)
    write_csv(csv, lines[0], lines, _format_csv_comment(settings, rows))
    _write_text(markdown, _fill_template("table.md.j2", settings, rows, _describe_printed("In brackets")))
    _write_text(latex, _fill_template("table.tex.j2", settings, rows, _describe_printed("In italics, below each row")))
    _write_text(html, _fill_html(settings, rows, Counter(line["verdict"] for line in verdict_lines)))
    write_csv(verdicts, VERDICT_FIELDS, verdict_lines)
    write_csv(comparisons, COMPARISON_FIELDS, comparison_lines)


def _read_printed(path: Path, settings: TableSettings) -> PrintedRows:
    """Return the paper's rows of this table and scene, by scale and label."""
    lines = [line for line in read_csv(path) if (line["table"], line["scene"]) == (settings.name, settings.scene)]
    return {(int(line["scale"]), line["row"]): line for line in lines}


def _build_verdict_lines(settings: TableSettings, rows: list[Row], printed: PrintedRows) -> list[dict[str, Any]]:
    """Return a line for each number that the paper prints in this table, even if the experiment lacks its row."""
    lines = []
    for row in rows:
        for name, cell in row.cells.items():
            if cell.verdict:
                line = {"scale": row.scale, "row": row.label, "column": name, "printed": cell.printed}
                if cell.ours:
                    line |= {"ours": cell.ours.mean, "std": cell.ours.std}
                    line |= {"seeds": row.seeds, "images": row.num_images}
                lines.append({**line, **cell.verdict._asdict()})
    shown = {(row.scale, row.label) for row in rows}
    for (scale, label), numbers in printed.items():
        if (scale, label) not in shown:
            verdicts = judge_row(numbers, [], "this experiment has no such row", settings.stand_in)
            for name, verdict in verdicts.items():
                line = {"scale": scale, "row": label, "column": name, "printed": numbers[name]}
                lines.append({**line, **verdict._asdict()})
    return [{"table": settings.name, "scene": settings.scene, **line} for line in lines]


def _build_comparison_lines(settings: TableSettings, rows: list[Row]) -> list[dict[str, Any]]:
    """Return a line for each pair of rows that were run, each scale and each score."""
    prefix = "stand-in data; " if settings.stand_in else ""
    return [
        {"scale": scale, **pair, "why": f"{prefix}{pair['why']}"}
        for scale in settings.scales
        for pair in compare({row.label: row.runs for row in rows if row.scale == scale and row.runs})
    ]


# Title and caption


def _format_title(settings: TableSettings) -> str:
    return f"Table {settings.name}. {settings.title.rstrip('.')}."


def _format_caption(settings: TableSettings, rows: list[Row], printed: str, best: str = "", intervals: str = "") -> str:
    """Return the caption without the title.

    Args:
        settings: The table.
        rows: Its rows.
        printed: Sentence on where this format has the paper's numbers; used only if the paper has such a table.
        best: Sentence on how this format marks our best numbers; used only if one is marked.
        intervals: Sentence on where this format has intervals.
    """
    images = " or ".join(map(str, sorted({row.num_images for row in rows if row.runs})))
    mean_over = f"mean over {images} test image{'' if images == '1' else 's'}" if images else "nothing was run"
    num_seeds = max(len(row.runs) for row in rows)
    if num_seeds > 1:
        mean_over += f" and {num_seeds} seeds (± sample standard deviation over seeds)"
    in_paper = _is_in_paper(rows)
    sentences = [
        f"Scene: {settings.scene_title}, {mean_over}",
        intervals,
        f"MACs are multiply-accumulates on a 16 × 16 low-resolution input{PRINTED_NAME_OF_MACS * in_paper}",
        printed if in_paper else "",
        best if any(cell.best for row in rows for cell in row.cells.values()) else "",
        UNTRAINED if any(row.untrained for row in rows) else "",
    ]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _describe_printed(where: str) -> str:
    return f"{where}: what the paper prints, {NOT_PRINTED} where it prints none"


def _describe_intervals(rows: list[Row], where: str) -> str:
    """Return the sentence about intervals, and why some are missing."""
    run = [row for row in rows if row.runs]
    reasons = " and ".join(sorted(frozenset().union(*(row.missing_reasons for row in run))))
    note = f"{where}: {100 * CONFIDENCE_LEVEL:g} % interval of the mean over test images and seeds"
    if not reasons:
        return note if run else ""
    if all(row.missing_reasons for row in run):
        return f"No intervals: too few data ({reasons})"
    return f"{note}, except where there are too few data ({reasons})"


def _is_in_paper(rows: list[Row]) -> bool:
    """Return whether the paper has numbers for any row."""
    return any(row.in_paper for row in rows)


# The four formats


def _build_csv_lines(settings: TableSettings, rows: list[Row]) -> list[dict[str, Any]]:
    """Return a line for each row, with columns of printed numbers only if the paper has such a table."""
    lines = []
    for row in rows:
        line: dict[str, Any] = {
            "table": settings.name,
            "scene": settings.scene,
            "scale": row.scale,
            "row": row.label,
            "model": row.model,
            "seeds": row.seeds,
            "steps": None if row.not_run else row.steps.replace(",", ""),
        }
        for name, cell in row.cells.items():
            mean, std, interval, _ = cell.ours or (None, None, None, None)
            line[name] = mean
            if cell.column.direction:
                low, high = interval or (None, None)
                line |= {f"{name}_std": std, f"{name}_low": low, f"{name}_high": high}
            if _is_in_paper(rows) and name in PRINTED_COLUMNS:
                line[f"{name}_printed"] = cell.printed
        lines.append({**line, "reason": row.not_run, "note": row.note})
    return lines


def _format_csv_comment(settings: TableSettings, rows: list[Row]) -> str:
    printed = "Columns ending in _printed: what the paper prints, empty where it prints none"
    intervals = _describe_intervals(rows, "Columns ending in _low and _high")
    caption = _format_caption(settings, rows, printed, intervals=intervals)
    return "# " + " ".join(f"{_format_title(settings)} {caption} {settings.stand_in or ''}".split()) + "\n"


def _fill_html(settings: TableSettings, rows: list[Row], counts: Mapping[str, int]) -> str:
    caption = _format_caption(
        settings,
        rows,
        "Small, at the end of a cell: what the paper prints",
        "Bold: the best of ours at that scale; on colour: the comparison with every other row says that it is better",
        _describe_intervals(rows, "Small, low to high"),
    )
    verdicts = [(counts[verdict], verdict, sign) for verdict, sign in SIGNS.items() if verdict in counts]
    by_scale = {scale: [row for row in rows if row.scale == scale] for scale in settings.scales}
    return _fill("table.html.j2", settings, rows, caption, by_scale=by_scale, verdicts=verdicts)


def _fill_template(template: str, settings: TableSettings, rows: list[Row], printed: str) -> str:
    caption = _format_caption(settings, rows, printed, "Bold: the best of ours at that scale")
    return _fill(template, settings, rows, caption, in_paper=_is_in_paper(rows), not_printed=NOT_PRINTED)


def _fill(template: str, settings: TableSettings, rows: list[Row], caption: str, **variables: Any) -> str:
    """Return a filled template, with the variables that all formats share."""
    notes = dict.fromkeys(row.note for row in rows if row.note)
    return render(
        template,
        table=settings,
        title=_format_title(settings),
        caption=caption,
        columns=list(table_columns().values()),
        rows=rows,
        notes={note: chr(ord("a") + i) for i, note in enumerate(notes)},  # note -> its mark
        **variables,
    )


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
