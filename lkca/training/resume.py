"""The saved state of a training, from which a killed training resumes with the same bits.

The state file is stored next to the run's outputs but is not declared as one. Its name contains a hash of everything
the training depends on: other settings start a new training, and restoring a setting resumes the old one. The state of
a finished training keeps its weights and history, so that deleted outputs are written again without training. The
format is safetensors with JSON metadata, no pickle.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from math import isfinite
from time import monotonic
from typing import Annotated, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lkca.core.files import atomic_write, open_file, sha256
from lkca.core.paths import STATE_PATTERN, state_name
from lkca.core.printing import printable
from lkca.core.stopwatch import Stopwatch
from lkca.errors import ResourceError
from lkca.training.checkpoint import write_safetensors
from lkca.training.distributed import TrainingFiles

LAYOUT = "2"  # version of the state file; increase it when the name or the meaning of anything in the file changes
CHECKPOINT_SECONDS = 30.0  # between two checkpoints; a kill costs no more than this

# A value for each of the HISTORY_COLUMNS of train.py
HistoryLine = Annotated[list[int | float | Literal[""]], Field(min_length=9, max_length=9)]


@dataclass
class TrainingProgress:
    """How far a training has come.

    Args:
        steps_per_epoch: Optimiser steps of an epoch.
        epochs: Epochs of the whole training.
        epoch: Finished epochs.
        step: Finished steps of the current epoch.
        num_validated: Number of validation patches that are scored in the current epoch.
        val_l1_sum: Sum of their L1.
        val_mpsnr_sum: Sum of their MPSNR, dB.
        best_val_l1: Lowest validation L1 of an epoch.
        best_epoch: The epoch with this L1, from 1.
        seconds: Duration of the training up to the last checkpoint, without the time that was lost to kills or in which
            the process was stopped.
        finished: Whether all epochs are done.
        history: Lines of history.csv, without the header.
    """

    steps_per_epoch: int
    epochs: int
    epoch: int = 0
    step: int = 0
    num_validated: int = 0
    val_l1_sum: float = 0.0
    val_mpsnr_sum: float = 0.0
    best_val_l1: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    finished: bool = False
    history: list[HistoryLine] = field(default_factory=list)

    def next_place(self) -> str:
        """Return where the training goes on, in words."""
        if self.step == self.steps_per_epoch:
            return f"in the validation of epoch {self.epoch + 1}"
        return f"from epoch {self.epoch + 1}, step {self.step + 1}"


PROGRESS = TypeAdapter(TrainingProgress)


class TrainingState:
    """A network in training with everything that is needed to resume, and the file in which it is saved.

    Args:
        files: Files of the training. States are keyed by run.json and the teacher's weights.
        codes: Digests of the code that may have saved the state: first of the current code, then of adopted code, which
            gives the same numbers.
        network: The network. A saved state replaces its weights.
        optimiser: The optimiser of the network. A saved state replaces its state.
        progress: Progress of a new training. A saved state replaces it.
        decay: Decay of the moving average of the weights; None for no average.

    Attributes:
        progress: How far the training has come.
        average: The moving average of the network; None if there is none.
        best_weights: Weights of the best epoch.
        loss_sums: Sums of the three losses over the steps of the current epoch, (3,).
        path: The state file.
        saved_at: Time of the last checkpoint or, before the first one, of the start. Stops count: a checkpoint is due
            after a long one.
    """

    def __init__(
        self,
        files: TrainingFiles,
        codes: Sequence[str],
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        progress: TrainingProgress,
        decay: float | None = None,
    ) -> None:
        hashes = {"run_sha256": sha256(files.run), "teacher_sha256": sha256(files.teacher) if files.teacher else ""}
        identities = [hashes | {"code": code} for code in codes]
        paths = {files.out.with_name(_file_name(identity)): identity for identity in identities}
        self.path = next((path for path in paths if path.exists()), next(iter(paths)))
        self.run_identity = paths[self.path]
        self.network, self.optimiser, self.progress = network, optimiser, progress
        self.average = None if decay is None else AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.best_weights: dict[str, Tensor] = {}
        self.loss_sums = torch.zeros(3, device=next(network.parameters()).device)
        if self.path.exists():
            self._load()
        self.seconds_before = self.progress.seconds
        self.stopwatch, self.saved_at = Stopwatch(), monotonic()

    def is_due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        return monotonic() - self.saved_at >= CHECKPOINT_SECONDS

    def is_finite(self) -> bool:
        """Return whether the losses and all weights are finite numbers."""
        norm = nn.utils.get_total_norm(self.network.parameters())
        return bool(self.loss_sums.isfinite().all() and norm.isfinite())

    def seconds(self) -> float:
        """Return the duration of the training so far in seconds, without the time that was lost to kills or stops."""
        return self.seconds_before + self.stopwatch.seconds()

    def scored_network(self) -> nn.Module:
        """Return the network that is validated: the average, or the network itself if there is none."""
        return self.average.module if self.average else self.network

    def snapshot_best(self) -> None:
        """Copy the current weights, or their average, to `best_weights`."""
        weights = self.scored_network().state_dict()
        self.best_weights = {name: weight.detach().cpu().clone() for name, weight in weights.items()}

    def save(self) -> None:
        """Write the state file atomically. The state of a finished training has only the best weights and the progress.

        Raises:
            LkcaError: If the file cannot be written.
        """
        self.progress.seconds = self.seconds()
        tensors = {f"best.{name}": weight for name, weight in self.best_weights.items()}
        if not self.progress.finished:
            tensors |= {f"net.{name}": weight for name, weight in self.network.state_dict().items()}
            if self.average:
                tensors |= {f"average.{name}": weight for name, weight in self.average.state_dict().items()}
            tensors |= {
                f"optimiser.{i}.{name}": value
                for i, values in self.optimiser.state_dict()["state"].items()
                for name, value in values.items()
            }
            tensors["loss_sums"] = self.loss_sums
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        progress = json.dumps(asdict(self.progress))
        metadata = {"layout": LAYOUT, "progress": progress, "sha256": _digest(tensors, progress)}
        with atomic_write(self.path, fsync=True) as part:
            write_safetensors(part, tensors, self.run_identity | metadata)

    def _load(self) -> None:
        """Load the state file. Rename it and print a message if it is damaged or of another run or version.

        Raises:
            ResourceError: If the file cannot be read, for example because a network file system is briefly unavailable.
        """
        try:
            tensors, progress = self._read()
            self._check(tensors, progress)
        except (SafetensorError, ValueError) as error:
            refused = self.path.with_name(f"refused-{self.path.name}")
            with suppress(FileNotFoundError):  # another process that trains with this one has renamed it
                self.path.replace(refused)
            print(f"cannot resume from {self.path} ({printable(error)}); moved to {refused.name}", flush=True)
            return
        except OSError as error:
            raise ResourceError(
                f"{self.path} cannot be read ({error}): try again, or delete it to train from the start."
            ) from error
        self.progress = progress
        self.best_weights = _with_prefix(tensors, "best.")
        if progress.finished:
            return
        self.network.load_state_dict(_with_prefix(tensors, "net."))
        if self.average:
            self.average.load_state_dict(_with_prefix(tensors, "average."))
        optimiser_state: dict[int, dict[str, Tensor]] = {}
        for name, value in _with_prefix(tensors, "optimiser.").items():
            i, _, key = name.partition(".")
            optimiser_state.setdefault(int(i), {})[key] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": optimiser_state})
        self.loss_sums.copy_(tensors["loss_sums"])

    def _read(self) -> tuple[dict[str, Tensor], TrainingProgress]:
        """Return the tensors and the progress of the state file.

        Raises:
            ValueError: If the file is damaged, of another run or of another version.
        """
        open_file(self.path).close()  # safe_open would wait for the writer of a pipe
        with safe_open(self.path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if {name: metadata.get(name) for name in self.run_identity} != self.run_identity:
            raise ValueError("it belongs to another run")
        if metadata.get("layout") != LAYOUT:
            raise ValueError("another version of lkca has saved it")
        if metadata.get("sha256") != _digest(tensors, metadata.get("progress", "")):
            raise ValueError("its checksum is wrong")
        try:
            return tensors, PROGRESS.validate_json(metadata.get("progress", ""), strict=True)
        except ValidationError:
            raise ValueError("its progress is damaged") from None

    def _check(self, tensors: dict[str, Tensor], progress: TrainingProgress) -> None:
        """Check that a state is one of this training, so that loading it cannot fail after a part of it is loaded.

        Raises:
            ValueError: If it is not.
        """
        epochs, steps = self.progress.epochs, self.progress.steps_per_epoch
        fits = (progress.epochs, progress.steps_per_epoch) == (epochs, steps)
        fits &= 0 <= progress.epoch <= epochs and 0 <= progress.step <= steps and progress.num_validated >= 0
        fits &= progress.epoch == epochs or not progress.finished
        fits &= len(progress.history) == progress.epoch and 0 <= progress.best_epoch <= progress.epoch
        sums = (progress.seconds, progress.val_l1_sum, progress.val_mpsnr_sum, progress.best_val_l1 or 0)
        if not fits or not all(map(isfinite, sums)):
            raise ValueError("its progress is not one of this training")
        parameters = self.optimiser.param_groups[0]["params"]
        weights = {name: weight.shape for name, weight in self.network.state_dict().items()}
        expected = {f"best.{name}": shape for name, shape in weights.items() if progress.best_epoch}
        if not progress.finished:
            expected |= {f"net.{name}": shape for name, shape in weights.items()} | {"loss_sums": torch.Size([3])}
            if self.average:
                expected |= {f"average.{name}": each.shape for name, each in self.average.state_dict().items()}
            if any(name.startswith("optimiser.") for name in tensors):
                for i, parameter in enumerate(parameters):
                    expected |= {f"optimiser.{i}.{name}": parameter.shape for name in ("exp_avg", "exp_avg_sq")}
                    expected[f"optimiser.{i}.step"] = torch.Size([])
        if {name: tensor.shape for name, tensor in tensors.items()} != expected:
            raise ValueError("its tensors are not those of this training")
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("it has numbers that are NaN or infinite")

    def delete_stale_states(self) -> None:
        """Delete the states of trainings with other settings, and partial state files that a kill has left."""
        for pattern in (STATE_PATTERN, f".{STATE_PATTERN}"):
            for path in self.path.parent.glob(pattern):
                if path != self.path:
                    path.unlink(missing_ok=True)


def _file_name(run_identity: dict[str, str]) -> str:
    """Return the name of the state file, which contains a hash of the training's identity."""
    return state_name(hashlib.sha256(json.dumps(run_identity).encode()).hexdigest())


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix: name without the prefix -> tensor."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _digest(tensors: dict[str, Tensor], progress: str) -> str:
    """Return a checksum of tensors and progress, because safetensors detects a short file but not a flipped bit."""
    digest = hashlib.sha256(progress.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
