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
CPU_MICRO_BATCH = 16  # patches that a CPU computes at a time: more take more memory and are no faster


def gather(scene: "Tensor", split: Mapping[str, Any], samples: np.ndarray, device: str) -> "Tensor":
    """Cut patches from a scene and rotate and mirror them.

    Args:
        scene: (bands, rows, columns), on any device.
        split: The split of the scene; its `size` is the height and width of a patch, pixels.
        samples: (n, 3), of each patch its top row, its left column and its orientation: 0 to 3 quarter turns, plus 4
            to mirror the columns first.
        device: Device of the result.

    Returns:
        (n, bands, size, size).
    """
    import torch  # not at the top: `lkca plan` needs the constants of this module alone

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

    The scene is copied to a GPU if it takes at most a quarter of the GPU's free memory. Otherwise it is mapped from
    the file, which is read where patches are cut.

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
