"""Comparisons: which of two methods is better, in each score, and how sure that is."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lkca.errors import LkcaError
from lkca.paper.statistics import block_intervals, estimate_score, pseudovalues
from lkca.scoring.metrics import SCORES

COMPARISON_FIELDS = [
    "scale",
    "a",
    "b",
    "score",
    "difference",
    "low",
    "high",
    "low_blocks",
    "high_blocks",
    "images",
    "seeds",
]
COMPARISON_FIELDS += ["outcome", "why"]


def compare(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Compare each method with each other, at one scale of one scene.

    Intervals are not widened for the number of comparisons: of twenty pairs of equal methods one may look different.

    Args:
        rows: label -> its scores.json, one for each seed.

    Returns:
        A line for each pair and score, without its scale. `difference` is the score of `a` less that of `b`; low and
        high are its interval over test images and seeds, by which the outcome goes, low_blocks and high_blocks the one
        over spatial blocks of these images.

    Raises:
        LkcaError: If two methods have different test images.
    """
    windows = {label: [image["window"] for image in runs[0]["images"]] for label, runs in rows.items()}
    for a, b in combinations(rows, 2):
        if windows[a] != windows[b]:
            raise LkcaError(f"{a!r} and {b!r} have different test images: run snakemake again.")
    scores = {(label, name): estimate_score(runs, name) for label, runs in rows.items() for name in SCORES}
    blocks = {(label, name): pseudovalues(runs, name) for label, runs in rows.items() for name in SCORES}
    pairs = [(a, b, name) for a, b in combinations(rows, 2) for name in SCORES]
    if not pairs:
        return []
    by_blocks = block_intervals(np.stack([blocks[a, name] - blocks[b, name] for a, b, name in pairs]))
    by_blocks = np.where(np.isnan(by_blocks), None, by_blocks)  # of an image too small to have blocks
    lines = []
    for (a, b, name), (low_blocks, high_blocks) in zip(pairs, by_blocks, strict=True):
        difference = scores[a, name] - scores[b, name]
        low, high = difference.interval() or (None, None)
        if untrained := [label for label in (a, b) if rows[label][0]["untrained"]]:
            outcome, why = "not resolved", f"the training of {' and '.join(untrained)} did not see all patches once"
        elif low is None:
            outcome, why = (
                "not resolved",
                f"{' and '.join(sorted(difference.missing_reasons))} cannot carry an interval",
            )
        elif low <= 0 <= high:
            outcome, why = "not resolved", "the interval holds 0"
        else:
            outcome = "a better" if (low > 0) == (SCORES[name].direction > 0) else "b better"
            why = f"the interval lies {'above' if low > 0 else 'below'} 0"
        seeds = dict.fromkeys(run["seed"] for label in (a, b) for run in rows[label])
        found = [a, b, name, difference.value, low, high, low_blocks, high_blocks, len(windows[a])]
        lines.append(dict(zip(COMPARISON_FIELDS[1:], [*found, " ".join(map(str, seeds)), outcome, why], strict=True)))
    return lines
