"""How far a training is: a bar in a terminal, a line an epoch in a log and, if it is wanted, curves in TensorBoard."""

import os
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lkca.errors import LkcaError


class Steps:
    """Counts the steps of a training and tells what its epochs brought.

    Args:
        name: What is trained.
        epochs: How many epochs.
        steps: How many steps an epoch has.
        done: How many steps were done before, in all.
        shown: Whether this process tells of it; of several that train together one does.
    """

    def __init__(self, name: str, epochs: int, steps: int, done: int, shown: bool) -> None:
        self.console = Console()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (shown and self.console.is_terminal),
        )
        self.task = self.bar.add_task(name, total=epochs * steps, completed=done)
        self.name, self.epochs, self.steps, self.shown = name, epochs, steps, shown
        self.done, self.before, self.began = done, done, monotonic()
        self.board = _tensorboard(name, done // steps) if shown else None

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()
        if self.board:
            self.board.close()

    def step(self) -> None:
        """One step is done."""
        self.done += 1
        self.bar.advance(self.task)

    def epoch(self, line: dict[str, Any]) -> None:
        """An epoch is done: its line of the history."""
        number, text = line["epoch"], "loss {loss:.5f}, validation {val_mpsnr:.3f} dB".format(**line)
        if self.board:
            for name in ("loss", "loss_h", "loss_kd", "val_l1", "val_mpsnr", "learning_rate"):
                if line[name] != "":
                    self.board.add_scalar(name, line[name], number)
            self.board.flush()
        if self.console.is_terminal:
            self.bar.update(self.task, description=f"{self.name}: {text}")
        elif self.shown:
            pace = (monotonic() - self.began) / max(1, self.done - self.before)
            left = timedelta(seconds=round(pace * (self.epochs * self.steps - self.done)))
            print(f"{self.name}: epoch {number}/{self.epochs}, {text}, {left} left", flush=True)


def _tensorboard(name: str, epochs: int) -> Any:
    """A writer of curves in a folder of $LKCA_TENSORBOARD, after so many epochs; None where that is not set.

    Raises:
        LkcaError: If TensorBoard is not installed, or nothing can be written there.
    """
    folder = os.environ.get("LKCA_TENSORBOARD")
    if not folder:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(os.path.join(folder, name.replace(" ", "_")), purge_step=epochs + 1)
    except OSError as error:
        raise LkcaError(f"LKCA_TENSORBOARD: {folder} cannot be written ({error.strerror}): name a folder.") from error
    except ImportError as error:
        raise LkcaError(
            "LKCA_TENSORBOARD is set and TensorBoard is not installed: give pip install tensorboard, or unset it."
        ) from error
