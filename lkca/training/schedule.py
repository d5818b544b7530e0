"""Order of the samples, micro-batches, number of steps and learning rate of a training."""

from collections.abc import Iterator, Mapping
from math import ceil, cos, pi
from typing import Any

import numpy as np

from lkca.config.schema import Train
from lkca.data.patches import CPU_MICRO_BATCH, ORIENTATIONS


def steps_for_all_patches(recipe: Train, split: Mapping[str, Any]) -> int:
    """Return the number of optimiser steps that show every training patch once in each of its 8 orientations."""
    return ceil(len(split["train"]) * ORIENTATIONS / recipe.batch)


def steps_per_epoch(recipe: Train, split: Mapping[str, Any]) -> int:
    """Return the number of optimiser steps of an epoch: those for all patches, or fewer where the recipe says so."""
    steps = steps_for_all_patches(recipe, split)
    return min(recipe.steps, steps) if recipe.steps else steps


def learning_rate(recipe: Train, epoch: int, fraction: float) -> float:
    """Return the learning rate: along a cosine, or constant over some epochs and then lowered by a factor.

    The second way counts epochs from 1, as the published programs do: the first rate lasts one epoch less than others.

    Args:
        recipe: Training settings.
        epoch: Counted from 0.
        fraction: Fraction of the epoch's steps that are done, in [0, 1].
    """
    if recipe.cosine_to is None:
        assert recipe.step_factor is not None and recipe.step_epochs is not None  # the schema makes sure
        return recipe.learning_rate * recipe.step_factor ** ((epoch + 1) // recipe.step_epochs)
    span = recipe.learning_rate - recipe.cosine_to
    return recipe.cosine_to + span * (1 + cos(pi * (epoch + fraction) / recipe.epochs)) / 2


def epoch_order(split: Mapping[str, Any], seed: int, epoch: int) -> np.ndarray:
    """Return the samples of an epoch in random order, a function of seed and epoch.

    Returns:
        (samples, 3): row and column of a patch and its orientation. Every patch comes once in each orientation.
    """
    corners = np.array(split["train"])
    samples = np.random.default_rng([seed, epoch]).permutation(len(corners) * ORIENTATIONS)
    patch, orientation = np.divmod(samples, ORIENTATIONS)
    return np.column_stack([corners[patch], orientation])


def derive_seed(*numbers: int) -> int:
    """Return a seed that depends on all of these numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def micro_batches(batch: np.ndarray, rank: int, world_size: int, device: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the parts of a batch that one of several processes computes one after the other.

    Gradients are averaged over the processes, so the fractions of a process add up to 1. A batch with fewer samples
    than processes is computed whole by each of them.

    Args:
        batch: (samples, 3), as `epoch_order` returns them.
        rank: Number of this process.
        world_size: How many processes train together.
        device: "cpu" or "cuda"; a GPU takes its samples at once.

    Yields:
        Some samples, and their fraction of the mean over the samples of a process.
    """
    if len(batch) >= world_size:
        samples, mean_size = batch[rank::world_size], len(batch) / world_size
    else:
        samples, mean_size = batch, float(len(batch))
    count = ceil(mean_size / CPU_MICRO_BATCH) if device == "cpu" else 1  # the same number in every process
    for part in np.array_split(samples, count):
        yield part, len(part) / mean_size
