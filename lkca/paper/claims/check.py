"""The job that checks every claim on the paper's tables and on our results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lkca.config.settings import ClaimsSettings
from lkca.core.files import read_csv, write_csv, write_json
from lkca.core.result_files import SpectrumFile, read_result
from lkca.errors import DataError, LkcaError
from lkca.paper.claims import (
    ablations,
    chikusei,
    contradictions,
    distillation,
    experiments,
    houston,
    introduction,
    overall,
    pavia,
    upsampling,
)
from lkca.paper.claims.definitions import Claim, Contradiction, Value, source
from lkca.paper.claims.numbers import MeasuredNumbers, MissingNumber, Numbers, PrintedNumbers
from lkca.paper.statistics import Uncertain, get_value
from lkca.scoring.score_files import read_scores

SECTIONS = (introduction, upsampling, distillation, ablations, experiments, chikusei, houston, pavia, overall)
OTHER_NEEDS = {"code": "our code", "weights": "trained weights", "images": "reconstructed images"}

T = TypeVar("T")


def collect_claims() -> list[Claim]:
    """Return all claims, in the order of the paper."""
    return [value for section in SECTIONS for value in vars(section).values() if isinstance(value, Claim)]


def collect_contradictions() -> list[Contradiction]:
    """Return all contradictions, in the order of the paper."""
    return [value for value in vars(contradictions).values() if isinstance(value, Contradiction)]


def check_claims(
    settings: ClaimsSettings, scores: list[Path], spectra: list[Path], printed: Path, out: Path, csv: Path
) -> None:
    """Check every claim on the paper's tables and on our results.

    Args:
        settings: The models, and the sentence about stand-in data.
        scores: scores.json of all runs.
        spectra: spectrum.json of the runs that have one.
        printed: The paper's numbers, lkca/paper/paper_tables.csv.
        out: The JSON to write: the claims, each with its results, and the contradictions.
        csv: The CSV to write, a line for each claim.

    Raises:
        DataError: If a claim divides by a zero of the table, or a number of a contradiction is missing.
    """
    paper = PrintedNumbers(read_csv(printed))
    ours = MeasuredNumbers(
        map(read_scores, scores), (read_result(path, SpectrumFile) for path in spectra), settings.models
    )
    results = [_check(claim, paper, ours, bool(settings.stand_in)) for claim in collect_claims()]
    try:
        sentences = [{"says": c.sentence(paper), "about": list(c.about)} for c in collect_contradictions()]
    except MissingNumber as missing:
        raise DataError(f"{printed} has no {missing}: use lkca/paper/paper_tables.csv.") from None
    write_json(out, {"claims": results, "contradictions": sentences})
    lines = [_build_csv_line(result) for result in results]
    write_csv(csv, lines[0], lines)
    print(summary([result["ours"]["outcome"] for result in results]))


def _check(claim: Claim, paper: Numbers, ours: Numbers, stand_in: bool) -> dict[str, Any]:
    """Return the entry of a claim in claims.json."""
    return {
        "id": claim.id,
        "section": claim.section,
        "kind": claim.kind,
        "says": claim.says,
        "needs": claim.needs,
        "expression": source(claim.test),
        "replication": claim.replication and source(claim.replication),
        "note": claim.note,
        "paper": check_on_table(claim, paper),
        "ours": check_on_results(claim, ours, stand_in),
    }


def _build_csv_line(result: dict[str, Any]) -> dict[str, Any]:
    """Return the line of a claim in claims.csv."""
    line = {key: result[key] for key in ("id", "section", "kind", "says", "expression", "replication")}
    line |= {f"paper_{key}": result["paper"][key] for key in ("outcome", "why")}
    line |= {f"ours_{key}": result["ours"][key] for key in ("outcome", "points_to", "why")}
    return line | {"note": result["note"]}


def check_on_table(claim: Claim, printed: Numbers) -> dict[str, Any]:
    """Check a claim on the printed numbers of a table.

    Returns:
        `outcome` ("holds", "fails" or "cannot be told"), `why` (where it fails, or what is missing) and `values`, the
        numbers to show with the claim.
    """
    try:
        truth = _compute(claim, claim.test, printed)
    except MissingNumber as missing:
        why = f"It takes {OTHER_NEEDS[claim.needs]}." if claim.needs in OTHER_NEEDS else f"There is no {missing}."
        return {"outcome": "cannot be told", "why": why, "values": {}}
    why = f"Not for {'; '.join(truth.failures)}." if truth.failures and not truth.holds else ""
    return {
        "outcome": "holds" if truth.holds else "fails",
        "why": why,
        "values": _collect_values(claim, printed, get_value),
    }


def check_on_results(claim: Claim, measured: Numbers, stand_in: bool) -> dict[str, Any]:
    """Check a claim on our results.

    Args:
        claim: The claim.
        measured: Our results.
        stand_in: Whether they are of stand-in data, which decide only the claims about arithmetic or code.

    Returns:
        `outcome` ("reproduced", "contradicted", "not resolved", "not run" or "stand-in"), `why`, `points_to` (for our
        numbers without their uncertainty: "holds" or "fails"; None if some are missing) and `values`, the numbers to
        show with the claim, each with its interval.
    """
    stand_in = stand_in and claim.needs not in ("arithmetic", "code")
    try:
        truth = _compute(claim, claim.replication or claim.test, measured)
    except MissingNumber as missing:
        outcome = "stand-in" if stand_in else "not run"
        return {"outcome": outcome, "why": f"There is no {missing}.", "points_to": None, "values": {}}
    outcome = {True: "reproduced", False: "contradicted", None: "not resolved"}[truth.outcome()]
    points_to = "holds" if truth.holds else "fails"
    reasons = [f"Not for {'; '.join(truth.failures)}."] if truth.failures and not truth.holds else []
    if outcome == "not resolved":
        no_interval = " and ".join(sorted(truth.missing_reasons))
        reasons.append(f"No interval: {no_interval}." if no_interval else "The interval crosses the threshold.")
    if stand_in:
        outcome = "stand-in"
        reasons.insert(0, f"On this data it {points_to}, which says nothing about the paper's.")
    return {
        "outcome": outcome,
        "why": " ".join(reasons),
        "points_to": points_to,
        "values": _collect_values(claim, measured, _compute_interval),
    }


def summary(outcomes: list[str]) -> str:
    """Return the number of claims with each outcome, in words.

    Example:
        >>> summary(["holds", "fails", "holds"])
        '2 holds, 1 fails'
    """
    return ", ".join(f"{outcomes.count(each)} {each}" for each in dict.fromkeys(outcomes))


def _compute(claim: Claim, function: Callable[[Numbers], T], numbers: Numbers) -> T:
    """Return the result of a function of a claim.

    Raises:
        MissingNumber: If a number does not exist.
        DataError: If the function divides by zero or takes the logarithm of a negative number.
    """
    try:
        return function(numbers)
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, LkcaError):
            raise
        raise DataError(
            f"claim {claim.id} cannot be computed ({error}): look for zeros and negative numbers in the table."
        ) from error


def _collect_values(claim: Claim, numbers: Numbers, show: Callable[[Uncertain | float], Any]) -> dict[str, Any]:
    """Return the values to show with a claim, except those that need missing numbers or divide by a gain of zero."""
    values = {}
    for label, function in (claim.values or {}).items():
        try:
            value: Value = _compute(claim, function, numbers)
        except (MissingNumber, DataError):
            continue
        values[label] = show(value) if isinstance(value, Uncertain | int | float) else [show(each) for each in value]
    return values


def _compute_interval(value: Uncertain | float) -> dict[str, float | None]:
    uncertain = value if isinstance(value, Uncertain) else Uncertain(value)
    low, high = uncertain.interval() or (None, None)
    return {"value": uncertain.value, "low": low, "high": high}
