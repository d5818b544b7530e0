"""The registry of networks: what configuration and planning must know about each, and how to build one.

A network is a class `Net(bands, scale, **args)`, which maps (n, bands, h, w) to (n, bands, scale * h, scale * w).
Importing this module does not import torch, because the Snakefile reads the registry on every call.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import ceil, log2
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lkca.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

MAX_ARGUMENT = 4096  # largest width or number of layers
Args = Mapping[str, Any]  # a network's arguments besides bands, scale and groups: name -> number
REGISTRY = "MODELS (lkca/models/registry.py)"


@dataclass(frozen=True)
class Integer:
    """The allowed values of an integer argument of a network: multiples of a number, from a minimum."""

    min: int = 1
    multiple_of: int = 1

    annotation = int

    def complaint(self, value: Any) -> str | None:
        """Return what is wrong with a value and what to choose, or None."""
        if type(value) is not int or not self.min <= value <= MAX_ARGUMENT:
            return f"{value!r} is out of range: choose a whole number from {self.min} to {MAX_ARGUMENT}."
        if value % self.multiple_of:
            nearest = max(1, round(value / self.multiple_of)) * self.multiple_of
            return f"{value} is not a multiple of {self.multiple_of}: choose {nearest}."
        return None


@dataclass(frozen=True)
class Rate:
    """The allowed values of a rate, an argument of a network: [0, 1)."""

    annotation = float

    def complaint(self, value: Any) -> str | None:
        """Return what is wrong with a value and what to choose, or None."""
        return None if 0 <= value < 1 else f"{value!r} is out of range: choose from 0 to below 1."


class CostEstimate(NamedTuple):
    """Approximate cost of a network, from formulas for its large layers.

    Args:
        macs: Multiply-accumulates of a forward pass per pixel of the LR image, as `count_macs` counts them.
        activations: Numbers that a training step stores for the gradient per pixel of the LR image; from measurements.
        parameters: Number of trainable parameters.
    """

    macs: float
    activations: float
    parameters: float


Estimate = Callable[[int, int, int, Args], CostEstimate]  # from bands, scale, upsampler groups and arguments


@dataclass(frozen=True)
class NetworkSpec:
    """The properties of a network that must be known without importing it.

    Args:
        class_name: Name of its class in lkca/models/KEY.py, where KEY is its key in MODELS.
        estimate: Function that returns its cost for bands, scale, upsampler groups and the network's own arguments.
        arguments: The network's own arguments, without bands, scale and groups.
        trainable: Whether the network has parameters.
        has_upsampler: Whether it has learnable upsampling layers. It then has the arguments `width`, their number of
            input channels, and `groups`, the groups of their convolutions.
        power_of_two_only: Whether it upsamples in steps of two, each from width to 4 * width channels.
        min_bands: Smallest number of bands.
    """

    class_name: str
    estimate: Estimate | None = None
    arguments: Mapping[str, Integer | Rate] = field(default_factory=dict)
    trainable: bool = True
    has_upsampler: bool = True
    power_of_two_only: bool = False
    min_bands: int = 1


def _image_activations(bands: int, scale: int) -> int:
    """Return how many numbers the losses and the bicubic shortcut store for the gradient, per LR pixel."""
    return 7 * bands * scale**2


def _doubling_macs(width: int, scale: int, groups: int) -> float:
    """Return the MACs of `lkca.models.layers.make_doubling_upsampler` per LR pixel."""
    return 12 * width**2 / groups * (scale**2 - 1)


def _doubling_parameters(width: int, scale: int, groups: int) -> float:
    """Return the number of parameters of `lkca.models.layers.make_doubling_upsampler`."""
    return 36 * width**2 / groups * log2(scale)


def _num_band_groups(bands: int) -> int:
    """Return the number of groups of `lkca.models.layers.BandGroups`, whose module imports torch."""
    return ceil((bands - 2) / 6)


def _estimate_bicubic(bands: int, scale: int, _groups: int, _args: Args) -> CostEstimate:
    return CostEstimate(0, _image_activations(bands, scale), 0)


def _estimate_vdsr(bands: int, scale: int, groups: int, args: Args) -> CostEstimate:
    width, layers = args["width"], args["layers"]
    weights = 9 * (bands * width + (layers - 2) * width**2 + bands * width * scale**2 / groups)
    return CostEstimate(weights, 6 * layers * width + _image_activations(bands, scale), weights)


def _estimate_fcnn3d(bands: int, scale: int, groups: int, args: Args) -> CostEstimate:
    width = args["width"]
    weights = 243 * 64 * bands + 64 * 32 + 32 * width + 75 * bands * width * scale**2 / groups
    return CostEstimate(weights, _image_activations(bands, scale), weights)


def _estimate_sspsr(bands: int, scale: int, groups: int, args: Args) -> CostEstimate:
    width, blocks, r2, band_groups = args["width"], args["blocks"], scale**2, _num_band_groups(bands)
    branch = 72 * width * (1 + r2 / 4) + 20 * blocks * width**2 + 12 * width**2 / groups * (r2 / 4 - 1)
    trunk = 9 * bands * width + 20 * blocks * width**2 + 36 * width**2 / groups
    activations = band_groups * width * (9 * blocks + r2) + r2 * width * (9 / 4 * blocks + 2)
    return CostEstimate(
        macs=band_groups * branch + r2 / 4 * trunk + 18 * bands * width * r2,
        activations=activations + _image_activations(bands, scale),
        parameters=40 * blocks * width**2 + _doubling_parameters(width, scale, groups) + 27 * bands * width,
    )


def _estimate_msdformer(bands: int, scale: int, groups: int, args: Args) -> CostEstimate:
    width, depth, r2, band_groups = args["width"], args["transformers"], scale**2, _num_band_groups(bands)
    head = band_groups * (20 * width**2 + 224 * width) + bands * width
    body = depth * (30.3 * width**2 + 172 * width) - 9 * width**2
    activations = 22 * band_groups * width + 30 * depth * width + 3 * r2 * width
    weights = (2 * band_groups + 18 + 30 * depth) * width**2
    return CostEstimate(
        macs=head + body + _doubling_macs(width, scale, groups) + 18 * bands * width * r2,
        activations=activations + _image_activations(bands, scale),
        parameters=weights + _doubling_parameters(width, scale, groups) + 18 * bands * width,
    )


def _estimate_essaformer(bands: int, scale: int, groups: int, args: Args) -> CostEstimate:
    width, r2 = args["width"], scale**2
    ends, sampling = 9 * bands * width * (1 + r2), 3 * _doubling_macs(width, scale, groups) + 6 * width**2 * (r2 - 1)
    weights = (96 + 9 / 4 * log2(scale)) * width**2
    return CostEstimate(
        macs=ends + sampling + 48 * width**2 * (3 * r2 + 2),
        activations=84 * width * r2 + _image_activations(bands, scale),
        parameters=weights + _doubling_parameters(width, scale, groups) + 18 * bands * width,
    )


def _estimate_lkca(bands: int, scale: int, groups: int, args: Args) -> CostEstimate:
    width, blocks = args["width"], args["blocks"]
    ends, block = 9 * bands * width * (1 + scale**2 / groups), 2.75 * width**2 + 77 * width
    return CostEstimate(
        macs=ends + blocks * block,
        activations=36 * blocks * width + _image_activations(bands, scale),
        parameters=ends + blocks * (block + 9 / 8 * width**2),
    )


MODELS = {
    "bicubic": NetworkSpec("Bicubic", _estimate_bicubic, trainable=False, has_upsampler=False),
    "vdsr": NetworkSpec("VDSR", _estimate_vdsr, {"width": Integer(), "layers": Integer(min=2)}),
    "fcnn3d": NetworkSpec("FCNN3D", _estimate_fcnn3d, {"width": Integer()}),
    "sspsr": NetworkSpec(
        "SSPSR",
        _estimate_sspsr,
        {"width": Integer(multiple_of=16), "blocks": Integer()},
        power_of_two_only=True,
        min_bands=8,
    ),
    "msdformer": NetworkSpec(
        "MSDformer",
        _estimate_msdformer,
        {"width": Integer(multiple_of=48), "transformers": Integer()},
        power_of_two_only=True,
        min_bands=8,
    ),
    "essaformer": NetworkSpec(
        "ESSAformer", _estimate_essaformer, {"width": Integer(multiple_of=4)}, power_of_two_only=True
    ),
    "lkca": NetworkSpec(
        "LKCANet", _estimate_lkca, {"width": Integer(multiple_of=16), "blocks": Integer(), "drop_path": Rate()}
    ),
}


def class_path(arch: str) -> str:
    """Return the module and name of the class of a network, as `module:name`."""
    return f"lkca.models.{arch}:{MODELS[arch].class_name}"


def check_entry(arch: str) -> None:
    """Check that the entry of a network is complete, without importing torch.

    Raises:
        ConfigError: If the estimate, the file or the class is missing, or an argument has no range.
    """
    _get_estimate(arch)
    spec, file = MODELS[arch], Path(__file__).with_name(f"{arch}.py")
    for name, argument in spec.arguments.items():
        if not isinstance(argument, Integer | Rate):
            shown = argument.__name__ if isinstance(argument, type) else repr(argument)
            raise ConfigError(f"{name} is {shown} at {arch} in {REGISTRY}: write Integer() or Rate().")
    if spec.has_upsampler and "width" not in spec.arguments:
        raise ConfigError(f"{arch} in {REGISTRY} has an upsampler and no argument `width`: add it.")
    if not file.is_file():
        raise ConfigError(f"lkca/models/{arch}.py is missing: create it for {arch} in {REGISTRY}.")
    if not re.search(rf"^class {spec.class_name}\b", file.read_text(encoding="utf-8"), re.MULTILINE):
        raise ConfigError(f"lkca/models/{arch}.py has no class {spec.class_name}: correct {arch} in {REGISTRY}.")


def check_arguments(arch: str, args: Args, upsampler: Mapping[str, int] | None) -> None:
    """Check the names and ranges of a network's arguments. For the parameters see `build`.

    Raises:
        ConfigError: If an argument is missing, unknown or out of range, or `upsampler` is missing or not allowed.
    """
    spec = MODELS[arch]
    if spec.has_upsampler and upsampler is None:
        raise ConfigError(f"upsampler: {arch} needs it: write {{groups: 1}}.")
    if not spec.has_upsampler and upsampler is not None:
        raise ConfigError(f"upsampler: {arch} has no learnable upsampling layer: write null.")
    for name in args:
        if name not in spec.arguments:
            raise ConfigError(
                f"args.{name} is no argument of {arch}: choose from {', '.join(spec.arguments) or 'none'}."
            )
    for name, argument in spec.arguments.items():
        if name not in args:
            raise ConfigError(f"args.{name} is missing: {arch} needs it.")
        if complaint := argument.complaint(args[name]):
            raise ConfigError(f"args.{name}: {complaint}")


def check_sizes(arch: str, bands: int, scale: int, args: Args, upsampler: Mapping[str, int] | None) -> None:
    """Check that a network allows these bands, this scale and these groups. For the parameters see `build`.

    Raises:
        ConfigError: If it does not allow one of them.
    """
    spec = MODELS[arch]
    if bands < spec.min_bands:
        raise ConfigError(
            f"bands: {arch} needs at least {spec.min_bands} and there are {bands}: choose another network."
        )
    if spec.power_of_two_only and scale & (scale - 1):
        raise ConfigError(
            f"scale: {arch} upsamples in steps of two and cannot reach x{scale}: choose x2, x4, x8 or x16."
        )
    if upsampler:
        groups, allowed = upsampler["groups"], allowed_groups(arch, bands, scale, args)
        if groups not in allowed:
            raise ConfigError(
                f"upsampler.groups: {groups} must divide the {args['width']} input and the "
                f"{_output_channels(arch, bands, scale, args)} output channels of {arch}'s upsampling layer: choose "
                f"{min(allowed, key=lambda g: abs(g - groups))}."
            )


def allowed_groups(arch: str, bands: int, scale: int, args: Args) -> list[int]:
    """Return the numbers of groups that an upsampling layer of a network may have, in ascending order."""
    width, outputs = args["width"], _output_channels(arch, bands, scale, args)
    return [g for g in range(1, width + 1) if width % g == 0 and outputs % g == 0]


def _output_channels(arch: str, bands: int, scale: int, args: Args) -> int:
    """Return the number of output channels of an upsampling layer of a network."""
    return int(4 * args["width"] if MODELS[arch].power_of_two_only else bands * scale**2)


def estimate_cost(arch: str, bands: int, scale: int, args: Args, upsampler: Mapping[str, int] | None) -> CostEstimate:
    """Return the approximate cost of a network. For the parameters see `build`.

    Raises:
        ConfigError: If the network has no estimate, or its estimate fails or returns something else.
    """
    estimate, groups = _get_estimate(arch), upsampler["groups"] if upsampler else 1
    try:
        cost = estimate(bands, scale, groups, args)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        raise ConfigError(f"the estimate of {arch} in {REGISTRY} fails with {text}: correct it.") from error
    if not isinstance(cost, CostEstimate):
        raise ConfigError(f"the estimate of {arch} in {REGISTRY} must return a CostEstimate, not {cost!r}: correct it.")
    return cost


def _get_estimate(arch: str) -> Estimate:
    estimate = MODELS[arch].estimate
    if estimate is None:
        raise ConfigError(f"{arch} in {REGISTRY} has no estimate of its cost: add a function that returns one.")
    return estimate


def load_class(arch: str) -> "type[nn.Module]":
    """Import the class of a network, compare its parameters with its entry in MODELS, and return it.

    Raises:
        ConfigError: If the entry is incomplete or the class has other parameters than the entry says.
    """
    check_entry(arch)
    spec = MODELS[arch]
    network = getattr(import_module(f"lkca.models.{arch}"), spec.class_name)
    expected = {"bands": int, "scale": int} | {name: argument.annotation for name, argument in spec.arguments.items()}
    expected |= {"groups": int} if spec.has_upsampler else {}
    signature = inspect.signature(network, eval_str=True)
    if {name: parameter.annotation for name, parameter in signature.parameters.items()} != expected:
        arguments = ", ".join(f"{name}: {kind.__name__}" for name, kind in expected.items())
        raise ConfigError(
            f"{spec.class_name} in lkca/models/{arch}.py takes {signature}, but {arch} in {REGISTRY} "
            f"says ({arguments}): correct one of them."
        )
    return network


def build(arch: str, bands: int, scale: int, args: Args, upsampler: Mapping[str, int] | None) -> "nn.Module":
    """Return a new network, initialised from torch's global random state.

    Args:
        arch: A key of MODELS.
        bands: Spectral bands, in and out.
        scale: Upsampling factor r.
        args: The network's own arguments.
        upsampler: `{"groups": g}` for the learnable upsampling layers; None for a network without any.

    Raises:
        ConfigError: If the entry of the network is wrong or the network does not allow these sizes.
    """
    network = load_class(arch)
    check_arguments(arch, args, upsampler)
    check_sizes(arch, bands, scale, args, upsampler)
    return network(bands, scale, **args, **(upsampler or {}))
