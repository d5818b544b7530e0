"""How sure a number is: intervals over test images, seeds and spatial blocks.

A table's score is a mean over the same few test images for every method and over the seeds of its training. Both were
drawn by chance: other images of such a scene, other random numbers. `Quantity` carries a number together with what each
image and each seed contributes to it through arithmetic, so that the difference of two methods is paired over images.

With 3 to 8 images a percentile bootstrap is too narrow (tests/test_statistics.py measures it), so Student's t is taken;
the degrees of freedom of several sources together are Satterthwaite's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from lkca.errors import LkcaError

LEVEL = 0.95
FEWEST = 3  # test images that carry an interval: two have one degree of freedom, a factor of 12.7
RESAMPLES = 1999
ROUNDING = 1e-12  # a contribution below this has cancelled


class Part(NamedTuple):
    """What one source of chance does to a number."""

    each: np.ndarray  # contribution of each of its members: their squares add up to its share of the variance
    df: int  # degrees of freedom; 0 where there are too few members to tell their spread
    sign: int  # of that share


class Quantity:
    """A number with its uncertainty, propagated linearly (the delta method, exact for sums and differences).

    Args:
        value: The number.
        parts: Source of chance, a tuple that begins with "images", "seeds" or "both" -> what it does.
    """

    def __init__(self, value: float, parts: Mapping[tuple, Part] | None = None) -> None:
        self.value, self.parts = float(value), dict(parts or {})

    def _joined(self, value: float, other: Quantity | float, mine: float, its: float = 0.0) -> Quantity:
        """A function of this quantity and another, by its derivatives with respect to both."""
        parts = {source: part._replace(each=mine * part.each) for source, part in self.parts.items()}
        if isinstance(other, Quantity):
            for source, part in other.parts.items():
                both = its * part.each + (parts[source].each if source in parts else 0)
                parts[source] = part._replace(each=both)
        return Quantity(value, parts)

    @property
    def unknown(self) -> frozenset[str]:
        """Why its spread is not known, in words; empty where it is."""
        missing = [(source, part.each) for source, part in self.parts.items() if part.df == 0]
        return frozenset(_too_few(source[0], len(each)) for source, each in missing if np.abs(each).max() > ROUNDING)

    def __add__(self, other: Quantity | float) -> Quantity:
        return self._joined(self.value + number(other), other, 1.0, 1.0)

    def __sub__(self, other: Quantity | float) -> Quantity:
        return self._joined(self.value - number(other), other, 1.0, -1.0)

    def __mul__(self, other: Quantity | float) -> Quantity:
        return self._joined(self.value * number(other), other, number(other), self.value)

    def __truediv__(self, other: Quantity | float) -> Quantity:
        return self._joined(self.value / number(other), other, 1 / number(other), -self.value / number(other) ** 2)

    def __pow__(self, power: float) -> Quantity:
        return self._joined(self.value**power, 0, power * self.value ** (power - 1))

    def __neg__(self) -> Quantity:
        return self * -1

    def __rsub__(self, other: float) -> Quantity:
        return -self + other

    def __rtruediv__(self, other: float) -> Quantity:
        return self**-1 * other

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self) -> Quantity:
        return self if self.value >= 0 else -self

    def log10(self) -> Quantity:
        """Its decimal logarithm."""
        return self._joined(math.log10(self.value), 0, 1 / (self.value * math.log(10)))

    def on_these_images(self) -> Quantity:
        """The same number about these test images and no others: only seeds are left to chance."""
        return Quantity(self.value, {source: part for source, part in self.parts.items() if source[0] == "seeds"})

    def spread(self) -> tuple[float, float]:
        """Standard error and degrees of freedom; (0, infinity) where nothing is left to chance.

        Source:
            The variance of a mean over images and seeds, both random: mean squares of images and of seeds less that of
            what they have together, divided by their number, but not less than the largest of these. Degrees of
            freedom: Satterthwaite 1946, of the sources that add to it.
        """
        found = [(part.sign * float(part.each @ part.each), part.df) for part in self.parts.values() if part.df]
        largest = max((share for share, _ in found), default=0.0)
        if largest <= 0:
            return 0.0, math.inf
        variance = max(sum(share for share, _ in found), largest)
        added = [(share, df) for share, df in found if share > 0]
        df = sum(share for share, _ in added) ** 2 / sum(share**2 / df for share, df in added)
        return math.sqrt(variance), df

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """The confidence interval, by Student's t.

        Returns:
            (low, high), both the value itself where nothing is left to chance; None where the data cannot carry an
            interval, for the reasons in `unknown`.
        """
        if self.unknown:
            return None
        error, df = self.spread()
        half = error * stats.t.ppf((1 + level) / 2, df) if error else 0.0
        return self.value - half, self.value + half

    def p_not_above(self) -> float:
        """How probable a value this large would be if the truth were 0 or less (one-sided); 1 where it is unknown."""
        if self.unknown:
            return 1.0
        error, df = self.spread()
        return float(stats.t.sf(self.value / error, df)) if error else float(self.value <= 0)


def number(value: Quantity | float) -> float:
    """The value of a quantity; a plain number stays."""
    return value.value if isinstance(value, Quantity) else float(value)


def score(runs: Sequence[Mapping[str, Any]], name: str | Callable[[Mapping[str, Any]], float]) -> Quantity:
    """A score of one method: its mean over test images and seeds.

    Args:
        runs: scores.json of one (scene, scale, model), one for each seed.
        name: One of the six scores, another number that scores.json has for each image (mae, mae_edges), or a
            function of an image's entry there.

    Raises:
        LkcaError: If the runs have not the same test images.
    """
    first = runs[0]
    windows = tuple(tuple(image["window"]) for image in first["images"])
    for run in runs:
        if tuple(tuple(image["window"]) for image in run["images"]) != windows:
            raise LkcaError(
                f"the seeds of {first['scene']} x{first['scale']} {first['model']} have different test images: "
                "run snakemake again."
            )

    def of(image: Mapping[str, Any]) -> float:
        if callable(name):
            return name(image)
        return image["scores"][name] if name in image["scores"] else image[name]

    table = np.array([[of(image) for image in run["images"]] for run in runs], float)
    if not np.isfinite(table).all():
        raise LkcaError(f"{first['scene']} x{first['scale']} {first['model']}: a score is no number: score it again.")
    return mean(
        table,
        images=(first["scene"], windows),
        seeds=(first["scene"], first["scale"], first["model"]) if first["weights_sha256"] else None,
    )


def mean(table: np.ndarray, images: Any | None, seeds: Any | None) -> Quantity:
    """The mean of a table (seeds, images) as a quantity.

    Args:
        table: A number for each seed and image.
        images: What the images are called: quantities with the same name are paired over them. None where they are
            not left to chance: the number is about these images.
        seeds: What the seeds are called; None for a method without chance, whose seeds are all equal.
    """
    repeats, count = table.shape
    total, parts, these = table.mean(), {}, table.tobytes()  # what is unknown cancels between the same numbers alone
    by_image, by_seed = table.mean(0) - total, table.mean(1) - total
    if images is not None and count < FEWEST:
        parts["images", images, these] = Part(np.full(count, 1 / count), 0, 1)
    elif images is not None:
        parts["images", images] = Part(by_image / math.sqrt(count * (count - 1)), count - 1, 1)
    if seeds is not None and repeats == 1:
        parts["seeds", seeds, these] = Part(np.ones(1), 0, 1)
    elif seeds is not None:
        parts["seeds", seeds] = Part(by_seed / math.sqrt(repeats * (repeats - 1)), repeats - 1, 1)
        if images is not None and count >= FEWEST:  # what both have together is in each of the above: once too often
            rest = table - total - by_image - by_seed[:, None]
            df = (count - 1) * (repeats - 1)
            parts["both", seeds, images] = Part((rest / math.sqrt(df * count * repeats)).ravel(), df, -1)
    return Quantity(total, parts)


def _too_few(source: str, members: int) -> str:
    return "one seed" if source == "seeds" else f"{members} test image{'s' * (members > 1)}"


def influence(runs: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """What each spatial block of the test images contributes to a score: one number a block, whose mean is the score.

    Args:
        runs: scores.json of one (scene, scale, model), one for each seed; seeds are averaged.
        name: One of the six scores.

    Source:
        Tukey's jackknife pseudo-values, shifted so that their mean over an image is that image's score.
    """
    images = []
    for i in range(len(runs[0]["images"])):
        whole = np.mean([run["images"][i]["scores"][name] for run in runs])
        without = np.array([run["images"][i]["without_block"][name] for run in runs], float).mean(0)  # None: NaN
        images.append(whole + (len(without) - 1) * (without.mean() - without))
    return np.concatenate(images)


def blocks_intervals(influences: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Bootstrap intervals of means over spatial blocks, paired: every row is resampled by the same blocks.

    They say how sure a number is about the ground that was imaged, not about other images, and how much of it: blocks
    that lie side by side resemble each other, which makes them a little too narrow.

    Args:
        influences: (numbers, blocks), from `influence` or differences of two.
        level: Of confidence.

    Returns:
        (numbers, 2), low and high: bias-corrected and accelerated; the same numbers for the same input.
    """
    means = influences.mean(-1)
    result = np.stack([means, means], -1)
    chance = np.ptp(influences, axis=-1) > 1e-12 * np.abs(means)  # the bootstrap of equal values is undefined
    if chance.any():
        found = stats.bootstrap(
            (influences[chance],),
            np.mean,
            axis=-1,
            n_resamples=RESAMPLES,
            confidence_level=level,
            method="BCa",
            batch=200,
            rng=np.random.default_rng(0),
        ).confidence_interval
        result[chance] = np.stack([found.low, found.high], -1)
    return result


def blocks_interval(
    runs: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], name: str
) -> tuple[float, float]:
    """The interval over spatial blocks of the difference of two methods in a score.

    Args:
        runs: scores.json of one method, one for each seed.
        others: scores.json of the other method, on the same images.
        name: One of the six scores.
    """
    low, high = blocks_intervals((influence(runs, name) - influence(others, name))[None])[0]
    return float(low), float(high)
