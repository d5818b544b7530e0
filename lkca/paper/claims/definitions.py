"""Claims and contradictions of the paper, and the decorators that create them from functions."""

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
        kind: Category, one or two words.
        says: The claim in one sentence. "Not said" and "Our reading" begin stronger readings or observations of ours.
        test: Tests the claim on the paper's numbers, and on our results if there is no `replication`.
        needs: What a test of the claim needs: numbers of the tables, only arithmetic, our code, trained weights or
            reconstructed images.
        replication: Tests the claim on our results, if these need not have the paper's digits.
        values: Name of a number to show with the claim -> the function that returns it.
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
    """Return a decorator that turns the function that tests a claim into a `Claim` with these arguments."""
    return lambda test: Claim(id, section, kind, says, test, needs, replication, values, note)


@dataclass(frozen=True)
class Contradiction:
    """A statement of the paper that contradicts its own numbers or another statement.

    Args:
        about: The ids of the claims concerned.
        sentence: Returns the sentence, filled with the paper's numbers.
    """

    about: tuple[str, ...]
    sentence: Callable[[Numbers], str]


def contradiction(*about: str) -> Callable[[Callable[[Numbers], str]], Contradiction]:
    """Return a decorator that turns a function that returns a sentence into a `Contradiction` about these claims."""
    return lambda sentence: Contradiction(about, sentence)


def source(test: Test) -> str:
    """Return the Python code of a test in one line, to show with the claim."""
    (function,) = ast.parse(inspect.getsource(test)).body
    assert isinstance(function, ast.FunctionDef)
    *steps, result = map(ast.unparse, function.body)
    return "; ".join([*steps, result.removeprefix("return ")])
