"""Singular values of learnable upsampling layers: Sec. III-C and Fig. 4."""

from pathlib import Path

import numpy as np
import torch

from lkca.config.run import read_run
from lkca.core.files import sha256, write_json
from lkca.errors import LkcaError
from lkca.models.layers import upsamplers
from lkca.training import checkpoint
from lkca.training.train import network


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
    """Write the singular values of a run's upsampling layers, trained and at a default start.

    The control is the same layer with PyTorch's default initialisation, drawn with the run's seed: some networks start
    with a layer of zeros, which has no singular values.

    Args:
        run: Its run.json.
        weights: Its trained weights.
        out: The JSON to write.

    Raises:
        LkcaError: If the network has no learnable upsampling layer.
    """
    settings = read_run(run)
    net = network(settings)
    if settings.upsampler is None:
        raise LkcaError(
            f"{run}: {settings.arch} has no learnable upsampling layer: choose another model for the figure."
        )
    checkpoint.load(weights, net, sha256(run))
    torch.manual_seed(settings.seed)
    layers = []
    for name, layer in upsamplers(net).items():
        trained = singular_values(layer.matrix())
        layer.reset()
        values = {"trained": trained, "start": singular_values(layer.matrix())}
        layers.append(
            {
                "name": name,
                "shape": list(layer.matrix().shape),
                **{kind: v.tolist() for kind, v in values.items()},
                "rank90": {kind: rank(v, 0.9) for kind, v in values.items()},
            }
        )
    facts = {name: getattr(settings, name) for name in ("scene", "scale", "model", "seed")}
    write_json(out, {**facts, "layers": layers})
