"""Show the progress of a training: a bar in a terminal, a line per epoch in a log, curves in TensorBoard on request."""

import os
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lkca.core.printing import printable
from lkca.errors import ConfigError, ResourceError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CURVES = ("loss", "loss_h", "loss_kd", "val_l1", "val_mpsnr", "learning_rate")  # columns of history.csv in TensorBoard


class ProgressDisplay:
    """Shows the steps and epochs of a training.

    Args:
        label: Label of the run.
        epochs: Epochs of the whole training.
        steps_per_epoch: Steps of an epoch.
        done: Steps that are done already, over all epochs.
        visible: Whether this process shows anything. Of the processes that train together, only one does.
    """

    def __init__(self, label: str, epochs: int, steps_per_epoch: int, done: int, visible: bool) -> None:
        self.label = printable(label)
        self.console = Console()
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (visible and self.console.is_terminal),
        )
        self.total = epochs * steps_per_epoch
        self.task = self.bar.add_task(self.label, total=self.total, completed=done)
        self.epochs, self.visible = epochs, visible
        self.steps, self.seconds = 0, 0.0  # of the training, at the end of the last epoch
        self.writer = _open_tensorboard(label, done // steps_per_epoch) if visible else None

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()
        if self.writer:
            self.writer.close()

    def step(self) -> None:
        """Count a step."""
        self.bar.advance(self.task)

    def epoch(self, line: dict[str, Any]) -> None:
        """Show the losses and scores of a finished epoch.

        Args:
            line: Its line of history.csv, column -> value.
        """
        number, scores = line["epoch"], "loss {loss:.5f}, validation {val_mpsnr:.3f} dB".format(**line)
        if self.writer:
            for name in CURVES:
                if line[name] != "":
                    self.writer.add_scalar(name, line[name], number)
            self.writer.flush()
        if self.console.is_terminal:
            self.bar.update(self.task, description=f"{self.label}: {scores}")
        elif self.visible:
            seconds_per_step = (line["seconds"] - self.seconds) / (line["steps"] - self.steps)
            left = timedelta(seconds=round(seconds_per_step * (self.total - line["steps"])))
            print(f"{self.label}: epoch {number}/{self.epochs}, {scores}, {left} left", flush=True)
        self.steps, self.seconds = line["steps"], line["seconds"]


def _open_tensorboard(label: str, epochs: int) -> "SummaryWriter | None":
    """Return a TensorBoard writer to a subfolder of $LKCA_TENSORBOARD; None if the variable is not set.

    Args:
        label: Label of the run, from which the name of the subfolder is made.
        epochs: Number of finished epochs. Points of later epochs, which a killed training has written, are removed.

    Raises:
        ConfigError: If TensorBoard is not installed.
        ResourceError: If the folder cannot be written.
    """
    folder = os.environ.get("LKCA_TENSORBOARD")
    if not folder:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(os.path.join(folder, label.replace(" ", "_")), purge_step=epochs + 1)
    except OSError as error:
        raise ResourceError(
            f"LKCA_TENSORBOARD: {folder} cannot be written ({error.strerror}): choose another folder."
        ) from error
    except ImportError as error:
        raise ConfigError(
            "LKCA_TENSORBOARD is set and TensorBoard is not installed: run pip install tensorboard, or unset it."
        ) from error
