"""Rounds of turns, on programs whose times and disturbances are known."""

import time
from collections.abc import Callable
from functools import partial
from itertools import cycle

import numpy as np
import pytest
from scipy import stats

from lkca.scoring import rounds as module
from lkca.scoring.load import LoadMeter
from lkca.scoring.rounds import Interval, TimedPass, Turn
from tests.test_load import QUIET

take_rounds = partial(module.take_rounds, max_seconds=0.3)
WAITING = QUIET._replace(waited=0.34)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Disturbed turns are not repeated for long, because the programs only return a number."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)


class Program:
    """Takes turns of given seconds and loads, again and again, and writes its name into a log."""

    def __init__(self, *seconds: float, loads=(QUIET,), name: str = "", log: list[str] | None = None) -> None:
        self.seconds, self.loads, self.name, self.log = (
            cycle(seconds),
            cycle(loads),
            name,
            log if log is not None else [],
        )

    def __call__(self) -> Turn:
        self.log.append(self.name)
        time.sleep(1e-4)
        return Turn(next(self.seconds), next(self.loads))


def test_interval_is_that_of_student():
    """Logarithms -d, 0 and d have standard deviation d; t with 2 degrees of freedom has the 97.5 % quantile 4.3027."""
    interval = Interval.of([10 / 1.01, 10.0, 10 * 1.01])
    assert interval.value == pytest.approx(10)
    assert interval.high / interval.value == pytest.approx(1.01 ** (4.3027 / 3**0.5), rel=1e-6)
    assert interval.low * interval.high == pytest.approx(100)


def test_interval_of_many_values_bears_one_outlier():
    """Yuen's interval of the values without the two ends: of -2d, -d, 0, d and 100d, it is that of -d, 0 and d.

    The winsorized values -d, -d, 0, d, d have standard deviation d; the standard error is d / (0.6 * sqrt(5)).
    """
    interval = Interval.of([10 * 1.01**power for power in (-2, -1, 100, 1, 0)])
    assert interval.value == pytest.approx(10)
    assert interval.high / interval.value == pytest.approx(1.01 ** (4.3027 / (0.6 * 5**0.5)), rel=1e-6)


def test_ratios_are_those_of_the_times():
    rounds = take_rounds({"ref": Program(0.04), "slow": Program(0.1), "fast": Program(0.001)}, "ref")
    assert rounds.ratio("slow") == pytest.approx((2.5, 2.5, 2.5))
    assert rounds.ratio("fast").value == pytest.approx(0.025)
    assert rounds.ratio("ref") == (1, 1, 1)
    assert rounds.times("slow") == [0.1] * 3
    assert rounds.count == module.MIN_ROUNDS and not rounds.describe()["limit_reached"]
    assert [rounds.disturbance(name) for name in rounds.turns] == ["", "", ""]


def test_all_take_turns_in_each_round_between_turns_of_the_reference():
    log: list[str] = []
    take_rounds({name: Program(0.1, name=name, log=log) for name in "abcd"}, "a")
    orders = ["".join(log[i : i + 7]) for i in range(0, len(log), 7)]
    assert len(orders) == 3
    assert all(order[::2] == "aaaa" and sorted(order[1::2]) == ["b", "c", "d"] for order in orders)
    assert len(set(orders)) > 1  # the order is different


def test_what_is_certain_takes_no_further_turn():
    """Of two programs, one varies by 4 % to both sides, and has an interval of 10 % only after many rounds."""
    log: list[str] = []
    noisy = Program(0.10, 0.108, 0.10, 0.092, name="noisy", log=log)
    rounds = take_rounds({"ref": Program(0.04), "exact": Program(0.1, name="exact", log=log), "noisy": noisy}, "ref")
    assert log.count("exact") == 3 < log.count("noisy") == rounds.count
    assert rounds.ratio("noisy").width <= 1.10


class SlowingMachine:
    """A machine on which each turn takes longer than the one before, by the same factor."""

    def __init__(self, factor: float) -> None:
        self.factor, self.slowness = factor, 1.0

    def program(self, seconds: float) -> Callable[[], Turn]:
        def take_turn() -> Turn:
            self.slowness *= self.factor
            return Turn(seconds * self.slowness, QUIET)

        return take_turn


def test_slow_change_of_the_machine_cancels_out():
    """By 0.3 % from turn to turn: both become slower by more than 5 %, and their ratio stays."""
    machine = SlowingMachine(1.003)
    rounds = take_rounds({"ref": machine.program(0.04), "a": machine.program(0.08), "b": machine.program(0.02)}, "ref")
    assert rounds.ratio("a").value == pytest.approx(2, rel=0.01)
    assert rounds.ratio("b").value == pytest.approx(0.5, rel=0.01)
    assert rounds.times("ref")[-1] > 1.03 * rounds.times("ref")[0]


