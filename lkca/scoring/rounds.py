"""Time several programs in rounds, so that a change of the machine's speed meets all of them, and compare their times.

In each round, each program takes a turn, in an order that is shuffled with a fixed seed, and the reference takes one
before every third of them. A turn that something else disturbed (`lkca.scoring.load`) is repeated, at once and in later
rounds. Times of the same rounds are compared, so that slow changes, such as that of the clock of a processor, meet
both.

The host of a virtual machine can slow one program down more than another for minutes, without a sign of it. The rounds
are therefore taken in two parts, some time apart, whose ratios must agree. The second part ends when all intervals are
narrow, or at a limit of time. What is still uncertain then has no ratio, but a sentence that says why.
"""

import random
import timeit
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from math import exp, inf, log
from statistics import geometric_mean, median
from time import perf_counter
from typing import Any, NamedTuple

from scipy import stats

from lkca.scoring.load import LIMITS, Load, LoadMeter

TURN_SECONDS = 0.05  # minimum duration of a turn
# Share of disturbed turns above which the others are not quoted either: another program has just used the caches
MAX_DISTURBED = 0.5
RETRY_SECONDS = 0.5  # a disturbed turn is repeated at once until its tries have taken this long
MIN_ROUNDS = (2, 1)  # of each part, without a disturbance
PROGRAMS_BETWEEN = 3  # at most so many take their turns between two turns of the reference
CONFIDENCE = 0.95
TRIM, MIN_TRIMMED = 0.2, 10  # share that is trimmed at each end; of fewer values, trimming would widen the interval
MAX_RATIO_WIDTH, MAX_TIME_WIDTH = 1.20, 1.50  # upper / lower end of an interval that counts as narrow
MAX_CHANGE = 1.20  # ratio of a part / ratio of the other one
CHANGE_ROUNDS = 3  # after so many rounds of the second part, further ones would not show that there is no change


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

        Of ten or more values, a fifth at each end counts less (trimmed mean with winsorized standard error), because
        the clock of a processor and the other threads of its cores change the time of single turns without a trace.
        """
        mean, error, freedom = _trim(values)
        return cls._around(mean, error, freedom)

    @classmethod
    def of_ratio(cls, numerator: list[float], denominator: list[float]) -> "Interval":
        """Return the ratio of two geometric means of at least two values, with Welch's t interval of the logarithms.

        Of ten or more values, the ends count less, as in `of`.
        """
        means, errors, freedoms = zip(_trim(numerator), _trim(denominator), strict=True)
        total = sum(error**2 for error in errors)
        terms = sum(error**4 / freedom for error, freedom in zip(errors, freedoms, strict=True))
        return cls._around(means[0] - means[1], total**0.5, total**2 / terms if terms else inf)

    @classmethod
    def _around(cls, mean: float, error: float, freedom: float) -> "Interval":
        """Return the interval of a mean of logarithms with this standard error."""
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
        return cls(exp(mean), exp(mean - half), exp(mean + half))


def _trim(values: list[float]) -> tuple[float, float, int]:
    """Return the trimmed mean of the logarithms of values, its standard error, and the degrees of freedom."""
    logs = [log(value) for value in values]
    trimmed = int(TRIM * len(logs)) if len(logs) >= MIN_TRIMMED else 0
    share = trimmed / len(logs) + 1e-9  # of a whole number of values
    mean, error = stats.mstats.trimmed_mean(logs, (share, share)), stats.mstats.trimmed_stde(logs, (share, share))
    return float(mean), float(error), len(logs) - 2 * trimmed - 1


class TimedPass:
    """A pass of a program whose turns last long enough to be timed.

    Args:
        run: The pass. It is run once or twice at once, as a warm-up.
        meter: What else the machine does.
        timer: Returns the time; waits for a GPU first.
    """

    def __init__(self, run: Callable[[], object], meter: LoadMeter, timer: Callable[[], float] = perf_counter) -> None:
        # Python's timer, because that of torch.utils.benchmark takes two further passes before each turn.
        self._timer, self._meter = timeit.Timer(run, timer=timer), meter
        seconds = self._timer.timeit(1)
        if seconds < TURN_SECONDS:  # the first pass may take much longer than the next one
            seconds = self._timer.timeit(1)
        self._passes = max(1, round(TURN_SECONDS / seconds))  # of a turn

    def take_turn(self) -> Turn:
        """Return the seconds of a pass, after a warm-up if a pass is short."""
        if self._passes > 1:
            self._timer.timeit(1)  # the other programs have used the caches
        self._meter.restart()
        seconds = self._timer.timeit(self._passes)
        return Turn(seconds / self._passes, self._meter.read())


class Rounds:
    """The turns of several programs, in two parts.

    A copy that another process has pickled goes on where the first one ended, so that each part can have a process.

    Args:
        names: The programs.
        reference: The program that the others are compared with; None for no comparison.
        max_seconds: The limit of time for both parts: no turn starts later.

    Attributes:
        count: Number of rounds.
        seconds: Duration of all rounds.
        turns: Program -> its turns, also the disturbed ones.
    """

    def __init__(self, names: Iterable[str], reference: str | None, max_seconds: float) -> None:
        self.reference, self.max_seconds, self.count, self.seconds = reference, max_seconds, 0, 0.0
        self.turns: dict[str, list[Turn]] = {name: [] for name in names}
        self._times: dict[str, dict[int, list[float]]] = {name: {} for name in self.turns}  # undisturbed, by round
        self._ends: list[int] = []  # the number of rounds at the end of each part

    def take_part(self, take_turn: Mapping[str, Callable[[], Turn]]) -> None:
        """Let the programs take the turns of the next part.

        The first part ends when each has two rounds without a disturbance, the second one when all times and ratios are
        certain; both end at the limit of time.

        Args:
            take_turn: Program -> function that takes a turn of it.
        """
        before, start, order = self.seconds, perf_counter(), random.Random(len(self._ends))
        self._ends.append(self.count)
        limit = self.max_seconds * len(self._ends) / len(MIN_ROUNDS)
        names = [*self.turns]
        while names and self.seconds < limit:
            order.shuffle(names)
            self.count, self._ends[-1] = self.count + 1, self.count + 1
            others = [name for name in names if name != self.reference]
            for i, name in enumerate(others):
                if i % PROGRAMS_BETWEEN == 0:
                    self._try(self.reference, take_turn)
                if before + perf_counter() - start > limit:
                    break
                self._try(name, take_turn)
            else:
                self._try(self.reference, take_turn)
            self.seconds = before + perf_counter() - start
            names = self.unsettled()

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
        if self._has_few(self._common_rounds(name)):
            return f"In too few of {self.count} rounds, neither it nor {self.reference} was disturbed."
        if len(self._ends) < len(MIN_ROUNDS):
            return ""
        if change := self._explain_change(name):
            return change
        interval = self._compute_ratio(name)
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
        """Return the programs for which further rounds of this part could help."""
        if self.reference and self._explain_time(self.reference):
            return [*self.turns]
        return [name for name in self.turns if self.disturbance(name) and not self._explain_change(name, CHANGE_ROUNDS)]

    def _parts(self) -> list[range]:
        """Return the numbers of the rounds of each part."""
        return [range(start, end) for start, end in pairwise([0, *self._ends])]

    def _has_few(self, rounds: Iterable[int]) -> bool:
        """Return whether a part has too few of these rounds."""
        numbers = [*rounds]
        return any(
            sum(i in part for i in numbers) < least for part, least in zip(self._parts(), MIN_ROUNDS, strict=False)
        )

    def _common_rounds(self, name: str) -> list[int]:
        """Return the rounds in which neither a program nor the reference was disturbed."""
        return sorted(self._times[name].keys() & self._times[self.reference or name].keys())

    def _compute_ratio(self, name: str) -> Interval:
        """Return the ratio from all common rounds."""
        return Interval.of_ratio(*self._common_times(name, self._common_rounds(name)))

    def _common_times(self, name: str, rounds: list[int]) -> tuple[list[float], list[float]]:
        """Return the times of a program and of the reference in these rounds."""
        ours, theirs = self._times[name], self._times[self.reference or name]
        return [x for i in rounds for x in ours[i]], [x for i in rounds for x in theirs[i]]

    def _explain_change(self, name: str, rounds: int = 1) -> str:
        """Return a sentence that says how the ratio changed from the first part to the second one.

        Args:
            name: The program.
            rounds: The number of common rounds of the second part; with fewer, there is no sentence.
        """
        parts = [[i for i in self._common_rounds(name) if i in part] for part in self._parts()]
        if len(parts) < len(MIN_ROUNDS) or len(parts[-1]) < rounds or self._has_few(self._common_rounds(name)):
            return ""
        ours, theirs = zip(*(self._common_times(name, part) for part in parts), strict=True)
        first, second = (geometric_mean(a) / geometric_mean(b) for a, b in zip(ours, theirs, strict=True))
        if max(first / second, second / first) <= MAX_CHANGE:
            return ""
        return (
            f"Its ratio to {self.reference} changed for an unknown reason, from {first:.3g} in the first part of the "
            f"measurement to {second:.3g} in the second one."
        )

    def _try(self, name: str | None, take_turn: Mapping[str, Callable[[], Turn]]) -> None:
        """Let a program take turns until one is not disturbed, or until the tries have taken too long."""
        if name is None:
            return
        start = perf_counter()
        while True:
            turn = take_turn[name]()
            self.turns[name].append(turn)
            if not turn.load.excess():
                self._times[name].setdefault(self.count - 1, []).append(turn.seconds)
                return
            if perf_counter() - start > RETRY_SECONDS:
                return

    def _explain_time(self, name: str) -> str:
        """Return why the time of a program is uncertain, apart from that of the reference."""
        turns, few = self.turns[name], self._has_few(self._times[name])
        disturbed = [turn.load for turn in turns if turn.load.excess()]
        if disturbed and (few or len(disturbed) > MAX_DISTURBED * len(turns)):
            kind = Counter(kind for load in disturbed for kind in load.excess()).most_common(1)[0][0]
            reason = LIMITS[kind][1].format(getattr(Load.mean(disturbed), kind))
            return f"Disturbed in {len(disturbed)} of {len(turns)} turns: {reason}."
        if few:
            return f"The limit of {self.max_seconds:g} s ended the measurement too early."
        times = [median(seconds) for seconds in self._times[name].values()]
        interval = Interval.of(times)
        if len(self._ends) == len(MIN_ROUNDS) and interval.width > MAX_TIME_WIDTH:
            return (
                f"Its time varies for an unknown reason: in {len(times)} rounds, the {CONFIDENCE:.0%} interval is "
                f"{interval.low * 1e3:.3g} to {interval.high * 1e3:.3g} ms."
            )
        return ""
