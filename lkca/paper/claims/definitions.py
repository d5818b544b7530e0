"""A claim and a contradiction of the paper, and the decorators that make them from functions."""

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lkca.paper.claims.logic import Truth
from lkca.paper.claims.numbers import Numbers
from lkca.paper.statistics import Uncertain

Test = Callable[[Numbers], Truth]
Value = Uncertain | float | Sequence[Uncertain | float]
Needs = Literal["tables", "arithmetic", "code", "weights", "images"]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Args:
        id: Letter of the section and a number.
        section: Where the paper makes the claim.
        kind: One word or two, to filter by.
        says: The claim in one sentence. "Not said" and "Our reading" begin stronger readings or observations of ours.
        test: Tests the claim on the paper's numbers, and on ours unless there is a `replication`.
        needs: What a test of the claim takes.
        replication: Tests the claim on our results, where they need not have the paper's digits.
        values: Numbers to show with the claim, by their names.
        note: Which thresholds are ours, and why the claim fails.
    """

    id: str
    section: str
    kind: str
    says: str
    test: Test
    needs: Needs = "tables"
    replication: Test | None = None
    values: Mapping[str, Callable[[Numbers], Value]] | None = None
    note: str | None = None


def claim(
    id: str,
    section: str,
    kind: str,
    says: str,
    *,
    needs: Needs = "tables",
    replication: Test | None = None,
    values: Mapping[str, Callable[[Numbers], Value]] | None = None,
    note: str | None = None,
) -> Callable[[Test], Claim]:
    """Make a claim from the function that tests it; the arguments are those of `Claim`."""
    return lambda test: Claim(id, section, kind, says, test, needs, replication, values, note)


@dataclass(frozen=True)
class Contradiction:
    """Where the paper contradicts itself.

    Args:
        about: The ids of claims that it is about.
        sentence: Fills the sentence with the paper's numbers.
    """

    about: tuple[str, ...]
    sentence: Callable[[Numbers], str]


def contradiction(*about: str) -> Callable[[Callable[[Numbers], str]], Contradiction]:
    """Make a contradiction from the function that writes its sentence."""
    return lambda sentence: Contradiction(about, sentence)


def source(test: Test) -> str:
    """Return the Python code of a test in one line, to show with the claim."""
    (function,) = ast.parse(inspect.getsource(test)).body
    assert isinstance(function, ast.FunctionDef)
    *steps, result = map(ast.unparse, function.body)
    return "; ".join([*steps, result.removeprefix("return ")])
