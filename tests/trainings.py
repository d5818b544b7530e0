"""Train the small runs of the fixture `tiny`."""

import csv
from pathlib import Path

from lkca.training.train import train

FILES = ("weights.safetensors", "history.csv")  # outputs of a training
DISTILL = {
    "teacher": "big",
    "features": "reconstruction",
    "alpha": 0.5,
    "decay": 0.5,
    "every": 1,
    "cos": 0.5,
    "sam": 0.5,
    "grad": 0.1,
}


def train_run(tiny, run: Path, teacher: Path | None = None, gpus: int = 1) -> Path:
    """Train a run and return its folder."""
    train(run, tiny.scene, tiny.split, teacher, *(run.with_name(name) for name in FILES), gpus)
    return run.parent


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the lines of a run's history.csv; empty cells are 0."""
    with (folder / "history.csv").open() as file:
        return [{name: float(value or 0) for name, value in row.items()} for row in csv.DictReader(file)]
