"""The summaries at the top of the page: how many printed numbers and how many claims have each outcome."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import pandas as pd
from pydantic import Field, model_validator

from lkca.core.files import read_csv
from lkca.core.result_files import Number, ResultFile
from lkca.paper.columns import PRINTED_COLUMNS
from lkca.paper.verdicts import SIGNS

NOT_IN_REPORT = "not in this report"
DECIDED = ("reproduced", "contradicted")
PAPER_OUTCOMES = ("holds", "fails", "cannot be told")  # on the paper's own numbers
OUR_OUTCOMES = (*DECIDED, "not resolved", "not run", "stand-in")
# Outcomes of claims that have the sign of a verdict on a number
SAME_SIGN = {"reproduced": "match", "contradicted": "outside", "holds": "match", "fails": "outside"}
SAME_SIGN |= {"cannot be told": "not run", NOT_IN_REPORT: "not run"}
OUTCOME_SIGNS = SIGNS | {outcome: SIGNS[verdict] for outcome, verdict in SAME_SIGN.items()}


class NumberWithInterval(ResultFile):
    """A number with its interval."""

    value: Number
    low: Number | None
    high: Number | None


Value = Number | NumberWithInterval


class ClaimResult(ResultFile):
    """What a claim is on the numbers of a source."""

    outcome: str
    why: str
    values: dict[str, Value | list[Value]]


class CheckedClaim(ResultFile):
    """A claim and its results."""

    id: str
    section: str
    kind: str
    says: str
    needs: str
    expression: str
    replication: str | None
    note: str | None
    paper: ClaimResult
    ours: ClaimResult

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.paper.outcome not in PAPER_OUTCOMES or self.ours.outcome not in OUR_OUTCOMES:
            raise ValueError("an outcome does not exist")
        return self


class Contradiction(ResultFile):
    """A contradiction in the paper."""

    says: str
    about: list[str]


class ClaimsFile(ResultFile):
    """The content of claims.json."""

    claims: Annotated[list[CheckedClaim], Field(min_length=1)]
    contradictions: list[Contradiction]


class CountRow(NamedTuple):
    """A row of counts, by outcome."""

    name: str
    counts: dict[str, int]
    total: int


class CountTable(NamedTuple):
    """A table of counts, with a row of totals."""

    outcomes: list[str]
    rows: list[CountRow]
    all: CountRow

    @classmethod
    def of(cls, counts: pd.DataFrame) -> Self:
        """Return the table of these counts, which have a column for each outcome."""

        def row(name: str, numbers: "pd.Series[int]") -> CountRow:
            return CountRow(name, {str(key): int(value) for key, value in numbers.items()}, int(numbers.sum()))

        rows = [row(str(name), numbers) for name, numbers in counts.iterrows()]
        return cls([*counts.columns], rows, row("All", counts.sum()))


class ClaimSection(NamedTuple):
    """The claims of a section of the paper."""

    name: str
    claims: list[dict[str, Any]]

    @property
    def failing(self) -> list[dict[str, Any]]:
        """The claims that fail on the paper's own tables, or that our numbers contradict."""
        return [
            claim
            for claim in self.claims
            if claim["paper"]["outcome"] == "fails" or claim["ours"]["outcome"] == "contradicted"
        ]

    @property
    def counts(self) -> dict[str, int]:
        """Outcome on our numbers -> number of claims."""
        return Counter(claim["ours"]["outcome"] for claim in self.claims)


def count_verdicts(verdicts: Sequence[Mapping[str, str]], printed: Path) -> CountTable:
    """Return how many of the paper's numbers have each verdict: a row for each table of the paper.

    Args:
        verdicts: Lines of all *.verdicts.csv.
        printed: The paper's numbers, lkca/paper/paper_tables.csv.
    """
    lines = pd.DataFrame(read_csv(printed))
    totals = (lines[[*PRINTED_COLUMNS]] != "").sum(axis=1).groupby(lines["table"], sort=False).sum()
    frame = pd.DataFrame(verdicts, columns=["table", "verdict"])
    counts = pd.crosstab(frame["table"], frame["verdict"]).reindex(index=totals.index, columns=[*SIGNS], fill_value=0)
    counts[NOT_IN_REPORT] = totals - counts.sum(axis=1)
    return CountTable.of(counts)


def count_claims(claims: Sequence[Mapping[str, Any]]) -> CountTable:
    """Return how many claims have each outcome: a row for each on the paper's numbers, a column for each on ours."""
    outcomes = [(claim["paper"]["outcome"], claim["ours"]["outcome"]) for claim in claims]
    frame = pd.DataFrame(outcomes, columns=["paper", "ours"])
    counts = pd.crosstab(frame["paper"], frame["ours"])
    return CountTable.of(counts.reindex(index=PAPER_OUTCOMES, columns=OUR_OUTCOMES, fill_value=0))


def count_untrained_decisions(claims: Sequence[Mapping[str, Any]]) -> int:
    """Return how many claims are decided by arithmetic, settings or code, independently of any training."""
    return sum(claim["needs"] in ("arithmetic", "code") and claim["ours"]["outcome"] in DECIDED for claim in claims)


def group_claims(claims: Sequence[Mapping[str, Any]]) -> list[ClaimSection]:
    """Return the claims by the section of the paper that makes them, in its order, with their numbers as texts."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for claim in claims:
        sections.setdefault(claim["section"].partition(",")[0], []).append(format_claim(claim))
    return [ClaimSection(name, group) for name, group in sections.items()]


def format_claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return a claim with its numbers as texts."""
    outcomes = {
        source: {**claim[source], "values": {name: format_value(v) for name, v in claim[source]["values"].items()}}
        for source in ("paper", "ours")
    }
    return {**claim, **outcomes}


def format_value(value: Any) -> str:
    """Return a number, a number with its interval, or several of them, as text.

    Example:
        >>> format_value([1.5, {"value": 2.0, "low": 1.25, "high": 2.75}, {"value": 3.0, "low": None, "high": None}])
        '1.5; 2 (1.25 to 2.75); 3'
    """
    if isinstance(value, list):
        return "; ".join(map(format_value, value))
    if not isinstance(value, Mapping):
        return f"{value:.4g}"
    has_interval = {value["low"], value["high"]} - {None, value["value"]}
    return f"{value['value']:.4g}" + (f" ({value['low']:.4g} to {value['high']:.4g})" if has_interval else "")