def test_interval_of_a_ratio_is_that_of_welch():
    """Compared with scipy, on logarithms."""
    ours, theirs = [0.1, 0.11, 0.105, 0.12], [0.04, 0.042, 0.05]
    expected = stats.ttest_ind(np.log(ours), np.log(theirs), equal_var=False).confidence_interval(0.95)
    interval = Interval.of_ratio(ours, theirs)
    assert np.log([interval.low, interval.high]) == pytest.approx([expected.low, expected.high])


def test_disturbed_turn_is_repeated():
    """Every second turn takes ten times as long, because the program waits."""
    rounds = take_rounds({"ref": Program(0.04), "net": Program(1.0, 0.1, loads=[WAITING, QUIET])}, "ref")
    assert rounds.ratio("net").value == pytest.approx(2.5)
    assert rounds.times("net") == [0.1] * 3
    assert len(rounds.turns["net"]) == 6
    assert rounds.describe()["load"]["waited"] > 0.05


def test_what_stays_disturbed_says_so():
    rounds = take_rounds({"ref": Program(0.04), "net": Program(1.0, loads=[WAITING]), "other": Program(0.1)}, "ref")
    sentence = rounds.disturbance("net")
    assert sentence == (
        f"Disturbed in {rounds.count} of {rounds.count} rounds: a thread waited for a processor for 34% of the time."
    )
    assert rounds.ratio("net") is None and rounds.ratio("other").value == pytest.approx(2.5)
    assert rounds.describe()["limit_reached"] and 0.3 <= rounds.seconds < 3
    assert set(rounds.times("net")) == {1.0}


def test_disturbed_reference_leaves_no_ratio():
    rounds = take_rounds({"ref": Program(0.04, loads=[QUIET._replace(others=0.5)]), "net": Program(0.1)}, "ref")
    assert rounds.ratio("net") is None and rounds.ratio("ref") is None
    assert "other programs used 50% of the processors" in rounds.disturbance("ref")
    assert rounds.disturbance("net") == ""  # its own time is certain


def test_variation_without_a_known_reason_says_so():
    """A time that grows from round to round, as if the processor became hot."""
    rounds = take_rounds({"ref": Program(0.04), "net": Program(*(0.1 * 1.2**i for i in range(999)))}, "ref")
    assert rounds.ratio("net") is None
    assert "varies for an unknown reason" in rounds.disturbance("net") and " ms." in rounds.disturbance("net")


def test_ratio_that_varies_needs_many_rounds_or_has_no_value(monkeypatch):
    steps = [1.0, 1.05, 0.96, 1.04, 0.95]
    programs = {"ref": Program(0.04), "net": Program(*(0.1 * step for step in steps))}
    rounds = take_rounds(programs, "ref")
    assert rounds.count > 3 and rounds.ratio("net").width <= 1.10
    monkeypatch.setattr(module, "MAX_RATIO_WIDTH", 1.001)
    rounds = take_rounds(programs, "ref")
    assert rounds.ratio("net") is None
    assert "95% interval of the ratio to ref is 2.4" in rounds.disturbance("net")


def test_without_a_reference_there_are_no_ratios():
    rounds = take_rounds({"a": Program(0.1), "b": Program(0.2)}, None)
    assert rounds.ratio("a") is None and rounds.disturbance("a") == "" and rounds.count == 3


def test_limit_of_time_holds_within_the_first_round():
    rounds = take_rounds({"a": Program(0.1), "b": Program(0.2), "c": Program(0.3)}, "a", max_seconds=1e-6)
    assert (rounds.count, rounds.times("a"), rounds.times("c")) == (1, [0.1], [])
    assert rounds.disturbance("c") == "The limit of 1e-06 s ended the measurement, after 1 rounds."


@pytest.mark.parametrize(("seconds", "passes"), [(0.001, (20, 60)), (0.08, (1, 1))])
def test_short_passes_are_repeated_within_a_turn(seconds, passes):
    calls = []

    def run() -> None:
        calls.append(1)
        time.sleep(seconds)

    timed = TimedPass(run, LoadMeter())
    timed.take_turn()
    warm_up = len(calls)
    turn = timed.take_turn()
    low, high = passes
    assert low <= len(calls) - warm_up <= high + 1
    assert seconds <= turn.seconds < 3 * seconds
    assert turn.load.seconds >= 0.9 * min(module.TURN_SECONDS, seconds * (len(calls) - warm_up))
