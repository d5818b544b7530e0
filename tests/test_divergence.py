"""The errors of a diverged training, and what their messages say."""

import pytest
import torch

from lkca.config.run import read_run
from lkca.errors import Diverged
from lkca.training.distributed import TrainingFiles
from lkca.training.divergence import check_epoch, check_finite
from lkca.training.networks import build_initial_network
from lkca.training.resume import TrainingProgress, TrainingState
from tests.conftest import RECIPE
from tests.trainings import DISTILL

FINITE = torch.tensor([0.02, 0.02, 0.0])


@pytest.fixture
def run(tiny):
    return tiny.run("net", train=RECIPE | {"precision": "bfloat16"})


@pytest.fixture
def state(tiny, run):
    """Return the state of a training in step 5 of its second epoch."""
    files = TrainingFiles(run, tiny.scene, tiny.split, None, run.with_name("w.safetensors"), run.with_name("h.csv"))
    network = build_initial_network(read_run(run))
    history = [[1, 14, 0.015, 0.015, "", 0.01, 40.0, 1e-3, 3.0]]
    progress = TrainingProgress(14, 2, epoch=1, step=5, history=history)
    return TrainingState(files, ["code"], network, torch.optim.Adam(network.parameters()), progress)


def test_finite_training_passes(state, run):
    check_finite(state, read_run(run))
    check_epoch(state, read_run(run), FINITE, 1.0)


@pytest.mark.parametrize(
    ("losses", "problem"),
    [
        ([float("nan"), 0, float("nan")], r"0\.00071: loss became NaN, loss_kd \(L_KD\) became NaN"),
        ([float("inf"), float("inf"), 0], r"loss became infinite, loss_h \(L_H\) became infinite"),
    ],
)
def test_message_names_losses_place_rate_and_advice(state, run, losses, problem):
    state.loss_sums.copy_(torch.tensor(losses))
    state.save()
    with pytest.raises(Diverged, match=problem) as caught:
        check_finite(state, read_run(run).model_copy(update={"distill": DISTILL}))
    message = str(caught.value)
    for fact in (
        "tiny x4 net seed 0",
        "epoch 2, step 5 of 14, at learning rate 0.00071",
        "epoch 1 still had loss 0.015",
        f"lower train.learning_rate (now {RECIPE['learning_rate']:g}) or set train.precision to float32; ",
        "the training then starts again from its first step.",
        f"(Last finite state, for inspection: {state.path})",
    ):
        assert fact in message


def test_message_names_one_loss_without_teacher(state, run):
    state.loss_sums.copy_(torch.tensor([float("nan"), float("nan"), 0]))
    with pytest.raises(Diverged, match="loss became NaN; epoch 1 still had") as caught:
        check_finite(state, read_run(run))
    assert "loss_h" not in str(caught.value) and "for inspection" not in str(caught.value)


def test_message_names_weights(state, run):
    for name, weight in state.network.named_parameters():
        if name.startswith("blocks.1"):
            weight.data.fill_(float("nan"))
    with pytest.raises(Diverged, match=r"weights blocks\.1\.\S+ and those of \d+ other layers became NaN"):
        check_finite(state, read_run(run))


@pytest.mark.parametrize(
    ("losses", "val_l1", "problem"),
    [
        (FINITE, float("nan"), "the validation L1 became NaN"),
        (FINITE, 1.5, "the validation L1 is 1.5 and exceeds 1.0"),
        (FINITE * float("nan"), 0.1, "a loss of another process"),
    ],
)
def test_epoch_is_checked(state, run, losses, val_l1, problem):
    with pytest.raises(Diverged, match=problem):
        check_epoch(state, read_run(run), losses, val_l1)
