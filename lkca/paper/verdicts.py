"""Verdicts: whether our number is the one that the paper prints, and why.

What is tolerated stands here and nowhere else; `RULES` says it to the reader of the report.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from lkca.paper.columns import PRINTED_COLUMNS, column_values, decimals, last_digit_difference
from lkca.paper.statistics import CONFIDENCE_LEVEL, estimate_mean

TOLERATED = 0.1  # dB of error
AMPLITUDE, POWER = (10 ** (TOLERATED / d) - 1 for d in (20, 10))  # the same, of what goes with the error or its square
SIGNS = {"match": "✓", "outside": "✗", "not resolved": "?", "not run": "–", "stand-in": "○"}
RULES = [
    "Params, MACs and rows without training must equal print to 1 in the last digit, which rounding can explain.",
    f"Trained rows may be off by what {TOLERATED} dB of error mean for a score: {TOLERATED} dB of MPSNR; "
    f"{100 * AMPLITUDE:.2f} % of RMSE, ERGAS and SAM, which go with the error's amplitude; {100 * POWER:.2f} % of "
    "1 - MSSIM and 1 - CC, which go with its power; and by half of the last printed digit.",
    f"Why {TOLERATED} dB: less would be within what chance does, since seeds of one network lie up to 0.12 dB apart in "
    "our own small trainings and the paper prints neither epochs nor schedule nor batch; more would be larger than the "
    "differences that the paper concludes from, 0.07 to 0.6 dB. Smaller ones between methods are weighed in the "
    "comparisons below each table, where chance that both share cancels.",
    f"The test images are the paper's, so only the chance of training counts: the {100 * CONFIDENCE_LEVEL:g} % interval of our "
    f"mean over seeds (Student's t). {SIGNS['match']} match: it lies within print ± tolerance. {SIGNS['outside']} "
    f"outside: it lies beyond. {SIGNS['not resolved']} not resolved: it lies across the edge, or there is one seed, "
    f"whose spread over trainings is not known. {SIGNS['not run']} not run: there is nothing to compare. "
    f"{SIGNS['stand-in']} stand-in: scores of other data cannot be the paper's.",
]


class Verdict(NamedTuple):
    """What is said of one printed number."""

    verdict: str  # one of SIGNS
    why: str
    tolerance: float | None = None
    low: float | None = None  # of our mean over seeds
    high: float | None = None


def judge_row(
    line: Mapping[str, str], runs: Sequence[Mapping[str, Any]], missing: str, stand_in: str | None
) -> dict[str, Verdict]:
    """Judge every number that the paper prints in one row.

    Args:
        line: The row of lkca/paper/paper_tables.csv.
        runs: Its scores.json, one for each seed; empty if it was not run.
        missing: Why it was not run.
        stand_in: The sentence about stand-in data, if they are.

    Returns:
        By column, those that are printed.
    """
    result = {}
    for name, column in PRINTED_COLUMNS.items():
        if not line[name]:
            continue
        if stand_in:
            result[name] = Verdict("stand-in", stand_in)
        elif not runs:
            result[name] = Verdict("not run", missing)
        elif column.direction and runs[0]["untrained"]:
            result[name] = Verdict("not run", "the training did not see all patches once")
        else:
            trained = runs[0]["weights_sha256"] is not None and column.direction != 0
            result[name] = judge(name, line[name], column_values(runs, name), trained)
            if not column.direction and result[name].verdict == "outside" and line["note"]:
                result[name] = result[name]._replace(why=f"{result[name].why}. {line['note']}")
    return result


def tolerance(name: str, printed: str, trained: bool) -> float:
    """How far our number may lie from the printed one, by `RULES`."""
    value, digit = float(printed), 10.0 ** -decimals(printed)
    if not trained:
        return digit
    power = POWER * (1 - value)
    return {"MPSNR": TOLERATED, "MSSIM": power, "CC": power}.get(name, AMPLITUDE * value) + digit / 2


def judge(name: str, printed: str, ours: Sequence[float], trained: bool) -> Verdict:
    """Compare one number with the printed one.

    Args:
        name: Its column.
        printed: As printed.
        ours: Ours, one for each seed.
        trained: Whether the seed makes a difference.
    """
    limit, target, unit = tolerance(name, printed, trained), float(printed), PRINTED_COLUMNS[name].unit
    unit, digits = f" {unit}" if unit else "", decimals(printed) + 1
    off = f"off by {fmean(ours) - target:+.{digits}f}{unit}"
    allowed = f"the tolerance of ±{limit:.{digits}f}{unit}"
    if not trained:
        units = abs(last_digit_difference(fmean(ours), printed))
        if units > 1:
            return Verdict("outside", f"{off}, more than rounding", limit)
        why = ["equal in every printed digit", "off by 1 in the last digit, which rounding can explain"]
        return Verdict("match", why[units], limit)
    if len(ours) == 1:
        where = "within" if abs(ours[0] - target) <= limit else "beyond"
        why = f"one seed: its spread over trainings is not known; {off}, {where} {allowed}"
        return Verdict("not resolved", why, limit)
    low, high = estimate_mean(np.array(ours)[:, None], images=None, seeds=name).interval()
    if target - limit <= low and high <= target + limit:
        verdict, where = "match", "within"
    elif high < target - limit or low > target + limit:
        verdict, where = "outside", "beyond"
    else:
        verdict, where = "not resolved", "across the edge of"
    interval = f"{100 * CONFIDENCE_LEVEL:g} % interval {low - target:+.{digits}f} to {high - target:+.{digits}f}"
    return Verdict(verdict, f"{off}, {interval} over {len(ours)} seeds: {where} {allowed}", limit, low, high)
