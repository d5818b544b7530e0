"""A small version of each network, derived from its specification."""

import torch
from torch import nn

from lkca.models.registry import MODELS, Integer, build

TRAINABLE = [arch for arch, spec in MODELS.items() if spec.trainable]


def small_arguments(arch: str, groups: int = 2) -> tuple[dict, dict | None]:
    """Return `args` and `upsampler` of `build`: width 48 and other integers 2, or the next allowed value; rates 0."""
    spec, args = MODELS[arch], {}
    for name, argument in spec.arguments.items():
        if isinstance(argument, Integer):
            smallest = max(48 if name == "width" else 2, argument.min)
            args[name] = -(-smallest // argument.multiple_of) * argument.multiple_of
        else:
            args[name] = 0.0
    return args, {"groups": groups} if spec.has_upsampler else None


def build_small(arch: str, bands: int = 9, scale: int = 4) -> nn.Module:
    """Return a small version of a network."""
    return build(arch, bands, scale, *small_arguments(arch))


@torch.no_grad()
def perturb(net: nn.Module) -> nn.Module:
    """Add noise to the weights, which may start at special values such as 0, and return the network."""
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    return net
