"""How far a training is: a bar in a terminal, a line an epoch in a log."""

from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Steps:
    """Counts the steps of a training and tells what its epochs brought.

    Args:
        name: What is trained.
        epochs: How many epochs.
        steps: How many steps an epoch has.
    """

    def __init__(self, name: str, epochs: int, steps: int) -> None:
        self.console = Console()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task(name, total=epochs * steps)
        self.name, self.epochs, self.began = name, epochs, monotonic()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def seconds(self) -> float:
        """Time since the start."""
        return monotonic() - self.began

    def step(self) -> None:
        """One step is done."""
        self.bar.advance(self.task)

    def epoch(self, number: int, loss: float, mpsnr: float) -> None:
        """An epoch is done: its number from 1, its mean loss, the MPSNR on validation in dB."""
        text = f"loss {loss:.5f}, validation {mpsnr:.3f} dB"
        if self.console.is_terminal:
            self.bar.update(self.task, description=f"{self.name}: {text}")
        else:
            left = timedelta(seconds=round(self.seconds() / number * (self.epochs - number)))
            print(f"{self.name}: epoch {number}/{self.epochs}, {text}, {left} left", flush=True)
