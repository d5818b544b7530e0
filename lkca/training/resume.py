"""The state of a training: whoever kills it, at whatever moment, it goes on as if nothing had happened.

It lies beside the outputs of a run and is none of them, since Snakemake deletes outputs before each start. Its name
holds a hash of what the training depends on: with other settings a run finds no state, and with the old ones its own
again. Of a finished training weights and history stay, from which lost outputs are made again. Safetensors and JSON: no
pickle.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lkca.core.files import atomic_write, sha256
from lkca.core.paths import STATE_PATTERN, state_name
from lkca.errors import LkcaError
from lkca.training.checkpoint import write

LAYOUT = "1"  # of the file; another one where names or meanings of what it holds have changed
EVERY = 30  # seconds between two savings: what a kill may cost


@dataclass
class Progress:
    """How far a training is, without its tensors."""

    steps: int  # of an epoch
    epochs: int
    epoch: int = 0  # epochs that are done
    step: int = 0  # steps of the next one that are done
    checked: int = 0  # of its validation patches those that are done, ...
    val_l1: float = 0.0  # ... and their sums
    val_mpsnr: float = 0.0
    least: float | None = None  # the lowest validation L1 of an epoch so far, ...
    best: int = 0  # ... and which epoch that was, from 1
    seconds: float = 0.0
    finished: bool = False
    rows: list[list] = field(default_factory=list)  # of the history


class State:
    """A training's network and optimiser, its best weights, its sums and its progress, and the file that holds them.

    Args:
        run: Its run.json.
        teacher: Weights of its teacher, if it has one: another teacher makes another student.
        codes: Digests of the code that it may be from: that of now, then those that change no numbers.
        folder: Where the file is to lie.
        net, optimiser: What is trained; they are changed if there is a file.
        at: How far that is; where there is a file, its word holds.

    Attributes:
        at: How far it is.
        best: The weights of the best epoch.
        totals: The sums of the losses over the steps of this epoch, (3,).
    """

    def __init__(
        self,
        run: Path,
        teacher: Path | None,
        codes: Sequence[str],
        folder: Path,
        net: nn.Module,
        optimiser: torch.optim.Optimizer,
        at: Progress,
    ) -> None:
        made_from = {"run_sha256": sha256(run), "teacher_sha256": sha256(teacher) if teacher else ""}
        every = {folder / _name(whose := made_from | {"code": code}): whose for code in codes}
        self.path = next((path for path in every if path.exists()), next(iter(every)))
        self.whose = every[self.path]
        self.teacher, self.net, self.optimiser, self.at = teacher, net, optimiser, at
        self.best: dict[str, Tensor] = {}
        self.totals = torch.zeros(3, device=next(net.parameters()).device)
        if self.path.exists():
            self._load()
        self.began = self.saved = monotonic()

    def due(self) -> bool:
        """Whether it is time to save."""
        return monotonic() - self.saved >= EVERY

    def good(self) -> bool:
        """Whether losses and weights are numbers."""
        return bool(self.totals.isfinite().all() and nn.utils.get_total_norm(self.net.parameters()).isfinite())

    def seconds(self) -> float:
        """The time of the training so far, without what a kill has cost."""
        return self.at.seconds + monotonic() - self.began

    def new_best(self) -> None:
        """Keep the weights of the epoch that has just ended."""
        self.best = {name: weight.detach().cpu().clone() for name, weight in self.net.state_dict().items()}

    def save(self) -> None:
        """Write everything, or of a finished training what its outputs are made of; whole or not at all.

        Raises:
            LkcaError: If the file cannot be written.
        """
        self.at.seconds, self.began = self.seconds(), monotonic()
        tensors = {f"best.{name}": weight for name, weight in self.best.items()}
        if not self.at.finished:
            tensors |= {f"net.{name}": weight for name, weight in self.net.state_dict().items()}
            tensors |= {
                f"optimiser.{i}.{name}": value
                for i, values in self.optimiser.state_dict()["state"].items()
                for name, value in values.items()
            }
            tensors["totals"] = self.totals
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        facts = json.dumps(asdict(self.at))
        with atomic_write(self.path, fsync=True) as part:
            write(tensors, part, self.whose | {"layout": LAYOUT, "facts": facts, "sha256": _digest(tensors, facts)})

    def _load(self) -> None:
        """Take up what was saved last.

        A file that is damaged, of another run or of another version of this class is refused: it is renamed, and a line
        says so.

        Raises:
            LkcaError: If the file cannot be read now, which need not be its fault.
        """
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            if {name: metadata.get(name) for name in self.whose} != self.whose:
                raise ValueError("it is of another run")
            if metadata.get("sha256") != _digest(tensors, metadata.get("facts", "")):
                raise ValueError("it is not what was saved")
            facts = json.loads(metadata["facts"])
            if facts.keys() != asdict(self.at).keys() or metadata.get("layout") != LAYOUT:
                raise ValueError("another version of this program has saved it")
        except (SafetensorError, ValueError) as error:
            aside = self.path.with_name(f"refused-{self.path.name}")
            with suppress(FileNotFoundError):  # another process that trains with this one was quicker
                self.path.replace(aside)
            print(f"{self.path} cannot be gone on from ({error}): it is put aside as {aside.name}.", flush=True)
            return
        except OSError as error:
            raise LkcaError(f"{self.path} cannot be read ({error}): try again, or delete it to start anew.") from error
        parts: dict[str, dict[str, Tensor]] = {"best": {}, "net": {}, "optimiser": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            parts.setdefault(kind, {})[rest] = tensor
        self.at, self.best = Progress(**facts), parts["best"]
        if self.at.finished:
            return
        self.net.load_state_dict(parts["net"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["optimiser"].items():
            i, _, of = name.partition(".")
            state.setdefault(int(i), {})[of] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})
        self.totals.copy_(tensors["totals"])

    def forget_others(self) -> None:
        """Delete the states of trainings with other settings, of which this folder no longer holds the outputs."""
        for pattern in (STATE_PATTERN, f".{STATE_PATTERN}"):  # the latter was being written when a kill came
            for path in self.path.parent.glob(pattern):
                if path != self.path:
                    path.unlink(missing_ok=True)


def _name(whose: dict[str, str]) -> str:
    """The name of the file of a training that is made from these."""
    return state_name(hashlib.sha256(json.dumps(whose).encode()).hexdigest())


def _digest(tensors: dict[str, Tensor], facts: str) -> str:
    """A hash of all that is saved: safetensors itself notices a short file, not a wrong byte."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
