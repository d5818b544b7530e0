"""The language of claims: what it computes, what it refuses, and how it weighs uncertain comparisons."""

import numpy as np
import pytest
from scipy import stats

from lkca.errors import LkcaError
from lkca.paper.expressions import Expression, Missing, all_of, any_of, certain, negated
from lkca.paper.statistics import estimate_mean

NAMES = {"SCORES": ["MPSNR", "SAM"], "SETTINGS": [["a", 4], ["b", 8]], "x": 3.0}


def value(text, **functions):
    return Expression(text, "claim T1").evaluate(NAMES, functions)


def uncertain(centre, half):
    """A number from four images whose 95 % interval is centre +- half."""
    images = np.array([[-1.0, -1.0, 1.0, 1.0]])
    return estimate_mean(
        centre + images * half / stats.t.interval(0.95, 3, 0, images.std(ddof=1) / 2)[1], "images", None
    )


@pytest.mark.parametrize(
    "text",
    [
        "1 + 2 * 3 - 4 / 8",
        "0.66 ** (10 // 10) - 7 % 4",
        "-(2 - 5)",
        "min([3, 1, 2]) + max(4, 5)",
        "abs(-3) + len([1, 2])",
        "min([q * q for q in [3, 2] if q > 2])",
        "max([a * b for a in [1, 2] for b in [3, 4]])",
    ],
)
def test_it_computes_what_python_computes(text):
    assert value(text) == pytest.approx(eval(text))


@pytest.mark.parametrize(
    "text",
    [
        "1 < 2 < 3",
        "1 < 2 > 3",
        "not 1 == 2",
        "1 != 1 or 2 >= 2",
        "1 <= 1 and 2 > 2",
        "all(q > 0 for q in [1, 2, 3])",
        "all(q > 1 for q in [1, 2, 3])",
        "any(q > 2 for q in [1, 2, 3])",
        "any(q > 3 for q in [1, 2, 3])",
        "all(q > 1 for q in [1, 2] if q != 1)",
        "all(1 > 2 for q in [])",
        "any(1 < 2 for q in [])",
    ],
)
def test_plain_statements_are_true_or_false_as_in_python(text):
    truth = value(text)
    assert (truth.holds, truth.outcome()) == (eval(text), eval(text))


def test_functions_and_names_are_those_given():
    assert value("v('VDSR', x) + 1", v=lambda row, number: len(row) * number) == 13
    seen = value("all(better(d, r) for d, r in SETTINGS)", better=lambda d, r: certain(r == 4))
    assert not seen.holds and seen.fails == ("b ×8",)  # says where


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__",
        "(lambda: 1)()",
        "[1, 2][0]",
        "x if 1 else 2",
        "f'{x}'",
        "{1: 2}",
        "v(row=1)",
        "(y := 3)",
        "*x",
        "1 if",
        "",
        "open('/etc/passwd')",
        "eval('1')",
        "y",
        "True",
        "None",
        "x is 3",
        "1 & 2",
        "'a' * 1000000000",
        "[0] * 1000000000",
        "9 ** 9 ** 9",
        "max([a for a in SCORES for b in SCORES for x.y in SCORES])",
        "1 and 2",
        "all(3)",
        "all([1, 2])",
        "1 / 0",
        "(0 - 8) ** 0.5 > 1",
        "log10(0)",
        "'a' < 1",
        "max([])",
        "len(3)",
        "max(["
        + " ".join(f"0 for x{i} in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"[0 if not i else 2 :] for i in range(6))
        + "])",
        "(1 < 2) * 1000000000",
        "(1 < 2) + (2 < 3)",
        "len(1 < 2)",
        "all([[1 < 2]])",
        "max(["
        + " ".join(f"{'0' * (not i)} for x{i} in [1, 2, 3, 4, 5, 6, 7, 8, 9]" for i in range(9))
        + " if 1 > 2])",
        "(" * 300 + "1" + ")" * 300,
        "-" * 5000 + "1",
    ],
)
def test_everything_else_is_one_sentence(text):
    with pytest.raises(LkcaError, match="^claim T1: ") as caught:
        value(text)
    assert "\n" not in str(caught.value).replace(text, "")


