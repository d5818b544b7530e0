"""`lkca cost`: parameters and multiply-accumulates of the configured models."""

import csv
import sys
from itertools import product
from pathlib import Path
from typing import Any

from lkca.config.load import find_config_files, read_config
from lkca.config.schema import MAX_SCALE, Model
from lkca.core.spreadsheets import guard_cell
from lkca.errors import ConfigError
from lkca.models.cost import count_macs, count_parameters
from lkca.models.registry import build

MAX_BANDS = 4096  # no sensor has more bands
HEADER = ["model", "bands", "scale", "params", "macs", "reason"]

BuildArguments = tuple[str, int, int, dict[str, Any], dict[str, int] | None]  # the arguments of `build`
Cells = tuple[int | str, int | str, str]  # params, macs, reason


def print_costs(config: list[Path], model: str | None, bands: int | None, scale: int | None) -> None:
    """Print a CSV table of parameters and multiply-accumulates, one row for each model, number of bands and scale.

    If the network does not allow this number of bands and scale, both numbers are empty and the column `reason` says
    why.

    Args:
        config: Overlays of config.yaml, or other files: see `find_config_files`.
        model: Key of a model; None for all models.
        bands: Number of spectral bands; None for the numbers of bands of all scenes.
        scale: Upsampling factor; None for all factors in `patches` of the configuration.

    Raises:
        ConfigError: If the model does not exist, an option is out of range, or no row is possible.
    """
    experiment = read_config(find_config_files(config))
    if model is not None and model not in experiment.models:
        raise ConfigError(f"--model {model} does not exist: choose one of {', '.join(experiment.models)}.")
    for option, value, limit in (("--bands", bands, MAX_BANDS), ("--scale", scale, MAX_SCALE)):
        if value is not None and not 2 <= value <= limit:
            raise ConfigError(f"{option} {value} is out of range: choose from 2 to {limit}.")
    all_bands = [bands] if bands else list(dict.fromkeys(scene.bands for scene in experiment.scenes.values()))
    scales = [scale] if scale else [int(name.removeprefix("x")) for name in experiment.patches]
    rows: list[list[str | int]] = []
    costs: dict[str, Cells] = {}  # models that differ only in their training have the same cost
    for name, num_bands, factor in product([model] if model else experiment.models, all_bands, scales):
        arguments = _build_arguments(experiment.models[name], num_bands, factor)
        if repr(arguments) not in costs:
            costs[repr(arguments)] = _count_costs(arguments)
        rows.append([name, num_bands, factor, *costs[repr(arguments)]])
    if all(row[-1] for row in rows):
        raise ConfigError(f"models.{rows[0][0]}: {rows[0][-1]}")
    csv.writer(sys.stdout, lineterminator="\n").writerows([HEADER, *(map(guard_cell, row) for row in rows)])


def _build_arguments(model: Model, bands: int, scale: int) -> BuildArguments:
    """Return the arguments of `build` for a model of the configuration."""
    return model.arch, bands, scale, model.args, model.upsampler.model_dump() if model.upsampler else None


def _count_costs(arguments: BuildArguments) -> Cells:
    """Return parameters and multiply-accumulates of the network that `build` returns, or why it cannot be built."""
    try:
        network = build(*arguments)
    except ConfigError as error:
        return "", "", str(error)
    return count_parameters(network), count_macs(network, bands=arguments[1]), ""
