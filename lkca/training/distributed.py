"""Training of one network by several processes, one for each GPU."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, distributed

from lkca.core.environment import die_with_parent
from lkca.errors import ResourceError


class TrainingFiles(NamedTuple):
    """The files of a training; each is an option of `lkca train`.

    Args:
        run: The run.json.
        scene: The scene, (bands, rows, columns), .npy.
        split: Corners of the HR patches for training and validation, .json.
        teacher: Weights of the teacher if the run distils; the teacher's run.json is next to them.
        out: The weights to write.
        history: The CSV to write, one line an epoch.
    """

    run: Path
    scene: Path
    split: Path
    teacher: Path | None
    out: Path
    history: Path


class World(NamedTuple):
    """The processes that train together."""

    rank: int
    size: int

    @classmethod
    def current(cls) -> "World":
        """Return the world that torchrun has started this process in; elsewhere a world of one."""
        if not distributed.is_torchelastic_launched():
            return cls(0, 1)
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

    def connect(self, device: str) -> None:
        """Connect this process with the others; on GPUs each takes its own."""
        if self.size > 1:
            die_with_parent()
            if device == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group("nccl" if device == "cuda" else "gloo")

    def disconnect(self) -> None:
        """End the connection."""
        if self.size > 1:
            distributed.destroy_process_group()

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
            values /= self.size
        return values


def launch_distributed(gpus: int, files: TrainingFiles, adopted: Sequence[str]) -> None:
    """Start `lkca train` with these files once for each GPU, by torchrun. The processes train one network together.

    Raises:
        ResourceError: If a process fails; it has printed its error by then.
    """
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus), "-m", "--", "lkca", "train"]
    options = [word for name, file in files._asdict().items() if file for word in (f"--{name}", str(file))]
    command = [sys.executable, "-m", *launcher, *options, "--adopted", *adopted, "--gpus", str(gpus)]
    if subprocess.run(command, preexec_fn=die_with_parent).returncode:
        # The launcher's exit code does not tell whether a process was killed, which a retry may cure, or why it failed.
        raise ResourceError(f"{files.run}: training on {gpus} GPUs has failed: see the error above.")
