"""Write and read files of trained weights, which also store the run and the epoch of the weights."""

import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from lkca.core.files import atomic_write, open_file
from lkca.core.result_files import WeightsMetadata
from lkca.errors import DataError, StaleInput


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Call `save_file` of safetensors, but raise OSError if writing fails."""
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise OSError(f"{error}") from error


def save_weights(path: Path, weights: dict[str, torch.Tensor], run_sha256: str, epoch: int) -> None:
    """Write weights to a .safetensors file, with the hash of their run.json and their epoch, from 1.

    The metadata has only one entry, because safetensors writes several entries in random order. With one, the same
    weights always give the same bytes.
    """
    with atomic_write(path, fsync=True) as part:
        write_safetensors(part, weights, {"lkca": json.dumps({"run_sha256": run_sha256, "epoch": epoch})})


def load_weights(path: Path, network: nn.Module, run_sha256: str) -> int:
    """Load weights into a network.

    Args:
        path: The .safetensors file.
        network: The network, whose weights are replaced.
        run_sha256: Hash of the run.json that the weights must belong to.

    Returns:
        The epoch of the weights, from 1.

    Raises:
        DataError: If the file is missing or damaged.
        StaleInput: If the file has the weights of another run or of another network.
    """
    try:
        open_file(path).close()  # safe_open would wait for the writer of a pipe
        with safe_open(path, "pt") as file:
            metadata = WeightsMetadata.model_validate_json((file.metadata() or {}).get("lkca", "{}"))
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, ValueError) as error:
        reason = "its metadata are wrong" if isinstance(error, ValidationError) else error
        raise DataError(f"{path} cannot be read as safetensors ({reason}): train the network again.") from error
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise DataError(f"{path} has weights that are NaN or infinite: train the network again.")
    if metadata.run_sha256 != run_sha256:
        raise StaleInput(f"{path} was trained with other settings than its run.json says: train the network again.")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise StaleInput(f"{path} has the weights of another network: give the run.json of its training.") from error
    return metadata.epoch
