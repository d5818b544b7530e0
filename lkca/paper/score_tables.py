"""Whether a table of scores can be true, and what the paper's claims say of it: for tables of other people.

The rules follow from the definitions of the scores (lkca/scoring/metrics.py), whatever the method:

- The mean over bands of 10 log10(1 / MSE) is at least that of the mean MSE (Jensen), so MPSNR >= -20 log10 RMSE.
- ERGAS has the factor 100 / r: from x4 to x8 it grows half as fast as RMSE. With 100 / 4 at every scale it grows as
  fast, with 100 r twice as fast.
- 100 RMSE / (r ERGAS) is about the brightness of the images, whatever the method.
"""

import csv
import stat
from itertools import dropwhile
from math import degrees, isfinite, log10
from pathlib import Path
from statistics import median
from typing import NamedTuple

from lkca.errors import LkcaError
from lkca.paper.claims.check import check_on_table, read_claims
from lkca.paper.claims.numbers import COMPARISON_TABLES, PrintedNumbers
from lkca.paper.columns import PRINTED_COLUMNS, decimals

PRINTED = Path(__file__).parent / "paper_tables.csv"
NEEDED = ["scene", "scale", "row"]
LARGEST = 10_000_000  # bytes
GAP = 1.0  # dB: gaps MPSNR + 20 log10 RMSE on one scene lie within 0.4 dB of each other in the paper's tables
LIGHT = 1.25  # brightness of one scene lies within 15 % in the paper's tables, from the best method to the worst
NEAR = 0.06  # relative: of ERGAS's growth from 0.5, 1 or 2; in the paper's tables it is 0.480 to 0.506
COST = 0.02  # relative


class Finding(NamedTuple):
    kind: str  # impossible: by the definitions; doubtful: another definition or an error is likely; good
    says: str


Line = dict[str, str]


def score_tables(file: Path) -> None:
    """Check a table of scores by the same rules and claims as the paper's; prints what was found.

    Args:
        file: CSV in the columns of lkca/paper/paper_tables.csv: scene, scale and row (the method), and any of
            table, Param_M, MACs_G, MPSNR (dB), MSSIM, SAM (degrees), CC, RMSE, ERGAS, note. Scenes, tables and rows
            that are named as there are compared with the paper's; empty cells are no numbers.

    Raises:
        LkcaError: If it is no such table.
    """
    lines = read(file)
    paper = read(PRINTED)
    found = [*_bounds(lines), *_jensen(lines), *_gaps(lines), *_growth(lines), *_light(lines, paper)]
    found += [*_radians(lines, paper), *_costs(lines, paper)]
    numbers = sum(bool(line[column]) for line in lines for column in PRINTED_COLUMNS)
    print(f"{file}: {len(lines)} row{'s' * (len(lines) > 1)}, {numbers} numbers")
    for kind in ("impossible", "doubtful", "good"):
        for finding in found:
            if finding.kind == kind:
                print(f"- {kind}: {finding.says}")
    numbers_of_claims = PrintedNumbers(lines)
    of_tables = [claim for claim in read_claims() if claim.needs == "tables"]
    told = [(claim, check_on_table(claim, numbers_of_claims)) for claim in of_tables]
    count = {outcome: sum(each["outcome"] == outcome for _, each in told) for outcome in ("fails", "holds")}
    print(
        f"\nThe paper's claims: {count['holds']} hold on this table, {count['fails']} fail, "
        f"{len(told) - sum(count.values())} need numbers that it has not."
    )
    for outcome in count:
        for claim, each in told:
            if each["outcome"] == outcome:
                print(f"- {claim.id} {outcome}: {claim.says} {each['why']}".rstrip())


