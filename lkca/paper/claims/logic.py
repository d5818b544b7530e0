"""Three-valued logic of statements about uncertain numbers.

A comparison of uncertain numbers (`lkca.paper.statistics.Uncertain`) has two p-values: one for the hypothesis that it
is false, one for the hypothesis that it is true. The p-values combine as in hypothesis tests. A conjunction is
established if its least certain statement is established (intersection-union test, no correction). It is refuted if the
strongest evidence against any of its statements survives Bonferroni's correction for their number. Exact numbers have
p-values 0 and 1.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import NamedTuple

from lkca.paper.statistics import CONFIDENCE_LEVEL, Uncertain, get_value


class Truth(NamedTuple):
    """The result of testing a statement. It is no bool: combine statements by `&`, `~`, `all_of` or `any_of`.

    Args:
        holds: Whether the statement is true of the numbers without their uncertainty.
        p_false: p-value of the hypothesis that the statement is false; it is small if the statement is established.
        p_true: p-value of the hypothesis that the statement is true; it is small if the statement is refuted.
        num_p_false: Number of p-values of which `p_false` is the smallest, for Bonferroni's correction.
        num_p_true: The same for `p_true`.
        missing_reasons: Why some of its comparisons have no p-value, such as "one seed".
        failures: The cases in which `holds` is false, such as "VDSR, chikusei ×4".
    """

    holds: bool
    p_false: float
    p_true: float
    num_p_false: int = 0
    num_p_true: int = 0
    missing_reasons: frozenset[str] = frozenset()
    failures: tuple[str, ...] = ()

    def outcome(self) -> bool | None:
        """Return True if the statement is established, False if it is refuted, None if the data decide neither."""
        alpha = (1 - CONFIDENCE_LEVEL) / 2
        if _bonferroni(self.p_false, self.num_p_false) <= alpha:
            return True
        return False if _bonferroni(self.p_true, self.num_p_true) <= alpha else None

    def case(self, *names: object) -> Truth:
        """Name the case that the statement is about; the name is reported if the statement does not hold.

        Example:
            >>> exact(False).case("VDSR", "MSSIM", "×8").failures
            ('VDSR, MSSIM ×8',)
        """
        if self.holds or self.failures:
            return self
        return self._replace(failures=(", ".join(map(str, names)).replace(", ×", " ×"),))

    def __and__(self, other: Truth) -> Truth:
        return all_of([self, other])

    def __invert__(self) -> Truth:
        holds, p_false, p_true, num_p_false, num_p_true, missing_reasons, _ = self
        return Truth(not holds, p_true, p_false, num_p_true, num_p_false, missing_reasons)

    def __bool__(self) -> bool:
        raise TypeError("a Truth is not True or False: combine it by &, ~, all_of or any_of, or call its outcome()")


def all_of(truths: Iterable[Truth]) -> Truth:
    """Return the conjunction; of no statements it is true."""
    truths = list(truths)
    return Truth(
        holds=all(t.holds for t in truths),
        p_false=max((_bonferroni(t.p_false, t.num_p_false) for t in truths), default=0.0),
        p_true=min((t.p_true for t in truths), default=1.0),
        num_p_false=min(1, sum(t.num_p_false for t in truths)),
        num_p_true=sum(t.num_p_true for t in truths),
        missing_reasons=frozenset().union(*(t.missing_reasons for t in truths)),
        failures=tuple(dict.fromkeys(case for t in truths for case in t.failures)),
    )


def any_of(truths: Iterable[Truth]) -> Truth:
    """Return the disjunction; of no statements it is false. The cases that fail are not reported."""
    return ~all_of(~t for t in truths)


def exact(holds: bool) -> Truth:
    """Return the truth of a statement about exact numbers."""
    return Truth(holds, float(not holds), float(holds))


def greater(left: Uncertain | float, right: Uncertain | float) -> Truth:
    """Test left > right."""
    return _compare(left, right, operator.gt, upper=True)


def at_least(left: Uncertain | float, right: Uncertain | float) -> Truth:
    """Test left >= right."""
    return _compare(left, right, operator.ge, upper=True)


def less(left: Uncertain | float, right: Uncertain | float) -> Truth:
    """Test left < right."""
    return _compare(left, right, operator.lt, upper=False)


def at_most(left: Uncertain | float, right: Uncertain | float) -> Truth:
    """Test left <= right."""
    return _compare(left, right, operator.le, upper=False)


def between(low: Uncertain | float, value: Uncertain | float, high: Uncertain | float) -> Truth:
    """Test low < value < high."""
    return less(low, value) & less(value, high)


def in_range(low: float, value: Uncertain | float, high: float) -> Truth:
    """Test low <= value < high: whether the value rounds to the number whose half-digit bounds are low and high."""
    return at_most(low, value) & less(value, high)


def _compare(
    left: Uncertain | float, right: Uncertain | float, holds: Callable[[float, float], bool], upper: bool
) -> Truth:
    holds_for_values = holds(get_value(left), get_value(right))
    difference = left - right
    if not isinstance(difference, Uncertain):
        return exact(holds_for_values)
    reasons = difference.missing_reasons
    if not reasons and not difference.standard_error_and_df()[0]:  # the difference is exact
        return exact(holds_for_values)
    p_not_greater, p_not_less = difference.p_value_greater(), (-difference).p_value_greater()
    p_false, p_true = (p_not_greater, p_not_less) if upper else (p_not_less, p_not_greater)
    return Truth(holds_for_values, p_false, p_true, 1, 1, reasons)


def _bonferroni(p_value: float, count: int) -> float:
    """Return the smallest of `count` p-values after Bonferroni's correction."""
    return min(1.0, p_value * max(count, 1))
