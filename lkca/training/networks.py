"""Build the network of a run, and load its teacher."""

from pathlib import Path

import torch
from torch import nn

from lkca.config.run import read_run
from lkca.config.schema import RunConfig
from lkca.core.files import sha256
from lkca.core.paths import RUN_FILE
from lkca.errors import ConfigError, StaleInput
from lkca.models.registry import build
from lkca.training.checkpoint import load_weights


def build_network(settings: RunConfig) -> nn.Module:
    """Return the network of a run, initialised from torch's global random state."""
    return build(settings.arch, settings.bands, settings.scale, settings.args, settings.upsampler)


def build_initial_network(settings: RunConfig) -> nn.Module:
    """Return the network of a run with the weights with which its training starts; they depend on the seed only."""
    torch.manual_seed(settings.seed)
    return build_network(settings)


def teacher_run(weights: Path) -> Path:
    """Return the path of the run.json that belongs to a teacher's weights."""
    return weights.with_name(RUN_FILE)


def load_teacher(settings: RunConfig, weights: Path | None) -> nn.Module:
    """Return the teacher of a run, without gradients and in evaluation mode.

    Args:
        settings: The run of the student; it has `distill`.
        weights: The file of the teacher's weights; the teacher's run.json is next to it.

    Raises:
        ConfigError: If `weights` is None.
        StaleInput: If the run was set up for another teacher, or the weights belong to another run.
    """
    assert settings.distill is not None and settings.teacher_sha256 is not None
    if weights is None:
        raise ConfigError(f"{settings.label} learns from {settings.distill.teacher}: give its weights by --teacher.")
    run = teacher_run(weights)
    if sha256(run) != settings.teacher_sha256:
        raise StaleInput(f"{run} is not the teacher that {settings.label} was set up for: run snakemake again.")
    network = build_network(read_run(run))
    load_weights(weights, network, settings.teacher_sha256)
    return network.eval().requires_grad_(False)
