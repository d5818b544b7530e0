"""Singular values of learnable upsampling layers: Sec. III-C and Fig. 4."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from lkca import checkpoint
from lkca.config import read_run
from lkca.errors import InputError
from lkca.files import sha256, write_json
from lkca.train import network


def singular_values(matrix: torch.Tensor) -> np.ndarray:
    """Singular values, descending, float64.

    Args:
        matrix: (outputs, inputs * kernel size), the layer's weights as the paper reshapes them.
    """
    return torch.linalg.svdvals(matrix.detach().double()).cpu().numpy()


def rank(values: np.ndarray, share: float) -> int:
    """How many of the largest singular values hold a share of the sum of all.

    Args:
        values: Singular values, descending.
        share: In (0, 1].

    Example:
        >>> rank(np.array([6.0, 3.0, 1.0]), 0.9)
        2
    """
    cumulative = np.cumsum(values) / values.sum()
    return int(np.searchsorted(cumulative, share * (1 - 1e-12)) + 1)


def spectrum(run: Path, weights: Path, out: Path) -> None:
    """Write the singular values of a run's upsampling layer, trained and at a default start.

    The control is a layer of the same shape with PyTorch's default initialisation, drawn with the run's seed: our own
    start is a layer of zeros, which has no singular values.

    Args:
        run: Its run.json.
        weights: Its trained weights.
        out: The JSON to write.

    Raises:
        InputError: If the network has no learnable upsampling layer.
    """
    settings = read_run(run)
    net = network(settings)
    if settings.upsampler is None:
        raise InputError(
            f"{run}: {settings.arch} has no learnable upsampling layer: choose another model for the figure."
        )
    checkpoint.load(weights, net, sha256(run))
    trained = net.upsampler.matrix()
    torch.manual_seed(settings.seed)
    conv = net.upsampler.conv
    start = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, groups=conv.groups).weight.flatten(1)
    values = {"trained": singular_values(trained), "start": singular_values(start)}
    write_json(
        out,
        {
            "scene": settings.scene,
            "scale": settings.scale,
            "model": settings.model,
            "seed": settings.seed,
            "shape": list(trained.shape),
            **{name: v.tolist() for name, v in values.items()},
            "rank90": {name: rank(v, 0.9) for name, v in values.items()},
        },
    )
