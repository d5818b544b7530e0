"""Time several programs in rounds, so that a change of the machine's speed meets all of them, and compare their times.

In each round, each program takes a turn, in an order that is shuffled with a fixed seed, between two turns of the
reference. A turn that something else disturbed (`lkca.scoring.load`) is repeated, at once and in later rounds. Times of
the same rounds are compared, so that slow changes, such as that of the clock of a processor, meet both.
The rounds end when all intervals are narrow, or at a limit of time. What is still uncertain then has no ratio, but a
sentence that says why.
"""

import random
import timeit
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from math import exp, log
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from scipy import stats

from lkca.scoring.load import LIMITS, Load, LoadMeter

TURN_SECONDS = 0.05  # minimum duration of a turn
RETRY_SECONDS = 0.5  # a disturbed turn is repeated at once until its tries have taken this long
MAX_SECONDS = 20.0  # no turn starts later
MIN_ROUNDS = 3
CONFIDENCE, TRIM = 0.95, 0.2
MAX_RATIO_WIDTH, MAX_TIME_WIDTH = 1.10, 1.50  # upper / lower end of an interval that counts as narrow


class Turn(NamedTuple):
    """The time of a program in one turn, and what disturbed it."""

    seconds: float
    load: Load


class Interval(NamedTuple):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """The upper end divided by the lower one."""
        return self.high / self.low

    @classmethod
    def of(cls, values: list[float]) -> "Interval":
        """Return the geometric mean of at least two values and its interval of Student's t.

        Of five or more values, a fifth at each end counts less (trimmed mean with winsorized standard error), because
        the clock of a processor and the other threads of its cores change the time of single turns without a trace.
        """
        logs = [log(value) for value in values]
        share = int(TRIM * len(logs)) / len(logs) + 1e-9  # of a whole number of values
        low, high = stats.mstats.trimmed_mean_ci(logs, (share, share), alpha=1 - CONFIDENCE)
        return cls(exp(stats.mstats.trimmed_mean(logs, (share, share))), exp(low), exp(high))

    @classmethod
    def of_ratio(cls, numerator: list[float], denominator: list[float]) -> "Interval":
        """Return the ratio of two geometric means of at least two values, with Welch's t interval of the logarithms.

        Of five or more values, the ends count less, as in `of`.
        """
        means, errors, freedoms = [], [], []
        for values in (numerator, denominator):
            logs, num_trimmed = [log(value) for value in values], int(TRIM * len(values))
            share = num_trimmed / len(logs) + 1e-9
            means.append(float(stats.mstats.trimmed_mean(logs, (share, share))))
            errors.append(float(stats.mstats.trimmed_stde(logs, (share, share))) ** 2)
            freedoms.append(len(logs) - 2 * num_trimmed - 1)
        value, total = means[0] - means[1], sum(errors)
        terms = sum(error**2 / freedom for error, freedom in zip(errors, freedoms, strict=True))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, total**2 / terms)) * total**0.5 if terms else 0.0
        return cls(exp(value), exp(value - half), exp(value + half))


class TimedPass:
    """A pass of a program whose turns last long enough to be timed.

    Args:
        run: The pass.
        meter: What else the machine does.
        timer: Returns the time; waits for a GPU first.
    """

    def __init__(self, run: Callable[[], object], meter: LoadMeter, timer: Callable[[], float] = perf_counter) -> None:
        # Python's timer, because that of torch.utils.benchmark takes two further passes before each turn.
        self._timer, self._meter = timeit.Timer(run, timer=timer), meter

    @cached_property
    def _passes(self) -> int:
        """The number of passes of a turn; the first use warms the program up."""
        seconds = self._timer.timeit(1)
        if seconds < TURN_SECONDS:  # of which the first pass may be a large part
            seconds = self._timer.timeit(1)
        return max(1, round(TURN_SECONDS / seconds))

    def take_turn(self) -> Turn:
        """Return the seconds of a pass, after a warm-up if a pass is short."""
        if self._passes > 1:
            self._timer.timeit(1)  # the other programs have used the caches
        self._meter.restart()
        seconds = self._timer.timeit(self._passes)
        return Turn(seconds / self._passes, self._meter.read())


