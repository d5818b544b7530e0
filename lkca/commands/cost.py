"""`lkca cost`: parameters and multiply-accumulates of the configured models."""

import csv
import sys
from itertools import product
from pathlib import Path
from typing import Any

from lkca.config.load import read_config
from lkca.config.schema import MAX_SCALE, Model
from lkca.errors import ConfigError
from lkca.models.cost import count_macs, count_parameters
from lkca.models.registry import build

MAX_BANDS = 4096  # no sensor has more bands
HEADER = ["model", "bands", "scale", "params", "macs"]
NOT_POSSIBLE = "not possible"  # printed instead of both numbers

BuildArguments = tuple[str, int, int, dict[str, Any], dict[str, int] | None]  # the arguments of `build`


def print_costs(config: list[Path], model: str | None, bands: int | None, scale: int | None) -> None:
    """Print a CSV table of parameters and multiply-accumulates, one row for each model, number of bands and scale.

    The table says "not possible" if the network does not allow this number of bands and scale.

    Args:
        config: config.yaml and overlays.
        model: Key of a model; None for all models.
        bands: Number of spectral bands; None for the numbers of bands of all scenes.
        scale: Upsampling factor; None for all factors in `patches` of the configuration.

    Raises:
        ConfigError: If the model does not exist, an option is out of range, or no row is possible.
    """
    experiment = read_config(config)
    if model is not None and model not in experiment.models:
        raise ConfigError(f"--model {model} does not exist: choose one of {', '.join(experiment.models)}.")
    for option, value, limit in (("--bands", bands, MAX_BANDS), ("--scale", scale, MAX_SCALE)):
        if value is not None and not 2 <= value <= limit:
            raise ConfigError(f"{option} {value} is out of range: choose from 2 to {limit}.")
    all_bands = [bands] if bands else list(dict.fromkeys(scene.bands for scene in experiment.scenes.values()))
    scales = [scale] if scale else [int(name.removeprefix("x")) for name in experiment.patches]
    rows: list[list[str | int]] = []
    reason = ""
    costs: dict[str, tuple[int, int]] = {}  # models that differ only in their training have the same cost
    for name, num_bands, factor in product([model] if model else experiment.models, all_bands, scales):
        arguments = _build_arguments(experiment.models[name], num_bands, factor)
        if repr(arguments) not in costs:
            try:
                costs[repr(arguments)] = _count_costs(arguments)
            except ConfigError as error:
                reason = reason or f"models.{name}: {error}"
        rows.append([name, num_bands, factor, *costs.get(repr(arguments), (NOT_POSSIBLE, NOT_POSSIBLE))])
    if reason and not costs:
        raise ConfigError(reason)
    csv.writer(sys.stdout, lineterminator="\n").writerows([HEADER, *rows])


def _build_arguments(model: Model, bands: int, scale: int) -> BuildArguments:
    """Return the arguments of `build` for a model of the configuration."""
    return model.arch, bands, scale, model.args, model.upsampler.model_dump() if model.upsampler else None


def _count_costs(arguments: BuildArguments) -> tuple[int, int]:
    """Return the numbers of parameters and of multiply-accumulates of the network that `build` returns."""
    network = build(*arguments)
    return count_parameters(network), count_macs(network, bands=arguments[1])
