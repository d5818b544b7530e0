"""Rounds of turns, on programs whose times and disturbances are known."""

import pickle
import re
import time
from collections.abc import Callable
from itertools import cycle

import numpy as np
import pytest
from scipy import stats

from lkca.scoring import rounds as module
from lkca.scoring.load import LoadMeter
from lkca.scoring.rounds import Interval, Rounds, TimedPass, Turn
from tests.test_load import QUIET

WAITING = QUIET._replace(waited=0.34)


def take_rounds(programs: dict[str, Callable[[], Turn]], reference: str | None, max_seconds: float = 0.6) -> Rounds:
    """Let programs take turns in both parts."""
    rounds = Rounds(programs, reference, max_seconds)
    rounds.take_part(programs)
    rounds.take_part(programs)
    return rounds


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
    """Yuen's interval of the values without two at each end: of -2d, -2d, -d, -d, 0, 0, d, d, 2d and 100d.

    The winsorized values -d (four times), 0 (twice) and d (four times) have the variance 8 d^2 / 9; the standard error
    is its root / (0.6 * sqrt(10)); t with 5 degrees of freedom has the 97.5 % quantile 2.5706.
    """
    interval = Interval.of([10 * 1.01**power for power in (-2, -1, 100, 1, 0, -2, -1, 0, 1, 2)])
    assert interval.value == pytest.approx(10)
    assert interval.high / interval.value == pytest.approx(1.01 ** (2.5706 * (8 / 9 / 10) ** 0.5 / 0.6), rel=1e-5)


def test_ratios_are_those_of_the_times():
    rounds = take_rounds({"ref": Program(0.04), "slow": Program(0.1), "fast": Program(0.001)}, "ref")
    assert rounds.ratio("slow") == pytest.approx((2.5, 2.5, 2.5))
    assert rounds.ratio("fast").value == pytest.approx(0.025)
    assert rounds.ratio("ref") == (1, 1, 1)
    assert rounds.times("slow") == [0.1] * 3
    assert rounds.count == 3 and not rounds.describe()["limit_reached"]
    assert [rounds.disturbance(name) for name in rounds.turns] == ["", "", ""]


def test_all_take_turns_in_each_round_between_turns_of_the_reference():
    log: list[str] = []
    take_rounds({name: Program(0.1, name=name, log=log) for name in "abcdef"}, "a")
    orders = ["".join(log[i : i + 8]) for i in range(0, len(log), 8)]
    assert len(orders) == 3
    assert all(order[0] + order[4] + order[7] == "aaa" for order in orders)
    assert all(sorted(order.replace("a", "")) == ["b", "c", "d", "e", "f"] for order in orders)
    assert len(set(orders)) > 1  # the order is different


def test_part_goes_on_in_another_process():
    """What a process returns is a pickled copy."""
    programs = {"ref": Program(0.04), "net": Program(0.1)}
    rounds = Rounds(programs, "ref", 1.0)
    rounds.take_part(programs)
    assert rounds.count == 2 and rounds.disturbance("net") == ""
    rounds = pickle.loads(pickle.dumps(rounds))
    rounds.take_part(programs)
    assert rounds.count == 3 and rounds.ratio("net").value == pytest.approx(2.5)


def test_ratio_that_differs_between_the_parts_has_no_value():
    """The host of a virtual machine slows the network down, but not the reference, and nothing tells it."""
    first, second = {"ref": Program(0.04), "net": Program(0.1)}, {"ref": Program(0.04), "net": Program(0.13)}
    rounds = Rounds(first, "ref", 1.0)
    rounds.take_part(first)
    rounds.take_part(second)
    assert rounds.ratio("net") is None
    assert rounds.disturbance("net") == (
        "Its ratio to ref changed for an unknown reason, from 2.5 in the first part of the measurement to 3.25 in the "
        "second one."
    )
    assert rounds.count == 5  # further rounds would not help


def test_what_is_certain_takes_no_further_turn():
    """Of two programs, one varies by 8 % to both sides, and has a narrow interval only after many rounds."""
    log: list[str] = []
    noisy = Program(0.10, 0.115, 0.10, 0.085, name="noisy", log=log)
    rounds = take_rounds({"ref": Program(0.04), "exact": Program(0.1, name="exact", log=log), "noisy": noisy}, "ref")
    assert log.count("exact") == 3 < log.count("noisy") == rounds.count
    assert rounds.ratio("noisy").width <= 1.20


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


def test_if_most_turns_are_disturbed_the_others_are_not_quoted_either():
    """Two of three turns are disturbed, so that each round has one that is not."""
    rounds = take_rounds({"ref": Program(0.04), "net": Program(1, 1, 0.1, loads=[WAITING, WAITING, QUIET])}, "ref")
    assert rounds.ratio("net") is None and re.match("Disturbed in .* turns: a thread waited", rounds.disturbance("net"))


def test_what_stays_disturbed_says_so():
    rounds = take_rounds({"ref": Program(0.04), "net": Program(1.0, loads=[WAITING]), "other": Program(0.1)}, "ref")
    sentence, turns = rounds.disturbance("net"), len(rounds.turns["net"])
    assert sentence == (f"Disturbed in {turns} of {turns} turns: a thread waited for a processor for 34% of the time.")
    assert rounds.ratio("net") is None and rounds.ratio("other").value == pytest.approx(2.5)
    assert rounds.describe()["limit_reached"] and 0.6 <= rounds.seconds < 3
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
    steps = [1.0, 1.1, 0.92, 1.08, 0.9]
    programs = {"ref": Program(0.04), "net": Program(*(0.1 * step for step in steps))}
    rounds = take_rounds(programs, "ref")
    assert rounds.count > 3 and rounds.ratio("net").width <= 1.20
    monkeypatch.setattr(module, "MAX_RATIO_WIDTH", 1.001)
    rounds = take_rounds(programs, "ref")
    assert rounds.ratio("net") is None
    assert "95% interval of the ratio to ref is 2." in rounds.disturbance("net")


def test_without_a_reference_there_are_no_ratios():
    rounds = take_rounds({"a": Program(0.1), "b": Program(0.2)}, None)
    assert rounds.ratio("a") is None and rounds.disturbance("a") == "" and rounds.count == 3


def test_limit_of_time_holds_within_the_first_round():
    rounds = take_rounds({"a": Program(0.1), "b": Program(0.2), "c": Program(0.3)}, "a", max_seconds=1e-6)
    assert (rounds.count, rounds.times("a"), rounds.times("c")) == (1, [0.1], [])
    assert rounds.disturbance("c") == "The limit of 1e-06 s ended the measurement too early."


@pytest.mark.parametrize(("seconds", "passes"), [(0.001, (20, 60)), (0.08, (1, 1))])
def test_short_passes_are_repeated_within_a_turn(seconds, passes):
    calls = []

    def run() -> None:
        calls.append(1)
        time.sleep(seconds)

    timed = TimedPass(run, LoadMeter())
    warm_up = len(calls)
    turn = timed.take_turn()
    low, high = passes
    assert low <= len(calls) - warm_up <= high + 1
    assert seconds <= turn.seconds < 3 * seconds
    assert turn.load.seconds >= 0.9 * min(module.TURN_SECONDS, seconds * (len(calls) - warm_up))