class Rounds:
    """The turns of several programs.

    Args:
        take_turn: Program -> function that takes a turn of it.
        reference: The program that the others are compared with; None for no comparison.
        max_seconds: The limit of time.

    Attributes:
        count: Number of rounds.
        seconds: Duration of all rounds.
        turns: Program -> its turns, also the disturbed ones.
    """

    def __init__(
        self, take_turn: Mapping[str, Callable[[], Turn]], reference: str | None, max_seconds: float = MAX_SECONDS
    ) -> None:
        self.reference, self.max_seconds, self.count, self.seconds = reference, max_seconds, 0, 0.0
        self.turns: dict[str, list[Turn]] = {name: [] for name in take_turn}
        self._take_turn, self._start = take_turn, perf_counter()
        self._times: dict[str, dict[int, list[float]]] = {name: {} for name in take_turn}  # undisturbed, by round

    def take(self, names: list[str]) -> None:
        """Let programs take their turns in this order, each between two turns of the reference."""
        self.count += 1
        self._try(self.reference)
        for name in names:
            if perf_counter() - self._start > self.max_seconds:
                break
            self._try(name)
            self._try(self.reference)
        self.seconds = perf_counter() - self._start

    def times(self, name: str) -> list[float]:
        """Return the seconds of all turns that were not disturbed; of all turns if the time cannot be quoted.

        There are none if the limit of time ended the rounds before the first turn.
        """
        uncertain = self._explain_time(name)
        return [turn.seconds for turn in self.turns[name] if uncertain or not turn.load.excess()]

    def ratio(self, name: str) -> Interval | None:
        """Return the time divided by that of the reference; None if one of the two or the ratio is uncertain."""
        if self.reference is None or self._explain_time(self.reference) or self.disturbance(name):
            return None
        return Interval(1.0, 1.0, 1.0) if name == self.reference else self._compute_ratio(name)

    def disturbance(self, name: str) -> str:
        """Return a sentence that says why the times of a program cannot be quoted; an empty one if they can."""
        if reason := self._explain_time(name):
            return reason
        if self.reference in (None, name) or self._explain_time(self.reference):
            return ""
        interval = self._compute_ratio(name)
        if interval is None:
            return f"In fewer than {MIN_ROUNDS} of {self.count} rounds, neither it nor {self.reference} was disturbed."
        if interval.width > MAX_RATIO_WIDTH:
            return (
                f"Its time varies for an unknown reason: in {self.count} rounds, the {CONFIDENCE:.0%} interval of the "
                f"ratio to {self.reference} is {interval.low:.3g} to {interval.high:.3g}."
            )
        return ""

    def describe(self) -> dict[str, Any]:
        """Return facts about the rounds: number, seconds, whether the limit of time ended them, and the mean load."""
        load = Load.mean([turn.load for turns in self.turns.values() for turn in turns])._asdict()
        return {
            "rounds": self.count,
            "seconds": round(self.seconds, 3),
            "limit_reached": bool(self.unsettled()),
            "load": {kind: round(share, 4) for kind, share in load.items() if kind in LIMITS},
        }

    def unsettled(self) -> list[str]:
        """Return the programs for which further rounds could help."""
        if self.reference and self._explain_time(self.reference):
            return [*self.turns]
        return [name for name in self.turns if self.disturbance(name)]

    def _compute_ratio(self, name: str) -> Interval | None:
        """Return the ratio from the rounds in which both had undisturbed turns; None if these are too few."""
        ours, theirs = self._times[name], self._times[self.reference or name]
        common = sorted(ours.keys() & theirs.keys())
        if len(common) < MIN_ROUNDS:
            return None
        return Interval.of_ratio(*([x for i in common for x in times[i]] for times in (ours, theirs)))

    def _try(self, name: str | None) -> float | None:
        """Let a program take turns until one is not disturbed, and return its seconds; None if all are."""
        if name is None:
            return None
        start = perf_counter()
        while True:
            turn = self._take_turn[name]()
            self.turns[name].append(turn)
            if not turn.load.excess():
                self._times[name].setdefault(self.count, []).append(turn.seconds)
                return turn.seconds
            if perf_counter() - start > RETRY_SECONDS:
                return None

    def _explain_time(self, name: str) -> str:
        """Return why the time of a program is uncertain, apart from that of the reference."""
        times = [median(turns) for turns in self._times[name].values()]
        if len(times) < MIN_ROUNDS:
            disturbed = [turn.load for turn in self.turns[name] if turn.load.excess()]
            if not disturbed:
                return f"The limit of {self.max_seconds:g} s ended the measurement, after {self.count} rounds."
            kind = Counter(kind for load in disturbed for kind in load.excess()).most_common(1)[0][0]
            reason = LIMITS[kind][1].format(getattr(Load.mean(disturbed), kind))
            return f"Disturbed in {self.count - len(times)} of {self.count} rounds: {reason}."
        interval = Interval.of(times)
        if interval.width > MAX_TIME_WIDTH:
            return (
                f"Its time varies for an unknown reason: in {len(times)} rounds, the {CONFIDENCE:.0%} interval is "
                f"{interval.low * 1e3:.3g} to {interval.high * 1e3:.3g} ms."
            )
        return ""


def take_rounds(
    take_turn: Mapping[str, Callable[[], Turn]], reference: str | None, max_seconds: float = MAX_SECONDS
) -> Rounds:
    """Let programs take turns until all times and ratios are certain, or until the limit of time.

    Args:
        take_turn: Program -> function that takes a turn of it.
        reference: The program that the others are compared with; None for no comparison.
        max_seconds: The limit of time: no turn starts later.
    """
    rounds, order, unsettled = Rounds(take_turn, reference, max_seconds), random.Random(0), [*take_turn]
    while unsettled and rounds.seconds < max_seconds:
        names = [name for name in unsettled if name != reference]
        order.shuffle(names)
        rounds.take(names)
        unsettled = rounds.unsettled()
    return rounds
