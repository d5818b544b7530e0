"""What a network costs: parameters and multiply-accumulates, as the paper's tables count them."""

import csv
import logging
import sys
from pathlib import Path

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from lkca.config import MOST_SCALE, read_config
from lkca.errors import InputError
from lkca.models import build
from lkca.models.bicubic import Bicubic

MOST_BANDS = 4096  # of `cost`; no sensor has more
LR_SIDE = 16  # pixels of the low-resolution input that the tables' costs are for, at every scale


def parameters(network: nn.Module) -> int:
    """The number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, bands: int) -> int:
    """Multiply-accumulates of one forward pass on a 16 x 16 low-resolution image; what the paper prints as Flops.

    Counted by fvcore: 1 for each multiply-add of convolutions and matrix products, 5 an element for layer norms, 0 for
    biases, activations and element-wise products. Interpolation between pixels is left out, as in the printed numbers:
    bicubic resizing and the sampling of deformable convolutions.

    Args:
        network: Maps (1, bands, 16, 16) to the enlarged image.
        bands: Spectral bands.
    """
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)  # it lists every operation that counts 0
    weight = next(network.parameters(), torch.empty(0))
    analysis = FlopCountAnalysis(network.eval(), weight.new_zeros(1, bands, LR_SIDE, LR_SIDE))
    counts = analysis.set_op_handle("aten::grid_sampler", lambda inputs, outputs: 0).by_module()
    shortcuts = [name for name, module in network.named_modules() if isinstance(module, Bicubic)]
    return counts[""] - sum(counts[name] for name in shortcuts)


def cost(config: list[Path], model: str | None, bands: int | None, scale: int | None) -> None:
    """Print model,bands,scale,params,macs as CSV; "not possible" where an architecture does not allow a size.

    Args:
        config: config.yaml and overlays.
        model: A key of its models; None is all of them.
        bands: Spectral bands; None is each scene's.
        scale: Upsampling factor; None is each that has patches.

    Raises:
        InputError: If the model does not exist or allows none of these sizes.
    """
    e = read_config(config)
    if model is not None and model not in e.models:
        raise InputError(f"--model {model} does not exist: choose one of {', '.join(e.models)}.")
    for option, value, most in (("--bands", bands, MOST_BANDS), ("--scale", scale, MOST_SCALE)):
        if value is not None and not 2 <= value <= most:
            raise InputError(f"{option} {value} is out of range: choose from 2 to {most}.")
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
                    except InputError as error:
                        known[repr(network)], refused = ("not possible", "not possible"), (name, error)
                    else:
                        known[repr(network)] = parameters(built), macs(built, size)
                rows.append([name, size, factor, *known[repr(network)]])
    if refused and all(row[-1] == "not possible" for row in rows[1:]):
        raise InputError("models.{}: {}".format(*refused))
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
