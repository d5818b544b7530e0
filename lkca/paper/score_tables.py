"""Check a table of scores from any source: are its numbers possible, do the paper's claims hold on it?"""

import csv
import re
import stat
from collections import Counter
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from lkca.core.printing import printable
from lkca.core.spreadsheets import NUMBER, restore_text
from lkca.errors import DataError
from lkca.paper.claims.check import check_on_table, collect_claims
from lkca.paper.claims.numbers import PrintedNumbers
from lkca.paper.columns import PRINTED_COLUMNS, PRINTED_SCORES, table_columns
from lkca.paper.score_names import PaperNames
from lkca.paper.score_rules import Line, check_rules, describe_row

PRINTED = Path(__file__).parent / "paper_tables.csv"
REQUIRED = ["scene", "scale", "row"]
COLUMNS = ["table", *REQUIRED, *PRINTED_COLUMNS, "note"]
# What else our tables have (lkca/report/tables.py): it is not checked.
OWN_COLUMNS = {"model", "seeds", "steps", "reason"}
OWN_SUFFIXES = {"std", "low", "high", "printed"}
OWN_LISTS = (".verdicts.csv", ".comparisons.csv")  # ends of the names of CSV files next to our tables
UNTRAINED = "untrained"  # begins `steps` of a row whose training did not see all patches
MAX_BYTES, MAX_ROWS = 10_000_000, 10_000
MAX_NAME, MAX_DIGITS = 200, 40  # characters of a name and of a number
# The absolute value of a number that is not 0: far outside of what a score or a cost can be, so that the rules and the
# claims can divide and take powers without overflow.
MIN_NUMBER, MAX_NUMBER = 1e-30, 1e30
MIN_SCALE, MAX_SCALE = 2, 16


def score_tables(file: Path) -> None:
    """Check a table of scores by the rules of the scores and by the paper's claims, and print the findings.

    Args:
        file: CSV with the columns of lkca/paper/paper_tables.csv: scene, scale and row (the method), and any of table,
            Param_M, MACs_G, MPSNR (dB), MSSIM, SAM (degrees), CC, RMSE, ERGAS, note. Scenes, tables and rows with the
            names of the paper's are compared with these; capitals, spaces, hyphens and underscores do not matter.
            Cells may be empty. Tables of an experiment (`results/{exp}/tables/{table}.csv`) are such files, too.

    Raises:
        DataError: If the file is not such a table.
    """
    _, paper = read_score_table(PRINTED)
    names = PaperNames(paper)
    comments, lines = read_score_table(file, names)
    findings = [*names.find_skipped(lines), *check_rules(lines, paper)]
    numbers = sum(bool(line[column]) for line in lines for column in PRINTED_COLUMNS)
    print(f"{printable(file)}: {len(lines)} row{'s' * (len(lines) > 1)}, {numbers} numbers")
    for comment in comments:
        print(printable(comment))
    for kind in ("impossible", "doubtful", "skipped", "good"):
        for finding in findings:
            if finding.kind == kind:
                print(f"- {kind}: {printable(finding.says)}")
    _check_claims(lines)


def _check_claims(lines: list[Line]) -> None:
    """Check the paper's claims that need only tables, and print the results."""
    untrained = sum(map(_is_untrained, lines))
    no_scores = dict.fromkeys(PRINTED_SCORES, "")
    printed = PrintedNumbers([line | no_scores if _is_untrained(line) else line for line in lines])
    results = [(claim, check_on_table(claim, printed)) for claim in collect_claims() if claim.needs == "tables"]
    counts = {outcome: sum(result["outcome"] == outcome for _, result in results) for outcome in ("fails", "holds")}
    print(
        f"\nThe paper's claims: {counts['holds']} hold on this table, {counts['fails']} fail, "
        f"{len(results) - sum(counts.values())} need numbers that it does not have."
    )
    if untrained:
        print(f"The scores of {untrained} untrained row{'s' * (untrained > 1)} are left out.")
    for outcome in counts:
        for claim, result in results:
            if result["outcome"] == outcome:
                print(printable(f"- {claim.id} {outcome}: {claim.says} {result['why']}".rstrip()))


def _is_untrained(line: Line) -> bool:
    return line.get("steps", "").startswith(UNTRAINED)