def test_a_number_that_does_not_exist_is_no_error_of_the_text():
    def v(row):
        raise Missing(f"MPSNR of {row}")

    with pytest.raises(Missing, match="MPSNR of VDSR"):
        value("v('VDSR') > 1", v=v)


@pytest.mark.parametrize(
    "text, outcome",
    [
        ("u() > 0.0", True),  # u is 1 +- 0.9
        ("u() > 0.2", None),
        ("u() > 1.8", None),
        ("u() > 2", False),
        ("u() < 2", True),
        ("u() < 0.05", False),
        ("0.05 < u() < 1.95", True),
        ("0.05 < u() < 1.8", None),
        ("0 - 1 < u() < 0 - 0.5", False),
        ("u() == 1", None),
        ("u() == 2", False),
        ("u() != 2", True),
        ("u() > 0 and u() > 0.2", None),
        ("u() > 2 and u() > 0.2", None),  # refuted one of two: not after Bonferroni
        ("u() > 3 and u() > 0.2", False),
        ("u() > 2 or u() > 0", None),
        ("u() > 2 or u() > 0 - 1", True),
        ("not u() > 2", True),
        ("u() - u() == 0", True),  # the same number: nothing is left to chance
        ("all(u() > q for q in [0 - 1, 0 - 2])", True),
        ("u() > 0 and 1 > 2", False),
    ],
)
def test_an_interval_that_crosses_the_threshold_leaves_it_open(text, outcome):
    assert value(text, u=lambda: uncertain(1, 0.9)).outcome() is outcome


def test_a_number_without_a_spread_settles_nothing_but_what_does_not_depend_on_it():
    def one():
        return estimate_mean(np.array([[1.0, 2.0]]), "images", None)

    truth = value("u() > 0", u=one)
    assert truth.outcome() is None and truth.holds and truth.unknown == {"2 test images"}
    assert value("u() > 0 and 1 > 2", u=one).outcome() is False
    assert value("on_these_images(u()) > 0", u=one).outcome() is True


def test_false_alarms_are_rarer_than_promised():
    """Twenty comparisons that are all just true: how often is one of them called refuted, or all established?"""
    rng, count, refuted, established = np.random.default_rng(0), 200, 0, 0
    for _ in range(count):
        numbers = [estimate_mean(rng.normal(0, 1, (1, 4)), f"images {i}", None) for i in range(20)]
        truth = all_of([value("u() > 0", u=lambda number=number: number) for number in numbers])
        refuted += truth.outcome() is False
        established += truth.outcome() is True
    assert refuted / count <= 0.05 and established == 0


def test_the_correction_for_many_comparisons_is_made_once():
    chained, apart = "0 - 1 < u() < 1.9", "u() < 1.9 and u() > 0 - 1"  # two comparisons each
    truths = [value(f"{each} and {each}", u=lambda: uncertain(1, 0.9)) for each in (chained, apart)]
    assert {(truth.p_true, truth.many_true) for truth in truths} == {(truths[0].p_true, 4)}
    either = value("any(q < u() for q in [0, 3]) and u() > 0 - 5", u=lambda: uncertain(1, 0.9))
    assert either.outcome() is None and value("u() > 0.0 or u() > 3", u=lambda: uncertain(1, 0.5)).outcome() is True


def test_or_is_the_mirror_of_and():
    a, b = value("u() > 0.0", u=lambda: uncertain(1, 0.9)), certain(False)
    assert any_of([a, b]) == negated(all_of([negated(a), negated(b)]))
    assert any_of([a, b]).outcome() is True and all_of([a, b]).outcome() is False
