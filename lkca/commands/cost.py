"""`lkca cost`: parameters and multiply-accumulates of the configured models."""

import csv
import sys
from pathlib import Path

from lkca.config.load import read_config
from lkca.config.schema import MAX_SCALE
from lkca.errors import LkcaError
from lkca.models.cost import macs, parameters
from lkca.models.registry import build

MOST_BANDS = 4096  # of `cost`; no sensor has more


def cost(config: list[Path], model: str | None, bands: int | None, scale: int | None) -> None:
    """Print model,bands,scale,params,macs as CSV; "not possible" where an architecture does not allow a size.

    Args:
        config: config.yaml and overlays.
        model: A key of its models; None is all of them.
        bands: Spectral bands; None is each scene's.
        scale: Upsampling factor; None is each that has patches.

    Raises:
        LkcaError: If the model does not exist or allows none of these sizes.
    """
    e = read_config(config)
    if model is not None and model not in e.models:
        raise LkcaError(f"--model {model} does not exist: choose one of {', '.join(e.models)}.")
    for option, value, most in (("--bands", bands, MOST_BANDS), ("--scale", scale, MAX_SCALE)):
        if value is not None and not 2 <= value <= most:
            raise LkcaError(f"{option} {value} is out of range: choose from 2 to {most}.")
    sizes = [bands] if bands else list(dict.fromkeys(scene.bands for scene in e.scenes.values()))
    scales = [scale] if scale else [int(name.removeprefix("x")) for name in e.patches]
    rows: list[list] = [["model", "bands", "scale", "params", "macs"]]
    refused = None
    known: dict[str, tuple[int | str, int | str]] = {}  # variants that differ in training alone cost the same
    for name in [model] if model else e.models:
        chosen = e.models[name]
        groups = chosen.upsampler.model_dump() if chosen.upsampler else None
        for size in sizes:
            for factor in scales:
                network = (chosen.arch, size, factor, chosen.args, groups)
                if repr(network) not in known:
                    try:
                        built = build(*network)
                    except LkcaError as error:
                        known[repr(network)], refused = ("not possible", "not possible"), (name, error)
                    else:
                        known[repr(network)] = parameters(built), macs(built, size)
                rows.append([name, size, factor, *known[repr(network)]])
    if refused and all(row[-1] == "not possible" for row in rows[1:]):
        raise LkcaError("models.{}: {}".format(*refused))
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