def read(file: Path) -> list[Line]:
    """The lines of a table, checked.

    Raises:
        LkcaError: If it is no table of scores.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode) or file.stat().st_size > LARGEST:
            raise LkcaError(f"{file} is no file of at most {LARGEST // 10**6} MB: name a table of scores.")
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(dropwhile(lambda line: line.startswith("#"), opened), strict=True)
            lines, headings = list(reader), list(reader.fieldnames or [])
    except OSError as error:
        raise LkcaError(f"{file} cannot be read ({error.strerror}): name a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LkcaError(f"{file} is no CSV in UTF-8 ({error}): save it as one.") from error
    for name in NEEDED:
        if name not in headings:
            raise LkcaError(f"{file}: the column {name} is missing: it needs {', '.join(NEEDED)} and scores.")
    if unknown := [name for name in headings if name not in ("table", *NEEDED, *PRINTED_COLUMNS, "note")]:
        raise LkcaError(
            f"{file}: {unknown[0]!r} is no column: there are table, {', '.join([*NEEDED, *PRINTED_COLUMNS])}, note."
        )
    if not lines:
        raise LkcaError(f"{file} has no rows: write a line for each method.")
    seen = set()
    for number, line in enumerate(lines, 2):
        where = f"{file}, line {number}"
        if None in line or None in line.values():
            raise LkcaError(f"{where} has not {len(headings)} cells: put text that holds a comma in quotes.")
        if not line["scale"].isdecimal() or not 2 <= int(line["scale"]) <= 16:
            raise LkcaError(f"{where}: the scale {line['scale']!r} is no whole number from 2 to 16: correct it.")
        line["scale"] = str(int(line["scale"]))
        line["table"] = line.get("table") or COMPARISON_TABLES.get(line["scene"], "")
        key = tuple(line[name] for name in ("table", *NEEDED))
        if key in seen:
            raise LkcaError(f"{where}: {_name(line)} stands there twice: take one out.")
        seen.add(key)
        for column in PRINTED_COLUMNS:
            text = (line.get(column) or "").strip()
            try:
                good = not text or isfinite(float(text))
            except ValueError:
                good = False
            if not good:
                raise LkcaError(f"{where}: {column} is {text!r}, no number: correct it or leave it empty.")
            line[column] = text
    return lines


def _name(line: Line) -> str:
    name = f"{line['row']} on {line['scene']} x{line['scale']}" + (f" (Table {line['table']})" if line["table"] else "")
    return "".join(each if each.isprintable() else "?" for each in name)


def _half(line: Line, column: str) -> float:
    """The most that rounding took away."""
    return 0.5 * 10.0 ** -decimals(line[column])


def _bounds(lines: list[Line]) -> list[Finding]:
    bounds = {"MSSIM": (-1, 1), "CC": (-1, 1), "SAM": (0, 180), "RMSE": (0, 1), "ERGAS": (0, float("inf"))}
    bounds |= {"Param_M": (0, float("inf")), "MACs_G": (0, float("inf"))}
    return [
        Finding("impossible", f"{column} of {_name(line)} is {line[column]}, beyond {low} to {high}.")
        for line in lines
        for column, (low, high) in bounds.items()
        if line[column] and not low <= float(line[column]) <= high
    ]


def _with(lines: list[Line], *columns: str) -> list[Line]:
    """The lines with these numbers, all above 0."""
    return [line for line in lines if all(line[column] and float(line[column]) > 0 for column in columns)]


def _gap(line: Line) -> float:
    return float(line["MPSNR"]) + 20 * log10(float(line["RMSE"]))


def _jensen(lines: list[Line]) -> list[Finding]:
    found, checked = [], _with(lines, "MPSNR", "RMSE")
    for line in checked:
        least = -20 * log10(float(line["RMSE"]) + _half(line, "RMSE"))
        if float(line["MPSNR"]) + _half(line, "MPSNR") < least:
            told = (
                f"MPSNR of {_name(line)} is {line['MPSNR']} dB, but RMSE {line['RMSE']} makes it {least:.2f} dB or more"
            )
            found.append(Finding("impossible", f"{told}: another peak, or not the same images."))
    if checked and not found:
        found.append(Finding("good", f"MPSNR is at least -20 log10 RMSE in all {len(checked)} rows that have both."))
    return found


def _gaps(lines: list[Line]) -> list[Finding]:
    found = []
    for scene in dict.fromkeys(line["scene"] for line in lines):
        gaps = {_name(line): _gap(line) for line in _with(lines, "MPSNR", "RMSE") if line["scene"] == scene}
        usual = median(gaps.values()) if len(gaps) > 2 else None
        found += [
            Finding(
                "doubtful",
                f"MPSNR + 20 log10 RMSE of {name} is {gap:.2f} dB, of the other rows on {scene} about {usual:.2f} dB: "
                "look for a misprint, or RMSE as a mean over bands.",
            )
            for name, gap in gaps.items()
            if usual is not None and abs(gap - usual) > GAP
        ]
    return found


def _growth(lines: list[Line]) -> list[Finding]:
    """ERGAS's factor, from rows that have two scales."""
    rows: dict[tuple[str, ...], dict[int, Line]] = {}
    for line in _with(lines, "ERGAS", "RMSE"):
        rows.setdefault((line["table"], line["scene"], line["row"]), {})[int(line["scale"])] = line
    kinds: dict[str, list[str]] = {}
    for at in rows.values():
        low, high = min(at), max(at)
        if low == high:
            continue
        growth = float(at[high]["ERGAS"]) / float(at[low]["ERGAS"]) / (float(at[high]["RMSE"]) / float(at[low]["RMSE"]))
        readings = {"100 / r": low / high, "the same factor at every scale": 1.0, "100 r": high / low}
        kind = next((name for name, wanted in readings.items() if abs(growth / wanted - 1) < NEAR), "no known factor")
        kinds.setdefault(kind, []).append(f"{at[low]['row']} on {at[low]['scene']}")
    return [
        Finding(
            "good" if kind == "100 / r" else "doubtful",
            f"ERGAS has {kind} in {len(names)} method{'s' * (len(names) > 1)} at two scales"
            + ("." if kind == "100 / r" else f", not 100 / r: {', '.join(names)}."),
        )
        for kind, names in kinds.items()
    ]


