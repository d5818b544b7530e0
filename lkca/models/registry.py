"""The networks. Each is `Net(bands, scale, **args)` and maps (n, bands, h, w) to (n, bands, scale * h, scale * w)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from lkca.errors import LkcaError

if TYPE_CHECKING:
    from torch import nn


class Architecture(NamedTuple):
    """What must be known of a network before torch is there: config.py asks on every call of snakemake."""

    network: str  # the class, in the file named like the key
    doubles: bool = False  # upsamples in steps of two, each from width to 4 * width channels
    least_bands: int = 1
    divisor: int = 1  # of the width


MODELS = {
    "bicubic": Architecture("Bicubic"),
    "vdsr": Architecture("VDSR"),
    "fcnn3d": Architecture("FCNN3D"),
    "sspsr": Architecture("SSPSR", doubles=True, least_bands=8, divisor=16),
    "msdformer": Architecture("MSDformer", doubles=True, least_bands=8, divisor=48),
    "essaformer": Architecture("ESSAformer", doubles=True, divisor=4),
    "lkca": Architecture("LKCANet", divisor=16),
}


def class_of(arch: str) -> str:
    """Return where the class of a network is, as `module:name`."""
    return f"lkca.models.{arch}:{MODELS[arch].network}"


def check(arch: str, bands: int, scale: int, args: dict[str, Any], upsampler: dict[str, int] | None) -> None:
    """Refuse what an architecture does not allow; the arguments are those of `build`.

    Raises:
        LkcaError: With the setting that is wrong and what to choose.
    """
    facts = MODELS[arch]
    if bands < facts.least_bands:
        raise LkcaError(
            f"bands: {arch} works on groups of {facts.least_bands} bands and there are {bands}: choose another network."
        )
    if facts.doubles and scale & (scale - 1):
        raise LkcaError(f"scale: {arch} enlarges in steps of two and cannot reach x{scale}: choose x2, x4, x8 or x16.")
    if args.get("layers") == 1:
        raise LkcaError(f"args.layers: {arch} needs one before its upsampling layer: choose 2 or more.")
    width = args.get("width")
    if width and width % facts.divisor:
        raise LkcaError(
            f"args.width: {arch} needs a multiple of {facts.divisor} and {width} is none: "
            f"choose {max(1, round(width / facts.divisor)) * facts.divisor}."
        )
    if upsampler:
        groups, outputs = upsampler["groups"], 4 * width if facts.doubles else bands * scale**2
        if width % groups or outputs % groups:
            fitting = [g for g in range(1, width + 1) if width % g == 0 and outputs % g == 0]
            raise LkcaError(
                f"upsampler.groups: {groups} must divide the {width} input and the {outputs} output channels "
                f"of {arch}'s upsampling layer: choose {min(fitting, key=lambda g: abs(g - groups))}."
            )


def build(arch: str, bands: int, scale: int, args: dict[str, Any], upsampler: dict[str, int] | None) -> "nn.Module":
    """A network, freshly initialised from torch's global random state.

    Args:
        arch: A key of MODELS.
        bands: Spectral bands, in and out.
        scale: Upsampling factor r.
        args: The network's own arguments.
        upsampler: The option of the learnable upsampling layers, `{"groups": g}`; None where there is no such layer.

    Raises:
        LkcaError: If the architecture does not allow these sizes.
    """
    check(arch, bands, scale, args, upsampler)
    network = getattr(import_module(f"lkca.models.{arch}"), MODELS[arch].network)
    return network(bands, scale, **args, **(upsampler or {}))
