"""Verdicts: whether our number agrees with the printed one.

The tolerances are defined here only. `RULES` explains them to the reader of the report.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from lkca.paper.columns import PRINTED_COLUMNS, column_values, decimals, last_digit_difference
from lkca.paper.statistics import CONFIDENCE_LEVEL, RunScores, estimate_mean

TOLERANCE_DB = 0.1  # of the error
# The same tolerance as a relative change of a score that is proportional to the error, or to its square.
AMPLITUDE_TOLERANCE, POWER_TOLERANCE = (10 ** (TOLERANCE_DB / d) - 1 for d in (20, 10))
SIGNS = {"match": "✓", "outside": "✗", "not resolved": "?", "not run": "–", "stand-in": "○"}
RULES = [
    "Params, MACs and rows without training must equal print to 1 in the last digit, which rounding can explain.",
    f"Trained rows may differ by what {TOLERANCE_DB} dB of error mean for a score: {TOLERANCE_DB} dB of MPSNR; "
    f"{100 * AMPLITUDE_TOLERANCE:.2f} % of RMSE, ERGAS and SAM, which are proportional to the error; "
    f"{100 * POWER_TOLERANCE:.2f} % of 1 - MSSIM and 1 - CC, which are proportional to its square; and in addition by "
    "half of the last printed digit.",
    f"Why {TOLERANCE_DB} dB: less would be within chance, since seeds of one network lie up to 0.12 dB apart in "
    "our own small trainings and the paper prints neither epochs nor schedule nor batch; more would exceed the "
    "differences that the paper draws conclusions from, 0.07 to 0.6 dB. Smaller differences between methods are judged "
    "in the comparisons below each table, where the randomness that both share cancels.",
    "The test images are the paper's, so only the training is random. A trained row is judged by the "
    f"{100 * CONFIDENCE_LEVEL:g} % interval of our mean over seeds (Student's t). {SIGNS['match']} match: it lies "
    f"within print ± tolerance. {SIGNS['outside']} outside: it lies beyond. {SIGNS['not resolved']} not resolved: it "
    "contains an edge of print ± tolerance, or there is one seed, whose spread over trainings is not known. "
    f"{SIGNS['not run']} not run: there is nothing to compare. {SIGNS['stand-in']} stand-in: scores of other data "
    "cannot be the paper's.",
]


class Verdict(NamedTuple):
    """The verdict on one printed number.

    Args:
        verdict: A key of SIGNS.
        why: The reason, in words.
        tolerance: How much our number may differ from the printed one.
        low: Lower end of the interval of our mean over seeds.
        high: Its upper end.
    """

    verdict: str
    why: str
    tolerance: float | None = None
    low: float | None = None
    high: float | None = None


def judge_row(
    printed: Mapping[str, str], runs: Sequence[RunScores], missing: str, stand_in: str | None
) -> dict[str, Verdict]:
    """Return the verdict on each number that the paper prints in one row, by column.

    Args:
        printed: The row of lkca/paper/paper_tables.csv.
        runs: Our scores.json of this row, one for each seed; empty if it was not run.
        missing: Why it was not run; used only if there are no runs.
        stand_in: The sentence about stand-in data; None if the data are real.
    """
    verdicts = {}
    for name, column in PRINTED_COLUMNS.items():
        if not printed[name]:
            continue
        is_cost = column.direction == 0
        if stand_in:
            verdicts[name] = Verdict("stand-in", stand_in)
        elif not runs:
            verdicts[name] = Verdict("not run", missing)
        elif not is_cost and runs[0]["untrained"]:
            verdicts[name] = Verdict("not run", "the training did not see all patches once")
        else:
            trained = not is_cost and runs[0]["weights_sha256"] is not None
            verdict = judge_number(name, printed[name], column_values(runs, name), trained)
            if is_cost and verdict.verdict == "outside" and printed["note"]:
                verdict = verdict._replace(why=f"{verdict.why}. {printed['note']}")
            verdicts[name] = verdict
    return verdicts


def tolerance(name: str, printed: str, trained: bool) -> float:
    """Return how much our number may differ from the printed one, by `RULES`.

    Args:
        name: The column.
        printed: The number as printed.
        trained: Whether it depends on a training.
    """
    value, last_digit = float(printed), 10.0 ** -decimals(printed)
    if not trained:
        return last_digit
    power = POWER_TOLERANCE * (1 - value)
    return {"MPSNR": TOLERANCE_DB, "MSSIM": power, "CC": power}.get(name, AMPLITUDE_TOLERANCE * value) + last_digit / 2


def judge_number(name: str, printed: str, ours: Sequence[float], trained: bool) -> Verdict:
    """Return the verdict on one printed number.

    Args:
        name: The column.
        printed: The number as printed.
        ours: Our numbers, one for each seed.
        trained: Whether the number depends on a training.
    """
    limit, target, unit = tolerance(name, printed, trained), float(printed), PRINTED_COLUMNS[name].unit
    unit, digits = f" {unit}" if unit else "", decimals(printed) + 1
    off = f"off by {fmean(ours) - target:+.{digits}f}{unit}"
    allowed = f"the tolerance of ±{limit:.{digits}f}{unit}"
    if not trained:
        last_digits = abs(last_digit_difference(fmean(ours), printed))
        if last_digits > 1:
            return Verdict("outside", f"{off}, more than rounding", limit)
        reasons = ["equal in every printed digit", "off by 1 in the last digit, which rounding can explain"]
        return Verdict("match", reasons[last_digits], limit)
    interval = estimate_mean(np.array(ours)[:, None], images=None, seeds=name).interval()
    if interval is None:
        where = "within" if abs(ours[0] - target) <= limit else "beyond"
        why = f"one seed: its spread over trainings is not known; {off}, {where} {allowed}"
        return Verdict("not resolved", why, limit)
    low, high = interval
    if target - limit <= low and high <= target + limit:
        verdict, where = "match", "within"
    elif high < target - limit or low > target + limit:
        verdict, where = "outside", "beyond"
    else:
        verdict, where = "not resolved", "across the edge of"
    interval_text = f"{100 * CONFIDENCE_LEVEL:g} % interval {low - target:+.{digits}f} to {high - target:+.{digits}f}"
    return Verdict(verdict, f"{off}, {interval_text} over {len(ours)} seeds: {where} {allowed}", limit, low, high)
