"""Trained weights together with the run that made them."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from lkca.config.schema import RunConfig
from lkca.core.files import atomic_write
from lkca.errors import LkcaError


def write(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """safetensors' save_file, whose errors of writing are OSErrors as everyone else's."""
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise OSError(f"{error}") from error


def save(path: Path, weights: dict[str, torch.Tensor], run_sha256: str, epoch: int) -> None:
    """Write weights with the hash of their run.json and the epoch that they are from.

    The same weights make the same file. (Of several entries safetensors would write each time another one first.)
    """
    with atomic_write(path, fsync=True) as part:
        write(weights, part, {"lkca": json.dumps({"run_sha256": run_sha256, "epoch": epoch})})


def load(path: Path, network: nn.Module, run_sha256: str) -> int:
    """Put weights into a network.

    Args:
        path: A .safetensors file.
        network: The network that they are for; changed.
        run_sha256: The hash of the run.json that they must be from.

    Returns:
        The epoch that they are from, from 1.

    Raises:
        LkcaError: If the file is missing, damaged, of another run or of another network.
    """
    try:
        with safe_open(path, "pt") as file:
            made = json.loads((file.metadata() or {}).get("lkca", "{}"))
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, ValueError) as error:
        raise LkcaError(f"{path} cannot be read as safetensors ({error}): train the network again.") from error
    if made.get("run_sha256") != run_sha256:
        raise LkcaError(f"{path} was trained with other settings than its run.json says: train the network again.")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise LkcaError(
            f"{path} holds the weights of another network: name the run.json that it was trained with."
        ) from error
    return made["epoch"]


def reads(run: RunConfig) -> str:
    """What a run is called in a log: scene, scale, model and seed."""
    return f"{run.scene} x{run.scale} {run.model} seed {run.seed}"
