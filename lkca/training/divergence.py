"""Find out whether and why a training diverged, and say so."""

from math import isfinite, isnan

from torch import Tensor

from lkca.config.schema import RunConfig
from lkca.errors import Diverged
from lkca.training.resume import TrainingState
from lkca.training.schedule import learning_rate

MAX_VALIDATION_L1 = 1.0  # the full range of the values
LOSSES = ("loss", "loss_h (L_H)", "loss_kd (L_KD)")


def check_finite(state: TrainingState, run: RunConfig) -> None:
    """Check the losses and the weights.

    Raises:
        Diverged: If one of them is NaN or infinite.
    """
    if not state.is_finite():
        raise _diverged(state, run, _find_non_finite(state) or "the norm of the weights became infinite")


def check_epoch(state: TrainingState, run: RunConfig, losses: Tensor, val_l1: float) -> None:
    """Check the mean losses and the validation L1 of an epoch.

    Raises:
        Diverged: If one of them is NaN or infinite, or the validation L1 exceeds the range of the values.
    """
    if not losses.isfinite().all():
        raise _diverged(state, run, _find_non_finite(state) or "a loss of another process became NaN or infinite")
    if not isfinite(val_l1):
        raise _diverged(state, run, f"the validation L1 became {_name(val_l1)}")
    if val_l1 > MAX_VALIDATION_L1:
        raise _diverged(
            state, run, f"the validation L1 is {val_l1:.3g} and exceeds {MAX_VALIDATION_L1}, the full value range"
        )


def _find_non_finite(state: TrainingState) -> str | None:
    """Return which losses and weights are not finite, in words; None if all are."""
    found = [
        f"{name} became {_name(value)}"
        for name, value in zip(LOSSES, state.loss_sums.tolist(), strict=True)
        if not isfinite(value)
    ]
    weights = [(name, w.detach()) for name, w in state.network.named_parameters() if not w.isfinite().all()]
    if weights:
        name, weight = weights[0]
        others = f" and those of {len(weights) - 1} other layers" if len(weights) > 1 else ""
        found.append(f"weights {name}{others} became {'NaN' if weight.isnan().any() else 'infinite'}")
    return ", ".join(found) or None


def _name(value: float) -> str:
    return "NaN" if isnan(value) else "infinite"


def _diverged(state: TrainingState, run: RunConfig, problem: str) -> Diverged:
    """Return the error: what happened, where, the last good state, and what to try."""
    assert run.train is not None
    progress = state.progress
    rate = learning_rate(run.train, progress.epoch, max(0, progress.step - 1) / progress.steps_per_epoch)
    before = ""
    if progress.history:
        epoch, _, loss, *_ = progress.history[-1]
        before = f"; epoch {epoch} still had loss {loss:.4g}"
    saved = f"the last good state is {state.path}" if state.path.exists() else "no state was saved before"
    advice = "lower train.learning_rate"
    advice += " or set train.precision to float32" if run.train.precision != "float32" else ""
    return Diverged(
        f"{run.label}: training diverged in epoch {progress.epoch + 1}, step {progress.step} of "
        f"{progress.steps_per_epoch}, at learning rate {rate:.3g}: {problem}{before}; {saved}: {advice}."
    )
