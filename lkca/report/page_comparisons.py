"""Comparisons below each table of the page: the differences of all methods from a reference that the reader selects."""

from collections.abc import Mapping
from math import floor, log10
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lkca.core.result_files import damaged, read_table
from lkca.scoring.metrics import SCORES

DIRECTIONS = {"a better": 1, "b better": -1, "not resolved": 0}  # outcome -> its sign for `a`
NUMBERS = ["difference", "low", "high", "low_blocks", "high_blocks"]


class ScoreDifference(NamedTuple):
    """The score of a method minus that of the reference, as text."""

    value: str
    interval: str  # over test images and seeds; empty if there is none
    block_interval: str  # over spatial blocks of the test images; empty if there is none
    outcome: str  # of the method: better, worse, not resolved
    why: str


Differences = dict[str, dict[str, ScoreDifference]]  # method -> score -> difference


class ScaleDifferences(NamedTuple):
    """The differences at one scale, and a sentence about those that are not resolved; empty if all are resolved."""

    rows: Differences
    unresolved: str


class MethodDifferences(NamedTuple):
    """The differences of the other methods from a reference, by scale."""

    reference: str
    scales: dict[str, ScaleDifferences]


def read_differences(path: Path, labels: list[str]) -> list[MethodDifferences]:
    """Return the comparisons of a table, with each method as the reference.

    Args:
        path: A *.comparisons.csv.
        labels: The labels of the table, in its order.

    Raises:
        DataError: If the file is missing or damaged.
    """
    texts = ["scale", "a", "b", "score", "outcome", "why"]
    lines = read_table(path, texts, NUMBERS)
    for pair in lines:
        if pair["outcome"] not in DIRECTIONS or not pair["difference"] or pair["score"] not in SCORES:
            raise damaged(path, "it has a score or an outcome that does not exist, or no difference")
    pairs = pd.DataFrame(lines, columns=[*texts, *NUMBERS])
    both = pd.concat(
        [
            pairs.assign(method=pairs["a"], reference=pairs["b"], sign=1),
            pairs.assign(method=pairs["b"], reference=pairs["a"], sign=-1),
        ]
    )
    result = []
    for label in labels:
        scales = {}
        for scale, group in both[both["reference"] == label].groupby("scale", sort=False):
            by_method: Differences = {}
            for line in group.to_dict("records"):
                by_method.setdefault(line["method"], {})[line["score"]] = _format_difference(line)
            rows = {method: by_method[method] for method in labels if method in by_method}
            scales[str(scale)] = ScaleDifferences(rows, _describe_unresolved(rows))
        if scales:
            result.append(MethodDifferences(label, scales))
    return result


def _format_difference(line: Mapping[Any, Any]) -> ScoreDifference:
    """Return a line of comparisons.csv as text: a minus b if its `sign` is 1, b minus a if it is -1."""
    numbers = {name: line["sign"] * float(line[name]) for name in NUMBERS if line[name]}
    largest = max(1e-9, *map(abs, numbers.values()))
    digits = min(7, max(0, 2 - floor(log10(largest))))  # three significant digits of the largest

    def interval(*names: str) -> str:
        ends = sorted(numbers[name] for name in names if name in numbers)
        return " to ".join(_format_signed(end, digits) for end in ends)

    direction = DIRECTIONS[line["outcome"]] * line["sign"]
    return ScoreDifference(
        value=_format_signed(numbers["difference"], digits),
        interval=interval("low", "high"),
        block_interval=interval("low_blocks", "high_blocks"),
        outcome={1: "better", -1: "worse", 0: "not resolved"}[direction],
        why=line["why"],
    )


def _format_signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def _describe_unresolved(rows: Differences) -> str:
    methods, reasons = [], []
    for method, scores in rows.items():
        unresolved = {name: score for name, score in scores.items() if score.outcome == "not resolved"}
        if unresolved:
            names = "all scores" if len(unresolved) == len(SCORES) else ", ".join(unresolved)
            methods.append(f"{method} ({names})")
            reasons += [score.why for score in unresolved.values()]
    if not methods:
        return ""
    return f"The test images do not decide: {', '.join(methods)}; {' or '.join(dict.fromkeys(reasons))}."
