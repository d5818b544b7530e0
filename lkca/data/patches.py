"""Load a scene and cut patches from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lkca.core.files import sha256
from lkca.errors import StaleInput

if TYPE_CHECKING:
    from torch import Tensor

ORIENTATIONS = 8  # identity, three rotations and their mirror images
CPU_MICRO_BATCH = 16  # patches that a CPU processes at a time; with more it needs more memory and is not faster


def gather(scene: "Tensor", split: Mapping[str, Any], samples: np.ndarray, device: str) -> "Tensor":
    """Cut patches from a scene and rotate and mirror them.

    Args:
        scene: (bands, rows, columns), on any device.
        split: The split of the scene; its `size` is the height and width of a patch, pixels.
        samples: (n, 3), integers. One row for each patch: its top row, its left column and its orientation, which is
            the number of quarter turns, 0 to 3, plus 4 if the columns are mirrored before the turns.
        device: Device of the result.

    Returns:
        (n, bands, size, size).
    """
    import torch  # not at the top: `lkca plan` needs only the constants of this module and starts faster without torch

    bands, _, columns = scene.shape
    row, column, orientation = torch.from_numpy(samples).T
    size = split["size"]
    pixels = torch.arange(size)[:, None] * columns + torch.arange(size)  # flat indices of the patch at 0, 0
    oriented = [(pixels.flip(1) if i >= 4 else pixels).rot90(i % 4) for i in range(ORIENTATIONS)]
    index = (row * columns + column)[:, None, None] + torch.stack(oriented)[orientation]
    patches = scene.flatten(1).index_select(1, index.flatten().to(scene.device))
    return patches.view(bands, len(samples), size, size).transpose(0, 1).contiguous().to(device)


def load_scene(scene: Path, digest: str, device: str) -> "Tensor":
    """Load a scene as a tensor (bands, rows, columns).

    The scene is copied to the GPU if it takes at most a quarter of the GPU's free memory. Otherwise the tensor is a
    memory map on the CPU, so that only the patches that are cut are read from the file.

    Args:
        scene: The .npy file.
        digest: Its expected SHA-256.
        device: Device of the computation, "cuda" or "cpu".

    Raises:
        StaleInput: If the file has another SHA-256.
    """
    import torch

    if sha256(scene) != digest:
        raise StaleInput(f"{scene} has changed since run.json was written: delete it and run snakemake again.")
    mapped = torch.from_numpy(np.load(scene, mmap_mode="c", allow_pickle=False))
    fits = device == "cuda" and mapped.nbytes <= torch.cuda.mem_get_info()[0] / 4
    return mapped.to(device) if fits else mapped
