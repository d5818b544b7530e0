"""Detect that a training has diverged, and raise an error with the reason."""

from math import isfinite, isnan

from torch import Tensor

from lkca.config.schema import RunConfig
from lkca.errors import Diverged
from lkca.training.resume import TrainingState
from lkca.training.schedule import learning_rate

MAX_VALIDATION_L1 = 1.0  # the full range of the normalised values
LOSSES = ("loss", "loss_h (L_H)", "loss_kd (L_KD)")  # names of `TrainingState.loss_sums` in messages


def check_finite(state: TrainingState, run: RunConfig) -> None:
    """Check that the losses of the current epoch and the weights are finite.

    Raises:
        Diverged: If one of them is NaN or infinite.
    """
    if not state.is_finite():
        raise _make_error(state, run, _find_non_finite(state, run) or "the norm of the weights became infinite")


def check_epoch(state: TrainingState, run: RunConfig, losses: Tensor, val_l1: float) -> None:
    """Check the mean losses and the validation L1 of an epoch.

    Args:
        state: State of the training.
        run: Settings of the run.
        losses: Means of the three losses over the epoch and all processes, (3,).
        val_l1: Mean L1 of the validation patches.

    Raises:
        Diverged: If one of them is NaN or infinite, or the validation L1 exceeds the range of the values.
    """
    if not losses.isfinite().all():
        raise _make_error(
            state, run, _find_non_finite(state, run) or "a loss of another process became NaN or infinite"
        )
    if not isfinite(val_l1):
        raise _make_error(state, run, f"the validation L1 became {_nan_or_infinite(val_l1)}")
    if val_l1 > MAX_VALIDATION_L1:
        raise _make_error(
            state, run, f"the validation L1 is {val_l1:.3g} and exceeds {MAX_VALIDATION_L1}, the full value range"
        )


def _find_non_finite(state: TrainingState, run: RunConfig) -> str | None:
    """Return a text that names the losses and weights that are not finite; None if all are."""
    losses = LOSSES if run.distill else LOSSES[:1]  # without a teacher, the total loss is L_H
    problems = [
        f"{name} became {_nan_or_infinite(value)}"
        for name, value in zip(losses, state.loss_sums.tolist(), strict=False)
        if not isfinite(value)
    ]
    weights = [(name, w.detach()) for name, w in state.network.named_parameters() if not w.isfinite().all()]
    if weights:
        name, weight = weights[0]
        others = f" and those of {len(weights) - 1} other layers" if len(weights) > 1 else ""
        problems.append(f"weights {name}{others} became {'NaN' if weight.isnan().any() else 'infinite'}")
    return ", ".join(problems) or None


def _nan_or_infinite(value: float) -> str:
    return "NaN" if isnan(value) else "infinite"


def _make_error(state: TrainingState, run: RunConfig, problem: str) -> Diverged:
    """Return the error, which says what happened, where, what to try, and which state is the last finite one."""
    assert run.train is not None
    progress = state.progress
    rate = learning_rate(run.train, progress.epoch, max(0, progress.step - 1) / progress.steps_per_epoch)
    before = ""
    if progress.history:
        epoch, _, loss, *_ = progress.history[-1]
        before = f"; epoch {epoch} still had loss {loss:.4g}"
    saved = f" (Last finite state, for inspection: {state.path})" if state.path.exists() else ""
    advice = f"lower train.learning_rate (now {run.train.learning_rate:g})"
    advice += " or set train.precision to float32" if run.train.precision != "float32" else ""
    return Diverged(
        f"{run.label}: training diverged in epoch {progress.epoch + 1}, step {progress.step} of "
        f"{progress.steps_per_epoch}, at learning rate {rate:.3g}: {problem}{before}: {advice}; "
        f"the training then starts again from its first step.{saved}"
    )
