"""Check a table of scores from any source: are its numbers possible, do the paper's claims hold on it?"""

import csv
import stat
from itertools import dropwhile
from math import isfinite
from pathlib import Path

from lkca.errors import DataError
from lkca.paper.claims.check import check_on_table, collect_claims
from lkca.paper.claims.numbers import COMPARISON_TABLES, PrintedNumbers
from lkca.paper.columns import PRINTED_COLUMNS
from lkca.paper.score_rules import Line, check_rules, describe_row

PRINTED = Path(__file__).parent / "paper_tables.csv"
REQUIRED = ["scene", "scale", "row"]
COLUMNS = ["table", *REQUIRED, *PRINTED_COLUMNS, "note"]
MAX_BYTES = 10_000_000
MIN_SCALE, MAX_SCALE = 2, 16


def score_tables(file: Path) -> None:
    """Check a table of scores by the rules of the scores and by the paper's claims, and print the findings.

    Args:
        file: CSV with the columns of lkca/paper/paper_tables.csv: scene, scale and row (the method), and any of table,
            Param_M, MACs_G, MPSNR (dB), MSSIM, SAM (degrees), CC, RMSE, ERGAS, note. Scenes, tables and rows with the
            names of the paper's are compared with these. Cells may be empty.

    Raises:
        DataError: If the file is not such a table.
    """
    lines = read_score_table(file)
    findings = check_rules(lines, read_score_table(PRINTED))
    numbers = sum(bool(line[column]) for line in lines for column in PRINTED_COLUMNS)
    print(f"{file}: {len(lines)} row{'s' * (len(lines) > 1)}, {numbers} numbers")
    for kind in ("impossible", "doubtful", "good"):
        for finding in findings:
            if finding.kind == kind:
                print(f"- {kind}: {finding.says}")
    printed = PrintedNumbers(lines)
    results = [(claim, check_on_table(claim, printed)) for claim in collect_claims() if claim.needs == "tables"]
    counts = {outcome: sum(result["outcome"] == outcome for _, result in results) for outcome in ("fails", "holds")}
    print(
        f"\nThe paper's claims: {counts['holds']} hold on this table, {counts['fails']} fail, "
        f"{len(results) - sum(counts.values())} need numbers that it does not have."
    )
    for outcome in counts:
        for claim, result in results:
            if result["outcome"] == outcome:
                print(f"- {claim.id} {outcome}: {claim.says} {result['why']}".rstrip())


def read_score_table(file: Path) -> list[Line]:
    """Read a table of scores and check its form.

    Returns:
        Its rows, each with every column of PRINTED_COLUMNS: empty or a finite number. A row without a table gets the
        table of the paper that compares all methods on its scene.

    Raises:
        DataError: If the file is not such a table.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode) or file.stat().st_size > MAX_BYTES:
            raise DataError(f"{file} is not a file of at most {MAX_BYTES // 10**6} MB: name a table of scores.")
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(dropwhile(lambda line: line.startswith("#"), stream), strict=True)
            lines, headings = list(reader), list(reader.fieldnames or [])
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): name a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not CSV in UTF-8 ({error}): save it as CSV in UTF-8.") from error
    if missing := [name for name in REQUIRED if name not in headings]:
        raise DataError(f"{file}: the column {missing[0]} is missing: a table needs {', '.join(REQUIRED)} and scores.")
    if unknown := [name for name in headings if name not in COLUMNS]:
        raise DataError(f"{file}: the column {unknown[0]!r} is unknown: use {', '.join(COLUMNS)}.")
    if not lines:
        raise DataError(f"{file} has no rows: write a line for each method.")
    seen = set()
    for number, line in enumerate(lines, 2):
        where = f"{file}, line {number}"
        if None in line or None in line.values():
            raise DataError(f"{where} does not have {len(headings)} cells: put text with a comma in quotes.")
        _check_line(line, where)
        key = tuple(line[name] for name in ("table", *REQUIRED))
        if key in seen:
            raise DataError(f"{where}: {describe_row(line)} is already in the table: remove one of them.")
        seen.add(key)
    return lines


def _check_line(line: Line, where: str) -> None:
    """Check the cells of a line; set its table and its missing columns, and strip its numbers."""
    if not line["scale"].isdecimal() or not MIN_SCALE <= int(line["scale"]) <= MAX_SCALE:
        allowed = f"a whole number from {MIN_SCALE} to {MAX_SCALE}"
        raise DataError(f"{where}: the scale {line['scale']!r} is not {allowed}: correct it.")
    line["scale"] = str(int(line["scale"]))
    line["table"] = line.get("table") or COMPARISON_TABLES.get(line["scene"], "")
    for column in PRINTED_COLUMNS:
        text = (line.get(column) or "").strip()
        if text and not _is_finite_number(text):
            raise DataError(f"{where}: {column} is {text!r}, not a number: correct it or leave it empty.")
        line[column] = text


def _is_finite_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
