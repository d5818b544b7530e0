"""The job that checks every claim on the paper's tables and on our results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lkca.config.settings import ClaimsSettings
from lkca.core.files import read_csv, read_json, write_csv, write_json
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
from lkca.paper.claims.model import Claim, Contradiction, Value, source
from lkca.paper.claims.numbers import MeasuredNumbers, Missing, Numbers, PrintedNumbers
from lkca.paper.statistics import Uncertain, value_of

SECTIONS = (introduction, upsampling, distillation, ablations, experiments, chikusei, houston, pavia, overall)
NEEDED = {"code": "our code", "weights": "trained weights", "images": "reconstructed images"}

T = TypeVar("T")


def read_claims() -> list[Claim]:
    """Return all claims, in the order of the paper."""
    return [value for section in SECTIONS for value in vars(section).values() if isinstance(value, Claim)]


def read_contradictions() -> list[Contradiction]:
    """Return all contradictions, in the order of the paper."""
    return [value for value in vars(contradictions).values() if isinstance(value, Contradiction)]


def claims(
    settings: ClaimsSettings, scores: list[Path], spectra: list[Path], printed: Path, out: Path, csv: Path
) -> None:
    """Check every claim on the paper's tables and on our results.

    Args:
        settings: What the claims are checked on.
        scores: scores.json of all runs.
        spectra: spectrum.json of the runs that have one.
        printed: The paper's numbers, lkca/paper/paper_tables.csv.
        out: Written: claims and contradictions, as JSON.
        csv: Written: the claims, a line each.

    Raises:
        DataError: If numbers that a claim needs are zero, negative or not there where that cannot be.
    """
    paper = PrintedNumbers(read_csv(printed))
    ours = MeasuredNumbers(map(read_json, scores), map(read_json, spectra), settings.models)
    checked: list[dict[str, Any]] = [
        {
            "id": claim.id,
            "section": claim.section,
            "kind": claim.kind,
            "says": claim.says,
            "needs": claim.needs,
            "expression": source(claim.test),
            "replication": claim.replication and source(claim.replication),
            "note": claim.note,
            "paper": check_on_table(claim, paper),
            "ours": check_on_results(claim, ours, bool(settings.stand_in)),
        }
        for claim in read_claims()
    ]
    try:
        sentences = [{"says": c.sentence(paper), "about": list(c.about)} for c in read_contradictions()]
    except Missing as missing:
        raise DataError(f"{printed} has no {missing}: use lkca/paper/paper_tables.csv.") from None
    write_json(out, {"claims": checked, "contradictions": sentences})
    lines = [
        {key: claim[key] for key in ("id", "section", "kind", "says", "expression", "replication")}
        | {f"paper_{key}": claim["paper"][key] for key in ("outcome", "why")}
        | {f"ours_{key}": claim["ours"][key] for key in ("outcome", "points_to", "why")}
        | {"note": claim["note"]}
        for claim in checked
    ]
    write_csv(csv, lines[0], lines)
    print(summary([claim["ours"]["outcome"] for claim in checked]))


def check_on_table(claim: Claim, printed: Numbers) -> dict[str, Any]:
    """Check a claim on printed numbers.

    Returns:
        outcome ("holds", "fails" or "cannot be told"), why (where it fails, or what is missing) and the values to show.
    """
    try:
        truth = _compute(claim, claim.test, printed)
    except Missing as missing:
        why = f"It takes {NEEDED[claim.needs]}." if claim.needs in NEEDED else f"There is no {missing}."
        return {"outcome": "cannot be told", "why": why, "values": {}}
    why = f"Not for {'; '.join(truth.failures)}." if truth.failures and not truth.holds else ""
    return {
        "outcome": "holds" if truth.holds else "fails",
        "why": why,
        "values": _values(claim, printed, value_of),
    }


def check_on_results(claim: Claim, measured: Numbers, stand_in: bool) -> dict[str, Any]:
    """Check a claim on our results.

    Args:
        claim: The claim.
        measured: Our results.
        stand_in: Whether they are of other data than the paper's; then they decide nothing.

    Returns:
        outcome ("reproduced", "contradicted", "not resolved", "not run" or "stand-in"), why, points_to (what the
        numbers as they are say: "holds", "fails" or None) and the values to show, each with its interval.
    """
    stand_in = stand_in and claim.needs not in ("arithmetic", "code")
    try:
        truth = _compute(claim, claim.replication or claim.test, measured)
    except Missing as missing:
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
        "values": _values(claim, measured, _interval),
    }


def summary(outcomes: list[str]) -> str:
    """Count the claims of each outcome.

    Example:
        >>> summary(["holds", "fails", "holds"])
        '2 holds, 1 fails'
    """
    return ", ".join(f"{outcomes.count(each)} {each}" for each in dict.fromkeys(outcomes))


def _compute(claim: Claim, function: Callable[[Numbers], T], numbers: Numbers) -> T:
    try:
        return function(numbers)
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, LkcaError):
            raise
        raise DataError(
            f"claim {claim.id} cannot be computed ({error}): look for zeros and negative numbers in the table."
        ) from error


def _values(claim: Claim, numbers: Numbers, shown: Callable[[Uncertain | float], Any]) -> dict[str, Any]:
    """Return the values to show with a claim, without those whose numbers do not exist."""
    values = {}
    for label, function in (claim.values or {}).items():
        try:
            value: Value = _compute(claim, function, numbers)
        except Missing:
            continue
        values[label] = shown(value) if isinstance(value, Uncertain | int | float) else [shown(each) for each in value]
    return values


def _interval(value: Uncertain | float) -> dict[str, float | None]:
    uncertain = value if isinstance(value, Uncertain) else Uncertain(value)
    low, high = uncertain.interval() or (None, None)
    return {"value": uncertain.value, "low": low, "high": high}
