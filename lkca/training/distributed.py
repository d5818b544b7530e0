"""Train one network with several processes, one for each GPU."""

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
        split: The corners of the HR patches for training and validation, .json.
        teacher: The weights of the teacher if the run distils, else None; its run.json is next to them.
        out: The file of weights to write.
        history: The CSV to write, one line per epoch.
    """

    run: Path
    scene: Path
    split: Path
    teacher: Path | None
    out: Path
    history: Path


class World(NamedTuple):
    """The group of processes that train together.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int
    size: int

    @classmethod
    def current(cls) -> "World":
        """Return the group in which torchrun started this process; without torchrun, a group of one."""
        if not distributed.is_torchelastic_launched():
            return cls(0, 1)
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

    def connect(self, device: str) -> None:
        """Connect this process to the others. On GPUs, each process uses the GPU of its local rank."""
        if self.size > 1:
            die_with_parent()
            if device == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group("nccl" if device == "cuda" else "gloo")

    def disconnect(self) -> None:
        """Disconnect this process from the others."""
        if self.size > 1:
            distributed.destroy_process_group()

    def mean(self, values: Tensor) -> Tensor:
        """Average values over all processes in place and return them."""
        if self.size > 1:
            distributed.all_reduce(values)
            values /= self.size
        return values


def launch_distributed(gpus: int, files: TrainingFiles, adopted: Sequence[str]) -> None:
    """Start `lkca train` once for each GPU with torchrun. The processes train one network together.

    Args:
        gpus: Number of GPUs.
        files: Files of the training.
        adopted: As in `lkca.training.train.train`.

    Raises:
        ResourceError: If a process fails. The process itself has printed the reason.
    """
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus), "-m", "--", "lkca", "train"]
    options = [word for name, file in files._asdict().items() if file for word in (f"--{name}", str(file))]
    command = [sys.executable, "-m", *launcher, *options, "--adopted", *adopted, "--gpus", str(gpus)]
    if subprocess.run(command, preexec_fn=die_with_parent).returncode:
        # The exit code does not say whether a process was killed, so that a retry may succeed, or failed by itself.
        raise ResourceError(f"{files.run}: training on {gpus} GPUs has failed: see the error above.")
