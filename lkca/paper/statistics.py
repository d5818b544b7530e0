"""Uncertainty of a number: intervals over test images, seeds and spatial blocks.

A score in a table is a mean over a few test images, which are the same for every method, and over the seeds of the
training. Both are random samples: other test images or other seeds would give another mean. An `Uncertain` carries a
number through arithmetic together with the contribution of each image and each seed, so that the difference of two
methods is paired over images.

Intervals use Student's t, because a percentile bootstrap is too narrow for 3 to 8 images: for three, its 95 % intervals
contain the truth in less than 85 % of cases. The degrees of freedom of several sources of randomness are combined by
Satterthwaite's formula.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from lkca.errors import DataError, StaleInput
from lkca.scoring.metrics import SCORES

CONFIDENCE_LEVEL = 0.95
MIN_IMAGES = 3  # test images that an interval needs; two would leave one degree of freedom, where Student's t is 12.7
RESAMPLES = 1999  # of the bootstrap
NEGLIGIBLE = 1e-12  # a smaller contribution is a rounding error: it has cancelled out

RunScores = Mapping[str, Any]  # the content of a scores.json
ImageScore = str | Callable[[Mapping[str, Any]], float]  # key of a number of an image, or a function of the image


class VarianceComponent(NamedTuple):
    """The contribution of one source of randomness to a number.

    Args:
        contributions: Contribution of each member of the source, such as each image; the sum of their squares is the
            variance that the source adds.
        df: Degrees of freedom; 0 if there are too few members to know their spread.
        sign: 1 if the variance is added, -1 if it is subtracted.
    """

    contributions: np.ndarray
    df: int
    sign: int


class Uncertain:
    """A number with its uncertainty, propagated linearly (the delta method, exact for sums and differences).

    Args:
        value: The number.
        components: Source of randomness -> its contribution. A source is a tuple that begins with "images", "seeds" or
            "both"; contributions from the same source are added with their signs.
    """

    def __init__(
        self, value: float, components: Mapping[tuple[Hashable, ...], VarianceComponent] | None = None
    ) -> None:
        self.value, self.components = float(value), dict(components or {})

    def _combine(
        self, value: float, other: Uncertain | float, derivative: float, other_derivative: float = 0.0
    ) -> Uncertain:
        """Return a function of this number and another one, from its value and its derivatives by each of them."""
        components = {
            source: component._replace(contributions=derivative * component.contributions)
            for source, component in self.components.items()
        }
        if isinstance(other, Uncertain):
            for source, component in other.components.items():
                present = components[source].contributions if source in components else 0
                total = other_derivative * component.contributions + present
                components[source] = component._replace(contributions=total)
        return Uncertain(value, components)

    @property
    def missing_reasons(self) -> frozenset[str]:
        """Why there is no interval, such as "one seed"; empty if there is one."""
        return frozenset(
            _describe_few(str(source[0]), len(component.contributions))
            for source, component in self.components.items()
            if component.df == 0 and np.abs(component.contributions).max() > NEGLIGIBLE
        )

    def __add__(self, other: Uncertain | float) -> Uncertain:
        return self._combine(self.value + get_value(other), other, 1.0, 1.0)

    def __sub__(self, other: Uncertain | float) -> Uncertain:
        return self._combine(self.value - get_value(other), other, 1.0, -1.0)

    def __mul__(self, other: Uncertain | float) -> Uncertain:
        return self._combine(self.value * get_value(other), other, get_value(other), self.value)

    def __truediv__(self, other: Uncertain | float) -> Uncertain:
        derivatives = 1 / get_value(other), -self.value / get_value(other) ** 2
        return self._combine(self.value / get_value(other), other, *derivatives)

    def __pow__(self, power: float) -> Uncertain:
        return self._combine(self.value**power, 0, power * self.value ** (power - 1))

    def __neg__(self) -> Uncertain:
        return self * -1

    def __rsub__(self, other: float) -> Uncertain:
        return -self + other

    def __rtruediv__(self, other: float) -> Uncertain:
        return Uncertain(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self) -> Uncertain:
        return self if self.value >= 0 else -self

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def log10(self) -> Uncertain:
        """Return the decimal logarithm."""
        return self._combine(math.log10(self.value), 0, 1 / (self.value * math.log(10)))

    def on_these_images(self) -> Uncertain:
        """Return the number with its uncertainty over seeds only, as if the test images were not random."""
        seeds = {source: component for source, component in self.components.items() if source[0] == "seeds"}
        return Uncertain(self.value, seeds)

    def standard_error_and_df(self) -> tuple[float, float]:
        """Return the standard error and its degrees of freedom; (0, infinity) if nothing is random.

        Source:
            The variance of a mean over random images and random seeds: the mean squares of images and of seeds minus
            that of their interaction, divided by their number, but not less than the largest of these. Degrees of
            freedom: Satterthwaite 1946, from the sources whose variance is added.
        """
        variances = [
            (component.sign * float(component.contributions @ component.contributions), component.df)
            for component in self.components.values()
            if component.df
        ]
        largest = max((variance for variance, _ in variances), default=0.0)
        if largest <= 0:
            return 0.0, math.inf
        total = max(sum(variance for variance, _ in variances), largest)
        added = [(variance, df) for variance, df in variances if variance > 0]
        df = sum(variance for variance, _ in added) ** 2 / sum(variance**2 / df for variance, df in added)
        return math.sqrt(total), df

    def interval(self, level: float = CONFIDENCE_LEVEL) -> tuple[float, float] | None:
        """Return the confidence interval by Student's t.

        Returns:
            (low, high), both the value itself if nothing is random; None if there are too few data for an interval, for
            the reasons in `missing_reasons`.
        """
        if self.missing_reasons:
            return None
        error, df = self.standard_error_and_df()
        half = error * float(stats.t.ppf((1 + level) / 2, df)) if error else 0.0
        return self.value - half, self.value + half

    def p_value_greater(self) -> float:
        """Return the one-sided p-value of "the number is greater than 0"; 1 if there are too few data."""
        if self.missing_reasons:
            return 1.0
        error, df = self.standard_error_and_df()
        return float(stats.t.sf(self.value / error, df)) if error else float(self.value <= 0)


def get_value(number: Uncertain | float) -> float:
    """Return a number without its uncertainty."""
    return number.value if isinstance(number, Uncertain) else float(number)


class Summary(NamedTuple):
    """A score of one method, as a table shows it.

    Args:
        mean: Mean over the seeds of the mean over the test images.
        std: Sample standard deviation over the seeds; None for one seed.
        interval: Confidence interval of the mean over test images and seeds, without impossible values; None if there
            are too few of them.
        missing_reasons: Why there is no interval; empty if there is one.
    """

    mean: float
    std: float | None
    interval: tuple[float, float] | None
    missing_reasons: frozenset[str]


def summarize(runs: Sequence[RunScores], name: str) -> Summary:
    """Return the mean of a score with its spread and its interval, all computed from the scores of the images.

    Args:
        runs: scores.json of one (scene, scale, model), one for each seed.
        name: Name of the score.

    Raises:
        DataError: If a score is not a finite number.
        StaleInput: If the runs have different test images.
    """
    estimate = estimate_score(runs, name)
    means = seed_means(runs, name)
    std = statistics.stdev(means) if len(means) > 1 else None
    interval = estimate.interval()
    if interval:  # Student's t knows no limits; without impossible values the interval contains the truth as often
        low, high = np.clip(interval, *SCORES[name].limits).tolist()
        interval = low, high
    return Summary(statistics.mean(means), std, interval, estimate.missing_reasons)


def seed_means(runs: Sequence[RunScores], name: str) -> list[float]:
    """Return the mean of a score over the test images, for each run."""
    return [float(np.mean([image["scores"][name] for image in run["images"]])) for run in runs]


def estimate_score(runs: Sequence[RunScores], name: ImageScore) -> Uncertain:
    """Return a score of one method: its mean over test images and seeds.

    Args:
        runs: scores.json of one (scene, scale, model), one for each seed.
        name: Name of a score, of another number that scores.json has for each image (mae, mae_edges), or a function
            of the entry of an image there.

    Raises:
        DataError: If a score is not a finite number.
        StaleInput: If the runs have different test images.
    """
    first = runs[0]
    label = f"{first['scene']} x{first['scale']} {first['model']}"
    windows = tuple(tuple(image["window"]) for image in first["images"])
    for run in runs:
        if tuple(tuple(image["window"]) for image in run["images"]) != windows:
            raise StaleInput(f"the seeds of {label} have different test images: run snakemake again.")
    table = np.array([[_read_score(image, name) for image in run["images"]] for run in runs], float)
    if not np.isfinite(table).all():
        raise DataError(f"a score of {label} is NaN or infinite: delete its scores.json and run snakemake again.")
    return estimate_mean(
        table,
        images=(first["scene"], windows),
        seeds=(first["scene"], first["scale"], first["model"]) if first["weights_sha256"] else None,
    )


def _read_score(image: Mapping[str, Any], name: ImageScore) -> float:
    if callable(name):
        return name(image)
    return image["scores"][name] if name in image["scores"] else image[name]


def estimate_mean(table: np.ndarray, images: Hashable | None, seeds: Hashable | None) -> Uncertain:
    """Return the mean of a table with its uncertainty.

    Args:
        table: (seeds, images), a number for each seed and image.
        images: Name of the images: numbers with the same name are paired over images. None if the images are not
            random, so that the result is about exactly these images.
        seeds: Name of the seeds: numbers with the same name are paired over seeds. None for a method without training,
            where all seeds have the same numbers.
    """
    repeats, count = table.shape
    total = table.mean()
    components: dict[tuple[Hashable, ...], VarianceComponent] = {}
    by_image, by_seed = table.mean(0) - total, table.mean(1) - total
    same_numbers = table.tobytes()  # an unknown spread cancels only in the difference of a number from itself
    if images is not None and count < MIN_IMAGES:
        components["images", images, same_numbers] = VarianceComponent(np.full(count, 1 / count), 0, 1)
    elif images is not None:
        components["images", images] = VarianceComponent(by_image / math.sqrt(count * (count - 1)), count - 1, 1)
    if seeds is not None and repeats == 1:
        components["seeds", seeds, same_numbers] = VarianceComponent(np.ones(1), 0, 1)
    elif seeds is not None:
        components["seeds", seeds] = VarianceComponent(by_seed / math.sqrt(repeats * (repeats - 1)), repeats - 1, 1)
        if images is not None and count >= MIN_IMAGES:  # both of the above contain the interaction: subtract it once
            interaction = table - total - by_image - by_seed[:, None]
            df = (count - 1) * (repeats - 1)
            contributions = (interaction / math.sqrt(df * count * repeats)).ravel()
            components["both", seeds, images] = VarianceComponent(contributions, df, -1)
    return Uncertain(total, components)


def _describe_few(source: str, members: int) -> str:
    return "one seed" if source == "seeds" else f"{members} test image{'s' * (members > 1)}"


def pseudovalues(runs: Sequence[RunScores], name: str) -> np.ndarray:
    """Return the jackknife pseudovalues of a score: one number for each spatial block, whose mean is the score.

    Args:
        runs: scores.json of one (scene, scale, model), one for each seed; seeds are averaged.
        name: Name of the score.

    Returns:
        (images * blocks,), NaN for an image that has no score without one of its blocks.

    Source:
        Tukey's jackknife pseudovalues, shifted so that their mean over an image is that image's score.
    """
    images = []
    for i in range(len(runs[0]["images"])):
        whole = np.mean([run["images"][i]["scores"][name] for run in runs])
        without = np.array([run["images"][i]["without_block"][name] for run in runs], float).mean(0)  # None: NaN
        images.append(whole + (len(without) - 1) * (without.mean() - without))
    return np.concatenate(images)


def block_intervals(values: np.ndarray, level: float = CONFIDENCE_LEVEL) -> np.ndarray:
    """Return bootstrap intervals of means over spatial blocks; all rows are resampled by the same blocks.

    These intervals show the uncertainty of a number for the ground in these images. They say nothing about other
    images, and they are a little too narrow, because neighbouring blocks are similar.

    Args:
        values: (numbers, blocks), pseudovalues, or differences between those of two methods.
        level: Confidence level.

    Returns:
        (numbers, 2), low and high: bias-corrected and accelerated (BCa). The same input gives the same intervals.
    """
    means = values.mean(-1)
    result = np.stack([means, means], -1)
    varies = np.ptp(values, axis=-1) > 1e-12 * np.abs(means)  # the bootstrap of equal values is undefined
    if varies.any():
        interval = stats.bootstrap(
            (values[varies],),
            np.mean,
            axis=-1,
            n_resamples=RESAMPLES,
            confidence_level=level,
            method="BCa",
            batch=200,
            rng=np.random.default_rng(0),
        ).confidence_interval
        result[varies] = np.stack([interval.low, interval.high], -1)
    return result