def read_score_table(file: Path, names: PaperNames | None = None) -> tuple[list[str], list[Line]]:
    """Read a table of scores and check its form.

    Args:
        file: The CSV file.
        names: Names that replace those of scenes, tables and rows.

    Returns:
        The comments at its start, and its rows, each with every column of PRINTED_COLUMNS: empty or a finite number.

    Raises:
        DataError: If the file is not such a table.
    """
    if file.name.endswith(OWN_LISTS):
        table, content, _ = file.name.rsplit(".", 2)
        raise DataError(f"{file} is a list of {content}, not a table of scores: name {file.with_name(f'{table}.csv')}.")
    comments, headings, rows = _read_rows(file)
    if missing := [name for name in REQUIRED if name not in headings]:
        raise DataError(f"{file}: the column {missing[0]} is missing: a table needs {', '.join(REQUIRED)} and scores.")
    if len(set(headings)) < len(headings):
        twice = Counter(headings).most_common(1)[0][0]
        raise DataError(f"{file}: the column {twice!r} is in the table twice: remove one of them.")
    if unknown := [name for name in headings if not _is_column(name)]:
        raise DataError(f"{file}: the column {unknown[0]!r} is unknown: use {', '.join(COLUMNS)}.")
    if not rows:
        raise DataError(f"{file} has no rows: write a line for each method.")
    if len(rows) > MAX_ROWS:
        raise DataError(f"{file} has more than {MAX_ROWS} rows: divide it into several tables.")
    seen = set()
    for number, line in rows:
        where = f"{file}, line {number}"
        if None in line or None in line.values():
            raise DataError(f"{where} does not have {len(headings)} cells: put text with a comma in quotes.")
        _check_line(line, where)
        if names:
            names.match(line)
        key = tuple(line[name] for name in ("table", *REQUIRED))
        if key in seen:
            raise DataError(f"{where}: {describe_row(line)} is already in the table: remove one of them.")
        seen.add(key)
    return comments, [line for _, line in rows]


def _read_rows(file: Path) -> tuple[list[str], list[str], list[tuple[int, Line]]]:
    """Return the comments, the headings and the rows of a CSV file, each with the number of its last line.

    Raises:
        DataError: If the file cannot be read or is not CSV.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode) or file.stat().st_size > MAX_BYTES:
            raise DataError(f"{file} is not a file of at most {MAX_BYTES // 10**6} MB: name a table of scores.")
        with file.open(encoding="utf-8-sig", newline="") as stream:
            text = list(stream)
        comments = list(takewhile(lambda line: line.startswith("#"), text))
        reader = csv.DictReader(text[len(comments) :], strict=True)
        rows = [
            (len(comments) + reader.line_num, {name: _restore(cell) for name, cell in line.items()})
            for line in islice(reader, MAX_ROWS + 1)
        ]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): name a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not CSV in UTF-8 ({error}): save it as CSV in UTF-8.") from error
    return [comment.strip() for comment in comments], list(reader.fieldnames or []), rows


def _is_column(heading: str) -> bool:
    """Return whether a table of scores may have this column."""
    name, _, suffix = heading.rpartition("_")
    is_own = (
        heading in OWN_COLUMNS or heading in table_columns() or (name in table_columns() and suffix in OWN_SUFFIXES)
    )
    return is_own or heading in COLUMNS


def _restore(cell: Any) -> Any:
    """Return a cell without the marks of our CSV files; None and a list are the signs of a wrong number of cells."""
    return restore_text(cell) if isinstance(cell, str) else cell


def _check_line(line: Line, where: str) -> None:
    """Check the cells of a line; set its missing columns, and strip its numbers."""
    line.setdefault("table", "")
    for column in ("table", "scene", "row"):
        if len(line[column]) > MAX_NAME:
            raise DataError(f"{where}: {column} has {len(line[column])} characters, more than {MAX_NAME}: shorten it.")
    scale = line["scale"]
    if not re.fullmatch(r"0*[1-9]\d?", scale, re.ASCII) or not MIN_SCALE <= int(scale[-2:]) <= MAX_SCALE:
        allowed = f"a whole number from {MIN_SCALE} to {MAX_SCALE}"
        raise DataError(f"{where}: the scale {_shorten(scale)} is not {allowed}: correct it.")
    line["scale"] = str(int(scale[-2:]))
    for column in PRINTED_COLUMNS:
        text = (line.get(column) or "").strip()
        if text and (len(text) > MAX_DIGITS or not NUMBER.fullmatch(text)):
            raise DataError(
                f"{where}: {column} is {_shorten(text)}, not a number such as -0.31 or 1e-5: correct it or leave it "
                "empty."
            )
        if text and float(text) and not MIN_NUMBER <= abs(float(text)) <= MAX_NUMBER:
            raise DataError(
                f"{where}: {column} is {text}, but no score or cost is as small or as large as that: correct it or "
                "leave it empty."
            )
        line[column] = text


def _shorten(text: str) -> str:
    """Return the start of a text, in quotes."""
    return repr(text if len(text) <= MAX_DIGITS else f"{text[:MAX_DIGITS]}...")
