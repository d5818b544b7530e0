"""Singular values of learnable upsampling layers: Sec. III-C and Fig. 4 of the paper."""

from pathlib import Path

import numpy as np
import torch

from lkca.config.run import read_run
from lkca.core.files import sha256, write_json
from lkca.errors import ConfigError
from lkca.models.layers import find_upsamplers
from lkca.training.checkpoint import load_weights
from lkca.training.networks import build_network


def spectrum(run: Path, weights: Path, out: Path) -> None:
    """Write the singular values of the upsampling layers of a run, of the trained layers and of untrained ones.

    The untrained layers have PyTorch's default initialisation, drawn with the run's seed. They need not be those that
    the training started with: some networks start with layers of zeros, whose singular values are all zero.

    Args:
        run: The run.json.
        weights: The trained weights.
        out: The JSON to write: scene, scale, model, seed and `layers`; for each layer its name, the shape of its
            matrix, the singular values `trained` and `start` (of the untrained layer), and `rank90`, the effective rank
            of each for 90 %.

    Raises:
        ConfigError: If the network has no learnable upsampling layer.
    """
    settings = read_run(run)
    if settings.upsampler is None:
        raise ConfigError(f"{run}: {settings.arch} has no learnable upsampling layer: use another model in the figure.")
    net = build_network(settings)
    load_weights(weights, net, sha256(run))
    torch.manual_seed(settings.seed)
    layers = []
    for name, layer in find_upsamplers(net).items():
        trained = singular_values(layer.weight_matrix())
        layer.reset_parameters()
        spectra = {"trained": trained, "start": singular_values(layer.weight_matrix())}
        layers.append(
            {
                "name": name,
                "shape": list(layer.weight_matrix().shape),
                **{kind: values.tolist() for kind, values in spectra.items()},
                "rank90": {kind: effective_rank(values, 0.9) for kind, values in spectra.items()},
            }
        )
    identity = {name: getattr(settings, name) for name in ("scene", "scale", "model", "seed")}
    write_json(out, {**identity, "layers": layers})


def singular_values(matrix: torch.Tensor) -> np.ndarray:
    """Return the singular values of a matrix, descending, float64.

    Args:
        matrix: (outputs, inputs * kernel size), the layer's weights as the paper reshapes them.
    """
    return torch.linalg.svdvals(matrix.detach().double()).cpu().numpy()


def effective_rank(values: np.ndarray, fraction: float) -> int:
    """Return how many of the largest singular values add up to a fraction of the sum of all.

    Args:
        values: Singular values, descending.
        fraction: In (0, 1].

    Example:
        >>> effective_rank(np.array([6.0, 3.0, 1.0]), 0.9)
        2
    """
    cumulative = np.cumsum(values) / values.sum()
    return int(np.searchsorted(cumulative, fraction * (1 - 1e-12)) + 1)
