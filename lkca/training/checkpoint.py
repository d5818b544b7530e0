"""Files of trained weights, with the run that they are from."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from lkca.core.files import atomic_write
from lkca.errors import DataError, StaleInput


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Call safetensors' save_file, but raise OSError where writing fails."""
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise OSError(f"{error}") from error


def save_weights(path: Path, weights: dict[str, torch.Tensor], run_sha256: str, epoch: int) -> None:
    """Write weights with the hash of their run.json and their epoch, from 1.

    The metadata has one entry, because safetensors writes several in random order: the same weights make the same file.
    """
    with atomic_write(path, fsync=True) as part:
        write_safetensors(part, weights, {"lkca": json.dumps({"run_sha256": run_sha256, "epoch": epoch})})


def load_weights(path: Path, network: nn.Module, run_sha256: str) -> int:
    """Load weights into a network.

    Args:
        path: The .safetensors file.
        network: The network, which is changed.
        run_sha256: Expected hash of the run.json that the weights are from.

    Returns:
        The epoch of the weights, from 1.

    Raises:
        DataError: If the file is missing or damaged.
        StaleInput: If the file is of another run or of another network.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("lkca", "{}"))
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error}): train the network again.") from error
    if metadata.get("run_sha256") != run_sha256:
        raise StaleInput(f"{path} was trained with other settings than its run.json says: train the network again.")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise StaleInput(f"{path} has the weights of another network: give the run.json of its training.") from error
    return int(metadata["epoch"])
