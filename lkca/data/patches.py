"""Which pixels are for training, validation and testing, and how a batch of patches is gathered and degraded."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lkca.core.files import sha256
from lkca.errors import LkcaError

if TYPE_CHECKING:
    from torch import Tensor

ORIENTATIONS = 8  # identity, three rotations and their mirror images
CPU_MICRO_BATCH = 16  # of a batch those that a CPU computes together: takes less memory, and no more time


def gather(scene: "Tensor", split: dict, samples: np.ndarray, device: str) -> "Tensor":
    """Cut patches from a scene, each turned and mirrored as asked.

    Args:
        scene: (bands, rows, columns), on any device.
        places: The split, of which `size` is height and width of a patch, pixels.
        samples: (n, 3), of each patch its top-left row and column and its orientation: 0 to 7, quarter turns, plus 4
            for mirrored columns.
        device: Where they are wanted.

    Returns:
        (n, bands, size, size), on that device.
    """
    import torch

    bands, _, columns = scene.shape
    row, column, orientation = torch.from_numpy(samples).T
    size = split["size"]
    pixels = torch.arange(size)[:, None] * columns + torch.arange(size)  # of a patch at 0, 0
    turned = [way.rot90(i % 4) for i in range(ORIENTATIONS) for way in (pixels.flip(1) if i >= 4 else pixels,)]
    index = (row * columns + column)[:, None, None] + torch.stack(turned)[orientation]
    patches = scene.flatten(1).index_select(1, index.flatten().to(scene.device))
    return patches.view(bands, len(samples), size, size).transpose(0, 1).contiguous().to(device)


def load_scene(scene: Path, digest: str, device: str) -> "Tensor":
    """A scene as a tensor: in the memory of a GPU, or mapped from the file and read where it is used.

    A GPU gets it if it takes no more than a quarter of its free memory; else its patches are cut outside.

    Raises:
        LkcaError: If the file's SHA-256 is not `digest`.
    """
    import torch

    if sha256(scene) != digest:
        raise LkcaError(f"{scene} is not the scene that the run was set for: delete it and run snakemake again.")
    mapped = torch.from_numpy(np.load(scene, mmap_mode="c", allow_pickle=False))
    fits = device == "cuda" and mapped.nbytes <= torch.cuda.mem_get_info()[0] / 4
    return mapped.to(device) if fits else mapped
