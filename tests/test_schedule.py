"""Steps of an epoch, learning rates, order of the samples, and micro-batches."""

from itertools import groupby

import numpy as np
import pytest
import torch

from lkca.data.patches import gather
from lkca.training.schedule import derive_seed, epoch_order, learning_rate, micro_batches, steps_per_epoch


def test_epoch_shows_every_patch_in_eight_orientations(rng):
    cube = torch.rand(1, 8, 8)
    split = {"train": [[0, 0], [2, 3]], "size": 4}
    shown, again, other = (gather(cube, split, epoch_order(split, 0, epoch), "cpu").numpy() for epoch in (0, 0, 1))
    patches = [cube[:, :4, :4].numpy(), cube[:, 2:6, 3:7].numpy()]
    expected = [np.rot90(view, k, (1, 2)) for patch in patches for view in (patch, patch[:, ::-1]) for k in range(4)]
    assert {patch.tobytes() for patch in shown} == {np.ascontiguousarray(view).tobytes() for view in expected}
    assert len(shown) == 16
    assert (shown == again).all()
    assert (shown != other).any()


def test_cosine_learning_rate(paper):
    rates = [learning_rate(paper.train, epoch, fraction) for epoch, fraction in ((0, 0), (150, 0), (299, 1))]
    assert rates == pytest.approx([2e-3, 1.1e-3, 2e-4])


@pytest.mark.parametrize(
    ("model", "expected"),
    [("sspsr", [(1e-4, 29), (1e-5, 11)]), ("msdformer", [(5e-5, 149), (5e-6, 150), (5e-7, 1)])],
)
def test_learning_rates_of_baselines_are_published(paper, model, expected):
    """Rates and their numbers of epochs are those of SSPSR's mains.py and MSDformer's main.py, which count from 1."""
    recipe = paper.models[model].train
    rates = [float(f"{learning_rate(recipe, epoch, 0.9):.3g}") for epoch in range(recipe.epochs)]
    assert [(rate, len(list(epochs))) for rate, epochs in groupby(rates)] == expected


@pytest.mark.parametrize(("steps", "expected"), [(None, 3), (2, 2), (9, 3)])
def test_steps_per_epoch(paper, steps, expected):
    """Nine patches in 8 orientations are 72 samples: 3 batches of 32."""
    recipe = paper.train.model_copy(update={"steps": steps})
    assert steps_per_epoch(recipe, {"train": [[0, 0]] * 9}) == expected


@pytest.mark.parametrize(
    ("samples", "world_size", "device"), [(33, 1, "cpu"), (33, 2, "cpu"), (33, 2, "cuda"), (3, 4, "cpu")]
)
def test_micro_batches_average_to_batch(rng, samples, world_size, device):
    """The weighted means of the parts average to the mean of the batch; on a CPU, a part has at most 16 samples."""
    batch = rng.normal(size=(samples, 3))
    parts = [list(micro_batches(batch, rank, world_size, device)) for rank in range(world_size)]
    means = [sum(part.mean(0) * fraction for part, fraction in process) for process in parts]
    assert np.mean(means, 0) == pytest.approx(batch.mean(0))
    assert len({len(process) for process in parts}) == 1
    if device == "cpu":
        assert max(len(part) for process in parts for part, _ in process) <= 16
    else:
        assert [len(process) for process in parts] == [1] * world_size


def test_derived_seeds_differ():
    assert len({derive_seed(1, epoch, step) for epoch in range(3) for step in range(3)}) == 9
    assert derive_seed(1, 2) == derive_seed(1, 2)
