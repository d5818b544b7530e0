"""The schedule of a training: number of steps, learning rate, order of the samples, and micro-batches."""

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
    """Return the number of optimiser steps of an epoch: `steps_for_all_patches`, or `recipe.steps` if that is less."""
    steps = steps_for_all_patches(recipe, split)
    return min(recipe.steps, steps) if recipe.steps else steps


def learning_rate(recipe: Train, epoch: int, fraction: float) -> float:
    """Return the learning rate of a cosine schedule, or of a step schedule if `recipe.cosine_to` is None.

    The step schedule multiplies the rate by `step_factor` every `step_epochs` epochs. It counts epochs from 1, as the
    published programs do, so the first rate lasts one epoch less than the others.

    Args:
        recipe: Training settings.
        epoch: Counted from 0.
        fraction: Fraction of the epoch's steps that are done, in [0, 1]; used by the cosine schedule.
    """
    if recipe.cosine_to is None:
        assert recipe.step_factor is not None and recipe.step_epochs is not None  # the schema guarantees it
        return recipe.learning_rate * recipe.step_factor ** ((epoch + 1) // recipe.step_epochs)
    span = recipe.learning_rate - recipe.cosine_to
    return recipe.cosine_to + span * (1 + cos(pi * (epoch + fraction) / recipe.epochs)) / 2


def epoch_order(split: Mapping[str, Any], seed: int, epoch: int) -> np.ndarray:
    """Return the samples of an epoch in random order, which depends only on seed and epoch.

    Returns:
        (samples, 3): row, column and orientation of each patch. Every patch occurs once in each orientation.
    """
    corners = np.array(split["train"])
    samples = np.random.default_rng([seed, epoch]).permutation(len(corners) * ORIENTATIONS)
    patch, orientation = np.divmod(samples, ORIENTATIONS)
    return np.column_stack([corners[patch], orientation])


def derive_seed(*numbers: int) -> int:
    """Return a seed that depends on all of these numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def micro_batches(batch: np.ndarray, rank: int, world_size: int, device: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the parts of a batch that this process computes one after the other.

    Gradients are averaged over the processes, so the fractions of a process add up to 1. A batch with fewer samples
    than processes is computed whole by each of them.

    Args:
        batch: (samples, 3), as `epoch_order` returns them.
        rank: Number of this process, from 0.
        world_size: Number of processes that train together.
        device: "cpu" or "cuda"; a GPU computes its samples in one part.

    Yields:
        Samples, and the weight of their mean loss in the loss of this process.
    """
    if len(batch) >= world_size:
        samples, mean_size = batch[rank::world_size], len(batch) / world_size
    else:
        samples, mean_size = batch, float(len(batch))
    count = ceil(mean_size / CPU_MICRO_BATCH) if device == "cpu" else 1  # the same number in every process
    for part in np.array_split(samples, count):
        yield part, len(part) / mean_size
