"""Three-valued logic: exact numbers, intervals that cross a threshold, missing intervals, many comparisons."""

import numpy as np
import pytest
from scipy import stats

from lkca.paper.claims.logic import (
    Truth,
    all_of,
    any_of,
    at_least,
    at_most,
    between,
    exact,
    greater,
    in_range,
    less,
)
from lkca.paper.statistics import Uncertain, estimate_mean


def uncertain(centre: float, half: float) -> Uncertain:
    """Return a number from four images whose 95 % interval is centre ± half."""
    images = np.array([[-1.0, -1.0, 1.0, 1.0]])
    width = stats.t.interval(0.95, 3, 0, images.std(ddof=1) / 2)[1]
    return estimate_mean(centre + images * half / width, "images", None)


U = uncertain(1, 0.9)


@pytest.mark.parametrize(
    "truth, expected",
    [
        (greater(2, 1), True),
        (greater(1, 1), False),
        (at_least(1, 1), True),
        (less(1, 1), False),
        (at_most(1, 1), True),
        (between(1, 2, 3), True),
        (between(1, 1, 3), False),
        (in_range(1, 1, 3), True),
        (in_range(1, 3, 3), False),
        (~exact(False), True),
        (exact(True) & exact(False), False),
        (all_of([]), True),
        (any_of([]), False),
        (any_of([exact(False), exact(True)]), True),
        (greater(Uncertain(2), 1), True),
    ],
)
def test_exact_statements_are_true_or_false(truth, expected):
    assert (truth.holds, truth.outcome()) == (expected, expected)


@pytest.mark.parametrize(
    "truth, outcome",
    [
        (greater(U, 0), True),  # U is 1 ± 0.9
        (greater(U, 0.2), None),
        (greater(U, 1.8), None),
        (greater(U, 2), False),
        (less(U, 2), True),
        (less(U, 0.05), False),
        (less(0, U), True),
        (between(0.05, U, 1.95), True),
        (between(0.05, U, 1.8), None),
        (between(-1, U, -0.5), False),
        (greater(U, 0) & greater(U, 0.2), None),
        (greater(U, 2) & greater(U, 0.2), None),  # one of two is refuted, but not after Bonferroni's correction
        (greater(U, 3) & greater(U, 0.2), False),
        (any_of([greater(U, 2), greater(U, 0)]), None),
        (any_of([greater(U, 2), greater(U, -1)]), True),
        (~greater(U, 2), True),
        (greater(U - U, -1e-9), True),  # the same number: nothing is random
        (all_of(greater(U, q) for q in (-1, -2)), True),
        (greater(U, 0) & exact(False), False),
    ],
)
def test_interval_across_threshold_is_undecided(truth, outcome):
    assert truth.outcome() is outcome


def test_missing_interval_decides_nothing_that_depends_on_it():
    number = estimate_mean(np.array([[1.0, 2.0]]), "images", None)
    truth = greater(number, 0)
    assert truth.outcome() is None and truth.holds and truth.missing_reasons == {"2 test images"}
    assert (truth & exact(False)).outcome() is False
    assert greater(number.on_these_images(), 0).outcome() is True


def test_false_alarms_are_rarer_than_promised():
    """Of twenty comparisons that are all barely true, one is rarely refuted, and all are never established together."""
    rng, count, refuted, established = np.random.default_rng(0), 200, 0, 0
    for _ in range(count):
        numbers = [estimate_mean(rng.normal(0, 1, (1, 4)), f"images {i}", None) for i in range(20)]
        truth = all_of(greater(number, 0) for number in numbers)
        refuted += truth.outcome() is False
        established += truth.outcome() is True
    assert refuted / count <= 0.05 and established == 0


def test_many_comparisons_are_corrected_once():
    nested = between(-1, U, 1.9) & between(-1, U, 1.9)
    flat = all_of([less(-1, U), less(U, 1.9), less(-1, U), less(U, 1.9)])
    assert nested == flat and flat.num_p_true == 4
    either = any_of([less(0, U), less(3, U)]) & greater(U, -5)
    assert either.outcome() is None
    assert any_of([greater(uncertain(1, 0.5), q) for q in (0, 3)]).outcome() is True


def test_or_mirrors_and():
    a, b = greater(U, 0), exact(False)
    assert any_of([a, b]) == ~((~a) & (~b))
    assert any_of([a, b]).outcome() is True and (a & b).outcome() is False


def test_cases_that_fail_are_named():
    truth = all_of(exact(scale == 4).case(scene, f"×{scale}") for scene in ("a", "b") for scale in (4, 8))
    assert truth.failures == ("a ×8", "b ×8")
    assert any_of([exact(False).case("a")]).failures == ()  # no single case makes a disjunction fail
    assert any_of([exact(False).case("a")]).case("b").failures == ("b",)
    assert exact(True).case("a").failures == () and exact(False).case("a").case("b").failures == ("a",)


def test_truth_is_not_a_bool():
    """`and`, `or`, `not`, `if` and chained comparisons would silently lose the p-values."""
    with pytest.raises(TypeError, match="outcome"):
        bool(Truth(True, 0.0, 1.0))
