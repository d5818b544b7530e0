"""Comparisons of methods: which of two is better by each score, and whether the data can tell."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lkca.errors import StaleInput
from lkca.paper.statistics import RunScores, Uncertain, block_intervals, estimate_score, pseudovalues
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
    "outcome",
    "why",
]


def compare(rows: Mapping[str, Sequence[RunScores]]) -> list[dict[str, Any]]:
    """Compare each method with each other method, at one scale of one scene.

    Intervals are not corrected for the number of comparisons: among twenty pairs of equal methods, one may seem
    different by chance.

    Args:
        rows: Label of a method -> its scores.json, one for each seed.

    Returns:
        A line for each pair and score, with the keys COMPARISON_FIELDS except for `scale`. `difference` is the score of
        `a` minus that of `b`; `low` and `high` are its interval over test images and seeds, which decides the outcome;
        `low_blocks` and `high_blocks` are its interval over the spatial blocks of these images.

    Raises:
        StaleInput: If two methods have different test images.
    """
    windows = {label: [image["window"] for image in runs[0]["images"]] for label, runs in rows.items()}
    for a, b in combinations(rows, 2):
        if windows[a] != windows[b]:
            raise StaleInput(f"{a!r} and {b!r} have different test images: run snakemake again.")
    estimates = {(label, name): estimate_score(runs, name) for label, runs in rows.items() for name in SCORES}
    blocks = {(label, name): pseudovalues(runs, name) for label, runs in rows.items() for name in SCORES}
    pairs = [(a, b, name) for a, b in combinations(rows, 2) for name in SCORES]
    if not pairs:
        return []
    intervals = block_intervals(np.stack([blocks[a, name] - blocks[b, name] for a, b, name in pairs]))
    lines = []
    for (a, b, name), block_interval in zip(pairs, intervals, strict=True):
        difference = estimates[a, name] - estimates[b, name]
        low, high = difference.interval() or (None, None)
        low_blocks, high_blocks = (None if np.isnan(end) else float(end) for end in block_interval)
        untrained = [label for label in (a, b) if rows[label][0]["untrained"]]
        outcome, why = decide_outcome(difference, SCORES[name].direction, untrained)
        lines.append(
            {
                "a": a,
                "b": b,
                "score": name,
                "difference": difference.value,
                "low": low,
                "high": high,
                "low_blocks": low_blocks,  # None for an image that is too small for blocks
                "high_blocks": high_blocks,
                "images": len(windows[a]),
                "seeds": " ".join(dict.fromkeys(str(run["seed"]) for label in (a, b) for run in rows[label])),
                "outcome": outcome,
                "why": why,
            }
        )
    return lines


def decide_outcome(difference: Uncertain, direction: int, untrained: Sequence[str]) -> tuple[str, str]:
    """Return which of two methods is better, and why.

    Args:
        difference: The score of `a` minus that of `b`.
        direction: 1 if a higher score is better, -1 if a lower one is.
        untrained: Labels of those methods whose training did not see all patches once; empty for none.

    Returns:
        "a better", "b better" or "not resolved"; and the reason.
    """
    if untrained:
        return "not resolved", f"the training of {' and '.join(untrained)} did not see all patches once"
    interval = difference.interval()
    if interval is None:
        return "not resolved", f"{' and '.join(sorted(difference.missing_reasons))} cannot carry an interval"
    low, high = interval
    if low <= 0 <= high:
        return "not resolved", "the interval holds 0"
    better = "a better" if (low > 0) == (direction > 0) else "b better"
    return better, f"the interval lies {'above' if low > 0 else 'below'} 0"
