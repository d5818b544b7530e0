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

MAX_BANDS = 4096  # no sensor has more
HEADER = ["model", "bands", "scale", "params", "macs"]
NOT_POSSIBLE = "not possible"  # instead of both numbers

Network = tuple[str, int, int, dict[str, Any], dict[str, int] | None]  # arguments of `build`


def print_costs(config: list[Path], model: str | None, bands: int | None, scale: int | None) -> None:
    """Print a CSV table of parameters and multiply-accumulates; "not possible" where a network does not allow a size.

    Args:
        config: config.yaml and overlays.
        model: Key of a model; None for all models.
        bands: Spectral bands; None for those of each scene.
        scale: Upsampling factor; None for each that has patches.

    Raises:
        ConfigError: If the model does not exist or allows none of these sizes.
    """
    e = read_config(config)
    if model is not None and model not in e.models:
        raise ConfigError(f"--model {model} does not exist: choose one of {', '.join(e.models)}.")
    for option, value, limit in (("--bands", bands, MAX_BANDS), ("--scale", scale, MAX_SCALE)):
        if value is not None and not 2 <= value <= limit:
            raise ConfigError(f"{option} {value} is out of range: choose from 2 to {limit}.")
    all_bands = [bands] if bands else list(dict.fromkeys(scene.bands for scene in e.scenes.values()))
    scales = [scale] if scale else [int(name.removeprefix("x")) for name in e.patches]
    rows: list[list[str | int]] = []
    reason = ""
    costs: dict[str, tuple[int, int]] = {}  # models that differ only in their training have the same cost
    for name, num_bands, factor in product([model] if model else e.models, all_bands, scales):
        network = _network(e.models[name], num_bands, factor)
        if repr(network) not in costs:
            try:
                costs[repr(network)] = _count(network)
            except ConfigError as error:
                reason = reason or f"models.{name}: {error}"
        rows.append([name, num_bands, factor, *costs.get(repr(network), (NOT_POSSIBLE, NOT_POSSIBLE))])
    if reason and not costs:
        raise ConfigError(reason)
    csv.writer(sys.stdout, lineterminator="\n").writerows([HEADER, *rows])


def _network(model: Model, bands: int, scale: int) -> Network:
    return model.arch, bands, scale, model.args, model.upsampler.model_dump() if model.upsampler else None


def _count(network: Network) -> tuple[int, int]:
    """Return parameters and multiply-accumulates of a network."""
    built = build(*network)
    return count_parameters(built), count_macs(built, bands=network[1])
