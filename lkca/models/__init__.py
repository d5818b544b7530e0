"""The networks. Each is `Net(bands, scale, **args)` and maps (n, bands, h, w) to (n, bands, scale * h, scale * w)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

# Class names, not classes: config.py reads this table without waiting for torch. The file is named like the key.
MODELS = {
    "bicubic": "Bicubic",
    "vdsr": "VDSR",
    "lkca": "LKCANet",
}


def build(arch: str, bands: int, scale: int, args: dict[str, Any], upsampler: dict[str, int] | None) -> "nn.Module":
    """A network, freshly initialised from torch's global random state.

    Args:
        arch: A key of MODELS.
        bands: Spectral bands, in and out.
        scale: Upsampling factor r.
        args: The network's own arguments.
        upsampler: The option of the learnable upsampling layer, `{"groups": g}`; None where there is no such layer.

    Raises:
        InputError: If the architecture does not allow these sizes.
    """
    network = getattr(import_module(f"lkca.models.{arch}"), MODELS[arch])
    return network(bands, scale, **args, **(upsampler or {}))