def _light(lines: list[Line], paper: list[Line]) -> list[Finding]:
    """Brightness of the paper's scenes, which tells their normalisation and ERGAS's factor at one scale."""
    found = []
    for scene in COMPARISON_TABLES:
        light = {
            kind: [
                100 * float(x["RMSE"]) / (int(x["scale"]) * float(x["ERGAS"]))
                for x in _with(of, "RMSE", "ERGAS")
                if x["scene"] == scene
            ]
            for kind, of in (("theirs", lines), ("paper", paper))
        }
        if light["theirs"]:
            theirs, printed = (median(each) for each in light.values())
            told = f"100 RMSE / (r ERGAS) on {scene} is {theirs:.4f}, in the paper {printed:.4f}"
            if 1 / LIGHT < theirs / printed < LIGHT:
                found.append(Finding("good", f"{told}: the same images and divisor, as far as this tells."))
            else:
                found.append(Finding("doubtful", f"{told}: another divisor, other images, or another factor of ERGAS."))
    return found


def _radians(lines: list[Line], paper: list[Line]) -> list[Finding]:
    least = {scene: min(float(x["SAM"]) for x in paper if x["scene"] == scene) for scene in COMPARISON_TABLES}
    return [
        Finding(
            "doubtful",
            f"SAM of {_name(line)} is {line['SAM']}, in degrees {degrees(float(line['SAM'])):.2f} if in radians.",
        )
        for line in _with(lines, "SAM")
        if float(line["SAM"]) < least.get(line["scene"], 2.0) / 10
    ]


def _costs(lines: list[Line], paper: list[Line]) -> list[Finding]:
    """Costs of the paper's methods against print: FLOPs are twice the MACs."""
    printed = {(x["scene"], x["scale"], x["row"]): x for x in _with(paper, "MACs_G")}
    found, equal = [], 0
    for line in _with(lines, "MACs_G"):
        theirs = printed.get((line["scene"], line["scale"], line["row"]))
        if theirs is None:
            continue
        ratio = float(line["MACs_G"]) / float(theirs["MACs_G"])
        told = f"MACs of {_name(line)} are {line['MACs_G']} G, in print {theirs['MACs_G']} G"
        if abs(ratio - 1) < COST:
            equal += 1
        elif abs(ratio / 2 - 1) < COST:
            found.append(Finding("doubtful", f"{told}: twice, so FLOPs (a multiply and an add) and not MACs."))
        else:
            found.append(
                Finding("doubtful", f"{told}, {ratio:.3g} times: another network, or not for a 16 x 16 LR image.")
            )
    if equal:
        found.append(Finding("good", f"Costs are MACs on a 16 x 16 LR image in {equal} rows of the paper's methods."))
    return found
